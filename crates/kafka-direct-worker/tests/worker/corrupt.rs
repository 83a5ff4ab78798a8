//! Corrupt bytes are errors that name the batch, and are never read as records.

use kafka_direct_core::{Codec, ErrorKind, Offset};
use kafka_direct_worker::{Columns, DecodeOptions, RangeDecoder, WorkerError, scan};

use crate::{
    batch_writer::{Batch, CODECS, Rec, encode_all, encode_body, fetched, varlong},
    reader::{all_columns, committed, decode, rows},
};

fn error_of(bytes: Vec<u8>) -> WorkerError {
    error_with(bytes, &all_columns())
}

fn error_with(bytes: Vec<u8>, options: &DecodeOptions) -> WorkerError {
    decode(&committed(0, 1000), &[fetched(0, bytes, &[])], options).unwrap_err()
}

fn check_corrupt(bytes: Vec<u8>, offset: i64) {
    check_corrupt_with(bytes.clone(), offset, &all_columns());
    check_corrupt_with(bytes, offset, &DecodeOptions::new());
}

fn check_corrupt_with(bytes: Vec<u8>, offset: i64, options: &DecodeOptions) {
    let error = error_with(bytes, options);
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let text = format!("{error} {:?}", std::error::Error::source(&error));
    assert!(text.contains("orders-3 [0, 1000)"), "{text}");
    assert!(text.contains(&format!("offset {offset}")) || text.contains("offset: "), "{text}");
}

#[test]
fn every_flipped_bit_after_the_magic_is_an_error() {
    for codec in CODECS {
        let whole = Batch::of_values(5, &["value", "value"]).with_codec(codec).encode();
        for bit in 17 * 8..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let error = error_of(bytes.clone());
            // The checksum covers the counts too, but the walk over headers checks them first.
            let walked = matches!(error, WorkerError::Header { .. });
            assert!(walked || matches!(error, WorkerError::Checksum { .. }), "{bit}: {error}");
            assert!(scan(&committed(0, 9), &fetched(0, bytes, &[]), &all_columns()).is_err());
        }
    }
}

#[test]
fn a_checksum_error_names_where_to_resume_and_keeps_the_rows_before_it() {
    let log = [Batch::of_values(0, &["a", "b"]), Batch::of_values(2, &["c", "d", "e"])];
    let good = encode_all(&log);
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    for (fetch_offset, resume_at) in [(0, 2), (3, 3)] {
        let mut decoder = RangeDecoder::new(&committed(0, 10), all_columns());
        decoder.push(fetched(fetch_offset, bad.clone(), &[])).unwrap();
        let error = decoder.next_batch().unwrap_err();
        assert_eq!(error.checksum_mismatch_at(), Some(Offset::new(resume_at)));
        assert!(decoder.needs_input());
        let before = rows(&Vec::from_iter(decoder.flush().unwrap()));
        assert_eq!(before.len(), if fetch_offset == 0 { 2 } else { 0 });
        decoder.push(fetched(resume_at, good.clone(), &[])).unwrap();
        assert!(decoder.next_batch().unwrap().is_none());
        let rest = rows(&Vec::from_iter(decoder.flush().unwrap()));
        let offsets: Vec<_> = rest.iter().map(|row| row.offset).collect();
        assert_eq!(offsets, (resume_at..5).collect::<Vec<_>>());
    }
}

#[test]
fn a_corrupt_base_offset_does_not_change_where_to_resume() {
    let log = [Batch::of_values(0, &["a", "b"]), Batch::of_values(2, &["c", "d", "e"])];
    let second = log[0].encode().len();
    let mut bad = encode_all(&log);
    *bad.last_mut().unwrap() ^= 1;
    bad[second..second + 8].copy_from_slice(&900i64.to_be_bytes());
    for (fetch_offset, resume_at) in [(0, 2), (1, 2), (3, 3)] {
        let mut decoder = RangeDecoder::new(&committed(0, 1000), all_columns());
        decoder.push(fetched(fetch_offset, bad.clone(), &[])).unwrap();
        let error = decoder.next_batch().unwrap_err();
        assert_eq!(error.checksum_mismatch_at(), Some(Offset::new(resume_at)));
    }
}

