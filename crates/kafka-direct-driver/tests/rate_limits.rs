//! Tests of the limits of a micro-batch: the checks of Spark's own tests, and rates over many batches.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::time::Duration;

use kafka_direct_core::{ErrorKind, Offset, TopicPartition, Watermarks};
use kafka_direct_driver::{
    Backpressure, CompletedBatch, DriverError, LearntRate, NextBatch, Observed, Pacing,
    PartitionState, Position, Positions, StreamLimits, StreamSettings, TargetEnds, WaitReason,
    next_batch,
};

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// A stream over the partitions of one topic, all of which begin at offset 0.
struct Stream {
    positions: Positions,
    ends: Vec<i64>,
    pacing: Pacing,
}

impl Stream {
    fn new(limits: StreamLimits, ends: &[i64]) -> Self {
        Self::restarted(limits, ends, None)
    }

    fn restarted(limits: StreamLimits, ends: &[i64], learnt: Option<LearntRate>) -> Self {
        let mut positions = Positions::new();
        for partition in 0..i32::try_from(ends.len()).unwrap() {
            let position = Position { offset: Offset::ZERO, topic_id: None, leader_epoch: None };
            positions.insert(tp(partition), position).unwrap();
        }
        Self { positions, ends: ends.to_vec(), pacing: Pacing::new(limits, learnt).unwrap() }
    }

    fn states(&self) -> Vec<PartitionState> {
        let state = |(partition, end): (usize, &i64)| {
            let end = Offset::new(*end);
            PartitionState {
                topic_partition: tp(i32::try_from(partition).unwrap()),
                topic_id: None,
                leader_epoch: None,
                watermarks: Watermarks { log_start: Offset::ZERO, last_stable: end, high: end },
            }
        };
        self.ends.iter().enumerate().map(state).collect()
    }

    fn plan(&mut self, now: Duration, targets: Option<&mut TargetEnds>) -> NextBatch {
        let observed = Observed { states: self.states(), ..Observed::default() };
        let settings = StreamSettings::new();
        let (positions, pacing) = (&self.positions, &mut self.pacing);
        next_batch(&settings, positions, observed, targets, pacing, now).unwrap()
    }

    /// Runs a batch and returns its span by partition.
    fn spans(&mut self, now: Duration) -> Vec<i64> {
        let batch = self.plan(now, None);
        let offset = |positions: &Positions, partition| {
            let partition = i32::try_from(partition).unwrap();
            positions.get(&tp(partition)).unwrap().offset.get()
        };
        let span =
            |partition| offset(&batch.positions, partition) - offset(&self.positions, partition);
        let spans = (0..self.ends.len()).map(span).collect();
        self.positions = batch.positions;
        spans
    }
}

#[test]
fn the_limit_of_a_batch_is_shared_by_lag_over_successive_batches() {
    let mut stream = Stream::new(StreamLimits::new().max_records_per_batch(10), &[101, 11, 1]);
    for expected in [[8, 1, 1], [9, 1, 0], [9, 1, 0], [9, 1, 0]] {
        assert_eq!(stream.spans(Duration::ZERO), expected);
    }
}

#[test]
fn the_largest_limit_does_not_overflow() {
    let limits = StreamLimits::new().max_records_per_batch(i64::MAX.unsigned_abs());
    assert_eq!(Stream::new(limits, &[101, 11, 1]).spans(Duration::ZERO), [101, 11, 1]);
    for limit in [i64::MAX.unsigned_abs(), u64::MAX] {
        let limits = StreamLimits::new()
            .max_records_per_batch(limit)
            .max_records_per_second_per_partition(u64::MAX)
            .min_records_per_partition(u64::MAX)
            .batch_interval(Duration::MAX)
            .backpressure(Backpressure::pid().initial_rate(f64::MAX));
        let spans = Stream::new(limits, &[i64::MAX, i64::MAX, 5]).spans(Duration::MAX);
        assert!(spans.iter().all(|span| *span > 0), "{spans:?}");
    }
}

#[test]
fn a_batch_takes_a_million_offsets_by_default() {
    let mut stream = Stream::new(StreamLimits::new(), &[5_000_000, 5_000_000]);
    assert_eq!(stream.spans(Duration::ZERO), [500_000, 500_000]);
}

#[test]
fn without_backpressure_only_the_partitions_own_rate_counts() {
    let limits =
        StreamLimits::new().max_records_per_second_per_partition(100).batch_interval(millis(100));
    assert_eq!(Stream::new(limits, &[50, 50]).spans(Duration::ZERO), [10, 10]);
}

