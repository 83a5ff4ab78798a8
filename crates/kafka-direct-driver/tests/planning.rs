//! Tests of the rules of planning: starts, ends, log bounds, lookups and invalid input.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use kafka_direct_core::{
    BatchPlan, DataLossPolicy, ErrorKind, IsolationLevel, Offset, ResetCause, TopicId,
    TopicPartition, Watermarks,
};
use kafka_direct_driver::{
    DriverError, EndOffset, Ends, Lookup, Lookups, MAX_PLANNED_RANGES, NoMatch, PartitionState,
    Selection, Side, StartOffset, Starts, lookups_needed, plan,
};

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn state(partition: i32, log_start: i64, last_stable: i64, high: i64) -> PartitionState {
    PartitionState {
        topic_partition: tp(partition),
        topic_id: TopicId::from_bytes([5; 16]),
        leader_epoch: Some(4),
        watermarks: Watermarks {
            log_start: Offset::new(log_start),
            last_stable: Offset::new(last_stable),
            high: Offset::new(high),
        },
    }
}

/// Partition 0: read_committed can read [10, 100), read_uncommitted [10, 120).
fn log() -> PartitionState {
    state(0, 10, 100, 120)
}

fn at(offset: i64) -> StartOffset {
    StartOffset::At(Offset::new(offset))
}

fn until(offset: i64) -> EndOffset {
    EndOffset::At(Offset::new(offset))
}

fn since(millis: i64) -> StartOffset {
    StartOffset::Timestamp { millis, no_match: NoMatch::Error }
}

fn group(fallback: StartOffset) -> StartOffset {
    StartOffset::GroupCommitted { group: "g".to_owned(), fallback: Box::new(fallback) }
}

fn resume() -> Selection {
    Selection::new().on_data_loss(DataLossPolicy::Resume)
}

fn run(selection: &Selection, lookups: &Lookups) -> Result<BatchPlan, DriverError> {
    plan(selection, None, vec![log()], lookups)
}

fn plan_of(state: PartitionState, selection: &Selection) -> BatchPlan {
    plan(selection, None, vec![state], &Lookups::new()).unwrap()
}

fn ranges(plan: &BatchPlan) -> Vec<(i64, i64)> {
    plan.ranges().iter().map(|p| (p.range().from().get(), p.range().until().get())).collect()
}

fn resets(plan: &BatchPlan) -> Vec<(i64, i64)> {
    plan.resets().iter().map(|reset| (reset.from.get(), reset.to.get())).collect()
}

#[track_caller]
fn reads(selection: &Selection, lookups: &Lookups, expected: &[(i64, i64)]) {
    assert_eq!(ranges(&run(selection, lookups).unwrap()), expected);
}

#[track_caller]
fn fails(selection: &Selection, lookups: &Lookups, kind: ErrorKind, words: &[&str]) {
    let error = run(selection, lookups).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
    }
}

fn timestamps(results: &[(i64, Option<i64>)]) -> Lookups {
    let mut lookups = Lookups::new();
    for (millis, offset) in results {
        lookups.insert_timestamp(tp(0), *millis, offset.map(Offset::new));
    }
    lookups
}

fn committed(offset: Option<i64>) -> Lookups {
    let mut lookups = Lookups::new();
    lookups.insert_committed("g", tp(0), offset.map(Offset::new));
    lookups
}

#[test]
fn the_default_reads_all_committed_records() {
    let plan = run(&Selection::new(), &Lookups::new()).unwrap();
    assert_eq!(ranges(&plan), [(10, 100)]);
    let range = &plan.ranges()[0];
    assert_eq!((range.topic_id(), range.leader_epoch()), (TopicId::from_bytes([5; 16]), Some(4)));
    assert_eq!(range.isolation(), IsolationLevel::ReadCommitted);
    assert_eq!(plan.partitions()[0].watermarks, log().watermarks);
}

