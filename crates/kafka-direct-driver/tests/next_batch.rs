//! Tests of what a stream follows: new, missing and leaderless partitions, lost positions, re-created
//! topics, and the ends of a stream of the available data.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::time::Duration;

use kafka_direct_core::{
    DataLossPolicy, ErrorKind, IsolationLevel, Offset, Reset, ResetCause, TopicId, TopicPartition,
    Watermarks,
};
use kafka_direct_driver::{
    DriverError, EndOffset, Lookups, NextBatch, NoMatch, Observed, Pacing, PartitionState,
    Position, Positions, ResolvedStarts, Selection, StartOffset, Starts, StreamLimits,
    StreamSettings, TargetEnds, WaitReason, lookups_needed, needs_start, next_batch,
    resolve_starts,
};

fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn id(number: u8) -> Option<TopicId> {
    TopicId::from_bytes([number; 16])
}

/// The state of a partition, with log start offset, last stable offset and high watermark.
fn state(topic: &str, partition: i32, marks: [i64; 3]) -> PartitionState {
    let [log_start, last_stable, high] = marks.map(Offset::new);
    PartitionState {
        topic_partition: tp(topic, partition),
        topic_id: id(1),
        leader_epoch: Some(5),
        watermarks: Watermarks { log_start, last_stable, high },
    }
}

fn positions(offsets: &[(&str, i32, i64)]) -> Positions {
    let mut positions = Positions::new();
    for (topic, partition, offset) in offsets {
        let offset = Offset::new(*offset);
        let position = Position { offset, topic_id: id(1), leader_epoch: Some(5) };
        positions.insert(tp(topic, *partition), position).unwrap();
    }
    positions
}

fn seen(states: &[PartitionState]) -> Observed {
    Observed { states: states.to_vec(), ..Observed::default() }
}

const FAIL: DataLossPolicy = DataLossPolicy::Fail;
const RESUME: DataLossPolicy = DataLossPolicy::Resume;

fn plan_to(
    policy: DataLossPolicy,
    positions: &Positions,
    observed: Observed,
    targets: Option<&mut TargetEnds>,
) -> Result<NextBatch, DriverError> {
    let settings = StreamSettings::new().on_data_loss(policy).cluster("c".to_owned());
    let mut pacing = Pacing::new(StreamLimits::new(), None).unwrap();
    next_batch(&settings, positions, observed, targets, &mut pacing, Duration::ZERO)
}

fn plan(
    policy: DataLossPolicy,
    positions: &Positions,
    observed: Observed,
) -> Result<NextBatch, DriverError> {
    plan_to(policy, positions, observed, None)
}

fn ranges(batch: &NextBatch) -> Vec<String> {
    batch.plan.ranges().iter().map(|planned| planned.range().to_string()).collect()
}

fn offset(batch: &NextBatch, topic: &str, partition: i32) -> Option<i64> {
    batch.positions.get(&tp(topic, partition)).map(|position| position.offset.get())
}

/// The resets as cause, first lost offset and end.
fn resets(batch: &NextBatch) -> Vec<(ResetCause, i64, i64)> {
    let parts = |reset: &Reset| (reset.cause, reset.from.get(), reset.to.get());
    batch.plan.resets().iter().map(parts).collect()
}

#[test]
fn a_batch_continues_at_the_positions_and_ends_at_the_readable_end() {
    let at = positions(&[("t", 0, 3), ("t", 1, 7)]);
    let states = [state("t", 1, [0, 7, 9]), state("t", 0, [0, 8, 9])];
    let batch = plan(FAIL, &at, seen(&states)).unwrap();
    assert_eq!(ranges(&batch), ["t-0 [3, 8)"]);
    let planned = batch.plan.ranges().first().unwrap();
    assert_eq!((planned.topic_id(), planned.leader_epoch()), (id(1), Some(5)));
    assert_eq!(batch.plan.cluster(), Some("c"));
    let ends: Vec<_> = batch.plan.partitions().iter().map(|p| p.until.unwrap().get()).collect();
    assert_eq!(ends, [8, 7]);
    assert_eq!((offset(&batch, "t", 0), offset(&batch, "t", 1)), (Some(8), Some(7)));
    assert_eq!((batch.backlog, batch.wait, batch.must_be_stored), (5, None, true));
    let idle = plan(FAIL, &batch.positions, seen(&states)).unwrap();
    assert_eq!((idle.backlog, idle.wait), (0, Some(WaitReason::NoData)));
    assert!(!idle.must_be_stored);
    assert_eq!(idle.positions, batch.positions);
}

