//! Where batches say that they begin, in answers cut anywhere: with holes, and with one of them moved.

use std::sync::Arc;

use bytes::Bytes;
use kafka_direct_core::{IsolationLevel, Offset, OffsetRange, PlannedRange, TopicPartition, walk};
use proptest::{prelude::*, sample::Index};

use super::{
    accept::{Accepted, accept},
    response::PartitionAnswer,
    slot::{Doubt, Slot, Stop},
};

/// A batch of the log: offsets, and its bytes.
#[derive(Debug, Clone)]
struct Stored {
    base: i64,
    end: i64,
    bytes: Vec<u8>,
}

/// The log's batches: how far behind the one before, how many offsets, how many bytes.
fn log(batches: &[(i64, i32, usize)]) -> Vec<Stored> {
    let mut end = 0;
    let stored = batches.iter().map(|(hole, count, body)| {
        let base = end + hole;
        end = base + i64::from(*count);
        let mut bytes = base.to_be_bytes().to_vec();
        bytes.extend(i32::try_from(49 + body).unwrap().to_be_bytes());
        bytes.extend([0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]);
        bytes.extend((count - 1).to_be_bytes());
        bytes.extend([0; 30]);
        bytes.extend(count.to_be_bytes());
        bytes.resize(61 + body, 7);
        Stored { base, end, bytes }
    });
    stored.collect()
}

/// What Kafka answers from `position` on: whole batches up to `most` bytes, the first in any case,
/// and the beginning of the next. A broker that is none sends some batches from `early` before those.
/// `moved` is a batch and the base offset it is sent with.
fn serve(
    log: &[Stored],
    position: i64,
    (most, early): (usize, usize),
    moved: Option<(usize, i64)>,
) -> Bytes {
    let due = log.partition_point(|batch| batch.end <= position);
    let first = due.saturating_sub(early);
    let mut records = Vec::new();
    for (at, batch) in log.iter().enumerate().skip(first) {
        let begin = records.len();
        records.extend(&batch.bytes);
        if let Some((_, base)) = moved.filter(|(moved, _)| *moved == at) {
            records[begin..begin + 8].copy_from_slice(&base.to_be_bytes());
        }
    }
    let whole = log.iter().take(due + 1).skip(first).map(|batch| batch.bytes.len()).sum();
    records.truncate(most.max(whole));
    records.into()
}

fn answer(records: Bytes, high_watermark: i64) -> PartitionAnswer {
    let high_watermark = Offset::new(high_watermark);
    PartitionAnswer {
        partition: 0,
        code: 0,
        high_watermark,
        last_stable: high_watermark,
        log_start: Offset::ZERO,
        aborted: Vec::new(),
        records,
    }
}

/// Reads `[from, until)` in answers of these sizes, one of which has a batch moved. Returns the
/// offsets, how many answers it took, and how many were stopped at.
fn read(
    log: &[Stored],
    (from, until): (i64, i64),
    sizes: &[(usize, usize)],
    moved: Option<(usize, usize, i64)>,
) -> (Vec<i64>, usize, usize) {
    let range = OffsetRange::new(TopicPartition::new("t", 0), from, until).unwrap();
    let planned = PlannedRange::new(range, IsolationLevel::ReadUncommitted);
    let slot = |position| Slot::new(&planned, Offset::new(position), None, None, Doubt::No);
    let (mut position, mut offsets, mut stops) = (from, Vec::new(), 0);
    let mut current = slot(position);
    let high_watermark = log.last().map_or(0, |batch| batch.end);
    for (number, size) in sizes.iter().cycle().enumerate() {
        let moved = moved.filter(|(at, ..)| *at == number).map(|(_, batch, to)| (batch, to));
        let answer = answer(serve(log, position, *size, moved), high_watermark);
        match accept(&current, Offset::new(position), &Arc::from("h:1"), answer) {
            Accepted::Fetched { fetched, claimed, largest_batch } => {
                let next = fetched.next.get();
                for batch in walk(&fetched.records) {
                    let (header, _) = batch.unwrap();
                    let is_true = |batch: &Stored| {
                        batch.base == header.base_offset.get()
                            && batch.end == header.next_offset().get()
                    };
                    let visible = position.max(header.base_offset.get())
                        ..until.min(header.next_offset().get());
                    let is_there = visible.is_empty() || log.iter().any(is_true);
                    assert!(is_there, "{header:?} is nowhere in the log");
                    offsets.extend(visible);
                }
                position = next;
                current = slot(position);
                if let Some(base) = claimed {
                    current.claim(base, largest_batch);
                }
            }
            Accepted::Claimed { base, largest_batch } => current.claim(base, largest_batch),
            // What is past the position is as good as nothing, where there is nothing else.
            Accepted::Stop(_) | Accepted::Empty => {
                stops += 1;
                current = slot(position);
            }
        }
        assert!(stops < 3, "read no further than {position}");
        if position >= until {
            return (offsets, number + 1, stops);
        }
    }
    unreachable!()
}