#[test]
fn starts_and_ends_resolve_against_the_end_of_their_isolation_level() {
    let none = Lookups::new();
    for (isolation, end) in
        [(IsolationLevel::ReadCommitted, 100), (IsolationLevel::ReadUncommitted, 120)]
    {
        let base = || Selection::new().isolation(isolation);
        reads(&base(), &none, &[(10, end)]);
        reads(&base().starts(StartOffset::Latest), &none, &[]);
        reads(&base().starts(at(50)).ends(until(60)), &none, &[(50, 60)]);
        reads(&base().starts(StartOffset::FromEnd(5)), &none, &[(end - 5, end)]);
        reads(&base().starts(StartOffset::FromEnd(0)), &none, &[]);
        reads(&base().starts(StartOffset::FromEnd(i64::MAX)), &none, &[(10, end)]);
        reads(&base().ends(EndOffset::FromEnd(5)), &none, &[(10, end - 5)]);
        reads(&base().ends(EndOffset::FromEnd(i64::MAX)), &none, &[]);
        let found = timestamps(&[(7, Some(40)), (9, Some(119)), (11, None)]);
        reads(&base().starts(since(7)), &found, &[(40, end)]);
        reads(&base().ends(EndOffset::Timestamp { millis: 7 }), &found, &[(10, 40)]);
    }
    let uncommitted = || Selection::new().isolation(IsolationLevel::ReadUncommitted);
    let found = timestamps(&[(9, Some(119)), (11, None)]);
    reads(&uncommitted().ends(EndOffset::Timestamp { millis: 9 }), &found, &[(10, 119)]);
    reads(&uncommitted().ends(EndOffset::Timestamp { millis: 11 }), &found, &[(10, 120)]);
}

#[test]
fn an_explicit_end_that_open_transactions_withhold_is_unavailable_under_either_policy() {
    let found = timestamps(&[(7, Some(100)), (8, Some(101)), (9, Some(120)), (11, None)]);
    let words = ["t-0", "[100, 120)"];
    for base in [Selection::new, resume] {
        for end in [
            until(101),
            until(120),
            EndOffset::Timestamp { millis: 8 },
            EndOffset::Timestamp { millis: 9 },
            EndOffset::Timestamp { millis: 11 },
        ] {
            fails(&base().ends(end), &found, ErrorKind::Unavailable, &words);
        }
        reads(&base().ends(until(100)), &found, &[(10, 100)]);
        reads(&base().ends(EndOffset::Timestamp { millis: 7 }), &found, &[(10, 100)]);
        reads(&base().ends(EndOffset::Latest), &found, &[(10, 100)]);
        reads(&base().starts(since(7)), &found, &[]);
        fails(&base().starts(since(8)), &found, ErrorKind::Unavailable, &words);
    }
    for start in [at(101), at(110), StartOffset::After { offset: 105.into(), topic_id: None }] {
        for base in [Selection::new, resume] {
            fails(&base().starts(start.clone()), &found, ErrorKind::Unavailable, &words);
        }
    }
    // Under `resume` the end of the log stands for an end above it, and that is withheld.
    fails(&resume().ends(until(130)), &found, ErrorKind::Unavailable, &words);
    fails(&Selection::new().ends(until(130)), &found, ErrorKind::OffsetLost, &["end offset 130"]);
    // Without open transactions the same ends are reached.
    let settled = PartitionState {
        watermarks: Watermarks { last_stable: Offset::new(120), ..log().watermarks },
        ..log()
    };
    let planned = plan(&Selection::new().ends(until(120)), None, vec![settled], &found);
    assert_eq!(ranges(&planned.unwrap()), [(10, 120)]);
}

#[test]
fn an_offset_by_timestamp_outside_the_log_is_clamped() {
    let found = timestamps(&[(1, Some(3)), (2, Some(500))]);
    reads(&Selection::new().starts(since(1)), &found, &[(10, 100)]);
    let uncommitted = Selection::new().isolation(IsolationLevel::ReadUncommitted);
    reads(&uncommitted.starts(since(2)), &found, &[]);
}

#[test]
fn a_start_after_an_earlier_batch_needs_the_same_topic() {
    let none = Lookups::new();
    let after = |offset: i64, id: u8| StartOffset::After {
        offset: offset.into(),
        topic_id: TopicId::from_bytes([id; 16]),
    };
    reads(&Selection::new().starts(after(40, 5)), &none, &[(40, 100)]);
    reads(&Selection::new().starts(after(100, 5)), &none, &[]);
    let unknown = StartOffset::After { offset: 40.into(), topic_id: None };
    reads(&Selection::new().starts(unknown), &none, &[(40, 100)]);
    let trimmed = Selection::new().starts(after(3, 5));
    fails(&trimmed, &none, ErrorKind::OffsetLost, &["start offset 3"]);
    let other = Selection::new().starts(after(40, 6));
    fails(&other, &none, ErrorKind::OffsetLost, &["t-0", "re-created", "log start, offset 10"]);
    let plan = run(&resume().starts(after(40, 6)), &none).unwrap();
    assert_eq!(ranges(&plan), [(10, 100)]);
    let [reset] = plan.resets() else { panic!("{:?}", plan.resets()) };
    assert_eq!((reset.cause, reset.skipped()), (ResetCause::Recreated, 0));
    assert_eq!(reset.old_topic_id, TopicId::from_bytes([6; 16]));
    assert_eq!(reset.new_topic_id, TopicId::from_bytes([5; 16]));
    // Where the new topic has nothing yet the end may be below the old position.
    let empty = plan_of(state(0, 0, 0, 0), &resume().starts(after(40, 6)));
    assert_eq!(ranges(&empty), []);
    assert_eq!(empty.partitions()[0].until, Some(0.into()));
}

