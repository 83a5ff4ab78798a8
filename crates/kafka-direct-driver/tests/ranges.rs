//! Plans of explicit ranges: order, overlap, splitting, the data-loss policy.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use kafka_direct_core::{
    BatchPlan, DataLossPolicy, ErrorKind, IsolationLevel, Offset, OffsetRange, TopicId,
    TopicPartition, Watermarks,
};
use kafka_direct_driver::{DriverError, PartitionState, Selection, Side, plan_ranges};

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

fn resume() -> Selection {
    Selection::new().on_data_loss(DataLossPolicy::Resume)
}

fn ranges(plan: &BatchPlan) -> Vec<(i64, i64)> {
    plan.ranges().iter().map(|p| (p.range().from().get(), p.range().until().get())).collect()
}

fn resets(plan: &BatchPlan) -> Vec<(i64, i64)> {
    plan.resets().iter().map(|reset| (reset.from.get(), reset.to.get())).collect()
}

fn explicit(spans: &[(i32, i64, i64)]) -> Vec<OffsetRange> {
    let range = |(partition, from, until): &(i32, i64, i64)| {
        OffsetRange::new(tp(*partition), *from, *until).unwrap()
    };
    spans.iter().map(range).collect()
}

fn run_ranges(spans: &[(i32, i64, i64)], selection: &Selection) -> Result<BatchPlan, DriverError> {
    let states = vec![state(1, 0, 50, 50), log()];
    plan_ranges(explicit(spans), selection, Some("c".to_owned()), states)
}

#[test]
fn each_explicit_range_is_one_partition_of_the_batch() {
    let spans = [(1, 0, 5), (0, 40, 60), (0, 10, 20), (0, 20, 30), (1, 7, 7)];
    let plan = run_ranges(&spans, &Selection::new()).unwrap();
    assert_eq!(ranges(&plan), [(10, 20), (20, 30), (40, 60), (0, 5)]);
    assert!(plan.ranges().iter().all(|range| range.piece() == 0));
    assert!(plan.ranges().iter().all(|range| range.leader_epoch() == Some(4)));
    assert_eq!((plan.cluster(), plan.partitions().len()), (Some("c"), 2));
}

#[test]
fn explicit_ranges_are_split_separately() {
    let selection = Selection::new().max_records_per_partition(10);
    let plan = run_ranges(&[(0, 10, 20), (0, 30, 50)], &selection).unwrap();
    assert_eq!(ranges(&plan), [(10, 20), (30, 40), (40, 50)]);
    assert_eq!(plan.ranges().iter().map(|range| range.piece()).collect::<Vec<_>>(), [0, 0, 1]);
}

#[test]
fn explicit_ranges_that_overlap_are_refused() {
    for spans in [
        [(0, 10, 20), (0, 19, 30)],
        [(0, 10, 20), (0, 10, 20)],
        [(0, 10, 50), (0, 20, 30)],
        [(0, 20, 30), (0, 10, 50)],
    ] {
        let error = run_ranges(&spans, &Selection::new()).unwrap_err();
        assert!(matches!(error, DriverError::Overlap { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    // An empty range between two others neither hides an overlap nor counts as one.
    let error = run_ranges(&[(0, 10, 50), (0, 15, 15), (0, 20, 30)], &Selection::new());
    assert!(matches!(error, Err(DriverError::Overlap { .. })), "{error:?}");
    assert!(run_ranges(&[(0, 10, 50), (0, 15, 15)], &Selection::new()).is_ok());
}

#[test]
fn explicit_ranges_follow_the_data_loss_policy() {
    let spans = [(0, 0, 5), (0, 5, 20), (0, 90, 110), (0, 110, 112)];
    let error = run_ranges(&spans, &Selection::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost);
    let uncommitted = resume().isolation(IsolationLevel::ReadUncommitted);
    let spans = [(0, 0, 5), (0, 5, 20), (0, 110, 130), (0, 130, 132)];
    let plan = run_ranges(&spans, &uncommitted).unwrap();
    assert_eq!(ranges(&plan), [(10, 20), (110, 120)]);
    assert_eq!(resets(&plan), [(0, 5), (5, 10), (120, 130), (130, 132)]);
    for selection in [Selection::new(), resume()] {
        let withheld = run_ranges(&[(0, 90, 110)], &selection).unwrap_err();
        assert!(matches!(withheld, DriverError::Withheld { .. }), "{withheld}");
    }
}

#[test]
fn explicit_ranges_of_unknown_partitions_are_refused_and_named() {
    let error = run_ranges(&[(9, 0, 1), (0, 10, 20), (8, 0, 1), (8, 1, 2)], &Selection::new());
    let unknown = vec![tp(8), tp(9)];
    assert_eq!(error, Err(DriverError::NotSelected { side: Side::Range, partitions: unknown }));
}

#[test]
fn the_planned_end_of_a_partition_is_that_of_its_last_range() {
    let states = vec![state(2, 0, 50, 50), log(), state(1, 0, 50, 50)];
    let spans = explicit(&[(0, 10, 20), (0, 40, 60), (2, 0, 5)]);
    let plan = plan_ranges(spans, &Selection::new(), None, states).unwrap();
    let ends: Vec<_> = plan.partitions().iter().map(|planned| planned.until).collect();
    assert_eq!(ends, [Some(60.into()), None, Some(5.into())]);
}
