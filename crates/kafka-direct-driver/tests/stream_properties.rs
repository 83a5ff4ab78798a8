//! Properties of successive micro-batches, over any growth, limits and resets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::{collections::BTreeMap, time::Duration};

use kafka_direct_core::{
    DataLossPolicy, Offset, Reset, ResetCause, TopicId, TopicPartition, Watermarks,
    pieces_are_contiguous,
};
use kafka_direct_driver::{
    Backpressure, CompletedBatch, Lookups, NextBatch, Observed, Pacing, PartitionState, Positions,
    Selection, StartOffset, StreamLimits, StreamSettings, needs_start, next_batch, resolve_starts,
};
use proptest::prelude::*;

/// What happens to one partition of the cluster between two batches.
#[derive(Debug, Clone, Copy)]
enum Event {
    Append(i64),
    /// An open transaction withholds this many of the last offsets.
    Withhold(i64),
    Trim(i64),
    Truncate(i64),
    Recreate,
    Hide,
    LoseLeader,
    AddPartition,
    EndEarly(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..200_i64).prop_map(Event::Append),
        1 => (0..10_000_000_i64).prop_map(Event::Append),
        2 => (0..20_i64).prop_map(Event::Withhold),
        1 => (1..100_i64).prop_map(Event::Trim),
        1 => (1..100_i64).prop_map(Event::Truncate),
        1 => Just(Event::Recreate),
        1 => Just(Event::Hide),
        1 => Just(Event::LoseLeader),
        1 => Just(Event::AddPartition),
        1 => (1..20_i64).prop_map(Event::EndEarly),
    ]
}

fn limits() -> impl Strategy<Value = StreamLimits> {
    let limit = || prop::option::of(prop_oneof![1..300_u64, any::<u64>().prop_map(|n| n.max(1))]);
    (limit(), limit(), prop::option::of(1..5000_u32), any::<bool>(), limit(), 1..6_u64).prop_map(
        |(batch, rate, initial, learns, range, ranges)| {
            let initial = initial.map(f64::from);
            let backpressure = Backpressure::pid().initial_rate(initial);
            StreamLimits::new()
                .max_records_per_batch(batch)
                .max_records_per_second_per_partition(rate)
                .max_records_per_partition(range.map(|range| range.max(1000)))
                .min_partitions(ranges)
                .backpressure((learns || initial.is_some()).then_some(backpressure))
        },
    )
}

struct Cluster {
    states: BTreeMap<TopicPartition, PartitionState>,
    next_id: u8,
    hidden: Option<TopicPartition>,
    leaderless: Option<TopicPartition>,
}

impl Cluster {
    fn new(partitions: i32) -> Self {
        let (hidden, leaderless) = (None, None);
        let mut cluster = Self { states: BTreeMap::new(), next_id: 1, hidden, leaderless };
        (0..partitions).for_each(|partition| cluster.add(partition));
        cluster
    }

    fn add(&mut self, partition: i32) {
        let zero = Offset::ZERO;
        let state = PartitionState {
            topic_partition: TopicPartition::new(
                if partition % 2 == 0 { "a" } else { "b" },
                partition,
            ),
            topic_id: TopicId::from_bytes([self.next_id; 16]),
            leader_epoch: Some(0),
            watermarks: Watermarks { log_start: zero, last_stable: zero, high: zero },
        };
        self.states.insert(state.topic_partition.clone(), state);
    }

    fn apply(&mut self, event: Event, index: prop::sample::Index) {
        (self.hidden, self.leaderless) = (None, None);
        let keys: Vec<_> = self.states.keys().cloned().collect();
        let tp = index.get(&keys);
        let state = self.states.get_mut(tp).unwrap();
        let Watermarks { log_start, last_stable, high } = &mut state.watermarks;
        match event {
            Event::Append(offsets) => {
                *high = high.saturating_add(offsets);
                *last_stable = *high;
            }
            // Never below what was stable before.
            Event::Withhold(offsets) => *high = high.saturating_add(offsets),
            Event::Trim(offsets) => {
                *log_start = log_start.saturating_add(offsets).min(*high);
                *last_stable = (*last_stable).max(*log_start);
            }
            Event::Truncate(offsets) => {
                *high = high.saturating_add(-offsets).max(*log_start);
                *last_stable = (*last_stable).min(*high);
            }
            Event::Recreate => {
                self.next_id = self.next_id.wrapping_add(1).max(1);
                state.topic_id = TopicId::from_bytes([self.next_id; 16]);
                (*log_start, *last_stable, *high) = (Offset::ZERO, Offset::new(5), Offset::new(5));
            }
            Event::Hide => self.hidden = Some(tp.clone()),
            Event::LoseLeader => self.leaderless = Some(tp.clone()),
            Event::AddPartition if keys.len() < 8 => self.add(i32::try_from(keys.len()).unwrap()),
            Event::AddPartition | Event::EndEarly(_) => {}
        }
    }

