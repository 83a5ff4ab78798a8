//! The byte budget of a cluster: what fetches in flight and record sets in queues may hold (INV-8).
//!
//! A lane takes a [`Grant`] before it asks, splits it into one [`Lease`] for each record set that
//! arrived, and gives the rest back. A lease ends when its bytes are handed to the caller: what was
//! delivered is counted and never waited for ([`FetchMetrics::held_bytes`](super::FetchMetrics)), so a
//! caller may keep every batch without stopping the others.
//!
//! A lane may go over the budget by one oversize batch: the broker sends the first batch whole
//! whatever the limits. Readers that nobody polls may hold the whole budget; when nothing was given
//! back for a while and someone starves, the lane has the largest of them *evicted* (see `cursor`):
//! their bytes are dropped and fetched again when they are wanted.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

/// Shared by all lanes of a cluster.
#[derive(Debug)]
pub(crate) struct Budget {
    total: i64,
    /// May go below zero by one oversize batch.
    available: Mutex<i64>,
    peak_used: AtomicI64,
    freed: Notify,
    /// Lanes that wait for more than there was.
    waiting: AtomicUsize,
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Budget {
    pub(crate) fn new(total_bytes: usize) -> Arc<Self> {
        let total = signed(total_bytes);
        Arc::new(Self {
            total,
            available: Mutex::new(total),
            peak_used: AtomicI64::new(0),
            freed: Notify::new(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Takes between `least` and `most` bytes, as many as there are; `None` if fewer than `least`
    /// are left. `least` is at most `most` and the whole budget.
    pub(crate) fn try_grant(self: &Arc<Self>, least: usize, most: usize) -> Option<Grant> {
        let mut available = self.available.lock();
        if *available < signed(least) {
            return None;
        }
        let bytes = signed(most).min(*available);
        self.take(&mut available, bytes);
        Some(Grant { budget: Arc::clone(self), bytes })
    }

    fn take(&self, available: &mut i64, bytes: i64) {
        *available = available.saturating_sub(bytes);
        self.peak_used.fetch_max(self.total.saturating_sub(*available), Ordering::Relaxed);
    }

    fn release(&self, bytes: i64) {
        if bytes == 0 {
            return;
        }
        let mut available = self.available.lock();
        *available = available.saturating_add(bytes);
        drop(available);
        self.freed.notify_waiters();
    }

    /// Resolves when something was given back after this call was first polled or enabled.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Whether a lane waits that could not get what it needs.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Counts the caller as waiting until the guard is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Bytes in flight and queued now; above the total by at most one oversize batch.
    pub(crate) fn used(&self) -> i64 {
        self.total.saturating_sub(*self.available.lock())
    }

    /// The most that was ever in flight and queued.
    pub(crate) fn peak_used(&self) -> i64 {
        self.peak_used.load(Ordering::Relaxed)
    }
}

/// A lane that waits for budget.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Budget);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes a lane may ask a broker for.
#[derive(Debug)]
pub(crate) struct Grant {
    budget: Arc<Budget>,
    bytes: i64,
}

impl Grant {
    /// How many bytes may be asked for.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(0)
    }

    /// Splits off what arrived for one partition; takes more where the broker sent more.
    pub(crate) fn lease(&mut self, bytes: usize) -> Lease {
        let bytes = signed(bytes);
        let over = bytes.saturating_sub(self.bytes);
        if over > 0 {
            self.budget.take(&mut self.budget.available.lock(), over);
            self.bytes = self.bytes.saturating_add(over);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        Lease { budget: Arc::clone(&self.budget), bytes }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// Bytes that lie in a queue; given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Arc<Budget>,
    bytes: i64,
}

impl Lease {
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(0)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_and_never_exceeds_the_total() {
        let budget = Budget::new(100);
        let mut grant = budget.try_grant(10, 60).unwrap();
        assert_eq!((grant.bytes(), budget.used()), (60, 60));
        assert_eq!(budget.try_grant(10, 60).unwrap().bytes(), 40);
        assert!(budget.try_grant(41, 60).is_none());
        let lease = grant.lease(25);
        drop(grant);
        assert_eq!(budget.used(), 25);
        drop(lease);
        assert_eq!((budget.used(), budget.peak_used()), (0, 100));
    }

    #[test]
    fn an_oversize_batch_is_admitted_alone() {
        let budget = Budget::new(100);
        let mut grant = budget.try_grant(10, 20).unwrap();
        let oversize = grant.lease(500);
        drop(grant);
        assert_eq!(budget.used(), 500);
        assert!(budget.try_grant(1, 1).is_none());
        drop(oversize);
        assert!(budget.try_grant(100, 100).is_some());
    }
}
