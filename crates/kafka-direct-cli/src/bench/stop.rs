//! When a round ends before its ranges do.
//!
//! Contract: a round without bounds reads everything; one with bounds ends with the first batch
//! after either is reached, in all of its readers, and begins no other range.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

/// How long and how much a round reads at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) time: Duration,
    /// Of records, decompressed.
    pub(super) bytes: u64,
}

impl Bounds {
    /// Those of a bench that was not told to read everything.
    pub(super) const STANDARD: Self = Self { time: Duration::from_secs(30), bytes: 10 << 30 };
}

/// Which bound ended a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cut {
    Time,
    Bytes,
}

/// One round's bounds and how far it got.
#[derive(Debug)]
pub(super) struct StopRule {
    deadline: Option<Instant>,
    most_bytes: u64,
    bytes: AtomicU64,
}

impl StopRule {
    /// A round that begins now.
    pub(super) fn new(bounds: Option<Bounds>) -> Self {
        Self {
            deadline: bounds.and_then(|bounds| Instant::now().checked_add(bounds.time)),
            most_bytes: bounds.map_or(u64::MAX, |bounds| bounds.bytes),
            bytes: AtomicU64::new(0),
        }
    }

    /// Counts bytes of records that were read.
    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Which bound is reached, if any.
    pub(super) fn reached(&self) -> Option<Cut> {
        if self.bytes.load(Ordering::Relaxed) >= self.most_bytes {
            return Some(Cut::Bytes);
        }
        let over = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        over.then_some(Cut::Time)
    }

    /// What `work` gives, unless the time is over before: then `None`.
    pub(super) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self.deadline {
            Some(deadline) => timeout_at(deadline, work).await.ok(),
            None => Some(work.await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), bytes: 1000 };

    #[tokio::test(start_paused = true)]
    async fn the_first_bound_that_is_reached_ends_it() {
        let rule = StopRule::new(Some(BOUNDS));
        rule.add(999);
        assert_eq!(rule.reached(), None);
        rule.add(1);
        assert_eq!(rule.reached(), Some(Cut::Bytes));
        let rule = StopRule::new(Some(BOUNDS));
        tokio::time::sleep(Duration::from_millis(29_990)).await;
        assert_eq!(rule.reached(), None);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(rule.reached(), Some(Cut::Time));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_when_the_time_is_over() {
        let rule = StopRule::new(Some(BOUNDS));
        assert_eq!(rule.in_time(async { 1 }).await, Some(1));
        assert_eq!(rule.in_time(std::future::pending::<()>()).await, None);
        assert_eq!(rule.reached(), Some(Cut::Time));
    }

    #[tokio::test(start_paused = true)]
    async fn without_bounds_nothing_ends_it() {
        let rule = StopRule::new(None);
        rule.add(u64::MAX - 1);
        tokio::time::sleep(Duration::from_secs(100_000)).await;
        assert_eq!(rule.reached(), None);
    }
}