#[test]
fn a_start_after_every_timestamp_follows_its_policy() {
    let none = timestamps(&[(7, None)]);
    fails(&Selection::new().starts(since(7)), &none, ErrorKind::Invalid, &["t-0", "7 ms"]);
    let latest = StartOffset::Timestamp { millis: 7, no_match: NoMatch::Latest };
    // A later batch would read withheld records that are older than the start.
    let withheld = Selection::new().starts(latest.clone());
    fails(&withheld, &none, ErrorKind::Unavailable, &["[100, 120)"]);
    let uncommitted = Selection::new().isolation(IsolationLevel::ReadUncommitted);
    reads(&uncommitted.starts(latest.clone()), &none, &[]);
    reads(&Selection::new().starts(latest).ends(until(30)), &none, &[]);
    let kafkas_none = timestamps(&[(7, Some(-1))]);
    fails(&Selection::new().starts(since(7)), &kafkas_none, ErrorKind::Invalid, &["7 ms"]);
}

#[test]
fn a_group_without_committed_offset_starts_at_its_fallback_at_any_depth() {
    let selection = Selection::new().starts(group(at(20)));
    reads(&selection, &committed(Some(30)), &[(30, 100)]);
    reads(&selection, &committed(None), &[(20, 100)]);
    reads(&selection, &committed(Some(-1)), &[(20, 100)]);
    reads(&Selection::new().starts(group(group(at(20)))), &committed(None), &[(20, 100)]);
}

#[test]
fn a_committed_offset_after_the_end_leaves_nothing_to_read() {
    reads(&Selection::new().starts(group(at(10))).ends(until(20)), &committed(Some(30)), &[]);
}

#[test]
fn a_committed_offset_outside_the_log_follows_the_policy() {
    let fail = Selection::new().starts(group(at(20)));
    let words = ["t-0", "start offset 3", "[10, 100)"];
    fails(&fail, &committed(Some(3)), ErrorKind::OffsetLost, &words);
    fails(&fail, &committed(Some(101)), ErrorKind::Unavailable, &["the start is offset 101"]);
    fails(&fail, &committed(Some(121)), ErrorKind::OffsetLost, &["start offset 121"]);
    let resume = resume().starts(group(at(20)));
    let plan = run(&resume, &committed(Some(3))).unwrap();
    assert_eq!((ranges(&plan), resets(&plan)), (vec![(10, 100)], vec![(3, 10)]));
    fails(&resume, &committed(Some(130)), ErrorKind::Unavailable, &["[100, 120)"]);
    let uncommitted = resume.isolation(IsolationLevel::ReadUncommitted);
    let plan = run(&uncommitted, &committed(Some(130))).unwrap();
    assert_eq!((ranges(&plan), resets(&plan)), (vec![], vec![(120, 130)]));
}

#[test]
fn the_error_about_an_offset_outside_the_log_names_partition_and_bounds() {
    let none = Lookups::new();
    let lost = ErrorKind::OffsetLost;
    let both = ["last stable offset 100", "high watermark 120", "[10, 100)", "t-0"];
    for selection in [
        Selection::new().starts(at(9)),
        Selection::new().starts(at(121)),
        Selection::new().ends(until(9)),
    ] {
        fails(&selection, &none, lost, &both);
    }
    let words = ["start offset 5"];
    fails(&Selection::new().starts(at(5)).ends(until(130)), &none, lost, &words);
    let uncommitted = Selection::new().isolation(IsolationLevel::ReadUncommitted);
    reads(&uncommitted.clone().ends(until(101)), &none, &[(10, 101)]);
    let words = ["end offset 121", "[10, 120)"];
    fails(&uncommitted.ends(until(121)), &none, lost, &words);
    reads(&Selection::new().starts(at(10)).ends(until(100)), &none, &[(10, 100)]);
    reads(&Selection::new().starts(at(100)), &none, &[]);
}

