//! Tests of splitting: the cases of Spark's own tests, and properties of any input (INV-2).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::collections::BTreeMap;

use kafka_direct_core::{
    IsolationLevel, OffsetRange, PlannedRange, TopicId, TopicPartition, pieces_are_contiguous,
};
use kafka_direct_driver::{MAX_PLANNED_RANGES, split};
use proptest::prelude::*;

fn range(topic: &str, from: i64, until: i64) -> PlannedRange {
    let range = OffsetRange::new(TopicPartition::new(topic, 1), from, until).unwrap();
    PlannedRange::new(range, IsolationLevel::ReadCommitted)
}

/// Parses text such as `t1 1-5, 5-9; t2 1-2` into ranges of partition 1 of each topic.
fn ranges(text: &str) -> Vec<PlannedRange> {
    let mut out = Vec::new();
    for topic in text.split("; ").filter(|topic| !topic.is_empty()) {
        let (name, spans) = topic.split_once(' ').unwrap();
        for (from, until) in spans.split(", ").map(|span| span.split_once('-').unwrap()) {
            out.push(range(name, from.parse().unwrap(), until.parse().unwrap()));
        }
    }
    out
}

fn text(ranges: &[PlannedRange]) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for planned in ranges {
        let range = planned.range();
        let span = format!("{}-{}", range.from(), range.until());
        topics.entry(planned.topic_partition().topic()).or_default().push(span);
    }
    let line = |(topic, spans): (&str, Vec<String>)| format!("{topic} {}", spans.join(", "));
    topics.into_iter().map(line).collect::<Vec<_>>().join("; ")
}

#[track_caller]
fn check(min: Option<u64>, max: Option<u64>, input: &str, expected: &str) {
    let pieces = split(ranges(input), min, max);
    assert_eq!(text(&pieces), expected, "min {min:?}, max {max:?}, {input}");
    pieces_are_contiguous(&pieces).unwrap();
}

#[test]
fn cases_of_spark_split_as_in_spark() {
    check(None, None, "t1 1-2; t2 1-1", "t1 1-2");
    check(Some(3), None, "t1 1-2; t2 1-2; t3 1-2", "t1 1-2; t2 1-2; t3 1-2");
    check(Some(4), None, "t1 1-5", "t1 1-2, 2-3, 3-4, 4-5");
    check(Some(4), None, "t1 1-5; t2 1-21", "t1 1-5; t2 1-7, 7-14, 14-21");
    check(Some(4), None, "t1 1-1; t2 1-21", "t2 1-6, 6-11, 11-16, 16-21");
    check(Some(4), None, "t1 1-2; t2 1-1001", "t1 1-2; t2 1-334, 334-667, 667-1001");
    check(Some(3), None, "t1 1-11", "t1 1-4, 4-7, 7-11");
    check(
        Some(6),
        None,
        "t1 0-10; t2 0-10; t3 0-1",
        "t1 0-3, 3-6, 6-10; t2 0-3, 3-6, 6-10; t3 0-1",
    );
    check(
        Some(9),
        None,
        "t1 0-10000; t2 0-15000; t3 0-20000",
        "t1 0-5000, 5000-10000; t2 0-5000, 5000-10000, 10000-15000; t3 0-5000, 5000-10000, 10000-15000, 15000-20000",
    );
    check(
        Some(6),
        None,
        "t1 0-500; t2 0-12000; t3 0-15001",
        "t1 0-500; t2 0-6000, 6000-12000; t3 0-5000, 5000-10000, 10000-15001",
    );
    check(
        None,
        Some(20),
        "t1 1-40; t2 1-50; t3 1-60",
        "t1 1-20, 20-40; t2 1-17, 17-33, 33-50; t3 1-20, 20-40, 40-60",
    );
    check(Some(1), Some(20), "t1 1-40", "t1 1-20, 20-40");
    check(Some(4), Some(20), "t1 1-40", "t1 1-10, 10-20, 20-30, 30-40");
}

#[test]
fn a_piece_count_of_one_and_a_half_is_rounded_up() {
    // t1: 3 / 6 * 3 = 1.5
    check(Some(3), None, "t1 0-3; t2 0-3", "t1 0-1, 1-3; t2 0-1, 1-3");
}

#[test]
fn a_partition_with_a_small_piece_keeps_its_other_pieces_whole() {
    check(Some(6), None, "t1 0-1, 1-100; t2 0-100", "t1 0-1, 1-100; t2 0-33, 33-66, 66-100");
}

#[test]
fn pieces_are_numbered_from_zero_and_keep_topic_id_and_epoch_of_their_range() {
    let id = TopicId::from_bytes([1; 16]);
    let whole = range("t", 0, 10).with_topic_id(id).with_leader_epoch(Some(7));
    let pieces = split(vec![whole, range("u", 0, 30)], Some(8), Some(4));
    let numbers = |topic| {
        let of = pieces.iter().filter(|piece| piece.topic_partition().topic() == topic);
        of.map(PlannedRange::piece).collect::<Vec<_>>()
    };
    assert_eq!(numbers("t"), [0, 1, 2]);
    assert_eq!(numbers("u"), (0..8).collect::<Vec<_>>());
    for piece in &pieces[..3] {
        assert_eq!((piece.topic_id(), piece.leader_epoch()), (id, Some(7)));
    }
}

