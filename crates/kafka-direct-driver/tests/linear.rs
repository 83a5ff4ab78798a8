//! Tests that planning takes memory in proportion to the number of partitions, for any selection.
//!
//! The guard of `benches/kernels` counts CPU work: it plans 1,000 and 10,000 partitions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::{sync::Arc, time::Duration};

use allocation_counter::{AllocationInfo, measure};
use kafka_direct_core::{DataLossPolicy, Offset, OffsetRange, TopicId, TopicPartition, Watermarks};
use kafka_direct_driver::{
    EndOffset, Lookup, Lookups, NoMatch, Observed, Pacing, PartitionState, Positions, Selection,
    StartOffset, Starts, StreamLimits, StreamSettings, lookups_needed, next_batch, plan,
    plan_ranges, resolve_starts,
};

/// Powers of two, since vectors and maps grow by doubling.
const FEW: i32 = 1 << 10;
const MANY: i32 = 1 << 14;
const TIMES: u64 = 16;

/// The states of `count` partitions, in another order than that of a plan.
fn states(count: i32) -> Vec<PartitionState> {
    let topics: [Arc<str>; 2] = ["orders".into(), "payments".into()];
    let state = |number: i32| {
        let topic = &topics[usize::from(number % 2 == 0)];
        PartitionState {
            topic_partition: TopicPartition::new(Arc::clone(topic), number / 2),
            topic_id: TopicId::from_bytes([5; 16]),
            leader_epoch: Some(4),
            watermarks: Watermarks {
                log_start: Offset::new(10),
                last_stable: Offset::new(1_000),
                high: Offset::new(1_000),
            },
        }
    };
    (0..count).rev().map(state).collect()
}

fn look_up(selection: &Selection, states: &[PartitionState]) -> Lookups {
    let mut lookups = Lookups::new();
    for lookup in lookups_needed(selection, states).unwrap() {
        let Lookup::Timestamp { topic_partition, millis } = lookup else { panic!("{lookup}") };
        lookups.insert_timestamp(topic_partition, millis, Some(Offset::new(500)));
    }
    lookups
}

#[track_caller]
fn assert_in_proportion(work: impl Fn(i32) -> AllocationInfo) {
    let (few, many) = (work(FEW), work(MANY));
    // A tenth more, for unused space in the nodes of trees.
    let most = |few: u64| few * TIMES * 11 / 10;
    assert!(many.bytes_total <= most(few.bytes_total), "{few:?} became {many:?}");
    assert!(many.bytes_max <= most(few.bytes_max), "{few:?} became {many:?}");
    assert!(many.count_total <= most(few.count_total), "{few:?} became {many:?}");
}

#[track_caller]
fn assert_plan_in_proportion(selection: impl Fn(i32) -> Selection) {
    assert_in_proportion(|count| {
        let (selection, states) = (selection(count), states(count));
        let lookups = look_up(&selection, &states);
        measure(|| drop(plan(&selection, None, states, &lookups).unwrap()))
    });
}

#[test]
fn a_plan_of_everything_takes_memory_in_proportion() {
    assert_plan_in_proportion(|_| Selection::new());
}

#[test]
fn a_split_plan_takes_memory_in_proportion() {
    assert_plan_in_proportion(|count| {
        Selection::new()
            .min_partitions(4 * u64::try_from(count).unwrap())
            .max_records_per_partition(300)
    });
}

#[test]
fn a_plan_by_partition_takes_memory_in_proportion() {
    assert_plan_in_proportion(|count| {
        let entry =
            |state: PartitionState| (state.topic_partition, StartOffset::At(Offset::new(20)));
        Selection::new().starts(Starts::per_partition(states(count).into_iter().map(entry)))
    });
}

#[test]
fn a_plan_by_time_takes_memory_in_proportion() {
    let start = StartOffset::Timestamp { millis: 7, no_match: NoMatch::Latest };
    let selection = || Selection::new().starts(start.clone()).ends(EndOffset::FromEnd(5));
    assert_plan_in_proportion(|_| selection());
    assert_in_proportion(|count| {
        let states = states(count);
        measure(|| drop(lookups_needed(&selection(), &states).unwrap()))
    });
}

#[test]
fn a_plan_full_of_resets_takes_memory_in_proportion() {
    let lost = StartOffset::At(Offset::new(1));
    assert_plan_in_proportion(|_| {
        Selection::new().starts(lost.clone()).on_data_loss(DataLossPolicy::Resume)
    });
}

#[test]
fn a_plan_of_ranges_takes_memory_in_proportion() {
    assert_in_proportion(|count| {
        let states = states(count);
        let ranges: Vec<OffsetRange> = states
            .iter()
            .map(|state| OffsetRange::new(state.topic_partition.clone(), 10, 20).unwrap())
            .collect();
        measure(|| drop(plan_ranges(ranges, &Selection::new(), None, states).unwrap()))
    });
}

#[test]
fn the_batches_of_a_stream_take_memory_in_proportion() {
    assert_in_proportion(|count| {
        let lost = Selection::new()
            .starts(StartOffset::At(Offset::new(1)))
            .on_data_loss(DataLossPolicy::Resume);
        let starts = resolve_starts(&lost, states(count), &Lookups::new()).unwrap();
        let settings = StreamSettings::new().on_data_loss(DataLossPolicy::Resume);
        let limits = StreamLimits::new().max_records_per_second_per_partition(7);
        let mut pacing = Pacing::new(limits, None).unwrap();
        let mut positions = Positions::new();
        let mut observed = Observed { starts, states: states(count), ..Observed::default() };
        measure(|| {
            // The first one starts every partition at a reset, and the others take nothing.
            for now in [Duration::ZERO; 3] {
                let batch =
                    next_batch(&settings, &positions, observed.clone(), None, &mut pacing, now);
                positions = batch.unwrap().positions;
                observed.starts = Default::default();
            }
        })
    });
}
