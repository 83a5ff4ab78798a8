//! The log of a stream in a local folder, and the files that every later version must read.
//!
//! `tests/golden/checkpoint-1` holds a checkpoint of version 1. Its files are never changed.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kafka_direct::{
    BatchPlan, EndPosition, ErrorKind, IsolationLevel, Offset, OffsetRange, PlannedPartition,
    PlannedRange, RangeSummary, Reset, ResetCause, TopicId, TopicPartition, Watermarks,
    checkpoint::{
        BatchId, CheckpointState, CheckpointStore, CommitDraft, CommitEntry, CreateOutcome,
        Generation, GenerationMarker, LocalCheckpoint, OffsetsEntry, PlanDraft, StoreError,
        StoreFault, StoreFuture, StreamLog, StreamMeta,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

const ISOLATION: IsolationLevel = IsolationLevel::ReadCommitted;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoint-1")
}

fn local(folder: &Path) -> Arc<dyn CheckpointStore> {
    Arc::new(LocalCheckpoint::at(folder))
}

fn topic_id() -> Option<TopicId> {
    TopicId::from_bytes([7; 16])
}

fn start(partition: i32, offset: i64) -> EndPosition {
    EndPosition::new(TopicPartition::new("orders", partition), None, offset.into())
}

/// A plan of ranges: partition, from, until, piece.
fn plan(ranges: &[(i32, i64, i64, u32)], resets: Vec<Reset>) -> BatchPlan {
    let partition = |index| TopicPartition::new("orders", index);
    let planned = ranges.iter().map(|(index, from, until, piece)| {
        let range = OffsetRange::new(partition(*index), *from, *until).unwrap();
        let planned = PlannedRange::new(range, ISOLATION).with_piece(*piece);
        planned.with_topic_id(topic_id()).with_leader_epoch(Some(4))
    });
    let mut examined: Vec<PlannedPartition> = Vec::new();
    for (index, _, until, _) in ranges {
        examined.retain(|other| other.topic_partition.partition() != *index);
        let end = Offset::new(*until);
        let watermarks = Watermarks { log_start: 0.into(), last_stable: end, high: end };
        let topic_partition = partition(*index);
        let (topic_id, until) = (topic_id(), Some(end));
        examined.push(PlannedPartition { topic_partition, watermarks, topic_id, until });
    }
    let cluster = Some("4L6g3nShT-eMCtK--X86sw".to_owned());
    BatchPlan::new(cluster, ISOLATION, planned.collect(), examined, resets).unwrap()
}

/// A stream with every kind of entry: starts, pieces, a rate, resets, an early end, a rewind, and a
/// batch that is not done.
async fn write_every_kind_of_entry(folder: &Path) {
    let cluster = Some("4L6g3nShT-eMCtK--X86sw");
    let (mut log, _) = StreamLog::open(local(folder), cluster, 1_764_500_000_000).await.unwrap();
    let starts = vec![start(0, 0), start(1, 40), start(2, 3)];
    log.log_starts(starts, ISOLATION, 1_764_500_000_001).await.unwrap();
    let trimmed =
        Reset::new(TopicPartition::new("orders", 1), ResetCause::Trimmed, 40.into(), 50.into());
    let one = plan(&[(0, 0, 10, 0), (0, 10, 20, 1), (1, 50, 60, 0)], vec![trimmed]);
    let rate = Some(serde_json::json!({"records_per_second": 1500.5, "integral": 3}));
    let logged =
        log.log_plan(PlanDraft::new(one, 1_764_500_000_002).with_rate(rate)).await.unwrap();
    let mut summaries: Vec<_> = logged.entry.plan.ranges().iter().map(RangeSummary::new).collect();
    summaries[1].reached = 15.into();
    let tp = TopicPartition::new("orders", 0);
    let mut reset = Reset::new(tp, ResetCause::Truncated, 15.into(), 20.into());
    (reset.old_epoch, reset.new_epoch) = (Some(4), Some(5));
    summaries[1].resets.push(reset);
    let commit = CommitDraft::new(&logged.entry.plan, &summaries, 1_764_500_000_003);
    log.log_commit(commit).await.unwrap();
    log.rewind(BatchId::new(0), 1_764_500_000_004).await.unwrap();
    let (mut log, _) = StreamLog::open(local(folder), cluster, 1_764_500_000_005).await.unwrap();
    let three = plan(&[(0, 0, 12, 0)], vec![]);
    log.log_plan(PlanDraft::new(three, 1_764_500_000_006)).await.unwrap();
}