#[test]
fn what_ends_above_the_high_watermark_is_not_delivered() {
    let log = log(&[(0, 5, 0), (0, 5, 0)]);
    let range = OffsetRange::new(TopicPartition::new("t", 0), 0, 10).unwrap();
    let planned = PlannedRange::new(range, IsolationLevel::ReadUncommitted);
    for (position, high_watermark, next) in [(0, 10, Some(10)), (0, 9, Some(5)), (5, 9, None)] {
        let slot = Slot::new(&planned, Offset::new(position), None, None, Doubt::No);
        let answer = answer(serve(&log, position, (1 << 10, 0), None), high_watermark);
        match (accept(&slot, Offset::new(position), &Arc::from("h:1"), answer), next) {
            (Accepted::Fetched { fetched, .. }, Some(next)) => {
                assert_eq!(fetched.next, Offset::new(next));
            }
            (Accepted::Stop(Stop::AboveHighWatermark { .. }), None) => {}
            (accepted, _) => panic!("{accepted:?}"),
        }
    }
}

fn there(log: &[Stored], from: i64, until: i64) -> Vec<i64> {
    log.iter().flat_map(|batch| from.max(batch.base)..until.min(batch.end)).collect()
}

/// A range that is not empty.
fn span(log: &[Stored], ends: [Index; 2]) -> (i64, i64) {
    let end = usize::try_from(log.last().unwrap().end).unwrap();
    let from = ends[0].index(end);
    let until = from + 1 + ends[1].index(end - from);
    (i64::try_from(from).unwrap(), i64::try_from(until).unwrap())
}

/// How many bytes answers have, and how many batches before those asked for.
fn sizes() -> impl Strategy<Value = Vec<(usize, usize)>> {
    let bytes = prop_oneof![Just(1usize), 1..900usize];
    let early = prop_oneof![4 => Just(0usize), 1 => 1..4usize];
    early.prop_flat_map(move |early| prop::collection::vec((bytes.clone(), Just(early)), 1..5))
}

proptest! {
    // Some rules speak of few cases in a thousand.
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn a_log_with_holes_is_read_to_its_end_in_at_most_two_answers_a_batch(
        batches in prop::collection::vec((prop_oneof![Just(0i64), 0..9i64], 1..9i32, 0..90usize), 1..12),
        ends in any::<[Index; 2]>(),
        sizes in sizes(),
    ) {
        let log = log(&batches);
        let (from, until) = span(&log, ends);
        let (offsets, answers, stops) = read(&log, (from, until), &sizes, None);
        prop_assert_eq!(offsets, there(&log, from, until));
        prop_assert_eq!(stops, 0);
        prop_assert!(answers <= 2 * log.len(), "{} answers", answers);
    }

    #[test]
    fn where_one_base_of_one_answer_was_changed_each_record_comes_once_and_in_its_place(
        batches in prop::collection::vec((Just(0i64), 1..9i32, 0..90usize), 1..12),
        ends in any::<[Index; 2]>(),
        sizes in sizes(),
        at in 0..4usize,
        moved in any::<Index>(),
        to in prop_oneof![9 => -3..70i64, 1 => any::<i64>()],
    ) {
        let log = log(&batches);
        let (from, until) = span(&log, ends);
        let moved = moved.index(log.len());
        // Begins just where the read does, and nothing else tells.
        let is_first = at == 0 && log[moved].base < from && from < log[moved].end;
        prop_assume!(!(is_first && to == from));
        let (offsets, ..) = read(&log, (from, until), &sizes, Some((at, moved, to)));
        prop_assert_eq!(offsets, there(&log, from, until));
    }
}
