//! How the fields of a record become the cells of a row.

use kafka_direct_core::IsolationLevel;

use crate::{
    batch_writer::{
        Batch, CODECS, CONTROL, DELETE_HORIZON, LOG_APPEND_TIME, Rec, encode_all, fetched,
    },
    reader::{committed, decode_rows, planned, values},
};

#[test]
fn null_and_empty_keys_and_values_stay_different() {
    let fields = [None, Some(vec![]), Some(b"x".to_vec()), Some(vec![7; 40])];
    let records: Vec<Rec> = fields
        .iter()
        .flat_map(|key| fields.iter().map(move |value| (key.clone(), value.clone())))
        .zip(0..)
        .map(|((key, value), delta)| Rec { delta, key, value, ..Rec::default() })
        .collect();
    for codec in CODECS {
        let batch = Batch::new(0, records.clone()).with_codec(codec);
        let rows = decode_rows(&committed(0, 100), &[fetched(0, batch.encode(), &[])]);
        let read: Vec<_> = rows.into_iter().map(|row| (row.key, row.value)).collect();
        let written: Vec<_> =
            records.iter().map(|record| (record.key.clone(), record.value.clone())).collect();
        assert_eq!(read, written, "{codec:?}");
    }
}

fn times(batch: &Batch) -> Vec<(Option<i64>, i8)> {
    let rows = decode_rows(&committed(0, 100), &[fetched(0, batch.encode(), &[])]);
    rows.into_iter().map(|row| (row.timestamp, row.timestamp_type)).collect()
}

#[test]
fn create_time_is_base_plus_delta_and_minus_one_is_null() {
    let record = |delta, time_delta| Rec { delta, time_delta, ..Rec::default() };
    let mut batch = Batch::new(0, vec![record(0, 0), record(1, 500), record(2, -1001)]);
    assert_eq!(times(&batch), [(Some(1000), 0), (Some(1500), 0), (None, 0)]);
    batch.base_timestamp = -1;
    batch.records = vec![record(0, 0)];
    assert_eq!(times(&batch), [(None, 0)]);
}

#[test]
fn a_delete_horizon_allows_negative_deltas() {
    let record = |delta, time_delta| Rec { delta, time_delta, ..Rec::default() };
    let mut batch = Batch::new(0, vec![record(0, -90_000_000_000), record(1, 5)]);
    batch.base_timestamp = 100_000_000_000;
    batch.attributes = DELETE_HORIZON;
    assert_eq!(times(&batch), [(Some(10_000_000_000), 0), (Some(100_000_000_005), 0)]);
}

#[test]
fn log_append_time_gives_every_record_the_max_timestamp() {
    let record = |delta, time_delta| Rec { delta, time_delta, ..Rec::default() };
    let mut batch = Batch::new(0, vec![record(0, 0), record(1, 77)]);
    batch.attributes = LOG_APPEND_TIME;
    batch.max_timestamp = 5555;
    assert_eq!(times(&batch), [(Some(5555), 1), (Some(5555), 1)]);
}

#[test]
fn headers_keep_order_duplicates_and_nulls_and_replace_invalid_utf8() {
    let long = "a header key that does not fit a view";
    let headers = vec![
        (b"b".to_vec(), Some(b"1".to_vec())),
        (b"a".to_vec(), None),
        (b"b".to_vec(), Some(vec![])),
        (long.into(), Some(vec![9; 100])),
        (vec![b'x', 0xff, b'y'], Some(b"2".to_vec())),
        ([vec![b'z'; 20], vec![0xc3]].concat(), None),
        (vec![], None),
    ];
    let plain = Rec::value(1, "no headers");
    let first = Rec { headers, ..Rec::default() };
    let last = Rec { delta: 2, headers: vec![(vec![0xfe; 9], None)], ..Rec::default() };
    for codec in CODECS {
        let records = vec![first.clone(), plain.clone(), last.clone()];
        let batch = Batch::new(0, records).with_codec(codec);
        let rows = decode_rows(&committed(0, 100), &[fetched(0, batch.encode(), &[])]);
        let expected = [
            ("b", Some(b"1".to_vec())),
            ("a", None),
            ("b", Some(vec![])),
            (long, Some(vec![9; 100])),
            ("x\u{fffd}y", Some(b"2".to_vec())),
            ("zzzzzzzzzzzzzzzzzzzz\u{fffd}", None),
            ("", None),
        ];
        let expected: Vec<_> =
            expected.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        assert_eq!(rows[0].headers, expected);
        assert_eq!(rows[1].headers, []);
        assert_eq!(rows[2].headers, [("\u{fffd}".repeat(9), None)]);
    }
}

#[test]
fn records_outside_the_range_or_below_the_fetch_offset_are_dropped() {
    let log = [Batch::of_values(0, &["a", "b", "c"]), Batch::of_values(3, &["d", "e", "f"])];
    for codec in CODECS {
        let log = log.clone().map(|batch| batch.with_codec(codec));
        let response = |at| fetched(at, encode_all(&log), &[]);
        assert_eq!(values(&committed(0, 6), &[response(0)]), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(values(&committed(1, 5), &[response(1)]), ["b", "c", "d", "e"]);
        assert_eq!(values(&committed(1, 5), &[response(4)]), ["e"]);
        assert_eq!(values(&committed(2, 3), &[response(0)]), ["c"]);
        assert_eq!(values(&committed(2, 2), &[response(0)]), [""; 0]);
        assert_eq!(values(&committed(0, 3), &[response(0)]), ["a", "b", "c"]);
        assert_eq!(values(&committed(6, 9), &[response(0)]), [""; 0]);
    }
}

#[test]
fn a_record_that_arrives_twice_is_delivered_once() {
    let log = [Batch::of_values(0, &["a", "b", "c"]), Batch::of_values(3, &["d", "e", "f"])];
    let (first, both) = (encode_all(&log[..1]), encode_all(&log));
    let responses = [fetched(0, first.clone(), &[]), fetched(1, first, &[]), fetched(0, both, &[])];
    assert_eq!(values(&committed(0, 6), &responses), ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn compacted_batches_keep_their_offsets() {
    let mut gaps = Batch::new(10, vec![Rec::value(2, "x"), Rec::value(5, "y")]);
    gaps.last_delta = Some(9);
    let mut emptied = Batch::new(20, vec![]);
    emptied.last_delta = Some(4);
    let log = [gaps, emptied, Batch::of_values(30, &["z"])];
    let rows = decode_rows(&committed(0, 100), &[fetched(0, encode_all(&log), &[])]);
    assert_eq!(rows.iter().map(|row| row.offset).collect::<Vec<_>>(), [12, 15, 30]);
}

#[test]
fn control_batches_are_never_delivered() {
    let mut other = Batch::of_values(3, &["a control record that is not a transaction marker"]);
    other.attributes = CONTROL;
    other.records[0].key = Some(vec![0, 0, 0, 2]);
    let mut emptied = Batch::marker(4, 9, false);
    emptied.records.clear();
    let log = [
        Batch::of_values(0, &["a"]),
        Batch::marker(1, 9, true),
        Batch::marker(2, 9, false),
        other,
        emptied,
        Batch::of_values(5, &["b"]),
    ];
    for isolation in [IsolationLevel::ReadCommitted, IsolationLevel::ReadUncommitted] {
        let response = fetched(0, encode_all(&log), &[]);
        assert_eq!(values(&planned(0, 9, isolation), &[response]), ["a", "b"]);
    }
}