#[test]
fn the_initial_rate_applies_until_a_rate_is_estimated() {
    let limits = StreamLimits::new()
        .max_records_per_second_per_partition(1000)
        .batch_interval(millis(500))
        .backpressure(Backpressure::pid().initial_rate(500.0));
    assert_eq!(Stream::new(limits, &[1000]).spans(Duration::ZERO), [250]);
}

#[test]
fn the_minimum_per_partition_applies_only_to_partitions_with_lag() {
    let limits = StreamLimits::new()
        .max_records_per_second_per_partition(100)
        .min_records_per_partition(5)
        .batch_interval(Duration::from_secs(60))
        .backpressure(Backpressure::pid().initial_rate(1.0));
    let spans = Stream::new(limits.clone(), &[0, 100, 200, 300]).spans(Duration::ZERO);
    assert_eq!(spans, [0, 10, 20, 30]);
    // The share of the first, 60 * 1 / 601, is below the minimum.
    assert_eq!(Stream::new(limits, &[10, 591]).spans(Duration::ZERO), [5, 59]);
}

#[test]
fn the_rate_of_a_partition_takes_precedence_over_the_minimum() {
    let limits = StreamLimits::new()
        .max_records_per_second_per_partition(2)
        .min_records_per_partition(5)
        .backpressure(Backpressure::pid().initial_rate(1.0));
    assert_eq!(Stream::new(limits, &[100]).spans(Duration::ZERO), [2]);
}

#[test]
fn without_an_initial_rate_the_first_batches_are_limited_too() {
    let limits = StreamLimits::new().max_records_per_batch(None).backpressure(Backpressure::pid());
    let mut stream = Stream::new(limits.clone(), &[1_000_000, 50]);
    assert_eq!(stream.spans(millis(0)), [100_000, 50]);
    let complete = |stream: &mut Stream, at| {
        stream.pacing.batch_completed(&CompletedBatch {
            completed_at: millis(at),
            span: 100_050,
            processing: millis(1000),
            scheduling_delay: Duration::ZERO,
        })
    };
    assert_eq!(complete(&mut stream, 1000), None);
    assert_eq!(stream.spans(millis(1000)), [100_000, 0]);
    assert_eq!(complete(&mut stream, 2000), Some(100_050.0));
    assert_eq!(stream.spans(millis(2000)), [100_050, 0]);
    // A restarted stream uses the learnt rate in its first batch.
    let learnt = stream.pacing.learnt();
    assert!(learnt.is_some());
    let mut stream = Stream::restarted(limits.clone(), &[1_000_000], learnt);
    assert_eq!(stream.spans(millis(0)), [100_050]);
    // The learnt rate replaces the initial one.
    let limits = limits.backpressure(Backpressure::pid().initial_rate(7.0));
    let mut stream = Stream::restarted(limits, &[1_000_000], learnt);
    assert_eq!(stream.spans(millis(0)), [100_050]);
}

/// The offsets that a stream takes in `batches` batches of 15 ms, and in its largest batch.
fn run(stream: &mut Stream, batches: u64) -> (i64, i64) {
    let spans = (0..batches).map(|i| stream.spans(millis(15 * i)).iter().sum::<i64>());
    spans.fold((0, 0), |(sum, largest), span| (sum + span, largest.max(span)))
}

#[test]
fn a_low_rate_is_kept_over_many_short_batches() {
    let limits = StreamLimits::new().max_records_per_second_per_partition(10);
    let mut stream = Stream::new(limits, &[100_000]);
    // 60 s, and the 10 tokens of a new bucket.
    let (sum, _) = run(&mut stream, 4000);
    assert!((609..=610).contains(&sum), "{sum}");
}

#[test]
fn an_idle_partition_does_not_collect_more_than_one_second() {
    let limits = StreamLimits::new().max_records_per_second_per_partition(10);
    let mut stream = Stream::new(limits, &[1]);
    assert_eq!(stream.spans(millis(0)), [1]);
    stream.ends = vec![1000];
    assert_eq!(stream.spans(millis(60_000)), [10]);
    assert_eq!(stream.spans(millis(60_050)), [0]);
    assert_eq!(stream.spans(millis(60_100)), [1]);
    // A clock that goes backwards fills nothing, and does not block the stream.
    assert_eq!(stream.spans(millis(0)), [0]);
    assert_eq!(stream.spans(millis(100)), [1]);
}