    fn observe(&self, positions: &Positions) -> Observed {
        let is_out = |tp: &TopicPartition| {
            self.hidden.as_ref() == Some(tp) || self.leaderless.as_ref() == Some(tp)
        };
        let states: Vec<_> =
            self.states.values().filter(|s| !is_out(&s.topic_partition)).cloned().collect();
        let new = needs_start(positions, &states).into_iter().cloned().collect();
        let selection = Selection::new().starts(StartOffset::Earliest);
        let starts = resolve_starts(&selection, new, &Lookups::new()).unwrap();
        let leaderless = self.leaderless.iter().cloned().collect();
        Observed { states, leaderless, starts, ..Observed::default() }
    }
}

/// Where the next range of a partition must start: at the position, unless a reset moved it.
fn expected_start(position: Offset, resets: &[&Reset]) -> Offset {
    resets.iter().fold(position, |_, reset| match reset.cause {
        ResetCause::Truncated => reset.from,
        _ => reset.to,
    })
}

fn check_batch(
    before: &Positions,
    batch: &NextBatch,
    cluster: &Cluster,
) -> Result<(), TestCaseError> {
    prop_assert!(pieces_are_contiguous(batch.plan.ranges()).is_ok());
    for (tp, position) in batch.positions.iter() {
        let of = |reset: &&Reset| &reset.topic_partition == tp;
        let resets: Vec<_> = batch.plan.resets().iter().filter(of).collect();
        let state = cluster.states.get(tp).unwrap();
        let start = match before.get(tp) {
            Some(before) => expected_start(before.offset, &resets),
            None => state.watermarks.log_start,
        };
        let mut at = start;
        for planned in batch.plan.ranges().iter().filter(|r| r.topic_partition() == tp) {
            prop_assert_eq!(planned.range().from(), at, "gap or overlap in {}", tp);
            prop_assert!(planned.range().until() <= state.watermarks.last_stable);
            prop_assert_eq!(planned.topic_id(), state.topic_id);
            at = planned.range().until();
        }
        prop_assert_eq!(position.offset, at, "position of {}", tp);
    }
    // A position never disappears.
    prop_assert!(before.iter().all(|(tp, _)| batch.positions.get(tp).is_some()));
    let is_same = batch.positions == *before && batch.plan.resets().is_empty();
    prop_assert!(batch.must_be_stored || batch.plan.ranges().is_empty());
    prop_assert!(batch.must_be_stored || is_same);
    prop_assert_eq!(batch.wait.is_some(), batch.plan.ranges().is_empty());
    Ok(())
}

