//! Runs one task per planned range: the only place where ranges become tasks.
//!
//! Contract: at most `concurrency` ranges are started at once, and the first pieces of all
//! partitions start before any second piece, so that few ranges are unfinished at a time. Results are
//! returned in plan order. The first error or panic stops the others, and the call returns after they
//! were dropped. Dropping the future stops all tasks.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    num::NonZeroUsize,
    thread,
};

use kafka_direct_core::PlannedRange;
use tokio::{
    runtime::Handle,
    task::{JoinError, JoinSet},
};

use crate::Error;

/// How the ranges of a plan are run.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    pub(crate) ranges: &'a [PlannedRange],
    /// `None`: one range of every partition, and at least two per core.
    pub(crate) concurrency: Option<NonZeroUsize>,
    pub(crate) runtime: Handle,
}

impl Runner<'_> {
    /// Runs `work` for every range, given its index in the plan.
    pub(crate) async fn run<T, W, Fut>(self, work: W) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        W: Fn(usize, PlannedRange) -> Fut,
        Fut: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let results = self.run_until(std::future::pending(), work).await?;
        Ok(results.unwrap_or_default())
    }

    /// The same; `None` if `stopped` was earlier: then all tasks have ended, too.
    pub(crate) async fn run_until<T, W, Fut>(
        self,
        stopped: impl Future<Output = ()> + Send,
        work: W,
    ) -> Result<Option<Vec<T>>, Error>
    where
        T: Send + 'static,
        W: Fn(usize, PlannedRange) -> Fut,
        Fut: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut stopped = std::pin::pin!(stopped);
        let total = self.ranges.len();
        let limit = self.limit();
        let mut waiting = first_pieces_last(self.ranges);
        let mut results: Vec<Option<T>> = std::iter::repeat_with(|| None).take(total).collect();
        let mut tasks = JoinSet::new();
        let mut indices = HashMap::new();
        let unfinished = loop {
            while tasks.len() < limit
                && let Some(index) = waiting.pop()
            {
                let Some(planned) = self.ranges.get(index) else { continue };
                let task = work(index, planned.clone());
                indices.insert(tasks.spawn_on(task, &self.runtime).id(), index);
            }
            let done = tokio::select! {
                biased;
                () = &mut stopped => break Some(Ok(None)),
                done = tasks.join_next_with_id() => done,
            };
            let Some(done) = done else { break None };
            let (id, result) = match done {
                Ok((id, result)) => (id, result),
                Err(ended) => {
                    let index = indices.get(&ended.id()).copied();
                    let planned = index.and_then(|index| self.ranges.get(index));
                    let Some(planned) = planned else { continue };
                    let range = planned.range().clone();
                    let message = panic_message(ended);
                    break Some(Err(Error::ClosurePanicked { range, message }));
                }
            };
            let Some(index) = indices.remove(&id) else { continue };
            match result {
                Ok(value) => {
                    if let Some(place) = results.get_mut(index) {
                        *place = Some(value);
                    }
                }
                Err(error) => break Some(Err(error)),
            }
        };
        tasks.shutdown().await;
        unfinished.unwrap_or_else(|| Ok(Some(results.into_iter().flatten().collect())))
    }

    fn limit(&self) -> usize {
        if let Some(set) = self.concurrency {
            return set.get();
        }
        let partitions: HashSet<_> =
            self.ranges.iter().map(PlannedRange::topic_partition).collect();
        partitions.len().max(cores().saturating_mul(2))
    }
}

/// The message of the panic that ended a task.
pub(crate) fn panic_message(ended: JoinError) -> String {
    let payload = match ended.try_into_panic() {
        Ok(payload) => payload,
        // Only a runtime that shuts down ends a task otherwise.
        Err(cancelled) => return cancelled.to_string(),
    };
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload
            .downcast_ref::<&str>()
            .map_or_else(|| "a panic without a message".to_owned(), |text| (*text).to_owned()),
    }
}

