//! Tests of which batches of one response are delivered and which are a fault.

use std::sync::Arc;

use bytes::Bytes;
use kafka_direct_core::{
    AbortedTransaction, Fetched, HeaderError, IsolationLevel, Offset, OffsetRange, PlannedRange,
    TopicPartition,
};
use proptest::{prelude::*, sample::Index};

use super::{
    accept::{Accepted, accept},
    partition_cursor::{FetchPriority, PartitionCursor},
    response::PartitionResponse,
    stop::Stop,
};
use crate::code;

/// A batch of offsets `[base, end)` with `body` bytes after its header.
fn batch(base: i64, end: i64, body: usize) -> Vec<u8> {
    let count = i32::try_from(end - base).unwrap();
    let mut bytes = base.to_be_bytes().to_vec();
    bytes.extend(i32::try_from(49 + body).unwrap().to_be_bytes());
    bytes.extend([0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]);
    bytes.extend((count - 1).to_be_bytes());
    bytes.extend([0; 30]);
    bytes.extend(count.to_be_bytes());
    bytes.resize(61 + body, 7);
    bytes
}

fn batches(offsets: &[(i64, i64)]) -> Vec<u8> {
    offsets.iter().flat_map(|(base, end)| batch(*base, *end, 9)).collect()
}

fn response(records: Vec<u8>) -> PartitionResponse {
    PartitionResponse {
        partition: 0,
        code: 0,
        high_watermark: Offset::new(100),
        last_stable: Offset::new(100),
        log_start: Offset::ZERO,
        aborted: Vec::new(),
        records: Bytes::from(records),
    }
}

/// Passes `response` to `accept` at `position` of the range `[0, until)`.
fn accepted((position, until): (i64, i64), response: PartitionResponse) -> Accepted {
    let range = OffsetRange::new(TopicPartition::new("t", 0), 0, until).unwrap();
    let planned = PlannedRange::new(range, IsolationLevel::ReadUncommitted);
    let position = Offset::new(position);
    let cursor = PartitionCursor::new(&planned, position, None, None, FetchPriority::Normal, false);
    accept(&cursor, position, &Arc::from("h:1"), response)
}

/// What `accept` keeps of `response` at position 0 of the range `[0, until)`: its bytes.
fn rest(until: i64, response: PartitionResponse) -> Option<usize> {
    let range = OffsetRange::new(TopicPartition::new("t", 0), 0, until).unwrap();
    let planned = PlannedRange::new(range, IsolationLevel::ReadCommitted);
    let (start, normal) = (Offset::ZERO, FetchPriority::Normal);
    let cursor = PartitionCursor::new(&planned, start, None, None, normal, true);
    match accept(&cursor, start, &Arc::from("h:1"), response) {
        Accepted::Fetched { rest, .. } => rest.map(|rest| rest.records.len()),
        other => panic!("{other:?}"),
    }
}

