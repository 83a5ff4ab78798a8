//! INV-3: each record is delivered once, however a log is divided into ranges, responses and Arrow
//! batches.

use kafka_direct_core::{Codec, Fetched};
use kafka_direct_worker::{Columns, scan};
use proptest::{collection::vec, option, prelude::*};

use crate::{
    batch_writer::{Batch, CODECS, LOG_APPEND_TIME, Rec, encode_all, fetched},
    reader::{Row, all_columns, committed, decode, rows},
};

fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
    let length = prop_oneof![Just(0..1usize), Just(1..16), Just(60..70), Just(200..300)];
    option::weighted(0.8, length.prop_flat_map(|length| vec(any::<u8>(), length)))
}

prop_compose! {
    /// A record whose delta is the number of skipped offsets before it; `batch` adds them up.
    fn record()(
        delta in 0i32..3,
        time_delta in -2000i64..200_000,
        key in field(),
        value in field(),
        headers in prop_oneof![
            2 => Just(vec![]),
            1 => vec((vec(any::<u8>(), 0..20), field()), 1..3),
        ],
    ) -> Rec {
        Rec { delta, time_delta, key, value, headers }
    }
}

prop_compose! {
    /// A batch whose base offset is the number of skipped offsets before it; `log` adds them up.
    fn batch()(
        gap in 0i64..3,
        mut records in vec(record(), 0..12),
        tail in 0i32..3,
        codec in 0usize..5,
        append_time in any::<bool>(),
    ) -> Batch {
        let mut delta = -1;
        for record in &mut records {
            delta += record.delta + 1;
            record.delta = delta;
        }
        let mut batch = Batch::new(gap, records).with_codec(CODECS[codec]);
        batch.last_delta = Some((delta + tail).max(0));
        batch.attributes = if append_time { LOG_APPEND_TIME } else { 0 };
        // A batch that compaction emptied has no body, not even an empty compressed stream.
        if batch.records.is_empty() { batch.codec = Codec::None }
        batch
    }
}

fn log() -> impl Strategy<Value = Vec<Batch>> {
    vec(batch(), 0..12).prop_map(|mut log| {
        let mut next = 0;
        for batch in &mut log {
            batch.base += next;
            next = batch.next();
        }
        log
    })
}

fn model(log: &[Batch], from: i64, until: i64) -> Vec<Row> {
    let rows = log.iter().flat_map(|batch| {
        batch.records.iter().map(|record| {
            let append_time = batch.attributes & LOG_APPEND_TIME != 0;
            let time = batch.base_timestamp + record.time_delta;
            let time = if append_time { batch.max_timestamp } else { time };
            let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
            Row {
                key: record.key.clone(),
                value: record.value.clone(),
                offset: batch.base + i64::from(record.delta),
                timestamp: (time != -1).then_some(time),
                timestamp_type: i8::from(append_time),
                headers: record
                    .headers
                    .iter()
                    .map(|(key, value)| (text(key), value.clone()))
                    .collect(),
            }
        })
    });
    rows.filter(|row| from <= row.offset && row.offset < until).collect()
}

/// Responses with the number of batches that `sizes` gives, each from the end of the previous one.
///
/// The second number of a pair repeats that many batches of earlier responses, as a repeated Fetch
/// does.
fn responses(log: &[Batch], from: i64, sizes: &[(usize, usize)]) -> Vec<Fetched> {
    let mut at = log.iter().position(|batch| batch.next() > from).unwrap_or(log.len());
    let mut position = from;
    let mut responses = Vec::new();
    for (size, back) in sizes.iter().copied().chain([(usize::MAX, 0)]) {
        let end = at.saturating_add(size).min(log.len());
        let start = at.saturating_sub(back);
        let fetch_offset =
            if back > 0 { log.get(start).map_or(position, |batch| batch.base) } else { position };
        responses.push(fetched(fetch_offset, encode_all(&log[start..end]), &[]));
        at = end;
        position = log[..end].last().map_or(position, |batch| batch.next().max(position));
    }
    responses
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_record_of_the_range_is_delivered_once_and_in_order(
        log in log(),
        from in 0i64..80,
        span in 0i64..120,
        sizes in vec((0usize..4, prop_oneof![3 => Just(0usize), 1 => 0usize..3]), 0..6),
        max_rows in prop_oneof![1usize..10, Just(8192)],
        max_bytes in prop_oneof![1usize..2000, Just(8 << 20)],
    ) {
        let until = from + span;
        let planned = committed(from, until);
        let responses = responses(&log, from, &sizes);
        let expected = model(&log, from, until);
        for columns in [Columns::all(), Columns::default()] {
            let options = all_columns()
                .columns(columns)
                .max_rows(max_rows)
                .max_bytes(max_bytes);
            let batches = decode(&planned, &responses, &options).unwrap();
            prop_assert!(batches.iter().all(|batch| (1..=max_rows).contains(&batch.num_rows())));
            let mut expected = expected.clone();
            if columns != Columns::all() {
                expected.iter_mut().for_each(|row| row.headers.clear());
            }
            prop_assert_eq!(rows(&batches), expected);
        }
        if sizes.iter().all(|(_, back)| *back == 0) {
            let scanned: u64 =
                responses.iter().map(|response| scan(&planned, response, &all_columns()).unwrap()).sum();
            prop_assert_eq!(scanned, expected.len() as u64);
        }
    }
}

#[test]
fn pieces_of_a_range_deliver_the_same_as_the_whole_range() {
    let values: Vec<String> = (0..40).map(|index| format!("value {index}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let log: Vec<Batch> = values
        .chunks(7)
        .zip((0..).step_by(7))
        .zip(CODECS.into_iter().cycle())
        .map(|((part, base), codec)| Batch::of_values(base, part).with_codec(codec))
        .collect();
    let read = |from, until| {
        let responses = responses(&log, from, &[(1, 0)]);
        rows(&decode(&committed(from, until), &responses, &all_columns()).unwrap())
    };
    for cut in 0..=40 {
        assert_eq!([read(0, cut), read(cut, 40)].concat(), read(0, 40), "{cut}");
    }
}