fn complete(pacing: &mut Pacing, now: Duration, batch: &NextBatch) {
    pacing.batch_completed(&CompletedBatch {
        completed_at: now,
        span: batch.plan.span().unsigned_abs(),
        processing: Duration::from_millis(7),
        scheduling_delay: Duration::from_millis(2),
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn ranges_of_successive_batches_have_no_gap_and_no_overlap_except_at_a_reset(
        limits in limits(),
        partitions in 1..6_i32,
        events in prop::collection::vec((event(), any::<prop::sample::Index>(), 0..2000_u64), 200),
    ) {
        let mut cluster = Cluster::new(partitions);
        let mut pacing = Pacing::new(limits.clone(), None).unwrap();
        let settings = StreamSettings::new().on_data_loss(DataLossPolicy::Resume);
        let (mut positions, mut now) = (Positions::new(), Duration::ZERO);
        for (event, index, millis) in events {
            cluster.apply(event, index);
            now += Duration::from_millis(millis);
            let observed = cluster.observe(&positions);
            let mut other = pacing.clone();
            let batch =
                next_batch(&settings, &positions, observed.clone(), None, &mut pacing, now);
            let mut reversed = observed;
            reversed.states.reverse();
            let again = next_batch(&settings, &positions, reversed, None, &mut other, now);
            prop_assert_eq!(&batch, &again, "a plan depends on the order of partitions");
            prop_assert_eq!(&pacing, &other);
            // The limit of a range may need too many ranges.
            let Ok(batch) = batch else { continue };
            check_batch(&positions, &batch, &cluster)?;
            if let Some(limit) = limits.max_records_per_batch {
                let span = u128::from(batch.plan.span().unsigned_abs());
                prop_assert!(span <= u128::from(limit) + batch.plan.partitions().len() as u128);
            }
            complete(&mut pacing, now, &batch);
            positions = serde_json::from_str(&serde_json::to_string(&batch.positions).unwrap())
                .unwrap();
            // A range ends before its planned end.
            if let (Event::EndEarly(offsets), Some(last)) = (event, batch.plan.ranges().last()) {
                let range = last.range();
                let end = range.until().saturating_add(-offsets).max(range.from());
                positions.set_achieved_end(range.topic_partition(), end).unwrap();
            }
        }
    }

    #[test]
    fn every_partition_with_lag_makes_progress_within_two_seconds(
        limits in limits(),
        lags in prop::collection::vec(
            prop_oneof![Just(0), 1..100_i64, 1..10_000_000_000_i64], 1..20,
        ),
        step in 1..100_u64,
    ) {
        // Without a limit of ranges, which may need too many of them.
        let mut pacing = Pacing::new(limits.max_records_per_partition(None), None).unwrap();
        let mut cluster = Cluster::new(i32::try_from(lags.len()).unwrap());
        for (state, lag) in cluster.states.values_mut().zip(&lags) {
            state.watermarks.high = Offset::new(*lag);
            state.watermarks.last_stable = Offset::new(*lag);
        }
        let settings = StreamSettings::new();
        let (mut positions, mut now) = (Positions::new(), Duration::ZERO);
        while now < Duration::from_secs(2) {
            let observed = cluster.observe(&positions);
            let batch =
                next_batch(&settings, &positions, observed, None, &mut pacing, now).unwrap();
            complete(&mut pacing, now, &batch);
            positions = batch.positions;
            now += Duration::from_millis(step);
        }
        for ((_, position), state) in positions.iter().zip(cluster.states.values()) {
            let has_lag = state.watermarks.high > Offset::ZERO;
            prop_assert_eq!(position.offset > Offset::ZERO, has_lag, "{:?}", state);
        }
    }

    #[test]
    fn the_rate_of_a_partition_is_exceeded_by_at_most_one_second_of_it(
        rate in 1..5000_u64,
        steps in prop::collection::vec(0..3000_u64, 1..100),
    ) {
        let limits = StreamLimits::new()
            .max_records_per_batch(None)
            .max_records_per_second_per_partition(rate);
        let mut pacing = Pacing::new(limits, None).unwrap();
        let mut cluster = Cluster::new(2);
        for state in cluster.states.values_mut() {
            state.watermarks.high = Offset::new(1_000_000_000);
            state.watermarks.last_stable = state.watermarks.high;
        }
        let settings = StreamSettings::new();
        let (mut positions, mut now) = (Positions::new(), Duration::ZERO);
        for millis in steps {
            now += Duration::from_millis(millis);
            let observed = cluster.observe(&positions);
            let batch =
                next_batch(&settings, &positions, observed, None, &mut pacing, now).unwrap();
            let largest = batch.plan.ranges().iter().map(|r| r.range().span()).max();
            prop_assert!(largest.unwrap_or(0).unsigned_abs() <= rate);
            positions = batch.positions;
            let most = (now.as_secs_f64() + 1.0) * rate as f64 + 1.0;
            prop_assert!(positions.iter().all(|(_, p)| p.offset.get() as f64 <= most));
        }
    }
}