fn offsets(positions: &[EndPosition]) -> Vec<(i32, i64)> {
    let pair = |p: &EndPosition| (p.topic_partition.partition(), p.offset.get());
    positions.iter().map(pair).collect()
}

/// Every file below a folder, by its path from there.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            let below = files(&path).into_iter();
            found.extend(below.map(|(file, text)| (format!("{name}/{file}"), text)));
        } else {
            found.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// A copy of the golden checkpoint.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files(&golden()) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[tokio::test]
async fn a_checkpoint_of_version_1_is_read() {
    let state = CheckpointState::read(local(&golden())).await.unwrap().unwrap();
    let last = state.last.as_ref().unwrap();
    let rewind = last.commit.rewind.as_ref().unwrap();
    assert_eq!((last.batch(), rewind.to_batch), (BatchId::new(2), BatchId::new(0)));
    assert_eq!(offsets(&state.positions()), [(0, 0), (1, 40), (2, 3)]);
    let pending = state.pending.as_ref().unwrap();
    assert_eq!((pending.batch, pending.generation), (BatchId::new(3), Generation::new(2)));
    assert_eq!(pending.plan, plan(&[(0, 0, 12, 0)], vec![]));
    let (one, commit) = state.read_batch(local(&golden()), BatchId::new(1)).await.unwrap();
    let (one, commit) = (one.unwrap(), commit.unwrap());
    let piece = &one.plan.ranges()[1];
    assert_eq!((piece.piece(), piece.topic_id(), piece.leader_epoch()), (1, topic_id(), Some(4)));
    assert_eq!(one.plan.resets()[0].cause, ResetCause::Trimmed);
    assert_eq!(one.rate.unwrap()["records_per_second"], 1500.5);
    assert_eq!(offsets(&commit.achieved), [(0, 15), (1, 60)]);
    assert_eq!(commit.resets[0].new_epoch, Some(5));
    assert_eq!(commit.time_millis, 1_764_500_000_003);
}

#[tokio::test]
async fn a_checkpoint_of_version_1_is_continued() {
    let folder = copied();
    let (mut log, state) = StreamLog::open(local(folder.path()), None, 0).await.unwrap();
    assert_eq!(log.generation(), Generation::new(3));
    let pending = state.pending.unwrap();
    let summaries: Vec<_> = pending.plan.ranges().iter().map(RangeSummary::new).collect();
    log.log_commit(CommitDraft::new(&pending.plan, &summaries, 1)).await.unwrap();
    log.log_plan(PlanDraft::new(plan(&[(0, 12, 14, 0)], vec![]), 2)).await.unwrap();
    for (name, text) in files(&golden()) {
        assert_eq!(fs::read_to_string(folder.path().join(&name)).unwrap(), text, "{name}");
    }
}

fn without_additions(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(without_additions).collect(),
        Value::Object(fields) => {
            let is_position = fields.contains_key("offset");
            let is_kept = |name: &str| {
                let is_random = name.ends_with("nonce") || name == "stream_id";
                !(is_random || is_position && name == "leader_epoch")
            };
            let fields = fields.into_iter().filter(|(name, _)| is_kept(name));
            fields.map(|(name, value)| (name, without_additions(value))).collect()
        }
        value => value,
    }
}

/// The plan of the batch that is a rewind.
const REWIND: &str = "offsets/00000000000000000002";