fn fetched(accepted: Accepted) -> Fetched {
    match accepted {
        Accepted::Fetched { fetched, .. } => fetched,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_position_moves_to_the_end_of_the_last_whole_batch() {
    let records = [batches(&[(0, 5), (5, 8)]), batch(8, 20, 50)[..100].to_vec()].concat();
    let delivered = fetched(accepted((0, 100), response(records)));
    assert_eq!((delivered.next, delivered.records.len()), (Offset::new(8), 140));
}

#[test]
fn holes_and_a_start_inside_a_batch_are_trusted() {
    for (position, offsets, next) in [
        // A hole at the position, a hole between two batches, and one batch after a hole.
        (0, &[(4, 5), (9, 12)][..], 12),
        (2, &[(30, 40)], 40),
        // The position is inside the first batch.
        (3, &[(0, 5)], 5),
        (3, &[(0, 5), (7, 9)], 9),
        // The first batch ends below the position.
        (6, &[(0, 5), (5, 6), (8, 9)], 9),
    ] {
        let delivered = fetched(accepted((position, 100), response(batches(offsets))));
        assert_eq!(delivered.next, Offset::new(next), "{position} {offsets:?}");
        assert_eq!(delivered.records.len(), 70 * offsets.len(), "{position} {offsets:?}");
    }
}

#[test]
fn batches_at_and_after_the_end_of_the_range_are_cut_off() {
    for (until, offsets, next, count) in [
        (5, &[(0, 5), (5, 8)][..], 5, 1),
        (7, &[(0, 5), (5, 8), (8, 9)], 8, 2),
        // A hole reaches up to the end of the range.
        (7, &[(0, 5), (20, 30)], 7, 1),
        (7, &[(20, 30)], 7, 0),
    ] {
        let delivered = fetched(accepted((0, until), response(batches(offsets))));
        let expected = (Offset::new(next), 70 * count);
        assert_eq!((delivered.next, delivered.records.len()), expected, "{until} {offsets:?}");
    }
}

#[test]
fn the_batches_that_end_after_the_range_are_the_rest() {
    for (until, offsets, count) in [
        // The end of the range is inside a batch, or between two.
        (7, &[(0, 5), (5, 8), (8, 9)][..], 2),
        (5, &[(0, 5), (5, 8), (8, 9)], 2),
        // A hole reaches up to the end of the range.
        (7, &[(0, 5), (20, 30)], 1),
        (7, &[(20, 30)], 1),
        // The end of the range is the end of the response, or after it.
        (9, &[(0, 5), (5, 9)], 0),
        (50, &[(0, 5), (5, 9)], 0),
    ] {
        let expected = Some(70 * count).filter(|_| count > 0);
        assert_eq!(rest(until, response(batches(offsets))), expected, "{until} {offsets:?}");
    }
    // A batch that is cut is fetched again.
    let cut = [batches(&[(0, 5)]), batch(5, 20, 50)[..100].to_vec()].concat();
    assert_eq!(rest(5, response(cut)), None);
    // Without a range that continues, nothing is kept.
    let accepted = accepted((0, 7), response(batches(&[(0, 5), (5, 8)])));
    assert!(matches!(accepted, Accepted::Fetched { rest: None, .. }), "{accepted:?}");
}

#[test]
fn with_aborted_transactions_the_rest_has_all_markers() {
    let aborted = vec![AbortedTransaction { producer_id: 1, first_offset: Offset::ZERO }];
    let response = PartitionResponse { aborted, ..response(batches(&[(0, 5), (5, 8), (8, 9)])) };
    assert_eq!(rest(7, response), Some(210));
}

#[test]
fn two_batches_that_overlap_are_both_not_delivered() {
    let cut = |offsets: &[(i64, i64)], next: i64| {
        [batches(offsets), next.to_be_bytes().to_vec(), vec![0; 4]].concat()
    };
    for (records, next) in [
        (batches(&[(0, 5), (3, 8)]), None),
        (batches(&[(0, 5), (0, 5)]), None),
        (batches(&[(0, 5), (5, 9), (8, 10)]), Some(5)),
        (batches(&[(0, 5), (12, 15), (5, 9)]), Some(5)),
        // The second of the two is cut.
        (cut(&[(0, 5), (12, 15)], 8), Some(5)),
        (cut(&[(12, 15)], 5), None),
        // The first of the two is after the end of the range.
        (batches(&[(0, 5), (80, 85), (5, 9)]), Some(5)),
    ] {
        match (accepted((0, 50), response(records)), next) {
            (Accepted::Fetched { fetched, .. }, Some(next)) => {
                assert_eq!(fetched.next, Offset::new(next));
                assert_eq!(fetched.records.len(), 70);
            }
            (Accepted::Stop(Stop::Overlap { next_base, end, .. }), None) => {
                assert!(next_base < end)
            }
            (accepted, _) => panic!("{accepted:?}"),
        }
    }
}

#[test]
fn a_batch_that_ends_above_the_high_watermark_is_not_delivered() {
    for (position, high_watermark, next) in [(0, 10, Some(10)), (0, 9, Some(5)), (5, 9, None)] {
        let high_watermark = Offset::new(high_watermark);
        let records = batches(if position == 0 { &[(0, 5), (5, 10)] } else { &[(5, 10)] });
        let response = PartitionResponse { high_watermark, ..response(records) };
        match (accepted((position, 50), response), next) {
            (Accepted::Fetched { fetched, .. }, Some(next)) => {
                assert_eq!(fetched.next, Offset::new(next));
            }
            (Accepted::Stop(Stop::AboveHighWatermark { .. }), None) => {}
            (accepted, _) => panic!("{accepted:?}"),
        }
    }
}

#[test]
fn a_hole_below_the_log_start_is_a_trimmed_log() {
    let log_start = Offset::new(20);
    let trimmed = PartitionResponse { log_start, ..response(batches(&[(20, 25)])) };
    let accepted = accepted((3, 50), trimmed);
    let out_of_range = code::OFFSET_OUT_OF_RANGE;
    assert!(
        matches!(accepted, Accepted::Stop(Stop::Code { code, .. }) if code == out_of_range),
        "{accepted:?}"
    );
}

#[test]
fn codes_bad_headers_and_empty_responses_are_distinguished() {
    let refused = PartitionResponse { code: 6, ..response(batches(&[(0, 5)])) };
    assert!(matches!(accepted((0, 9), refused), Accepted::Stop(Stop::Code { code: 6, .. })));
    let mut old = batches(&[(0, 5)]);
    old[16] = 1;
    let old_format = accepted((0, 9), response(old));
    let is_old = |error: &HeaderError| matches!(error, HeaderError::OldFormat { magic: 1, .. });
    assert!(
        matches!(&old_format, Accepted::Stop(Stop::Header(error)) if is_old(error)),
        "{old_format:?}"
    );
    let below = accepted((5, 9), response(batches(&[(0, 5)])));
    for empty in [below, accepted((0, 9), response(Vec::new()))] {
        assert!(matches!(empty, Accepted::Empty), "{empty:?}");
    }
}

proptest! {
    #[test]
    fn a_log_with_holes_is_read_to_its_end_in_at_most_one_response_per_batch(
        log in prop::collection::vec((prop_oneof![Just(0i64), 0..9i64], 1..9i64, 0..90usize), 1..12),
        [from, until] in any::<[Index; 2]>(),
        sizes in prop::collection::vec(prop_oneof![Just(1usize), 1..900usize], 1..5),
    ) {
        let mut end = 0;
        let log: Vec<(i64, i64, usize)> = log.into_iter().map(|(hole, count, body)| {
            let base = end + hole;
            end = base + count;
            (base, end, body)
        }).collect();
        let all = usize::try_from(end).unwrap();
        let from = from.index(all);
        let until = i64::try_from(from + 1 + until.index(all - from)).unwrap();
        let mut position = i64::try_from(from).unwrap();
        let mut responses = 0;
        while position < until {
            // Whole batches up to a size (the first always), and the beginning of the next batch.
            let due = log.partition_point(|(_, end, _)| *end <= position);
            let whole = 61 + log[due].2;
            let mut records: Vec<u8> =
                log[due..].iter().flat_map(|(base, end, body)| batch(*base, *end, *body)).collect();
            records.truncate(sizes[responses % sizes.len()].max(whole));
            let high_watermark = Offset::new(end);
            let response = PartitionResponse { high_watermark, ..response(records) };
            let next = fetched(accepted((position, until), response)).next.get();
            prop_assert!(next > position);
            let is_end = next == until || log.iter().any(|(_, end, _)| *end == next);
            prop_assert!(is_end, "{} is not the end of a batch", next);
            position = next;
            responses += 1;
        }
        prop_assert!(responses <= log.len());
    }
}
