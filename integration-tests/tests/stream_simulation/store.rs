//! A checkpoint that passes the named points and remembers everything that was ever stored in it.

use std::{collections::BTreeMap, sync::Arc};

use kafka_direct::checkpoint::{
    CheckpointStore, CommitEntry, CreateOutcome, MemoryCheckpoint, OffsetsEntry, StoreFuture,
};
use parking_lot::Mutex;

use crate::{
    logs::Clock,
    points::{Point, Points},
    sink::Visible,
};

/// The plans and commits that were stored, also those that are purged.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// With the moment at which each was stored.
    pub(crate) offsets: BTreeMap<u64, (u64, OffsetsEntry)>,
    pub(crate) commits: BTreeMap<u64, CommitEntry>,
}

impl History {
    /// Records a new file. A batch number never names two plans, except that a fenced driver may write
    /// one late, after the batch was purged.
    fn record(&mut self, name: &str, bytes: &[u8], now: u64, visible: &Mutex<Visible>) {
        if name.starts_with("offsets/") {
            let entry: OffsetsEntry = serde_json::from_slice(bytes).unwrap();
            let batch = entry.batch.get();
            let commits = &self.commits;
            let (_, stored) = self.offsets.entry(batch).or_insert_with(|| (now, entry.clone()));
            let is_late = commits.contains_key(&batch);
            assert!(*stored == entry || is_late, "INV-5: batch {batch} names two plans");
        } else if name.starts_with("commits/") {
            let entry: CommitEntry = serde_json::from_slice(bytes).unwrap();
            let batch = entry.batch.get();
            let (_, plan) = self.offsets.get(&batch).expect("INV-5: a commit without a plan");
            let is_in_sink = visible.lock().commits.contains_key(&entry.batch);
            assert!(
                is_in_sink || plan.plan.is_empty_span(),
                "INV-5: batch {batch} is done, and not in the sink"
            );
            let is_first = !self.commits.contains_key(&batch);
            if is_first {
                self.commits.insert(batch, entry);
            }
        }
    }
}

/// The checkpoint of one driver.
#[derive(Debug)]
pub(crate) struct WatchedStore {
    pub(crate) inner: MemoryCheckpoint,
    pub(crate) history: Arc<Mutex<History>>,
    pub(crate) visible: Arc<Mutex<Visible>>,
    pub(crate) points: Arc<Points>,
    pub(crate) clock: Clock,
}

impl CheckpointStore for WatchedStore {
    fn location(&self, name: &str) -> String {
        self.inner.location(name)
    }

    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> StoreFuture<'a, CreateOutcome> {
        Box::pin(async move {
            if name.starts_with("offsets/") {
                self.points.at(Point::AfterPlan).await;
            } else if name.starts_with("commits/") {
                self.points.at(Point::BeforeCommitWrite).await;
            }
            let created = self.inner.create(name, bytes).await;
            let is_stored = match &created {
                Ok(outcome) => *outcome == CreateOutcome::Created,
                Err(_) => self.inner.objects().get(name).is_some_and(|stored| stored == bytes),
            };
            if is_stored {
                let now = self.clock.tick();
                self.history.lock().record(name, bytes, now, &self.visible);
            }
            if name.starts_with("offsets/") {
                self.points.at(Point::AfterPlanWrite).await;
            } else if name.starts_with("commits/") {
                self.points.at(Point::AfterCommitWrite).await;
            } else if name.starts_with("generations/") {
                self.points.at(Point::BeforePlan).await;
            }
            created
        })
    }

    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        self.inner.read(name)
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<String>> {
        self.inner.list(folder)
    }

    fn remove<'a>(&'a self, name: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let is_plan = name.starts_with("offsets/");
            if is_plan {
                self.points.at(Point::BeforePurge).await;
            }
            let removed = self.inner.remove(name).await;
            self.points.at(if is_plan { Point::InsidePurge } else { Point::AfterPurge }).await;
            removed
        })
    }
}
