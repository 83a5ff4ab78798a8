//! Tests of the rules of reading one range, on a scripted cluster with one partition.

use std::time::Duration;

use kafka_direct_core::{DataLossPolicy, ErrorKind, HeaderError, Offset, ResetCause};
use tokio::time::Instant;

use super::{
    partition_cursor::FetchPriority,
    scripted::{Asked, Cluster, Reading, id},
    stop::Stop,
};
use crate::{WireError, code, queries::ListOffset};

const NOT_LEADER: i16 = 6;
const FENCED_EPOCH: i16 = 74;

fn refusal(code: i16) -> Stop {
    Stop::Code { address: "h:1".into(), code }
}

fn out_of_range() -> Stop {
    refusal(code::OFFSET_OUT_OF_RANGE)
}

/// An empty response with this readable end, exclusive.
fn empty(end: i64) -> Stop {
    Stop::Empty { end: Offset::new(end) }
}

fn lost(error: &WireError) -> (ResetCause, i64, Option<(i64, i64)>) {
    match error {
        WireError::OffsetLost { cause, position, bounds, .. } => {
            (*cause, position.get(), bounds.map(|(start, end)| (start.get(), end.get())))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn out_of_range_below_the_log_start_is_a_trimmed_log() {
    let trimmed = |policy| Reading::new(policy).with(|cluster| cluster.log_start = 30);
    let error = trimmed(DataLossPolicy::Fail).stop(out_of_range()).await.unwrap_err();
    assert_eq!(lost(&error), (ResetCause::Trimmed, 10, Some((30, 100))));

    let mut reading = trimmed(DataLossPolicy::Resume);
    assert!(reading.stop(out_of_range()).await.unwrap().is_some());
    assert_eq!(reading.resets(), [(ResetCause::Trimmed, 10, 30)]);
    assert_eq!(reading.position(), 30);

    let mut reading = Reading::new(DataLossPolicy::Resume).with(|cluster| cluster.log_start = 80);
    assert!(reading.stop(out_of_range()).await.unwrap().is_none());
    assert_eq!(reading.resets(), [(ResetCause::Trimmed, 10, 50)]);
}

#[tokio::test(start_paused = true)]
async fn out_of_range_above_the_end_is_a_truncated_log() {
    let truncated = |policy| {
        let mut reading = Reading::new(policy).with(|cluster| cluster.end = 20);
        reading.advance(30, 7);
        reading
    };
    let error = truncated(DataLossPolicy::Fail).stop(out_of_range()).await.unwrap_err();
    assert_eq!(lost(&error), (ResetCause::Truncated, 30, Some((0, 20))));

    let mut reading = truncated(DataLossPolicy::Resume);
    assert!(reading.stop(out_of_range()).await.unwrap().is_none());
    assert_eq!(reading.resets(), [(ResetCause::Truncated, 30, 50)]);
    assert_eq!((reading.position(), reading.range.resets()[0].old_epoch), (20, Some(7)));
}

#[tokio::test(start_paused = true)]
async fn out_of_range_inside_the_log_is_retried_until_the_retry_timeout() {
    let (mut reading, began) = (Reading::new(DataLossPolicy::Resume), Instant::now());
    let (count, error) = reading.stop_for_good(out_of_range()).await;
    assert_eq!(error.unwrap().kind(), ErrorKind::Unavailable);
    assert!(count > 5 && began.elapsed() <= Duration::from_secs(5), "{count}");
    // An error resets the counters: the next stop is the first of its kind.
    assert!(reading.stop(out_of_range()).await.unwrap().is_some());
    assert_eq!((reading.position(), reading.resets()), (10, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_rest_of_a_range_that_stays_empty_is_a_hole_after_seven_responses_in_a_row() {
    let mut reading = Reading::new(DataLossPolicy::Fail);
    for _ in 0..6 {
        assert!(reading.stop(empty(100)).await.unwrap().is_some());
        assert_eq!(reading.recovery.priority(), FetchPriority::First);
    }
    // Progress resets the counter.
    reading.advance(20, 7);
    assert_eq!(reading.recovery.priority(), FetchPriority::Normal);
    reading.asked();
    let began = Instant::now();
    let (count, error) = reading.stop_for_good(empty(100)).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!((count, reading.position(), reading.resets()), (7, 50, vec![]));
    assert_eq!(began.elapsed(), Duration::from_millis(100 + 200 + 400 + 800 + 1000 + 1000));
    // Remote storage is queried only before the last empty response is trusted.
    let local = Asked::Offset(ListOffset::EarliestLocal);
    let asked = reading.asked();
    assert_eq!(asked.iter().filter(|one| **one == local).count(), 1);
    assert_eq!(asked.last(), Some(&local));
}

#[tokio::test(start_paused = true)]
async fn an_empty_response_is_not_a_hole_if_records_are_missing_or_remote() {
    type Change = fn(&mut Cluster);
    let changes: [(Change, i64); 3] = [
        // Records up to 40 are in remote storage.
        (|cluster| cluster.local_start = 40, 100),
        // The log has records at the position, but not up to the end of the range.
        (|cluster| cluster.end = 40, 40),
        // The response has a readable end before the end of the range.
        (|_| {}, 40),
    ];
    for (change, response_end) in changes {
        let mut reading = Reading::new(DataLossPolicy::Resume).with(change);
        let (_, error) = reading.stop_for_good(empty(response_end)).await;
        assert_eq!(error.unwrap().kind(), ErrorKind::Unavailable);
        assert_eq!((reading.position(), reading.resets()), (10, vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_ends_before_the_position_is_truncated_after_five_responses() {
    for policy in [DataLossPolicy::Fail, DataLossPolicy::Resume] {
        let mut reading = Reading::new(policy).with(|cluster| cluster.end = 10);
        let (count, error) = reading.stop_for_good(empty(10)).await;
        assert_eq!(count, 5);
        match error {
            Some(error) => assert_eq!(lost(&error), (ResetCause::Truncated, 10, Some((0, 10)))),
            None => assert_eq!(reading.resets(), [(ResetCause::Truncated, 10, 50)]),
        }
    }
    let mut reading = Reading::new(DataLossPolicy::Resume).with(|cluster| cluster.log_start = 30);
    assert!(reading.stop(empty(100)).await.unwrap().is_some());
    assert_eq!(reading.resets(), [(ResetCause::Trimmed, 10, 30)]);
}

#[tokio::test(start_paused = true)]
async fn a_stale_leader_is_looked_up_again_with_fresh_metadata() {
    let mut reading = Reading::new(DataLossPolicy::Fail);
    assert!(reading.run_steps().await.unwrap().is_some());
    assert_eq!(reading.asked(), [Asked::Leader { fresh: false }]);
    // An eviction does not refresh the metadata.
    let began = Instant::now();
    assert!(reading.stop(Stop::Evicted).await.unwrap().is_some());
    assert_eq!(reading.asked(), [Asked::Leader { fresh: false }]);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(reading.stop(refusal(NOT_LEADER)).await.unwrap().is_some());
    assert_eq!(reading.asked(), [Asked::Leader { fresh: true }]);
    assert_eq!(began.elapsed(), Duration::from_millis(100));
    // The election of a leader takes longer than the retry timeout.
    let mut reading = reading.with(|cluster| cluster.leader_code = code::LEADER_NOT_AVAILABLE);
    let error = reading.stop(refusal(NOT_LEADER)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("t-0 [10, 50) at offset 10"), "{error}");
    assert!(reading.asked().iter().all(|asked| *asked == Asked::Leader { fresh: true }));
}

#[tokio::test(start_paused = true)]
async fn a_fenced_epoch_is_checked_against_what_was_read_and_planned() {
    // Ends of epochs 6 (read) and 7 (planned) on the new leader, the range's end, and the reset.
    for (ends, until, reset) in [
        (vec![(6, (6, 30)), (7, (7, 50))], 50, None),
        // Epoch 6 ends on the new leader before the position that was read.
        (vec![(6, (6, 25)), (7, (7, 50))], 25, Some((ResetCause::Truncated, 30, 50))),
        // The new leader does not have epoch 6.
        (vec![(6, (5, 30)), (7, (7, 50))], 30, Some((ResetCause::Truncated, 30, 50))),
        // The records after offset 40 are not the planned ones any more.
        (vec![(6, (6, 30)), (7, (7, 40))], 40, Some((ResetCause::Truncated, 40, 50))),
        // The leader has no epochs, so no loss is detected.
        (vec![], 50, None),
    ] {
        for policy in [DataLossPolicy::Fail, DataLossPolicy::Resume] {
            let mut reading = Reading::new(policy).with(|cluster| {
                cluster.leader_epoch = 8;
                cluster.epoch_ends = ends.iter().copied().collect();
            });
            reading.advance(30, 6);
            let step = reading.stop(refusal(FENCED_EPOCH)).await;
            let asked = reading.asked();
            assert_eq!(asked[..2], [Asked::Leader { fresh: true }, Asked::EpochEnd(6)]);
            if let (Some((cause, from, _)), DataLossPolicy::Fail) = (reset, policy) {
                assert_eq!(lost(&step.unwrap_err()), (cause, from, Some((0, until))));
                continue;
            }
            assert_eq!(step.unwrap().is_some(), until > 30, "{ends:?}");
            assert_eq!(reading.range.until(), Offset::new(until), "{ends:?}");
            assert_eq!(reading.resets(), reset.into_iter().collect::<Vec<_>>(), "{ends:?}");
            // The same epoch is not queried twice.
            assert!(reading.stop(Stop::Evicted).await.is_ok());
            let again = reading.asked();
            assert!(!again.iter().any(|asked| matches!(asked, Asked::EpochEnd(_))), "{again:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_topic_with_the_same_name_ends_the_range() {
    for stop in [None, Some(empty(100)), Some(out_of_range()), Some(refusal(NOT_LEADER))] {
        let mut reading =
            Reading::new(DataLossPolicy::Resume).with(|cluster| cluster.topic_id = id(2));
        let step = match stop {
            None => reading.run_steps().await,
            Some(stop) => reading.stop(stop).await,
        };
        assert!(step.unwrap().is_none());
        assert_eq!(reading.resets(), [(ResetCause::Recreated, 10, 50)]);
        let reset = &reading.range.resets()[0];
        assert_eq!((reset.old_topic_id, reset.new_topic_id), (id(1), id(2)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_stays_missing_is_deleted_after_eight_lookups() {
    let missing = |cluster: &mut Cluster| cluster.leader_code = code::UNKNOWN_TOPIC_OR_PARTITION;
    let mut reading = Reading::new(DataLossPolicy::Fail).with(missing);
    let error = reading.run_steps().await.unwrap_err();
    assert_eq!(lost(&error), (ResetCause::Deleted, 10, None));
    assert_eq!(reading.asked().len(), 8);
    let mut reading = Reading::new(DataLossPolicy::Resume).with(missing);
    assert!(reading.run_steps().await.unwrap().is_none());
    assert_eq!(reading.resets(), [(ResetCause::Deleted, 10, 50)]);
}

#[tokio::test(start_paused = true)]
async fn invalid_responses_are_an_error_the_third_time_and_old_formats_at_once() {
    let header = HeaderError::Length { length: -1, offset: 10 };
    let overlap =
        Stop::Overlap { base: Offset::new(10), end: Offset::new(20), next_base: Offset::new(15) };
    let protocol = Stop::Protocol { address: "h:1".into(), reason: "cut short".into() };
    for stop in [Stop::Header(header), overlap, protocol, refusal(code::CORRUPT_MESSAGE)] {
        let (count, error) = Reading::new(DataLossPolicy::Fail).stop_for_good(stop).await;
        assert_eq!((count, error.unwrap().kind()), (3, ErrorKind::Corrupt));
    }
    let old = Stop::Header(HeaderError::OldFormat { magic: 1, offset: 10 });
    let large = Stop::TooLarge { bytes: 1 << 20 };
    for stop in [old, large] {
        let (count, error) = Reading::new(DataLossPolicy::Fail).stop_for_good(stop).await;
        assert_eq!((count, error.unwrap().kind()), (1, ErrorKind::Invalid));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_step_counts_no_fault_twice_and_restarts_no_pause() {
    let mut reading = Reading::new(DataLossPolicy::Fail);
    reading.recovery.stopped(empty(100), Duration::ZERO);
    let began = Instant::now();
    while reading.recovery.priority() == FetchPriority::Normal {
        assert!(reading.recovery.step(&mut reading.range, &reading.cluster).await.is_ok());
    }
    for _ in 0..9 {
        let pausing = reading.run_steps();
        assert!(tokio::time::timeout(Duration::from_millis(10), pausing).await.is_err());
    }
    assert!(reading.run_steps().await.unwrap().is_some());
    assert_eq!(began.elapsed(), Duration::from_millis(100));
    let (count, error) = reading.stop_for_good(empty(100)).await;
    assert!(error.is_none() && count == 6, "{count} {error:?}");
}