#[test]
fn after_an_error_no_record_is_delivered_twice() {
    let log = [Batch::of_values(0, &["a", "b"]), Batch::of_values(2, &["c", "d", "e"])];
    let good = encode_all(&log);
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    for columns in [Columns::none(), Columns::default(), Columns::all()] {
        let options = all_columns().columns(columns);
        let mut decoder = RangeDecoder::new(&committed(0, 10), options);
        decoder.push(fetched(0, bad.clone(), &[])).unwrap();
        assert!(decoder.next_batch().is_err());
        decoder.push(fetched(0, good.clone(), &[])).unwrap();
        assert!(decoder.next_batch().unwrap().is_none());
        assert_eq!(decoder.pending_rows(), 5, "{columns:?}");
    }
}

#[test]
fn old_formats_are_invalid_and_unknown_ones_corrupt() {
    for (magic, kind) in [(0, ErrorKind::Invalid), (1, ErrorKind::Invalid), (3, ErrorKind::Corrupt)]
    {
        let mut bytes = Batch::of_values(5, &["x"]).encode();
        bytes[16] = magic;
        let error = error_of(bytes);
        assert_eq!(error.kind(), kind);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("offset 5"), "{source}");
    }
}

#[test]
fn unknown_codecs_and_offsets_that_decrease_are_corrupt() {
    for codec in 5..=7 {
        let mut batch = Batch::of_values(5, &["x"]);
        batch.attributes = codec;
        check_corrupt(batch.encode(), 5);
    }
    let log = [Batch::of_values(5, &["x", "y"]), Batch::of_values(6, &["z"])];
    check_corrupt(encode_all(&log), 6);
}

