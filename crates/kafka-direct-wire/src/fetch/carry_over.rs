//! Keeps the bytes that a response has beyond the end of its range, for the range that continues
//! there.
//!
//! A batch of a stream ends at an offset, and a response at the end of a Kafka batch. Without this,
//! a Kafka batch of 10,000 records would be fetched a hundred times for batches of 100 records.
//!
//! Kept bytes hold their [`Lease`] on the memory budget, but never more than a third of it in
//! total. A lane that cannot afford a request evicts them at once (see
//! [`lane`](super::lane)), so no running range waits for them.
//!
//! Kept bytes are a whole response, with its list of aborted transactions. The next range passes
//! it to [`accept`](super::accept::accept) like a response that arrives.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use kafka_direct_core::{Offset, TopicId, TopicPartition};
use parking_lot::Mutex;

use super::{
    budget::{Budget, Lease},
    response::PartitionResponse,
};

/// Kept bytes are at most the memory budget divided by this.
const BUDGET_PARTS: usize = 3;

/// A response that reaches beyond the end of its range.
#[derive(Debug)]
pub(super) struct Carried {
    /// The end of the range, exclusive: where another range may continue.
    pub(super) until: Offset,
    pub(super) isolation: i8,
    /// The topic id and the leader epoch under which the bytes were fetched.
    pub(super) topic_id: TopicId,
    pub(super) leader_epoch: i32,
    pub(super) response: Box<PartitionResponse>,
    pub(super) lease: Lease,
}

/// The kept responses of all streams of a cluster.
#[derive(Debug)]
pub(super) struct AllCarried {
    budget: Arc<Budget>,
    limit_bytes: usize,
    next_owner: AtomicU64,
    kept: Mutex<Kept>,
}

type Key = (u64, TopicPartition);

#[derive(Debug, Default)]
struct Kept {
    /// At most one response of each partition and owner.
    responses: HashMap<Key, Carried>,
    /// The bytes of the budget that they hold.
    bytes: usize,
}

impl Kept {
    fn remove(&mut self, key: &Key) -> Option<Carried> {
        let removed = self.responses.remove(key)?;
        self.bytes = self.bytes.saturating_sub(removed.lease.bytes());
        Some(removed)
    }

    /// Removes and returns the responses for which `leaves` is true.
    fn remove_if(&mut self, leaves: impl Fn(&Key, &Carried) -> bool) -> Vec<Carried> {
        let found = self.responses.iter().filter(|(key, carried)| leaves(key, carried));
        let keys: Vec<Key> = found.map(|(key, _)| key.clone()).collect();
        keys.iter().filter_map(|key| self.remove(key)).collect()
    }
}

impl AllCarried {
    pub(super) fn new(budget: Arc<Budget>, memory_budget_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            budget,
            limit_bytes: memory_budget_bytes / BUDGET_PARTS,
            next_owner: AtomicU64::new(0),
            kept: Mutex::default(),
        })
    }

    /// The bytes of the budget that kept responses hold.
    pub(super) fn bytes(&self) -> usize {
        self.kept.lock().bytes
    }

    /// Drops the largest kept response. Returns `false` if there is none.
    ///
    /// A lane calls it between [`Budget::wait`] and its wait. A response that is kept later then
    /// finds the lane waiting, and is dropped.
    pub(super) fn evict_largest(&self) -> bool {
        let mut kept = self.kept.lock();
        let largest = kept.responses.iter().max_by_key(|(_, carried)| carried.lease.bytes());
        let key = largest.map(|(key, _)| key.clone());
        let evicted = key.and_then(|key| kept.remove(&key));
        drop(kept);
        evicted.is_some()
    }

    fn keep(&self, key: Key, carried: Carried) {
        let mut kept = self.kept.lock();
        // Pieces of one partition may end in any order: the next batch continues after the last.
        let is_before = |old: &Carried| old.until > carried.until;
        if kept.responses.get(&key).is_some_and(is_before) {
            return;
        }
        let replaced = kept.remove(&key);
        let bytes = kept.bytes.saturating_add(carried.lease.bytes());
        let refused = if bytes > self.limit_bytes || self.budget.is_waited_for() {
            Some(carried)
        } else {
            kept.bytes = bytes;
            kept.responses.insert(key, carried);
            None
        };
        drop(kept);
        drop((replaced, refused));
    }
}

/// Where the ranges of one stream keep what they fetch beyond their ends.
///
/// A range that begins where an earlier one ended continues with the same bytes
/// ([`RangeFetch::continue_from`](super::RangeFetch::continue_from)), if topic id, leader epoch and
/// isolation level are the same. Clones are the same store. When the last clone is dropped, the
/// bytes are released.
#[derive(Debug, Clone)]
pub struct CarryOver(Arc<Owner>);

#[derive(Debug)]
struct Owner {
    number: u64,
    all: Arc<AllCarried>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.remove_if(|_, _| true);
    }
}

impl Owner {
    fn remove_if(&self, leaves: impl Fn(&TopicPartition, &Carried) -> bool) {
        let mut kept = self.all.kept.lock();
        let removed =
            kept.remove_if(|(owner, tp), carried| *owner == self.number && leaves(tp, carried));
        drop(kept);
        drop(removed);
    }
}

impl CarryOver {
    pub(super) fn new(all: &Arc<AllCarried>) -> Self {
        let number = all.next_owner.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Owner { number, all: Arc::clone(all) }))
    }

    /// Releases all kept bytes.
    pub fn clear(&self) {
        self.0.remove_if(|_, _| true);
    }

    /// Releases the bytes of the partitions for which `keeps` is false.
    ///
    /// It gets the partition, the offset at which a range may continue, and the topic id and leader
    /// epoch under which the bytes were fetched. It must not use a store itself.
    pub fn retain(&self, keeps: impl Fn(&TopicPartition, Offset, TopicId, i32) -> bool) {
        self.0.remove_if(|tp, carried| {
            !keeps(tp, carried.until, carried.topic_id, carried.leader_epoch)
        });
    }

    pub(super) fn keep(&self, tp: &TopicPartition, carried: Carried) {
        self.0.all.keep((self.0.number, tp.clone()), carried);
    }

    /// Removes and returns the kept response of `tp`, if `fits` is true for it.
    pub(super) fn take(
        &self,
        tp: &TopicPartition,
        fits: impl FnOnce(&Carried) -> bool,
    ) -> Option<Carried> {
        let key = (self.0.number, tp.clone());
        let mut kept = self.0.all.kept.lock();
        if !kept.responses.get(&key).is_some_and(fits) {
            return None;
        }
        kept.remove(&key)
    }

    /// Releases the bytes of `tp`.
    pub(super) fn forget(&self, tp: &TopicPartition) {
        let removed = self.0.all.kept.lock().remove(&(self.0.number, tp.clone()));
        drop(removed);
    }
}
