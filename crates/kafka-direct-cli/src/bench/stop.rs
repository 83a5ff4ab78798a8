//! Decides when a round ends before all its ranges are read.
//!
//! Contract: a round without bounds reads everything. A round with bounds ends in all its readers
//! with the first batch after either bound is reached, and starts no other range.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

/// Upper bounds on the time and the bytes of a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) time: Duration,
    /// Bytes of decompressed records.
    pub(super) bytes: u64,
}

impl Bounds {
    /// The bounds without `--all` and `--to`: 30 s and 10 GiB.
    pub(super) const STANDARD: Self = Self { time: Duration::from_secs(30), bytes: 10 << 30 };
}

/// The bound that ended a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cut {
    Time,
    Bytes,
}

/// The bounds of one round and its progress towards them.
#[derive(Debug)]
pub(super) struct StopRule {
    deadline: Option<Instant>,
    max_bytes: u64,
    bytes: AtomicU64,
}

impl StopRule {
    /// The rule for a round that starts now.
    pub(super) fn new(bounds: Option<Bounds>) -> Self {
        Self {
            deadline: bounds.and_then(|bounds| Instant::now().checked_add(bounds.time)),
            max_bytes: bounds.map_or(u64::MAX, |bounds| bounds.bytes),
            bytes: AtomicU64::new(0),
        }
    }

    /// Adds decompressed bytes of records that were read.
    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the bound that is reached, if any.
    pub(super) fn reached(&self) -> Option<Cut> {
        if self.bytes.load(Ordering::Relaxed) >= self.max_bytes {
            return Some(Cut::Bytes);
        }
        let over = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        over.then_some(Cut::Time)
    }

    /// Returns the result of `work`, or `None` if the time bound is reached first.
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
    async fn the_first_reached_bound_ends_a_round() {
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
    async fn waiting_ends_at_the_time_bound() {
        let rule = StopRule::new(Some(BOUNDS));
        assert_eq!(rule.in_time(async { 1 }).await, Some(1));
        assert_eq!(rule.in_time(std::future::pending::<()>()).await, None);
        assert_eq!(rule.reached(), Some(Cut::Time));
    }

    #[tokio::test(start_paused = true)]
    async fn without_bounds_a_round_has_no_end() {
        let rule = StopRule::new(None);
        rule.add(u64::MAX - 1);
        tokio::time::sleep(Duration::from_secs(100_000)).await;
        assert_eq!(rule.reached(), None);
    }
}
