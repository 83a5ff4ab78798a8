//! Every set of columns has the stated schema, and the same cells in the same order.

use kafka_direct_core::Codec;
use kafka_direct_worker::{Column, Columns, DecodeOptions, RangeDecoder, scan, schema};

use crate::{
    batch_writer::{Batch, LOG_APPEND_TIME, Rec, encode_all, fetched},
    reader::{all_columns, committed, decode},
};

fn log() -> Vec<u8> {
    let record = |index: usize| Rec {
        delta: i32::try_from(index).unwrap(),
        time_delta: i64::try_from(index).unwrap() - 1001,
        key: index.is_multiple_of(2).then(|| vec![b'k'; 10 + index % 5]),
        value: (!index.is_multiple_of(3))
            .then(|| format!("a value of record {index}").into_bytes()),
        headers: vec![(b"header".to_vec(), None); index % 3],
    };
    let batch =
        |base: i64, codec| Batch::new(base, (0..10).map(record).collect()).with_codec(codec);
    let mut stamped = batch(30, Codec::Snappy);
    stamped.attributes = LOG_APPEND_TIME;
    encode_all(&[batch(0, Codec::None), batch(10, Codec::Lz4), stamped, batch(40, Codec::None)])
}

#[test]
fn every_set_of_columns_has_the_same_cells_as_all_columns() {
    let planned = committed(3, 47);
    let response = [fetched(0, log(), &[])];
    let whole = decode(&planned, &response, &all_columns().max_rows(16)).unwrap();
    for bits in 0..=255u8 {
        let chosen = |index: &usize| bits & (1 << index) != 0;
        let columns: Columns = (0..8).filter(chosen).map(|index| Column::ALL[index]).collect();
        let options = DecodeOptions::new().columns(columns).max_rows(16);
        let batches = decode(&planned, &response, &options).unwrap();
        assert_eq!(batches.len(), whole.len());
        for (batch, whole) in batches.iter().zip(&whole) {
            assert_eq!(batch.schema(), schema(columns));
            assert_eq!(batch.num_rows(), whole.num_rows(), "{columns:?}");
            for column in columns.iter() {
                let name = column.as_str();
                assert_eq!(batch.column_by_name(name), whole.column_by_name(name), "{columns:?}");
            }
        }
    }
}

#[test]
fn the_schema_is_fixed() {
    let text: Vec<String> = schema(Columns::all())
        .fields()
        .iter()
        .map(|field| {
            let null = if field.is_nullable() { "?" } else { "" };
            format!("{} {}{null}", field.name(), field.data_type())
        })
        .collect();
    assert_eq!(
        text,
        [
            "key BinaryView?",
            "value BinaryView?",
            "topic Dictionary(Int32, Utf8)",
            "partition Int32",
            "offset Int64",
            "timestamp Timestamp(ms, \"UTC\")?",
            "timestamp_type Int8",
            "headers List(non-null Struct(\"key\": non-null Utf8View, \"value\": BinaryView))",
        ]
    );
    let decoder = RangeDecoder::new(&committed(0, 1), DecodeOptions::new());
    assert_eq!(*decoder.schema(), schema(Columns::default()));
}

#[test]
fn scan_counts_the_records_that_decoding_delivers() {
    for (from, until) in [(0, 50), (0, 5), (3, 7), (9, 31), (12, 12), (48, 99), (50, 60)] {
        let planned = committed(from, until);
        let response = fetched(from, log(), &[]);
        let batches = decode(&planned, std::slice::from_ref(&response), &all_columns()).unwrap();
        let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
        let scanned = scan(&planned, &response, &DecodeOptions::new()).unwrap();
        assert_eq!(scanned, rows as u64, "[{from}, {until})");
    }
}