#[tokio::test]
async fn a_checkpoint_is_still_written_as_version_1() {
    fn rewritten<E: Serialize + DeserializeOwned>(text: &str) -> String {
        let entry: E = serde_json::from_str(text).unwrap();
        serde_json::to_string_pretty(&entry).unwrap() + "\n"
    }
    let golden = files(&golden());
    for (name, text) in &golden {
        let now = match name.split('/').next().unwrap() {
            "offsets" => rewritten::<OffsetsEntry>(text),
            "commits" => rewritten::<CommitEntry>(text),
            "generations" => rewritten::<GenerationMarker>(text),
            _ => rewritten::<StreamMeta>(text),
        };
        assert_eq!(now, *text, "{name}");
    }
    // The log writes the same files, but for the random ids, and for the epochs of positions, which
    // were added within the version.
    let folder = tempfile::tempdir().unwrap();
    write_every_kind_of_entry(folder.path()).await;
    let without_ids = |files: BTreeMap<String, String>| {
        let value = |name: &str, text: String| {
            let mut value = without_additions(serde_json::from_str(&text).unwrap());
            // The plan of a rewind repeats the positions before it now; those after it are in the commit.
            if let (true, Some(plan)) = (name.ends_with(REWIND), value.as_object_mut()) {
                plan.remove("positions");
            }
            value
        };
        let values = files.into_iter().map(|(name, file)| (name.clone(), value(&name, file)));
        values.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(without_ids(files(folder.path())), without_ids(golden));
}

/// A store that a program brings along: a table in place of its database.
#[derive(Debug, Default)]
struct Table(Mutex<BTreeMap<String, Vec<u8>>>);

impl Table {
    fn rows(&self) -> Result<MutexGuard<'_, BTreeMap<String, Vec<u8>>>, StoreError> {
        let fault = |error: PoisonError<_>| {
            StoreError::new(StoreFault::Refused, "locking", error.to_string())
        };
        self.0.lock().map_err(fault)
    }
}

impl CheckpointStore for Table {
    fn location(&self, name: &str) -> String {
        format!("table:{name}")
    }

    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> StoreFuture<'a, CreateOutcome> {
        Box::pin(async move {
            Ok(match self.rows()?.entry(name.to_owned()) {
                Entry::Occupied(_) => CreateOutcome::Exists,
                Entry::Vacant(row) => {
                    row.insert(bytes.to_vec());
                    CreateOutcome::Created
                }
            })
        })
    }

    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move { Ok(self.rows()?.get(name).cloned()) })
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<String>> {
        Box::pin(async move {
            let name =
                |name: &String| Some(name.strip_prefix(folder)?.strip_prefix('/')?.to_owned());
            Ok(self.rows()?.keys().filter_map(name).collect())
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.rows()?.remove(name);
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_program_can_bring_a_store_of_its_own() {
    let table = Arc::new(Table::default());
    let store = || Arc::clone(&table) as Arc<dyn CheckpointStore>;
    let (mut log, _) = StreamLog::open(store(), None, 0).await.unwrap();
    log.log_starts(vec![start(0, 5)], ISOLATION, 1).await.unwrap();
    let planned = log.log_plan(PlanDraft::new(plan(&[(0, 5, 9, 0)], vec![]), 2)).await.unwrap();
    let state = CheckpointState::read(store()).await.unwrap().unwrap();
    assert_eq!(state.pending, Some(planned.entry));
    assert_eq!(table.rows().unwrap().len(), 5);
}

#[tokio::test]
async fn a_local_checkpoint_is_recovered_by_another_driver_which_fences_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, _) = StreamLog::open(local(folder.path()), None, 0).await.unwrap();
    first.log_starts(vec![start(0, 5)], ISOLATION, 1).await.unwrap();
    let planned = first.log_plan(PlanDraft::new(plan(&[(0, 5, 9, 0)], vec![]), 2)).await.unwrap();
    let (second, state) = StreamLog::open(local(folder.path()), None, 3).await.unwrap();
    assert_eq!(state.pending, Some(planned.entry));
    assert_eq!(first.check_generation().await.unwrap_err().kind(), ErrorKind::Fenced);
    second.check_generation().await.unwrap();
    let last = folder.path().join("offsets/00000000000000000001");
    fs::write(&last, "{").unwrap();
    let error = StreamLog::open(local(folder.path()), None, 4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().starts_with(&last.display().to_string()), "{error}");
}