#[test]
fn the_end_is_the_high_watermark_under_read_uncommitted() {
    let settings = StreamSettings::new().isolation(IsolationLevel::ReadUncommitted);
    let mut pacing = Pacing::new(StreamLimits::new(), None).unwrap();
    let (at, observed) = (positions(&[("t", 0, 3)]), seen(&[state("t", 0, [0, 8, 9])]));
    let batch = next_batch(&settings, &at, observed, None, &mut pacing, Duration::ZERO).unwrap();
    assert_eq!(ranges(&batch), ["t-0 [3, 9)"]);
}

#[test]
fn a_new_partition_of_a_followed_topic_starts_at_earliest() {
    let at = positions(&[("t", 0, 8)]);
    let states = [state("t", 0, [0, 8, 8]), state("t", 1, [4, 6, 6])];
    assert!(needs_start(&at, &states).is_empty());
    let batch = plan(FAIL, &at, seen(&states)).unwrap();
    assert_eq!(ranges(&batch), ["t-1 [4, 6)"]);
    assert_eq!(batch.new_partitions, [tp("t", 1)]);
}

#[test]
fn a_new_topic_follows_the_start_of_the_stream_and_is_stored_before_it_has_data() {
    let at = positions(&[("t", 0, 8)]);
    let states = [state("t", 0, [0, 8, 8]), state("u", 0, [4, 6, 6])];
    let new: Vec<_> = needs_start(&at, &states).into_iter().cloned().collect();
    assert_eq!(new.iter().map(|s| s.topic_partition.clone()).collect::<Vec<_>>(), [tp("u", 0)]);
    let error = plan(FAIL, &at, seen(&states)).unwrap_err();
    assert!(matches!(error, DriverError::Uncovered { .. }), "{error}");
    let selection = Selection::new().starts(StartOffset::Latest);
    let starts = resolve_starts(&selection, new, &Lookups::new()).unwrap();
    assert_eq!(starts.get(&tp("u", 0)).unwrap().offset, Offset::new(6));
    let batch = plan(FAIL, &at, Observed { starts, ..seen(&states) }).unwrap();
    assert_eq!((batch.wait, batch.must_be_stored), (Some(WaitReason::NoData), true));
    assert_eq!(offset(&batch, "u", 0), Some(6));
    assert_eq!(batch.new_partitions, [tp("u", 0)]);
}

#[test]
fn a_partition_without_a_leader_at_the_first_start_still_follows_the_start_of_the_stream() {
    let latest = |states: Vec<PartitionState>| {
        let selection = Selection::new().starts(StartOffset::Latest);
        resolve_starts(&selection, states, &Lookups::new()).unwrap()
    };
    let states = [state("t", 0, [0, 8, 8])];
    let leaderless = [tp("t", 1)].into();
    let starts = latest(states.to_vec());
    let batch =
        plan(FAIL, &Positions::new(), Observed { leaderless, starts, ..seen(&states) }).unwrap();
    assert_eq!(batch.leaderless, [tp("t", 1)]);
    assert_eq!(batch.positions.pending().collect::<Vec<_>>(), [&tp("t", 1)]);
    // The checkpoint keeps it.
    let text = serde_json::to_string(&batch.positions).unwrap();
    let stored: Positions = serde_json::from_str(&text).unwrap();
    let states = [state("t", 0, [0, 8, 8]), state("t", 1, [0, 5, 5]), state("t", 2, [0, 2, 2])];
    let new: Vec<_> = needs_start(&stored, &states).into_iter().cloned().collect();
    let starts = latest(new);
    let batch = plan(FAIL, &stored, Observed { starts, ..seen(&states) }).unwrap();
    assert_eq!(ranges(&batch), ["t-2 [0, 2)"]);
    assert_eq!(offset(&batch, "t", 1), Some(5));
    assert_eq!(batch.positions.pending().count(), 0);
}

