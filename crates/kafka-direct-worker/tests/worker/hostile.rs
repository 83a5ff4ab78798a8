//! Decoding of any bytes ends without a panic and within its bounds.

use kafka_direct_core::IsolationLevel;
use kafka_direct_worker::{Columns, DecodeOptions, RangeDecoder, scan};
use proptest::{collection::vec, prelude::*};

use crate::{
    batch_writer::{Batch, CODECS, Rec, encode_all, fetched, seal},
    reader::{Row, planned, rows},
};

/// Decodes and scans `bytes` with every isolation level and several sets of columns.
pub(crate) fn decode_anything(bytes: &[u8], aborted: &[(i64, i64)]) {
    for isolation in [IsolationLevel::ReadCommitted, IsolationLevel::ReadUncommitted] {
        let mut with_headers: Option<Vec<Row>> = None;
        for columns in [Columns::all(), Columns::default(), Columns::none()] {
            let planned = planned(2, 1 << 40, isolation);
            let options =
                DecodeOptions::new().columns(columns).max_rows(7).max_batch_bytes(100_000);
            let response = fetched(1, bytes.to_vec(), aborted);
            let _ = scan(&planned, &response, &options);
            let mut decoder = RangeDecoder::new(&planned, options);
            decoder.push(response).unwrap();
            let mut batches = Vec::new();
            while let Ok(Some(batch)) = decoder.next_batch() {
                batches.push(batch);
            }
            batches.extend(decoder.flush().unwrap());
            assert!(decoder.needs_input());
            assert!(batches.iter().all(|batch| (1..=7).contains(&batch.num_rows())));
            if columns == Columns::none() {
                continue;
            }
            let rows = rows(&batches);
            assert!(rows.iter().all(|row| row.offset >= 2));
            assert!(rows.is_sorted_by(|a, b| a.offset < b.offset));
            match &mut with_headers {
                None => with_headers = Some(rows),
                // Without the headers column, corrupt headers are not detected, so more rows may
                // follow.
                Some(with_headers) => {
                    with_headers.iter_mut().for_each(|row| row.headers.clear());
                    assert!(rows.starts_with(with_headers));
                }
            }
        }
    }
}

fn seed_log(codec: usize) -> Vec<Batch> {
    let record = |delta| Rec {
        delta,
        time_delta: i64::from(delta) * 100,
        key: Some(format!("key {delta}").into()),
        value: Some(vec![b'v'; 30]),
        headers: match delta % 3 {
            0 => vec![(b"h".to_vec(), Some(b"header".to_vec())), (b"n".to_vec(), None)],
            _ => vec![],
        },
    };
    vec![
        Batch::new(0, (0..9).map(record).collect()).with_codec(CODECS[codec]),
        Batch::new(9, (0..3).map(record).collect()).with_producer(1),
        Batch::marker(12, 1, false),
        Batch::new(13, (0..3).map(record).collect()).with_producer(1),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..400)) {
        decode_anything(&bytes, &[(1, 0)]);
    }

    #[test]
    fn arbitrary_records_under_a_valid_header(
        plain in vec(any::<u8>(), 0..200),
        count in 0i32..20,
        codec in 0usize..5,
        packed in any::<bool>(),
    ) {
        let mut batch = Batch::new(3, vec![]).with_codec(CODECS[codec]);
        batch.count = Some(count);
        batch.last_delta = Some(100);
        *(if packed { &mut batch.plain } else { &mut batch.stored }) = Some(plain);
        decode_anything(&batch.encode(), &[]);
    }

    #[test]
    fn mutated_batches_with_a_checksum_that_matches(
        codec in 0usize..5,
        which in 0usize..4,
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        aborted in vec((0i64..3, 0i64..20), 0..4),
    ) {
        let mut batches: Vec<Vec<u8>> =
            seed_log(codec).iter().map(Batch::encode).collect();
        let batch = &mut batches[which];
        for (index, byte) in flips {
            // Any byte after the length: a wrong length would only truncate the batch.
            let at = 12 + index.index(batch.len() - 12);
            batch[at] = byte;
        }
        seal(batch);
        decode_anything(&batches.concat(), &aborted);
    }

    #[test]
    fn mutated_records_under_every_codec(
        codec in 0usize..5,
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut batch = seed_log(codec).swap_remove(0);
        let mut plain = Vec::new();
        batch.records.iter().for_each(|record| record.encode(&mut plain));
        for (index, byte) in flips {
            let at = index.index(plain.len());
            plain[at] = byte;
        }
        batch.plain = Some(plain);
        decode_anything(&batch.encode(), &[]);
    }

    #[test]
    fn truncated_responses(codec in 0usize..5, cut in any::<prop::sample::Index>()) {
        let bytes = encode_all(&seed_log(codec));
        decode_anything(&bytes[..cut.index(bytes.len())], &[(1, 9)]);
    }
}

#[test]
fn a_length_in_more_bytes_than_it_needs_does_not_shift_the_value() {
    // The value's length, 2, takes two bytes. The record ends after the value, without a header
    // count.
    let mut record = vec![36, 0, 0, 0, 20];
    record.extend([b'k'; 10]);
    record.extend([0x84, 0, b'v', 0]);
    for count in [1, 4] {
        let records = (0..count).map(|delta| Rec::value(delta, "")).collect();
        let batch = Batch { stored: Some(record.clone()), ..Batch::new(0, records) };
        let planned = planned(0, 10, IsolationLevel::ReadUncommitted);
        for columns in [Columns::all(), Columns::default()] {
            let options = DecodeOptions::new().columns(columns);
            let mut decoder = RangeDecoder::new(&planned, options);
            decoder.push(fetched(0, encode_all(std::slice::from_ref(&batch)), &[])).unwrap();
            assert!(decoder.next_batch().is_err(), "{count} records, {columns:?}");
        }
    }
}