#[test]
fn resume_clamps_and_records_what_is_missing() {
    type Spans = &'static [(i64, i64)];
    let cases: [(StartOffset, EndOffset, Spans, Spans); 4] = [
        (at(5), until(50), &[(10, 50)], &[(5, 10)]),
        (at(5), until(8), &[], &[(5, 8)]),
        (at(5), until(5), &[], &[(5, 10)]),
        (StartOffset::Earliest, until(3), &[], &[(3, 10)]),
    ];
    for (start, end, expected, missing) in cases {
        let case = format!("{start} to {end}");
        let plan = run(&resume().starts(start).ends(end), &Lookups::new()).unwrap();
        assert_eq!(ranges(&plan), expected, "{case}");
        assert_eq!(resets(&plan), missing, "{case}");
        for reset in plan.resets() {
            assert_eq!((reset.cause, reset.new_epoch), (ResetCause::Clamped, Some(4)));
            assert!(reset.skipped() > 0);
        }
    }
    let uncommitted = || resume().isolation(IsolationLevel::ReadUncommitted);
    let cases: [(StartOffset, EndOffset, Spans, Spans); 4] = [
        (at(50), until(130), &[(50, 120)], &[(120, 130)]),
        (at(125), until(130), &[], &[(125, 130)]),
        (at(130), EndOffset::Latest, &[], &[(120, 130)]),
        (at(0), until(i64::MAX), &[(10, 120)], &[(0, 10), (120, i64::MAX)]),
    ];
    for (start, end, expected, missing) in cases {
        let case = format!("{start} to {end}");
        let plan = run(&uncommitted().starts(start).ends(end), &Lookups::new()).unwrap();
        assert_eq!((&*ranges(&plan), &*resets(&plan)), (expected, missing), "{case}");
    }
}

#[test]
fn the_error_about_a_start_after_the_end_names_both() {
    let found = timestamps(&[(5, Some(30)), (8, Some(60))]);
    let invalid = ErrorKind::Invalid;
    for selection in [Selection::new(), resume()] {
        let check = |start: StartOffset, end: EndOffset, words: &[&str]| {
            fails(&selection.clone().starts(start).ends(end), &found, invalid, words);
        };
        check(at(50), until(40), &["t-0", "offset 50", "offset 40"]);
        check(at(9000), until(8000), &["t-0", "offset 9000", "offset 8000"]);
        check(at(50), EndOffset::Timestamp { millis: 5 }, &["t-0", "offset 50", "offset 30"]);
        check(since(8), until(40), &["timestamp 8 ms", "offset 60", "offset 40"]);
        check(StartOffset::Latest, until(40), &["latest", "offset 100", "offset 40"]);
        check(StartOffset::FromEnd(1), EndOffset::FromEnd(2), &["offset 99", "offset 98"]);
        check(since(8), EndOffset::Timestamp { millis: 5 }, &["offset 60", "offset 30"]);
    }
}

#[test]
fn timestamps_in_order_with_offsets_in_reverse_order_read_nothing() {
    let crossed = timestamps(&[(5, Some(60)), (8, Some(30))]);
    let selection = Selection::new().starts(since(5)).ends(EndOffset::Timestamp { millis: 8 });
    reads(&selection, &crossed, &[]);
}