#[test]
fn a_leaderless_partition_is_left_out_and_reported() {
    let at = positions(&[("t", 0, 3), ("t", 1, 7)]);
    let leaderless = [tp("t", 0), tp("t", 1), tp("x", 0)].into();
    let observed = Observed { leaderless, ..seen(&[state("t", 1, [0, 9, 9])]) };
    let batch = plan(FAIL, &at, observed).unwrap();
    assert_eq!(ranges(&batch), ["t-1 [7, 9)"]);
    assert_eq!(batch.leaderless, [tp("t", 0), tp("x", 0)]);
    assert_eq!(offset(&batch, "t", 0), Some(3));
    assert_eq!(batch.positions.pending().count(), 0);
}

#[test]
fn a_missing_partition_fails_or_keeps_its_position() {
    let at = positions(&[("t", 0, 3), ("t", 1, 7)]);
    let observed = || seen(&[state("t", 1, [0, 9, 9])]);
    let error = plan(FAIL, &at, observed()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost);
    assert!(error.to_string().contains("follows t-0, which"), "{error}");
    let batch = plan(RESUME, &at, observed()).unwrap();
    assert_eq!(ranges(&batch), ["t-1 [7, 9)"]);
    assert_eq!(batch.missing, [tp("t", 0)]);
    // It comes back with the same id, and continues.
    let states = [state("t", 0, [0, 5, 5]), state("t", 1, [0, 9, 9])];
    let batch = plan(FAIL, &batch.positions, seen(&states)).unwrap();
    assert_eq!(ranges(&batch), ["t-0 [3, 5)"]);
    assert!(batch.new_partitions.is_empty());
}

#[test]
fn an_unsubscribed_partition_keeps_its_position_and_is_not_missing() {
    let at = positions(&[("t", 0, 3), ("u", 0, 7)]);
    let unsubscribed = [tp("u", 0)].into();
    for others in [vec![], vec![state("u", 0, [0, 9, 9])]] {
        let states = [vec![state("t", 0, [0, 4, 4])], others].concat();
        let unsubscribed = Clone::clone(&unsubscribed);
        let batch = plan(FAIL, &at, Observed { unsubscribed, ..seen(&states) }).unwrap();
        assert_eq!(ranges(&batch), ["t-0 [3, 4)"]);
        assert_eq!(offset(&batch, "u", 0), Some(7));
        assert!(batch.missing.is_empty());
    }
}

#[test]
fn a_trimmed_position_fails_or_moves_to_the_log_start() {
    let at = positions(&[("t", 0, 3)]);
    let observed = || seen(&[state("t", 0, [5, 8, 9])]);
    let error = plan(FAIL, &at, observed()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost);
    assert_eq!(
        error.to_string(),
        "t-0: offset 3 was deleted from the start of the log, of which read_committed can read [5, 8) (last stable offset 8, high watermark 9); the data-loss policy `resume` continues at an offset that exists"
    );
    let batch = plan(RESUME, &at, observed()).unwrap();
    assert_eq!(ranges(&batch), ["t-0 [5, 8)"]);
    assert_eq!(resets(&batch), [(ResetCause::Trimmed, 3, 5)]);
    let reset = batch.plan.resets().first().unwrap();
    assert_eq!((reset.old_epoch, reset.new_epoch), (Some(5), Some(5)));
    // The last position that exists is no loss.
    assert!(plan(FAIL, &positions(&[("t", 0, 5)]), observed()).is_ok());
}

#[test]
fn a_truncated_position_fails_or_moves_to_the_end_that_exists() {
    let at = positions(&[("t", 0, 12)]);
    let observed = || seen(&[state("t", 0, [0, 8, 9])]);
    let error = plan(FAIL, &at, observed()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost);
    assert!(error.to_string().contains("offset 12 is after the end of the log"), "{error}");
    let batch = plan(RESUME, &at, observed()).unwrap();
    assert_eq!(resets(&batch), [(ResetCause::Truncated, 9, 12)]);
    assert_eq!(offset(&batch, "t", 0), Some(9));
    assert_eq!((batch.wait, batch.must_be_stored), (Some(WaitReason::NoData), true));
}

#[test]
fn a_position_that_open_transactions_withhold_waits() {
    let at = positions(&[("t", 0, 9), ("t", 1, 9)]);
    let states = [state("t", 0, [0, 4, 9]), state("t", 1, [0, 4, 10])];
    let batch = plan(FAIL, &at, seen(&states)).unwrap();
    assert_eq!((batch.wait, batch.must_be_stored), (Some(WaitReason::NoData), false));
    assert_eq!(batch.positions, at);
}

