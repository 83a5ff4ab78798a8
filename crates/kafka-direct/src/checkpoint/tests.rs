//! Tests of the log over a store in memory: what is refused, adopted, recovered and rewound.

mod damage;

use std::sync::Arc;

use kafka_direct_core::{
    BatchPlan, ErrorKind, IsolationLevel, Offset, OffsetRange, PlannedPartition, PlannedRange,
    Reset, ResetCause, TopicId, TopicPartition, Watermarks,
};

use super::*;
use crate::{EndPosition, Error, RangeSummary};

const ISOLATION: IsolationLevel = IsolationLevel::ReadCommitted;
const NOW: i64 = 1_764_500_000_000;

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn end(partition: i32, offset: i64) -> EndPosition {
    let topic_id = TopicId::from_bytes([1; 16]);
    EndPosition {
        leader_epoch: Some(3),
        ..EndPosition::new(tp(partition), topic_id, offset.into())
    }
}

/// A plan of ranges: partition, from, until.
fn plan_with(ranges: &[(i32, i64, i64)], resets: Vec<Reset>) -> BatchPlan {
    let topic_id = TopicId::from_bytes([1; 16]);
    let planned = ranges.iter().map(|(partition, from, until)| {
        let range = OffsetRange::new(tp(*partition), *from, *until).unwrap();
        PlannedRange::new(range, ISOLATION).with_topic_id(topic_id).with_leader_epoch(Some(3))
    });
    let examined = ranges.iter().map(|(partition, from, until)| {
        let (log_start, until) = (Offset::new(*from), Offset::new(*until));
        let watermarks = Watermarks { log_start, last_stable: until, high: until };
        PlannedPartition {
            topic_partition: tp(*partition),
            watermarks,
            topic_id,
            until: Some(until),
        }
    });
    let cluster = Some("c".to_owned());
    BatchPlan::new(cluster, ISOLATION, planned.collect(), examined.collect(), resets).unwrap()
}

fn plan(ranges: &[(i32, i64, i64)]) -> BatchPlan {
    plan_with(ranges, vec![])
}

fn draft(ranges: &[(i32, i64, i64)]) -> PlanDraft {
    PlanDraft::new(plan(ranges), NOW)
}

/// The commit of a batch whose ranges were read to their planned ends.
fn done(entry: &OffsetsEntry) -> CommitDraft {
    let summaries: Vec<_> = entry.plan.ranges().iter().map(RangeSummary::new).collect();
    CommitDraft::new(&entry.plan, &summaries, NOW)
}

fn shared(store: &MemoryCheckpoint) -> Arc<dyn CheckpointStore> {
    Arc::new(store.clone())
}

async fn open(store: &MemoryCheckpoint) -> (StreamLog, CheckpointState) {
    StreamLog::open(shared(store), Some("c"), NOW).await.unwrap()
}

/// A log with batch 0, the starts of partitions 0 and 1 at offsets 5 and 0.
async fn started(store: &MemoryCheckpoint) -> StreamLog {
    let (mut log, _) = open(store).await;
    let starts = vec![end(0, 5), end(1, 0)];
    assert_eq!(log.log_starts(starts, ISOLATION, NOW).await.unwrap(), None);
    log
}

async fn run_batch(log: &mut StreamLog, ranges: &[(i32, i64, i64)]) -> OffsetsEntry {
    let logged = log.log_plan(draft(ranges)).await.unwrap();
    log.log_commit(done(&logged.entry)).await.unwrap();
    logged.entry
}

fn offsets(positions: impl IntoIterator<Item = EndPosition>) -> Vec<(i32, i64)> {
    let pair = |p: EndPosition| (p.topic_partition.partition(), p.offset.get());
    positions.into_iter().map(pair).collect()
}

fn names(store: &MemoryCheckpoint) -> Vec<String> {
    let short = |name: String| name.replace("000000000000000000", "");
    store.objects().into_keys().map(short).collect()
}