#[test]
fn pieces_of_both_stages_are_numbered_consecutively() {
    let pieces = split(vec![range("t", 0, 40)], Some(4), Some(20));
    assert_eq!(pieces.iter().map(PlannedRange::piece).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn extreme_limits_do_not_exhaust_memory() {
    let huge = || vec![range("a", 0, i64::MAX), range("b", 5, i64::MAX), range("c", 0, 3)];
    for (min, max) in [(None, Some(1)), (Some(u64::MAX), None), (Some(u64::MAX), Some(0))] {
        let pieces = split(huge(), min, max);
        let count = u64::try_from(pieces.len()).unwrap();
        assert!(count >= MAX_PLANNED_RANGES / 2, "{count} pieces for {min:?}, {max:?}");
        assert!(count <= MAX_PLANNED_RANGES + 3, "{count} pieces for {min:?}, {max:?}");
        pieces_are_contiguous(&pieces).unwrap();
    }
}

fn some_range() -> impl Strategy<Value = PlannedRange> {
    let offset = || {
        prop_oneof![
            6 => 0..200_i64,
            2 => 0..=i64::MAX,
            1 => Just(i64::MAX),
            1 => Just(i64::MAX - 1),
        ]
    };
    (0..4_i32, offset(), offset(), any::<Option<i32>>()).prop_map(|(partition, a, b, epoch)| {
        let tp = TopicPartition::new("t", partition);
        let range = OffsetRange::new(tp, a.min(b), a.max(b)).unwrap();
        PlannedRange::new(range, IsolationLevel::ReadUncommitted).with_leader_epoch(epoch)
    })
}

fn limit() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        1 => Just(None),
        6 => (0..400_u64).prop_map(Some),
    ]
}

/// Raises a limit in proportion to the largest span, because too many pieces make a case slow.
fn scaled(max: Option<u64>, input: &[PlannedRange]) -> Option<u64> {
    let largest = input.iter().map(|planned| planned.range().span()).max().unwrap_or(0);
    max.map(|max| max.max(u64::try_from(largest).unwrap() / 300))
}

proptest! {
    #[test]
    fn joined_pieces_are_equal_to_the_ranges(
        input in prop::collection::vec(some_range(), 0..12), min in limit(), max in limit(),
    ) {
        let max = scaled(max, &input);
        let pieces = split(input.clone(), min, max);
        let mut rest = pieces.iter().peekable();
        for whole in input.iter().filter(|whole| !whole.range().is_empty_span()) {
            let (range, mut position) = (whole.range(), whole.range().from());
            let mut number = 0;
            while position < range.until() {
                let piece = rest.next().unwrap();
                prop_assert_eq!(piece.topic_partition(), whole.topic_partition());
                prop_assert_eq!(piece.range().from(), position);
                prop_assert!(piece.range().until() <= range.until());
                prop_assert!(!piece.range().is_empty_span());
                prop_assert_eq!(piece.piece(), number);
                prop_assert_eq!(piece.leader_epoch(), whole.leader_epoch());
                prop_assert_eq!(piece.isolation(), whole.isolation());
                number += 1;
                position = piece.range().until();
            }
        }
        prop_assert!(rest.next().is_none());
    }

    #[test]
    fn no_piece_spans_more_than_its_limit(
        input in prop::collection::vec(some_range(), 0..12), min in limit(), max in 1..400_u64,
    ) {
        let max = scaled(Some(max), &input).unwrap();
        for piece in split(input, min, Some(max)) {
            prop_assert!(u64::try_from(piece.range().span()).unwrap() <= max);
        }
    }

    #[test]
    fn there_are_never_fewer_pieces_than_ranges_and_one_range_gives_exactly_the_minimum(
        input in prop::collection::vec(some_range(), 1..12), min in 1..400_u64,
    ) {
        let ranges = input.iter().filter(|whole| !whole.range().is_empty_span()).count();
        let pieces = split(input.clone(), Some(min), None).len();
        prop_assert!(pieces >= ranges);
        let largest = input.into_iter().max_by_key(|whole| whole.range().span()).unwrap();
        let span = u64::try_from(largest.range().span()).unwrap();
        let alone = split(vec![largest], Some(min), None).len();
        prop_assert_eq!(u64::try_from(alone).unwrap(), span.min(min));
    }

    #[test]
    fn pieces_of_one_cut_differ_by_at_most_one_offset(whole in some_range(), min in 1..400_u64) {
        let spans = split(vec![whole], Some(min), None);
        let spans: Vec<_> = spans.iter().map(|piece| piece.range().span()).collect();
        prop_assert!(spans.is_sorted());
        if let (Some(first), Some(last)) = (spans.first(), spans.last()) {
            prop_assert!(last - first <= 1);
        }
    }
}