#[test]
fn a_recreated_topic_fails_or_starts_at_its_log_start() {
    let at = positions(&[("t", 0, 12)]);
    let new =
        PartitionState { topic_id: id(2), leader_epoch: Some(0), ..state("t", 0, [2, 20, 20]) };
    let error = plan(FAIL, &at, seen(std::slice::from_ref(&new))).unwrap_err();
    assert!(matches!(error, DriverError::Recreated { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::OffsetLost);
    let batch = plan(RESUME, &at, seen(&[new])).unwrap();
    assert_eq!(ranges(&batch), ["t-0 [2, 20)"]);
    let reset = batch.plan.resets().first().unwrap();
    assert_eq!(resets(&batch), [(ResetCause::Recreated, 2, 2)]);
    assert_eq!((reset.old_topic_id, reset.new_topic_id), (id(1), id(2)));
    assert_eq!((reset.old_epoch, reset.new_epoch), (Some(5), Some(0)));
    let position = batch.positions.get(&tp("t", 0)).unwrap();
    assert_eq!((position.topic_id, position.leader_epoch), (id(2), Some(0)));
}

#[test]
fn without_topic_ids_a_leader_epoch_that_goes_backwards_is_a_recreated_topic() {
    let at = positions(&[("t", 0, 3)]);
    let epoch = |leader_epoch| {
        seen(&[PartitionState { topic_id: None, leader_epoch, ..state("t", 0, [0, 9, 9]) }])
    };
    let error = plan(FAIL, &at, epoch(Some(4))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost);
    assert!(error.to_string().contains("its leader epoch was 5 and is 4"), "{error}");
    let batch = plan(RESUME, &at, epoch(Some(4))).unwrap();
    assert_eq!(ranges(&batch), ["t-0 [0, 9)"]);
    assert_eq!(resets(&batch), [(ResetCause::Recreated, 0, 0)]);
    for later in [None, Some(5), Some(6)] {
        let batch = plan(FAIL, &at, epoch(later)).unwrap();
        assert_eq!(ranges(&batch), ["t-0 [3, 9)"]);
        // What was known stays known.
        let position = batch.positions.get(&tp("t", 0)).unwrap();
        assert_eq!((position.topic_id, position.leader_epoch), (id(1), later.max(Some(5))));
    }
    // With the same id, an older epoch is only a late response.
    let same = PartitionState { leader_epoch: Some(4), ..state("t", 0, [0, 9, 9]) };
    let batch = plan(FAIL, &at, seen(&[same])).unwrap();
    assert_eq!(ranges(&batch), ["t-0 [3, 9)"]);
    assert_eq!(batch.positions.get(&tp("t", 0)).unwrap().leader_epoch, Some(5));
}

#[test]
fn ranges_are_split_and_the_pieces_end_at_the_position() {
    let limits = StreamLimits::new().max_records_per_batch(30).max_records_per_partition(20);
    let mut pacing = Pacing::new(limits, None).unwrap();
    let (at, observed) = (positions(&[("t", 0, 0)]), seen(&[state("t", 0, [0, 90, 90])]));
    let settings = StreamSettings::new();
    let batch = next_batch(&settings, &at, observed, None, &mut pacing, Duration::ZERO).unwrap();
    assert_eq!(ranges(&batch), ["t-0 [0, 15)", "t-0 [15, 30)"]);
    assert_eq!(offset(&batch, "t", 0), Some(30));
    let limits = StreamLimits::new().min_partitions(3);
    let mut pacing = Pacing::new(limits, None).unwrap();
    let observed = seen(&[state("t", 0, [0, 9, 9])]);
    let batch = next_batch(&settings, &at, observed, None, &mut pacing, Duration::ZERO).unwrap();
    assert_eq!(ranges(&batch), ["t-0 [0, 3)", "t-0 [3, 6)", "t-0 [6, 9)"]);
}

#[test]
fn invalid_states_are_rejected() {
    let at = positions(&[("t", 0, 0)]);
    let twice = [state("t", 0, [0, 9, 9]), state("t", 0, [0, 9, 9])];
    let error = plan(RESUME, &at, seen(&twice)).unwrap_err();
    assert!(matches!(error, DriverError::Plan { .. }), "{error}");
    for at in [at, positions(&[("t", 1, 0)])] {
        let error = plan(RESUME, &at, seen(&[state("t", 0, [-1, 9, 9])])).unwrap_err();
        assert!(error.to_string().contains("log start -1"), "{error}");
    }
}

#[test]
fn starts_are_resolved_against_the_whole_log() {
    let states = vec![state("t", 0, [2, 6, 9])];
    let start = |start: StartOffset, policy| {
        let selection = Selection::new().starts(start).on_data_loss(policy);
        let needed = lookups_needed(&selection, &states)?;
        let mut lookups = Lookups::new();
        if !needed.is_empty() {
            lookups.insert_timestamp(tp("t", 0), 50, Some(Offset::new(8)));
            lookups.insert_timestamp(tp("t", 0), 60, None);
            lookups.insert_committed("g", tp("t", 0), Some(Offset::new(7)));
        }
        resolve_starts(&selection, states.clone(), &lookups)
    };
    let at = |offset| StartOffset::At(Offset::new(offset));
    let time = |millis| StartOffset::Timestamp { millis, no_match: NoMatch::Latest };
    let group =
        StartOffset::GroupCommitted { group: "g".to_owned(), fallback: StartOffset::Latest.into() };
    for (wanted, offset) in [
        (StartOffset::Earliest, 2),
        (StartOffset::Latest, 6),
        (StartOffset::FromEnd(3), 3),
        (at(4), 4),
        // Open transactions withhold these: the stream waits.
        (at(9), 9),
        (time(50), 8),
        (time(60), 9),
        (group, 7),
    ] {
        let starts = start(wanted.clone(), FAIL).unwrap();
        assert_eq!(starts.get(&tp("t", 0)).unwrap().offset.get(), offset, "{wanted}");
        assert!(starts.resets().is_empty());
    }
    for (wanted, offset, lost) in [(1, 2, (1, 2)), (11, 9, (9, 11))] {
        let error = start(at(wanted), FAIL).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OffsetLost);
        let starts = start(at(wanted), RESUME).unwrap();
        assert_eq!(starts.get(&tp("t", 0)).unwrap().offset.get(), offset);
        let observed = Observed { starts, ..seen(&states) };
        let batch = plan(RESUME, &Positions::new(), observed).unwrap();
        assert_eq!(resets(&batch), [(ResetCause::Clamped, lost.0, lost.1)]);
    }
    assert_eq!(start(at(-1), RESUME).unwrap_err().kind(), ErrorKind::Invalid);
    let map = Starts::per_partition([(tp("t", 1), StartOffset::Earliest)]);
    let selection = Selection::new().starts(map).ends(EndOffset::Latest);
    let error = resolve_starts(&selection, states, &Lookups::new()).unwrap_err();
    assert!(matches!(error, DriverError::NotSelected { .. }), "{error}");
}

#[test]
fn a_stream_of_the_available_data_stops_at_the_snapshot() {
    let states = [state("t", 0, [0, 4, 9]), state("t", 1, [0, 0, 0])];
    let at = positions(&[("t", 0, 0)]);
    let mut targets = TargetEnds::snapshot(&states, IsolationLevel::ReadCommitted);
    assert_eq!(targets.unreached(&at), [tp("t", 0), tp("t", 1)]);
    let states = [state("t", 0, [0, 9, 9]), state("t", 1, [0, 3, 3]), state("t", 2, [0, 3, 3])];
    let observed = Observed { leaderless: [tp("t", 3)].into(), ..seen(&states) };
    let batch = plan_to(FAIL, &at, observed, Some(&mut targets)).unwrap();
    assert_eq!(ranges(&batch), ["t-0 [0, 4)"]);
    assert!(targets.unreached(&batch.positions).is_empty());
    // A later partition is left for a later run, which starts it at earliest.
    assert_eq!(offset(&batch, "t", 2), None);
    assert_eq!(batch.positions.pending().count(), 0);
    // A partition that had no leader at the snapshot is excluded, and not missing.
    let at = positions(&[("t", 0, 0), ("t", 1, 0), ("t", 2, 1)]);
    let batch = plan_to(FAIL, &at, seen(&states), Some(&mut targets)).unwrap();
    assert_eq!(ranges(&batch), ["t-0 [0, 4)"]);
    assert_eq!(offset(&batch, "t", 2), Some(1));
}

#[test]
fn a_reset_shortens_the_target_of_a_stream_of_the_available_data() {
    let snapshot = [state("t", 0, [0, 100, 100])];
    let run = |at: i64, now: PartitionState, policy| {
        let mut targets = TargetEnds::snapshot(&snapshot, IsolationLevel::ReadCommitted);
        let at = positions(&[("t", 0, at)]);
        let batch = plan_to(policy, &at, seen(&[now]), Some(&mut targets))?;
        let reached = targets.unreached(&batch.positions).is_empty();
        Ok::<_, DriverError>((ranges(&batch), resets(&batch), reached))
    };
    let truncated = || state("t", 0, [0, 80, 80]);
    let error = run(50, truncated(), FAIL).unwrap_err();
    assert!(error.to_string().contains("offset 100 is after the end of the log"), "{error}");
    assert_eq!(
        run(50, truncated(), RESUME).unwrap(),
        (vec!["t-0 [50, 80)".to_owned()], vec![(ResetCause::Truncated, 80, 100)], true)
    );
    // The position stays, but the reset must be stored.
    let mut targets = TargetEnds::snapshot(&snapshot, IsolationLevel::ReadCommitted);
    let at = positions(&[("t", 0, 80)]);
    let batch = plan_to(RESUME, &at, seen(&[truncated()]), Some(&mut targets)).unwrap();
    assert_eq!(resets(&batch), [(ResetCause::Truncated, 80, 100)]);
    assert_eq!((&batch.positions, batch.must_be_stored), (&at, true));
    let lost = vec![(ResetCause::Truncated, 80, 90), (ResetCause::Truncated, 90, 100)];
    assert_eq!(run(90, truncated(), RESUME).unwrap(), (vec![], lost, true));
    let lost = vec![(ResetCause::Truncated, 80, 120)];
    assert_eq!(run(120, truncated(), RESUME).unwrap(), (vec![], lost, true));
    let lost = vec![(ResetCause::Trimmed, 50, 110)];
    assert_eq!(run(50, state("t", 0, [110, 120, 120]), RESUME).unwrap(), (vec![], lost, true));
    let new = PartitionState { topic_id: id(2), ..state("t", 0, [0, 7, 7]) };
    let lost = vec![(ResetCause::Recreated, 0, 0)];
    assert_eq!(run(50, new, RESUME).unwrap(), (vec![], lost, true));
    // Withheld by a transaction that began after the snapshot: the stream waits.
    let withheld = state("t", 0, [0, 80, 100]);
    assert_eq!(run(80, withheld, FAIL).unwrap(), (vec![], vec![], false));
}

#[test]
fn a_missing_partition_is_no_target_of_a_stream_of_the_available_data() {
    let states = [state("t", 0, [0, 9, 9]), state("t", 1, [0, 9, 9])];
    let mut targets = TargetEnds::snapshot(&states, IsolationLevel::ReadCommitted);
    let at = positions(&[("t", 0, 0), ("t", 1, 0)]);
    let observed = seen(states.get(..1).unwrap());
    let batch = plan_to(RESUME, &at, observed, Some(&mut targets)).unwrap();
    assert!(targets.unreached(&batch.positions).is_empty());
    assert_eq!(targets.get(&tp("t", 1)), None);
}

#[test]
fn a_start_without_a_state_is_ignored() {
    let starts = ResolvedStarts::default();
    let batch = plan(FAIL, &Positions::new(), Observed { starts, ..Observed::default() }).unwrap();
    assert_eq!(batch.wait, Some(WaitReason::NoData));
    assert!(!batch.must_be_stored);
}

#[test]
fn a_log_that_was_truncated_and_grew_again_is_read_from_where_it_differs() {
    let at = positions(&[("t", 0, 100)]);
    // Its end is above the position again; in the second case its start has moved too.
    for (log_start, from, resets) in [
        (0, 40, vec![(ResetCause::Truncated, 40, 100)]),
        (60, 60, vec![(ResetCause::Trimmed, 40, 60), (ResetCause::Truncated, 40, 100)]),
    ] {
        let states = [state("t", 0, [log_start, 150, 150])];
        let diverged = [(tp("t", 0), Offset::new(40))].into();
        let observed = Observed { diverged, ..seen(&states) };
        let error = plan(FAIL, &at, observed.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OffsetLost, "{error}");
        let batch = plan(RESUME, &at, observed).unwrap();
        assert_eq!(batch.plan.ranges()[0].range().from().get(), from);
        let recorded = batch.plan.resets().iter();
        let recorded: Vec<_> = recorded.map(|r| (r.cause, r.from.get(), r.to.get())).collect();
        assert_eq!(recorded, resets);
    }
}
