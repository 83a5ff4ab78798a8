//! Data that was not requested costs nothing: counts and projections neither copy nor build it.

use allocation_counter::{AllocationInfo, measure};
use arrow_array::{Array as _, RecordBatch};
use kafka_direct_core::{Codec, Fetched};
use kafka_direct_worker::{Column, Columns, DecodeOptions, RangeDecoder, scan};

use crate::{
    batch_writer::{Batch, CODECS, Rec, encode_all, fetched},
    reader::committed,
};

const RECORDS: i32 = 1_000;

/// Ten batches of records whose values have `value_bytes` bytes.
fn log(value_bytes: usize, codec: Codec) -> Vec<u8> {
    let per_batch = RECORDS / 10;
    let batch = |number: i32| {
        let records = (0..per_batch).map(|delta| Rec::value(delta, vec![b'v'; value_bytes]));
        Batch::new(i64::from(number * per_batch), records.collect()).with_codec(codec)
    };
    encode_all(&(0..10).map(batch).collect::<Vec<_>>())
}

fn response(value_bytes: usize, codec: Codec) -> Fetched {
    fetched(0, log(value_bytes, codec), &[])
}

/// Decodes `response`, and returns its batches and the allocations that decoding made.
fn decode(response: &Fetched, columns: Columns) -> (Vec<RecordBatch>, AllocationInfo) {
    let options = DecodeOptions::new().columns(columns);
    let mut decoder = RangeDecoder::new(&committed(0, i64::from(RECORDS)), options);
    let mut batches = Vec::with_capacity(16);
    let took = measure(|| {
        decoder.push(response.clone()).unwrap();
        while let Some(batch) = decoder.next_batch().unwrap() {
            batches.push(batch);
        }
        batches.extend(decoder.flush().unwrap());
    });
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_000);
    (batches, took)
}

fn columns(of: &[Column]) -> Columns {
    of.iter().copied().collect()
}

/// A batch of ten records with a correct checksum and a body that is not decompressible.
fn undecodable(base: i64) -> Batch {
    let records = (0..10).map(|delta| Rec::value(delta, "v")).collect();
    let batch = Batch::new(base, records).with_codec(Codec::Zstd);
    Batch { stored: Some(b"no frame".to_vec()), ..batch }
}

#[test]
fn a_count_allocates_nothing() {
    for codec in CODECS {
        let (response, planned) = (response(500, codec), committed(0, i64::from(RECORDS)));
        // The first clone makes the bytes shared, and allocates. Bytes from the wire are shared
        // already.
        drop(response.clone());
        let mut counted = 0;
        let took = measure(|| {
            counted = scan(&planned, &response, &DecodeOptions::new()).unwrap();
        });
        assert_eq!(counted, 1_000);
        assert_eq!(took.count_total, 0, "{codec:?}");
    }
}

#[test]
fn a_count_decompresses_no_batch_inside_the_range() {
    let response = fetched(0, encode_all(&[undecodable(0), undecodable(10)]), &[]);
    assert_eq!(scan(&committed(0, 20), &response, &DecodeOptions::new()).unwrap(), 20);
    // At an end of the range, the records must be read.
    assert!(scan(&committed(0, 15), &response, &DecodeOptions::new()).is_err());
}

#[test]
fn constant_columns_decompress_no_batch_inside_the_range() {
    for requested in [&[][..], &[Column::Topic, Column::Partition], &[Column::TimestampType]] {
        let options = DecodeOptions::new().columns(columns(requested));
        let mut decoder = RangeDecoder::new(&committed(0, 20), options);
        decoder.push(fetched(0, encode_all(&[undecodable(0), undecodable(10)]), &[])).unwrap();
        assert!(decoder.next_batch().unwrap().is_none());
        assert_eq!(decoder.flush().unwrap().unwrap().num_rows(), 20);
        assert_eq!(decoder.counts().decompressed_bytes, 0);
    }
}

#[test]
fn without_columns_rows_allocate_nothing_each() {
    let (few, many) = (response(10, Codec::None), response(500, Codec::None));
    let (_, few) = decode(&few, Columns::none());
    let (_, many) = decode(&many, Columns::none());
    assert_eq!(few.bytes_total, many.bytes_total);
    assert!(many.bytes_total < 1_000, "{} bytes for 1000 rows", many.bytes_total);
}

#[test]
fn a_projection_without_values_allocates_the_same_whatever_their_size() {
    let requested = columns(&[Column::Key, Column::Offset, Column::Timestamp]);
    // Columns that are all null share memory, which the first such column allocates.
    decode(&response(10, Codec::None), requested);
    let (_, small) = decode(&response(10, Codec::None), requested);
    let (_, large) = decode(&response(5_000, Codec::None), requested);
    assert_eq!(large.count_total, small.count_total);
    assert_eq!(large.bytes_total, small.bytes_total);
    // A view, an offset and a timestamp; the factor 3 allows for unused space of growing vectors.
    let row = 16 + 8 + 8;
    assert!(large.bytes_total < 3 * row * 1_000, "{} bytes", large.bytes_total);
    let (_, whole) = decode(&response(5_000, Codec::None), requested.with(Column::Value));
    assert!(whole.bytes_total > large.bytes_total + 16 * 1_000);
}

