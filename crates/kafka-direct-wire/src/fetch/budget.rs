//! The byte budget of a cluster: it bounds fetches in flight and record sets in queues (INV-8).
//!
//! A lane takes a [`Grant`] before it sends a request. It splits the grant into one [`Lease`] for
//! each record set that arrived and releases the rest. A lease ends when the caller gets its bytes,
//! unless they are kept for a later range (see [`carry_over`](super::carry_over)).
//! Delivered bytes are counted ([`FetchMetrics::held_bytes`](super::FetchMetrics)), but they block
//! nothing. So a caller may keep every batch without stopping other readers.
//!
//! A lane may exceed the budget by one oversize batch, because the broker ignores the limits for
//! the first batch of a response.
//!
//! Readers that are not polled may hold the whole budget. If a reader is blocked on the budget and
//! nothing is released for a while, the lane *evicts* the largest queue (see
//! [`partition_cursor`](super::partition_cursor)). Its bytes are dropped, and fetched again when
//! the reader is polled.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};

/// The memory budget that all lanes of a cluster share.
#[derive(Debug)]
pub(crate) struct Budget {
    total: i64,
    /// Bytes that can be granted; below zero by at most one oversize batch per lane.
    available: Mutex<i64>,
    peak_used: AtomicI64,
    freed: Notify,
    /// The number of lanes that wait for budget.
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

    /// Takes as many bytes as are available, from `min` to `max`, both inclusive. Returns `None` if
    /// fewer than `min` are available. `min` must not exceed `max` or the whole budget.
    pub(crate) fn try_grant(self: &Arc<Self>, min: usize, max: usize) -> Option<Grant> {
        let mut available = self.available.lock();
        if *available < signed(min) {
            return None;
        }
        let bytes = signed(max).min(*available);
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

    /// Resolves when bytes are released after the future was first polled or enabled.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Whether a lane waits for budget.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Counts the caller as waiting until the guard is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// Bytes in flight and queued now; above the total by at most one oversize batch per lane.
    pub(crate) fn used(&self) -> i64 {
        self.total.saturating_sub(*self.available.lock())
    }

    /// The highest number of bytes that were in flight and queued at once.
    pub(crate) fn peak_used(&self) -> i64 {
        self.peak_used.load(Ordering::Relaxed)
    }
}

/// Counts a lane as waiting for budget until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Budget);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that a lane may request from a broker. The rest is released on drop.
#[derive(Debug)]
pub(crate) struct Grant {
    budget: Arc<Budget>,
    bytes: i64,
}

impl Grant {
    /// The number of bytes that may be requested.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(0)
    }

    /// Splits off the bytes that arrived for one partition. Takes more from the budget if the
    /// broker sent more than was granted; the budget may then fall below zero.
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

/// Bytes that are in a queue. They are released on drop.
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
    fn grants_and_leases_are_released_and_never_exceed_the_total() {
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
