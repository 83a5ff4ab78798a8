//! The named points of a batch at which a driver is killed, held up or never continues.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{task::AbortHandle, time::sleep};

/// A point in the life of a driver. `After` means: the step took effect and has not returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// A generation is claimed, and nothing is planned.
    BeforePlan,
    /// A batch is planned, and the plan is not stored.
    AfterPlan,
    AfterPlanWrite,
    /// A range has a writer and no record.
    BeforeRange,
    InsideRange,
    /// The records of a range are read, and the writer has not finished.
    BeforeFinish,
    AfterFinish,
    BeforeSinkCommit,
    AfterSinkCommit,
    BeforeCommitWrite,
    AfterCommitWrite,
    BeforePurge,
    /// The plan of an old batch is removed, and its commit is not.
    InsidePurge,
    AfterPurge,
    /// The coordinator has stored the positions, and its response is not sent.
    Publish,
}

impl Point {
    pub(crate) const ALL: [Self; 15] = [
        Self::BeforePlan,
        Self::AfterPlan,
        Self::AfterPlanWrite,
        Self::BeforeRange,
        Self::InsideRange,
        Self::BeforeFinish,
        Self::AfterFinish,
        Self::BeforeSinkCommit,
        Self::AfterSinkCommit,
        Self::BeforeCommitWrite,
        Self::AfterCommitWrite,
        Self::BeforePurge,
        Self::InsidePurge,
        Self::AfterPurge,
        Self::Publish,
    ];
}

/// What happens at a point, instead of a short pause.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    Kill,
    /// The driver goes on after this time, as a process that was suspended.
    Stall(Duration),
    /// The call never returns.
    Hang,
}

/// How often things happened, over all seeds.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    kills: [AtomicU64; Point::ALL.len()],
    stalls: [AtomicU64; Point::ALL.len()],
    counts: Mutex<std::collections::BTreeMap<&'static str, u64>>,
}

impl Coverage {
    pub(crate) fn killed(&self, point: Point) {
        if let Some(kills) = self.kills.get(point as usize) {
            kills.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts something that the runs together must have seen.
    pub(crate) fn saw(&self, what: &'static str) {
        *self.counts.lock().entry(what).or_default() += 1;
    }

    pub(crate) fn times(&self, what: &str) -> u64 {
        self.counts.lock().get(what).copied().unwrap_or(0)
    }

    /// How often a driver was killed at each point, and held up there.
    pub(crate) fn of_points(&self) -> Vec<(Point, u64, u64)> {
        let counts = self.kills.iter().zip(&self.stalls);
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Point::ALL.iter().zip(counts).map(|(p, (k, s))| (*p, count(k), count(s))).collect()
    }

    pub(crate) fn summary(&self) -> String {
        format!("{:?}\n{:?}", self.of_points(), self.counts.lock())
    }
}

/// The points of one driver. Every one takes a moment, so that a driver may also be killed there by
/// chance.
#[derive(Debug)]
pub(crate) struct Points {
    pub(crate) pause: Duration,
    /// What happens once, after the point was passed this many times.
    pub(crate) planned: Mutex<Option<(Point, u64, Action)>>,
    pub(crate) task: OnceLock<AbortHandle>,
    pub(crate) coverage: std::sync::Arc<Coverage>,
}

impl Points {
    pub(crate) async fn at(&self, point: Point) {
        match self.take(point) {
            None if self.pause.is_zero() => {}
            None => sleep(self.pause).await,
            Some(Action::Kill) => {
                self.kill(point);
                std::future::pending().await
            }
            Some(Action::Stall(time)) => {
                if let Some(stalls) = self.coverage.stalls.get(point as usize) {
                    stalls.fetch_add(1, Ordering::Relaxed);
                }
                sleep(time).await;
            }
            Some(Action::Hang) => {
                self.coverage.saw("a call that never returned");
                std::future::pending().await
            }
        }
    }

    pub(crate) fn kill(&self, point: Point) {
        let task = self.task.get().unwrap();
        if !task.is_finished() {
            self.coverage.killed(point);
            task.abort();
        }
    }

    fn take(&self, point: Point) -> Option<Action> {
        let mut planned = self.planned.lock();
        let (_, left, action) = planned.as_mut().filter(|(at, ..)| *at == point)?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let action = *action;
        *planned = None;
        Some(action)
    }
}