#[tokio::test]
async fn resolved_starts_survive_a_crash_before_the_first_data() {
    let store = MemoryCheckpoint::new();
    drop(started(&store).await);
    let (log, state) = open(&store).await;
    assert_eq!(offsets(state.positions()), [(0, 5), (1, 0)]);
    assert_eq!((log.generation(), log.next_batch()), (Generation::new(2), BatchId::new(1)));
    assert_eq!(
        names(&store),
        ["commits/00", "generations/01", "generations/02", "offsets/00", "stream.json"]
    );
}

#[tokio::test]
async fn starts_that_are_resolved_later_are_added_and_do_not_move_known_positions() {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    log.log_starts(vec![end(0, 99), end(2, 7)], ISOLATION, NOW).await.unwrap();
    log.log_starts(vec![end(0, 99), end(2, 8)], ISOLATION, NOW).await.unwrap();
    assert_eq!(offsets(open(&store).await.1.positions()), [(0, 5), (1, 0), (2, 7)]);
    assert_eq!(log.next_batch(), BatchId::new(2));
}

#[tokio::test]
async fn a_planned_batch_without_a_commit_runs_again_with_the_same_plan_and_rate() {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    let rate = Some(serde_json::json!({"integral": 0.5}));
    let planned = log.log_plan(draft(&[(0, 5, 9)]).with_rate(rate)).await.unwrap();
    assert!(!planned.is_adopted);
    let (mut log, state) = open(&store).await;
    assert_eq!(state.pending, Some(planned.entry.clone()));
    assert_eq!(state.last.unwrap().batch(), BatchId::new(0));
    // Nothing else may be planned before it is done.
    let error = log.log_plan(draft(&[(0, 5, 7)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    log.log_commit(done(&planned.entry)).await.unwrap();
    assert_eq!(open(&store).await.1.pending, None);
}

#[tokio::test]
async fn the_next_batch_starts_at_the_achieved_end_and_idle_partitions_keep_their_position() {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    let entry = log.log_plan(draft(&[(0, 5, 9)])).await.unwrap().entry;
    let reset = Reset::new(tp(0), ResetCause::Truncated, 7.into(), 9.into());
    let commit = CommitDraft::restored(vec![end(0, 7)], vec![reset.clone()], NOW);
    log.log_commit(commit).await.unwrap();
    assert_eq!(offsets(log.positions().cloned()), [(0, 7), (1, 0)]);
    let (mut log, state) = open(&store).await;
    assert_eq!(offsets(state.positions()), [(0, 7), (1, 0)]);
    assert_eq!(state.last.unwrap().commit.resets, [reset]);
    assert!(state.meta.cluster.is_some() && entry.positions.iter().all(|p| p.topic_id.is_some()));
    run_batch(&mut log, &[(0, 7, 9), (1, 0, 3)]).await;
}

#[tokio::test]
async fn a_plan_with_a_gap_or_an_overlap_is_refused_unless_a_reset_is_recorded() {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    let before = names(&store);
    for ranges in [&[(0, 6, 9)][..], &[(0, 4, 9)], &[(1, 0, 0), (0, 7, 7)]] {
        let error = log.log_plan(draft(ranges)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("t-0"), "{error}");
    }
    assert_eq!(names(&store), before);
    let reset = Reset::new(tp(0), ResetCause::Trimmed, 5.into(), 8.into());
    let plan = plan_with(&[(0, 8, 9)], vec![reset]);
    log.log_plan(PlanDraft::new(plan, NOW)).await.unwrap();
}

#[tokio::test]
async fn a_commit_whose_ends_do_not_belong_to_the_plan_is_refused() {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    let nothing = CommitDraft::restored(vec![], vec![], NOW);
    let error = log.log_commit(nothing.clone()).await.unwrap_err();
    assert!(error.to_string().contains("no batch is planned"), "{error}");
    let entry = log.log_plan(draft(&[(0, 5, 9)])).await.unwrap().entry;
    let ends = [vec![], vec![end(0, 4)], vec![end(0, 10)], vec![end(0, 9), end(1, 0)]];
    for achieved in ends {
        let commit = CommitDraft::restored(achieved, vec![], NOW);
        assert_eq!(log.log_commit(commit).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    log.log_commit(done(&entry)).await.unwrap();
}

#[tokio::test]
async fn a_create_whose_outcome_is_unknown_is_found_out() {
    for fault in [MemoryFault::CreateStored, MemoryFault::CreateNotStored] {
        let store = MemoryCheckpoint::new();
        // It hits `stream.json`, then the marker of a generation, then both files of the starts.
        store.inject(fault);
        drop(open(&store).await);
        store.inject(fault);
        let (mut log, _) = open(&store).await;
        assert_eq!(log.generation(), Generation::new(2));
        store.inject(fault);
        log.log_starts(vec![end(0, 5)], ISOLATION, NOW).await.unwrap();
        store.inject(fault);
        log.log_starts(vec![end(1, 0)], ISOLATION, NOW).await.unwrap();
        store.inject(fault);
        let logged = log.log_plan(draft(&[(0, 5, 9)])).await.unwrap();
        assert!(!logged.is_adopted);
        store.inject(fault);
        log.log_commit(done(&logged.entry)).await.unwrap();
        let state = open(&store).await.1;
        assert_eq!(offsets(state.positions()), [(0, 9), (1, 0)]);
    }
}

#[tokio::test]
async fn a_plan_that_was_stored_although_logging_it_failed_replaces_the_next_one() {
    for fault in [MemoryFault::CreateStored, MemoryFault::CreateNotStored] {
        let store = MemoryCheckpoint::new();
        let mut log = started(&store).await;
        store.inject(fault);
        store.inject(MemoryFault::CreateNotStored);
        let error = log.log_plan(draft(&[(0, 5, 9)])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let logged = log.log_plan(draft(&[(0, 5, 7)])).await.unwrap();
        let is_stored = fault == MemoryFault::CreateStored;
        assert_eq!(logged.is_adopted, is_stored);
        let expected = plan(if is_stored { &[(0, 5, 9)] } else { &[(0, 5, 7)] });
        assert_eq!(logged.entry.plan, expected);
        log.log_commit(done(&logged.entry)).await.unwrap();
    }
}

#[tokio::test]
async fn a_read_that_fails_leaves_the_batch_as_it_was() {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    // The check of the generation fails after the plan was stored.
    store.inject(MemoryFault::Read);
    let error = log.log_plan(draft(&[(0, 5, 9)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(log.pending(), None);
    let logged = log.log_plan(draft(&[(0, 5, 9)])).await.unwrap();
    store.inject(MemoryFault::Read);
    assert!(log.log_commit(done(&logged.entry)).await.is_err());
    log.log_commit(done(&logged.entry)).await.unwrap();
}

#[tokio::test]
async fn a_failed_fsync_stops_the_log_and_is_not_repaired_by_a_read() {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    store.inject(MemoryFault::CreateNotDurable);
    let error = log.log_plan(draft(&[(0, 5, 9)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("check the disk"), "{error}");
    for _ in 0..2 {
        let error = log.log_plan(draft(&[(0, 5, 9)])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(log.check_generation().await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn the_older_of_two_drivers_is_fenced_at_each_of_its_checks() {
    let store = MemoryCheckpoint::new();
    let mut older = started(&store).await;
    let entry = older.log_plan(draft(&[(0, 5, 9)])).await.unwrap().entry;
    let (mut newer, state) = open(&store).await;
    assert_eq!(state.pending.as_ref(), Some(&entry));
    let error = older.check_generation().await.unwrap_err();
    assert!(matches!(error, Error::Fenced { newer, .. } if newer == Generation::new(2)), "{error}");
    assert_eq!(older.log_commit(done(&entry)).await.unwrap_err().kind(), ErrorKind::Fenced);
    newer.log_commit(done(&entry)).await.unwrap();
    newer.check_generation().await.unwrap();
    let (mut oldest, _) = (newer, open(&store).await);
    assert_eq!(oldest.log_plan(draft(&[(0, 9, 11)])).await.unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn an_entry_of_an_older_driver_is_adopted_and_one_of_a_newer_is_not() {
    let store = MemoryCheckpoint::new();
    let mut older = started(&store).await;
    let (mut newer, _) = open(&store).await;
    assert_eq!(older.log_plan(draft(&[(0, 5, 9)])).await.unwrap_err().kind(), ErrorKind::Fenced);
    let logged = newer.log_plan(draft(&[(0, 5, 7), (1, 0, 1)])).await.unwrap();
    assert!(logged.is_adopted);
    assert_eq!(
        (logged.entry.generation, logged.entry.plan),
        (older.generation(), plan(&[(0, 5, 9)]))
    );
    // A marker that is lost lets the older driver pass its check; the newer one's entry stops it.
    let entry = newer.pending().unwrap().clone();
    newer.log_commit(done(&entry)).await.unwrap();
    let marker = Generation::new(2).file_in("generations");
    store.remove(&marker).await.unwrap();
    assert!(!older.log_plan(draft(&[(0, 5, 9)])).await.unwrap().is_adopted, "it is its own");
    let error = older.log_commit(done(&entry)).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { newer, .. } if newer == Generation::new(2)), "{error}");
}

#[tokio::test]
async fn a_commit_of_an_older_driver_that_was_earlier_is_kept_with_its_ends() {
    let store = MemoryCheckpoint::new();
    let mut older = started(&store).await;
    let entry = older.log_plan(draft(&[(0, 5, 9)])).await.unwrap().entry;
    older.log_commit(CommitDraft::restored(vec![end(0, 7)], vec![], NOW)).await.unwrap();
    // The newer driver starts before this commit is stored.
    let name = entry.batch.file_in("commits");
    let late = store.objects()[&name].clone();
    store.remove(&name).await.unwrap();
    let (mut newer, state) = open(&store).await;
    assert_eq!(state.pending, Some(entry.clone()));
    store.overwrite(&name, late);
    let kept = newer.log_commit(done(&entry)).await.unwrap();
    assert_eq!((kept.generation, kept.achieved), (older.generation(), vec![end(0, 7)]));
    assert_eq!(offsets(newer.positions().cloned()), [(0, 7), (1, 0)]);
}

#[tokio::test]
async fn a_re_created_topic_is_refused_unless_a_reset_is_recorded() {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    let other = TopicId::from_bytes([2; 16]);
    let re_created = |resets| {
        let plan = plan_with(&[(0, 5, 9)], resets).to_json();
        let [old, new] = [[1; 16], [2; 16]].map(|id| TopicId::from_bytes(id).unwrap().to_string());
        BatchPlan::from_json(&plan.replace(&old, &new)).unwrap()
    };
    let error = log.log_plan(PlanDraft::new(re_created(vec![]), NOW)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let reset = Reset::new(tp(0), ResetCause::Recreated, 5.into(), 5.into());
    log.log_plan(PlanDraft::new(re_created(vec![reset]), NOW)).await.unwrap();
    assert_eq!(log.pending().unwrap().positions[0].topic_id, other);
}

#[tokio::test]
async fn starts_give_back_a_batch_that_an_older_driver_has_planned_meanwhile() {
    let store = MemoryCheckpoint::new();
    let mut older = started(&store).await;
    let (mut newer, _) = open(&store).await;
    older.log_plan(draft(&[(0, 5, 9)])).await.unwrap_err();
    let starts = vec![end(2, 4)];
    let entry = newer.log_starts(starts.clone(), ISOLATION, NOW).await.unwrap().unwrap();
    assert_eq!(entry.plan, plan(&[(0, 5, 9)]));
    newer.log_commit(done(&entry)).await.unwrap();
    assert_eq!(newer.log_starts(starts, ISOLATION, NOW).await.unwrap(), None);
    assert_eq!(offsets(newer.positions().cloned()), [(0, 9), (1, 0), (2, 4)]);
}

#[tokio::test]
async fn purging_keeps_the_newest_batches_and_continues_after_an_error() {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    for from in 5..9 {
        run_batch(&mut log, &[(0, from, from + 1)]).await;
    }
    let files = |folder| names(&store).into_iter().filter(|n| n.starts_with(folder)).count();
    store.inject(MemoryFault::Remove);
    assert!(log.purge(2).await.is_err());
    assert_eq!((files("offsets"), files("commits")), (5, 5));
    let (mut log, _) = open(&store).await;
    log.purge(2).await.unwrap();
    assert_eq!((files("offsets"), files("commits"), files("generations")), (2, 2, 2));
    log.purge(0).await.unwrap();
    assert_eq!(offsets(open(&store).await.1.positions()), [(0, 9), (1, 0)]);
}

#[tokio::test]
async fn a_fenced_driver_that_writes_after_a_purge_changes_nothing() {
    let store = MemoryCheckpoint::new();
    let mut older = started(&store).await;
    let (mut newer, _) = open(&store).await;
    for from in 5..9 {
        run_batch(&mut newer, &[(0, from, from + 1)]).await;
    }
    newer.purge(1).await.unwrap();
    let error = older.log_plan(draft(&[(0, 5, 50)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let (_, state) = open(&store).await;
    assert_eq!((state.pending.as_ref(), offsets(state.positions())), (None, vec![(0, 9), (1, 0)]));
    let stray = state.read_batch(shared(&store), BatchId::new(1)).await.unwrap();
    assert!(stray.0.is_some() && stray.1.is_none());
}

#[tokio::test]
async fn a_plan_that_is_not_the_one_its_commit_names_is_not_read_as_its_plan() {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    let entry = run_batch(&mut log, &[(0, 5, 9)]).await;
    run_batch(&mut log, &[(0, 9, 10)]).await;
    let (_, state) = open(&store).await;
    let name = entry.batch.file_in("offsets");
    let text = String::from_utf8(store.objects()[&name].clone()).unwrap();
    let other = WriterNonce::random().to_string();
    store.overwrite(&name, text.replace(&entry.nonce.to_string(), &other));
    let (offsets, commit) = state.read_batch(shared(&store), entry.batch).await.unwrap();
    assert!(offsets.is_none() && commit.is_some());
}

#[tokio::test]
async fn a_rewound_stream_continues_where_the_batch_ended_under_a_new_number() {
    for has_pending in [false, true] {
        let store = MemoryCheckpoint::new();
        let mut log = started(&store).await;
        run_batch(&mut log, &[(0, 5, 9)]).await;
        run_batch(&mut log, &[(0, 9, 20), (1, 0, 4), (2, 0, 8)]).await;
        if has_pending {
            log.log_plan(draft(&[(0, 20, 30)])).await.unwrap();
        }
        let (mut log, _) = open(&store).await;
        let entry = log.rewind(BatchId::new(1), NOW).await.unwrap();
        assert_eq!(entry.rewind.as_ref().unwrap().to_batch, BatchId::new(1));
        let (mut log, state) = open(&store).await;
        assert_eq!(state.pending, None);
        assert_eq!(offsets(state.positions()), [(0, 9), (1, 0)]);
        assert_eq!(log.next_batch(), BatchId::new(4));
        run_batch(&mut log, &[(0, 9, 12)]).await;
        // A rewind to a rewind is one to the batch that it names.
        log.rewind(BatchId::new(3), NOW).await.unwrap();
        assert_eq!(offsets(log.positions().cloned()), [(0, 9), (1, 0)]);
    }
}

#[tokio::test]
async fn a_rewind_to_a_batch_that_is_purged_or_not_committed_is_refused() {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    run_batch(&mut log, &[(0, 5, 9)]).await;
    log.purge(1).await.unwrap();
    let before = names(&store);
    for (batch, reason) in [(0, "no longer retained"), (2, "not committed")] {
        let error = log.rewind(BatchId::new(batch), NOW).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert_eq!(names(&store), before);
}