/// How many tasks may use a core at the same time.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(2, NonZeroUsize::get)
}

/// The indices of `ranges` in an order that is taken from the end: first pieces, then second ones.
fn first_pieces_last(ranges: &[PlannedRange]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|index| {
        (std::cmp::Reverse(ranges.get(*index).map(PlannedRange::piece)), std::cmp::Reverse(*index))
    });
    order
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use kafka_direct_core::{IsolationLevel, OffsetRange, TopicPartition};
    use parking_lot::Mutex;
    use tokio::sync::Barrier;

    use super::*;

    fn range(partition: i32, piece: u32) -> PlannedRange {
        let from = i64::from(piece) * 10;
        let range = OffsetRange::new(TopicPartition::new("t", partition), from, from + 10).unwrap();
        PlannedRange::new(range, IsolationLevel::ReadCommitted).with_piece(piece)
    }

    fn runner(ranges: &[PlannedRange], concurrency: usize) -> Runner<'_> {
        let concurrency = NonZeroUsize::new(concurrency);
        Runner { ranges, concurrency, runtime: Handle::current() }
    }

    #[tokio::test]
    async fn results_are_in_plan_order_and_first_pieces_start_first() {
        let ranges = [range(0, 0), range(0, 1), range(1, 0), range(1, 1)];
        let started = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&started);
        let results = runner(&ranges, 1).run(move |index, _| {
            let seen = Arc::clone(&seen);
            async move {
                seen.lock().push(index);
                Ok(index)
            }
        });
        assert_eq!(results.await.unwrap(), [0, 1, 2, 3]);
        assert_eq!(*started.lock(), [0, 2, 1, 3]);
    }

    #[tokio::test]
    async fn no_more_ranges_run_at_once_than_allowed() {
        let ranges: Vec<_> = (0..50).map(|partition| range(partition, 0)).collect();
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&running), Arc::clone(&most));
        let run = runner(&ranges, 7).run(move |_, _| {
            let (running, most) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::AcqRel);
                Ok(())
            }
        });
        run.await.unwrap();
        assert_eq!(most.load(Ordering::Acquire), 7);
    }

    #[tokio::test]
    async fn one_range_of_every_partition_runs_by_default() {
        let ranges: Vec<_> = (0..100).map(|partition| range(partition, 0)).collect();
        let all = Arc::new(Barrier::new(100));
        let run = runner(&ranges, 0).run(move |_, _| {
            let all = Arc::clone(&all);
            async move {
                all.wait().await;
                Ok(())
            }
        });
        assert_eq!(run.await.unwrap().len(), 100);
    }

    #[tokio::test]
    async fn the_first_error_ends_the_run_after_the_other_tasks_are_dropped() {
        let ranges = [range(0, 0), range(1, 0)];
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let run = runner(&ranges, 2).run(move |index, _| {
            let held = Arc::clone(&held);
            async move {
                if index == 0 {
                    return Err(Error::PlanningDeadline);
                }
                std::future::pending::<()>().await;
                drop(held);
                Ok(())
            }
        });
        run.await.unwrap_err();
        assert_eq!(Arc::strong_count(&alive), 1);
    }
    #[tokio::test]
    async fn a_panic_keeps_its_message() {
        let ranges = [range(0, 0)];
        for (which, message) in
            [(0, "no column `x`"), (1, "plain text"), (2, "a panic without a message")]
        {
            let run = runner(&ranges, 1).run(move |_, _| async move {
                match which {
                    0 => panic!("no column `{}`", 'x'),
                    1 => panic!("plain text"),
                    _ => std::panic::panic_any(7),
                }
                #[expect(unreachable_code, reason = "gives the task its result type")]
                Ok(())
            });
            let error = run.await.unwrap_err();
            let Error::ClosurePanicked { message: found, .. } = &error else {
                panic!("{error:?}");
            };
            assert_eq!(found, message);
            assert!(error.to_string().ends_with(message), "{error}");
        }
    }
}