#[test]
fn negative_numbers_are_refused_before_any_lookup() {
    // Kafka gives negative timestamps a special meaning.
    for selection in [
        Selection::new().starts(at(-1)),
        Selection::new().starts(StartOffset::FromEnd(-1)),
        Selection::new().starts(since(-1)),
        Selection::new().starts(group(since(-2))),
        Selection::new().ends(until(i64::MIN)),
        Selection::new().ends(EndOffset::FromEnd(i64::MIN)),
        Selection::new().ends(EndOffset::Timestamp { millis: -1 }),
    ] {
        for policy in [DataLossPolicy::Fail, DataLossPolicy::Resume] {
            let selection = selection.clone().on_data_loss(policy);
            let error = lookups_needed(&selection, &[log()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().starts_with("t-0: "), "{error}");
            assert_eq!(run(&selection, &committed(None)).unwrap_err(), error);
        }
    }
}

#[test]
fn a_negative_log_start_offset_is_refused() {
    let error = plan(&Selection::new(), None, vec![state(0, -1, -1, -1)], &Lookups::new());
    assert!(matches!(error, Err(DriverError::BadNumber { value: -1, .. })), "{error:?}");
}

#[test]
fn a_log_that_was_trimmed_between_the_requests_reads_nothing() {
    let plan = plan(&Selection::new(), None, vec![state(0, 50, 40, 45)], &Lookups::new()).unwrap();
    assert_eq!((plan.ranges().len(), plan.partitions().len()), (0, 1));
}

#[test]
fn maps_must_fit_the_selected_partitions() {
    let states = || (0..3).map(|partition| state(partition, 0, 10, 10)).collect::<Vec<_>>();
    let both = |selection: Selection| {
        let error = lookups_needed(&selection, &states()).unwrap_err();
        assert_eq!(plan(&selection, None, states(), &Lookups::new()).unwrap_err(), error);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error
    };
    let starts = Starts::per_partition([(tp(1), at(2))]);
    assert_eq!(
        both(Selection::new().starts(starts.clone())),
        DriverError::Uncovered { side: Side::Start, partitions: vec![tp(0), tp(2)] }
    );
    let ends = Ends::per_partition([(tp(1), until(2)), (tp(3), until(2))]);
    let error = both(Selection::new().ends(ends.with_default(EndOffset::Latest)));
    assert_eq!(error, DriverError::NotSelected { side: Side::End, partitions: vec![tp(3)] });
    assert!(error.to_string().contains("t-3"), "{error}");
    let error = both(Selection::new().starts(starts.clone()).partitions([0]));
    assert_eq!(error, DriverError::NotSelected { side: Side::Start, partitions: vec![tp(1)] });
    let error = both(Selection::new().partitions([7, 0, 9]));
    assert_eq!(error, DriverError::NoSuchIndex { indices: vec![7, 9] });

    let selection = Selection::new().starts(starts.clone().with_default(StartOffset::Latest));
    let plan_of = |selection| plan(&selection, None, states(), &Lookups::new()).unwrap();
    assert_eq!(ranges(&plan_of(selection)), [(2, 10)]);
    let plan = plan_of(Selection::new().starts(starts).partitions([1]));
    assert_eq!((ranges(&plan), plan.partitions().len()), (vec![(2, 10)], 1));
}

#[test]
fn a_partition_given_twice_is_refused() {
    let error = plan(&Selection::new(), None, vec![log(), log()], &Lookups::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn limits_out_of_range_are_refused() {
    let none = Lookups::new();
    for (selection, word) in [
        (Selection::new().min_partitions(0), "min_partitions 0"),
        (Selection::new().max_records_per_partition(0), "max_records_per_partition 0"),
        (Selection::new().min_partitions(MAX_PLANNED_RANGES + 1), "more than the 1000000"),
    ] {
        fails(&selection, &none, ErrorKind::Invalid, &[word]);
    }
    let huge = || vec![state(0, 0, i64::MAX, i64::MAX)];
    let selection = Selection::new().max_records_per_partition(1);
    let error = plan(&selection, None, huge(), &none).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(&MAX_PLANNED_RANGES.to_string()), "{error}");
}

#[test]
fn limits_split_the_plan() {
    let selection = Selection::new().min_partitions(2).max_records_per_partition(Some(30));
    reads(&selection, &Lookups::new(), &[(10, 40), (40, 70), (70, 100)]);
}

#[test]
fn lookups_are_those_that_the_plan_needs_including_fallbacks() {
    let starts = Starts::per_partition([(tp(0), group(since(5)))]).with_default(at(0));
    let selection = Selection::new().starts(starts).ends(EndOffset::Timestamp { millis: 8 });
    let states = vec![state(1, 0, 9, 9), state(0, 0, 9, 9)];
    let needed = lookups_needed(&selection, &states).unwrap();
    let by_time = |partition, millis| Lookup::Timestamp { topic_partition: tp(partition), millis };
    let by_group = Lookup::Committed { group: "g".to_owned(), topic_partition: tp(0) };
    assert_eq!(needed, BTreeSet::from([by_time(0, 5), by_time(0, 8), by_time(1, 8), by_group]));

    let mut lookups = Lookups::new();
    for lookup in needed {
        let error = plan(&selection, None, states.clone(), &lookups).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
        match lookup {
            Lookup::Timestamp { topic_partition, millis } => {
                lookups.insert_timestamp(topic_partition, millis, Some(Offset::new(millis)));
            }
            Lookup::Committed { group, topic_partition } => {
                lookups.insert_committed(group, topic_partition, None);
            }
        }
    }
    assert_eq!(ranges(&plan(&selection, None, states, &lookups).unwrap()), [(5, 8), (0, 8)]);
}

#[test]
fn plain_offsets_need_no_lookup() {
    assert!(lookups_needed(&Selection::new(), &[log()]).unwrap().is_empty());
}

#[test]
fn errors_name_a_few_partitions_and_count_the_rest() {
    let states = (0..100).map(|partition| state(partition, 0, 1, 1)).collect();
    let selection = Selection::new().starts(BTreeMap::<_, StartOffset>::new());
    let error = plan(&selection, None, states, &Lookups::new()).unwrap_err().to_string();
    assert!(error.contains("t-0, t-1, t-2, t-3, t-4 and 95 more"), "{error}");
}