#[test]
fn an_idle_partition_keeps_its_rate_when_data_comes_in_bits() {
    let limits = StreamLimits::new().max_records_per_second_per_partition(10);
    let mut stream = Stream::new(limits, &[0]);
    let mut sum = 0;
    for i in 0..4000 {
        // 33 records a second, so that the partition is often idle at first.
        stream.ends = vec![i / 2];
        sum += stream.spans(millis(15 * u64::try_from(i).unwrap())).first().unwrap();
    }
    assert!((600..=610).contains(&sum), "{sum}");
}

#[test]
fn a_long_interval_is_not_cut_to_one_second() {
    let limits = StreamLimits::new()
        .max_records_per_second_per_partition(10)
        .batch_interval(Duration::from_secs(60));
    let mut stream = Stream::new(limits, &[100_000]);
    for minute in 0..3 {
        assert_eq!(stream.spans(Duration::from_secs(60 * minute)), [600]);
    }
}

#[test]
fn the_rate_of_a_stream_is_kept_over_many_short_batches_of_many_partitions() {
    let limits = StreamLimits::new()
        .min_records_per_partition(0)
        .backpressure(Backpressure::pid().initial_rate(10.0));
    let mut stream = Stream::new(limits, &[100_000; 100]);
    let (sum, _) = run(&mut stream, 4000);
    assert!((500..=710).contains(&sum), "{sum}");
    assert!(stream.positions.iter().all(|(_, position)| position.offset > Offset::new(3)));
}

#[test]
fn a_batch_without_a_token_reports_when_there_is_one() {
    let limits = StreamLimits::new().max_records_per_second_per_partition(4);
    let mut stream = Stream::new(limits, &[100, 0]);
    assert_eq!(stream.spans(millis(0)), [4, 0]);
    let batch = stream.plan(millis(100), None);
    assert_eq!(batch.wait, Some(WaitReason::RateLimited { wait: millis(150) }));
    assert!(!batch.must_be_stored && batch.plan.ranges().is_empty());
    assert_eq!(batch.backlog, 96);
    assert_eq!(stream.spans(millis(250)), [1, 0]);
}

#[test]
fn a_small_batch_waits_and_the_available_data_does_not() {
    let limits = StreamLimits::new().min_records_per_batch(10).max_delay(millis(1000));
    let mut stream = Stream::new(limits, &[1, 1]);
    assert_eq!(stream.spans(millis(0)), [1, 1]);
    stream.ends = vec![6, 4];
    let batch = stream.plan(millis(400), None);
    assert_eq!(batch.wait, Some(WaitReason::BelowMinimum { max_wait: millis(600) }));
    assert_eq!((batch.backlog, batch.must_be_stored), (8, false));
    let mut targets = TargetEnds::snapshot(&stream.states(), StreamSettings::new().isolation);
    let mut now = Stream { positions: stream.positions.clone(), ends: vec![6, 4], ..stream };
    assert_eq!(now.plan(millis(400), Some(&mut targets)).plan.span(), 8);
    now.ends = vec![7, 5];
    assert_eq!(now.spans(millis(401)), [6, 4]);
}

#[test]
fn limits_out_of_range_are_rejected_by_name() {
    let check = |limits: StreamLimits, name: &str| {
        let error = Pacing::new(limits, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(name), "{error}");
    };
    let limits = StreamLimits::new;
    check(limits().max_records_per_batch(0), "max_records_per_batch");
    check(limits().max_records_per_second_per_partition(0), "max_records_per_second_per_partition");
    check(limits().min_records_per_batch(0), "min_records_per_batch");
    check(limits().min_partitions(0), "min_partitions");
    check(limits().min_partitions(1_000_001), "min_partitions");
    check(limits().max_records_per_partition(0), "max_records_per_partition");
    check(limits().max_delay(Duration::ZERO), "max_delay");
    check(limits().batch_interval(Duration::ZERO), "batch_interval");
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let backpressure = Backpressure::pid().initial_rate(rate);
        check(limits().backpressure(backpressure), "initial rate");
    }
    let error = Pacing::new(limits().min_records_per_batch(1_000_001), None).unwrap_err();
    assert!(matches!(error, DriverError::ContradictingLimits { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "min_records_per_batch 1000001 is above max_records_per_batch 1000000; lower the first or raise the second"
    );
}