#[test]
fn columns_do_not_move_while_one_response_fills_them() {
    for codec in CODECS {
        let mut decoder = RangeDecoder::new(
            &committed(0, 2 * i64::from(RECORDS)),
            DecodeOptions::new().columns(columns(&[Column::Offset, Column::Timestamp])),
        );
        // A small batch before does not determine the space for the next.
        let few = Batch::new(0, vec![Rec::value(0, "v")]).with_codec(codec);
        decoder.push(fetched(0, encode_all(&[few]), &[])).unwrap();
        assert!(decoder.next_batch().unwrap().is_none());
        assert_eq!(decoder.flush().unwrap().unwrap().num_rows(), 1);
        let ten = (0..10).map(|number| {
            let records = (0..100).map(|delta| Rec::value(delta, vec![b'v'; 300]));
            Batch::new(1 + number * 100, records.collect()).with_codec(codec)
        });
        let response = fetched(1, encode_all(&ten.collect::<Vec<_>>()), &[]);
        let mut rows = 0;
        decoder.push(response).unwrap();
        let took = measure(|| {
            assert!(decoder.next_batch().unwrap().is_none());
            rows = decoder.pending_rows();
        });
        assert_eq!(rows, 1_000);
        // The offsets and the timestamps; for a compressed batch also the arena, which may move
        // once.
        let columns = if codec == Codec::None { 2 } else { 4 };
        assert!(took.count_total <= columns, "{codec:?}: {} allocations", took.count_total);
    }
}

#[test]
fn decompressed_batches_reuse_the_memory_of_earlier_batches() {
    const RESPONSES: i64 = 12;
    const PLAIN: u64 = 400 * 1_000;
    for codec in CODECS.into_iter().filter(|codec| *codec != Codec::None) {
        // Each response ends inside an Arrow batch, which the next response continues.
        let options = DecodeOptions::new().max_rows(300).columns(columns(&[Column::Value]));
        let mut decoder = RangeDecoder::new(&committed(0, RESPONSES * 400), options);
        let mut reads = |first: i64| {
            let batch = |number: i64| {
                let records = (0..100).map(|delta| {
                    let value = (0..1_000).map(|at| at * (at + delta) / 50 % 251);
                    Rec::value(delta, value.map(|byte| byte.to_le_bytes()[0]).collect::<Vec<_>>())
                });
                Batch::new(first + number * 100, records.collect()).with_codec(codec)
            };
            let response = encode_all(&(0..4).map(batch).collect::<Vec<_>>());
            let response = fetched(first, response, &[]);
            let took = measure(|| {
                decoder.push(response).unwrap();
                while decoder.next_batch().unwrap().is_some() {}
            });
            took.bytes_total
        };
        let first = reads(0);
        assert!(first > PLAIN / 2, "{codec:?}: {first} bytes");
        let later = (1..RESPONSES).map(|number| reads(number * 400)).sum::<u64>() / 11;
        assert!(later < PLAIN / 8, "{codec:?}: {later} bytes for {PLAIN}, {first} at first");
    }
}

#[test]
fn a_null_key_costs_the_same_in_records_of_every_shape() {
    let requested = columns(&[Column::Key, Column::Value, Column::Offset, Column::Timestamp]);
    let decode_with = |headers: &[(&str, Option<&[u8]>)]| {
        let batch = |number: i64| {
            let records = (0..100).map(|delta| {
                let headers = headers
                    .iter()
                    .map(|(key, value)| (key.as_bytes().to_vec(), value.map(<[u8]>::to_vec)));
                Rec { headers: headers.collect(), ..Rec::value(delta, "value") }
            });
            Batch::new(number * 100, records.collect())
        };
        decode(&fetched(0, encode_all(&(0..10).map(batch).collect::<Vec<_>>()), &[]), requested).1
    };
    // Columns that are all null may share memory, which the first such column allocates.
    decode_with(&[]);
    let (without, with) = (decode_with(&[]), decode_with(&[("trace", Some(b"7"))]));
    assert_eq!(with.bytes_total, without.bytes_total);
}

#[test]
fn the_estimate_of_the_next_batch_from_the_last_is_bounded() {
    let first = Batch::new(0, vec![Rec::value(0, "")]);
    let second = Batch::new(1, vec![Rec::value(0, vec![b'v'; 8 << 20])]);
    let response = fetched(0, encode_all(&[first, second]), &[]);
    let options = DecodeOptions::new().max_rows(usize::MAX).max_bytes(usize::MAX);
    let mut decoder = RangeDecoder::new(&committed(0, 2), options);
    decoder.push(response).unwrap();
    let took = measure(|| assert!(decoder.next_batch().unwrap().is_none()));
    assert_eq!(decoder.pending_rows(), 2);
    assert!(took.bytes_total < 1 << 20, "{} bytes for two rows", took.bytes_total);
}

#[test]
fn a_projection_without_values_keeps_no_bytes_of_them_alive() {
    for codec in CODECS {
        let response = response(500, codec);
        let (batches, _) = decode(&response, columns(&[Column::Offset, Column::Timestamp]));
        assert!(response.records.is_unique(), "{codec:?}: the response is still referenced");
        let arrays = batches.iter().flat_map(RecordBatch::columns);
        let held: usize = arrays.map(|array| array.get_buffer_memory_size()).sum();
        // Two columns of eight bytes, with space for a power of two of rows.
        assert!(held <= 2 * 8 * 2_048, "{codec:?}: {held} bytes are held");
    }
}

#[test]
fn values_are_views_of_the_response_and_no_copies() {
    let response = response(500, Codec::None);
    let (batches, took) = decode(&response, columns(&[Column::Value]));
    assert!(!response.records.is_unique());
    assert!(took.bytes_total < 500 * 1_000 / 4, "{} bytes", took.bytes_total);
    drop(batches);
    assert!(response.records.is_unique());
}