#[test]
fn bytes_that_end_inside_a_batch_are_corrupt_after_the_whole_ones() {
    let whole = encode_all(&[Batch::of_values(0, &["a"]), Batch::of_values(1, &["b"])]);
    let first = Batch::of_values(0, &["a"]).encode().len();
    for cut in first + 1..whole.len() {
        let mut decoder = RangeDecoder::new(&committed(0, 10), all_columns());
        decoder.push(fetched(0, whole[..cut].to_vec(), &[])).unwrap();
        let error = decoder.next_batch().unwrap_err();
        assert!(matches!(error, WorkerError::Truncated { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(decoder.pending_rows(), 1);
    }
}

/// Checks that a batch at offset 5 with these bytes as its two records is corrupt.
///
/// Also checks the batch with a long third record, so that the bytes are not at the end of the
/// input.
fn check_corrupt_plain(plain: &[u8]) {
    for codec in CODECS {
        let mut batch = Batch::of_values(5, &["", ""]).with_codec(codec);
        batch.plain = Some(plain.to_vec());
        check_corrupt(batch.encode(), 5);
        let mut followed = plain.to_vec();
        Rec::value(2, vec![b'z'; 90]).encode(&mut followed);
        batch.plain = Some(followed);
        batch.count = Some(3);
        batch.last_delta = Some(2);
        check_corrupt(batch.encode(), 5);
    }
}

fn two(first: &Rec, second: &Rec) -> Vec<u8> {
    let mut plain = Vec::new();
    first.encode(&mut plain);
    second.encode(&mut plain);
    plain
}

/// Two records, the second with its length replaced.
fn with_length(length: i64) -> Vec<u8> {
    let mut plain = Vec::new();
    Rec::value(0, "a").encode(&mut plain);
    varlong(&mut plain, length);
    plain.extend(Rec::value(1, "bbbb").body());
    plain
}

#[test]
fn wrong_record_lengths_are_corrupt() {
    let correct = i64::try_from(Rec::value(1, "bbbb").body().len()).unwrap();
    for length in [correct - 1, correct + 1, correct - 4, 0, 1, -1, i64::from(i32::MAX)] {
        check_corrupt_plain(&with_length(length));
    }
    let mut endless = Vec::new();
    Rec::value(0, "a").encode(&mut endless);
    endless.extend([0xff; 12]);
    check_corrupt_plain(&endless);
}

#[test]
fn wrong_record_counts_are_corrupt() {
    for (records, count) in [(2, 1), (2, 3), (1, 2), (1, 0)] {
        for codec in CODECS {
            let mut batch = Batch::of_values(5, &["a", "b"][..records]).with_codec(codec);
            batch.count = Some(count);
            batch.last_delta = Some(9);
            check_corrupt(batch.encode(), 5);
        }
    }
}

#[test]
fn offsets_that_do_not_rise_or_exceed_the_last_are_corrupt() {
    for (first, second) in [(0, 0), (1, 0), (0, 2), (-1, 1), (0, i32::MIN)] {
        check_corrupt_plain(&two(&Rec::value(first, "a"), &Rec::value(second, "b")));
    }
}

/// Two records, the second with these bytes after its offset delta.
fn with_rest(rest: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    Rec::value(0, "a").encode(&mut plain);
    let mut body = vec![0, 0, 2];
    body.extend(rest);
    encode_body(&mut plain, &body);
    plain
}

#[test]
fn wrong_field_lengths_are_corrupt() {
    let cases: [&[u8]; 11] = [
        &[],
        // Key: length −2, longer than the record, endless length.
        &[3, 1, 0],
        &[8, b'a', 1, 0],
        &[0xff; 6],
        // Value: length −2, longer than the record, missing.
        &[1, 3, 0],
        &[1, 8, b'a', 0],
        &[1],
        // Header count: missing, negative, bytes left over.
        &[1, 1],
        &[1, 1, 1],
        &[1, 1, 0, 0],
        &[1, 2, b'v', 0, 0],
    ];
    for rest in cases {
        check_corrupt_plain(&with_rest(rest));
    }
}

#[test]
fn wrong_header_lengths_are_corrupt_if_headers_are_read() {
    // More headers than bytes, null key, value longer than the record, bytes left over.
    let cases: [&[u8]; 4] = [&[1, 1, 40], &[1, 1, 2, 1, 1], &[1, 1, 2, 0, 9], &[1, 1, 2, 0, 1, 0]];
    for rest in cases {
        let mut batch = Batch::of_values(5, &["", ""]);
        batch.plain = Some(with_rest(rest));
        check_corrupt_with(batch.encode(), 5, &all_columns());
        let response = [fetched(0, batch.encode(), &[])];
        let skipped = decode(&committed(0, 9), &response, &DecodeOptions::new()).unwrap();
        assert_eq!(skipped[0].num_rows(), 2);
    }
}

#[test]
fn rows_before_a_corrupt_record_stay_complete_and_are_not_delivered_again() {
    let mut batch = Batch::of_values(5, &["", ""]);
    batch.plain = Some(with_rest(&[1, 1, 40]));
    let mut decoder = RangeDecoder::new(&committed(0, 10), all_columns());
    decoder.push(fetched(5, batch.encode(), &[])).unwrap();
    assert!(decoder.next_batch().is_err());
    decoder.push(fetched(5, Batch::of_values(5, &["a", "b"]).encode(), &[])).unwrap();
    assert!(decoder.next_batch().unwrap().is_none());
    let rows = rows(&Vec::from_iter(decoder.flush().unwrap()));
    assert_eq!(rows.iter().map(|row| row.offset).collect::<Vec<_>>(), [5, 6]);
}

#[test]
fn timestamps_that_overflow_are_corrupt() {
    for length in [0, 90] {
        let record = Rec { time_delta: 1, ..Rec::value(0, vec![b'v'; length]) };
        let mut batch = Batch::new(5, vec![record]);
        batch.base_timestamp = i64::MAX;
        check_corrupt(batch.encode(), 5);
    }
}

#[test]
fn bytes_that_are_not_compressed_are_corrupt() {
    for codec in CODECS.into_iter().filter(|codec| *codec != Codec::None) {
        let mut batch = Batch::of_values(5, &["a"]).with_codec(codec);
        batch.stored = Some(b"these bytes are not compressed".to_vec());
        check_corrupt(batch.encode(), 5);
    }
}

#[test]
fn a_marker_without_a_marker_key_is_corrupt_only_under_read_committed() {
    let mut marker = Batch::marker(5, 1, false);
    marker.records[0].key = Some(vec![0, 0]);
    check_corrupt(marker.encode(), 5);
    let planned = crate::reader::planned(0, 9, kafka_direct_core::IsolationLevel::ReadUncommitted);
    assert!(decode(&planned, &[fetched(0, marker.encode(), &[])], &all_columns()).is_ok());
}

#[test]
fn pushing_twice_is_an_error_and_changes_nothing() {
    let mut decoder = RangeDecoder::new(&committed(0, 10), DecodeOptions::new());
    decoder.push(fetched(0, Batch::of_values(0, &["a"]).encode(), &[])).unwrap();
    let error = decoder.push(fetched(0, vec![], &[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(decoder.next_batch().unwrap().is_none());
    assert_eq!(decoder.pending_rows(), 1);
}

#[test]
fn a_corrupt_batch_after_the_range_is_not_read() {
    let mut bytes = encode_all(&[Batch::of_values(0, &["a"]), Batch::of_values(1, &["b"])]);
    *bytes.last_mut().unwrap() ^= 1;
    let response = [fetched(0, bytes, &[])];
    assert_eq!(crate::reader::values(&committed(0, 1), &response), ["a"]);
    assert!(decode(&committed(0, 2), &response, &all_columns()).is_err());
}
