//! Runs a batch into a sink: a writer per group of ranges and attempt, then one commit.
//!
//! Contract: a range holds nothing decoded while it waits for its records. As many ranges decode and
//! write at once as there are cores, so that memory does not grow with the number of ranges. The
//! ranges of a group are fetched at once and share a writer, one after the other; pieces of a partition
//! are read in order, and none after a piece that ended early. Only an error of the sink starts another
//! attempt, of the whole group, unless it is a record that cannot be decoded. After a fault of the cluster, reading resumes inside the
//! same attempt, or the batch ends with the error.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use kafka_direct_core::PlannedRange;
use kafka_direct_wire::Cluster;
use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore},
    time::Instant,
};

use crate::{
    BatchEnd, BoxError, Error, RangeSummary, RangeWriter as _, RunEvent, Sink, TaskReceipt,
    WriteTask, runner::cores, settings::Settings, time_limit::within,
};

/// What [`KafkaRdd::write_to`](crate::KafkaRdd::write_to) has written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WrittenBatch<R> {
    /// The receipts that were committed, in the order of their first ranges.
    pub receipts: Vec<TaskReceipt<R>>,
    /// Where the batch ended, for the next one.
    pub end: BatchEnd,
    /// How many ranges this run has read; the others were finished by an earlier run.
    pub ranges_read: usize,
}

/// The wait after the first failed attempt; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

pub(crate) fn backoff(failed_attempts: u32) -> Duration {
    let factor = 1u32.checked_shl(failed_attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_BACKOFF.saturating_mul(factor).min(LONGEST_BACKOFF)
}

/// What all groups of one run share.
#[derive(Debug)]
pub(crate) struct BatchWriter<S> {
    pub(crate) sink: Arc<S>,
    pub(crate) cluster: Cluster,
    pub(crate) settings: Settings,
    /// How long ranges waited for the sink, all of them together, in nanoseconds.
    pub(crate) sink_nanos: AtomicU64,
    /// The records that finished attempts could not decode.
    pub(crate) poison: AtomicU64,
    decode_permits: Semaphore,
    /// Attempts that have begun and are neither finished nor aborted.
    open: Mutex<BTreeMap<usize, WriteTask>>,
}

/// A group's receipt, and whether an earlier run had finished it.
pub(crate) type Written<R> = (TaskReceipt<R>, bool);

/// What a run has written and not committed.
#[derive(Debug)]
pub(crate) struct WrittenRanges<R> {
    /// One entry per group, in the order of their first ranges.
    pub(crate) written: Vec<Written<R>>,
    /// How long the ranges waited for the sink, all of them together.
    pub(crate) in_sink: Duration,
    /// How many records could not be decoded.
    pub(crate) poison: u64,
}

/// Whether the sink failed because a record cannot be decoded: its bytes stay the same.
fn is_poison(source: &BoxError) -> bool {
    matches!(source.downcast_ref(), Some(Error::Poison { .. }))
}

/// Why an attempt failed: only the sink's errors are worth another attempt.
enum AttemptError {
    Engine(Error),
    Sink { range: PlannedRange, source: BoxError },
}

impl AttemptError {
    /// An error of the sink while it had to do with `range`.
    fn of_sink(range: &PlannedRange) -> impl FnOnce(BoxError) -> Self {
        move |source| Self::Sink { range: range.clone(), source }
    }
}

impl From<Error> for AttemptError {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl<S: Sink> BatchWriter<S> {
    pub(crate) fn new(sink: Arc<S>, cluster: Cluster, settings: Settings) -> Self {
        Self {
            sink,
            cluster,
            settings,
            sink_nanos: AtomicU64::new(0),
            poison: AtomicU64::new(0),
            decode_permits: Semaphore::new(cores()),
            open: Mutex::default(),
        }
    }

    /// All attempts at one group, whose first range is `first`.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut task: WriteTask,
        first: PlannedRange,
    ) -> Result<Written<S::Receipt>, Error> {
        let failed = |range: &PlannedRange, attempts, source| Error::Sink {
            range: range.range().clone(),
            attempts,
            source,
        };
        let finished = self.limited("finished", self.sink.finished(&task)).await;
        if let Some(receipt) = finished.map_err(|source| failed(&first, task.attempt, source))? {
            self.report(&task, |range| RunEvent::Finished { range, resumed: true });
            return Ok((receipt, true));
        }
        loop {
            let attempt = task.attempt;
            self.report(&task, |range| RunEvent::Started { range, attempt });
            self.open.lock().insert(task.index, task.clone());
            let (range, source) = match Box::pin(self.attempt(&task, &first)).await {
                Ok(receipt) => {
                    self.open.lock().remove(&task.index);
                    self.report(&task, |range| RunEvent::Finished { range, resumed: false });
                    return Ok((receipt, false));
                }
                Err(AttemptError::Engine(error)) => {
                    self.abort(&task).await;
                    return Err(error);
                }
                Err(AttemptError::Sink { range, source }) => (range, source),
            };
            self.abort(&task).await;
            if attempt >= self.settings.attempts || is_poison(&source) {
                return Err(failed(&range, attempt, source));
            }
            tracing::warn!(range = %range.range(), attempt, error = %source, "the sink failed; the range is read again");
            self.report(&task, |range| RunEvent::Retrying { range, attempt, error: &source });
            tokio::time::sleep(backoff(attempt)).await;
            task.attempt = attempt.saturating_add(1);
        }
    }

    /// Reports the same about every range of a group.
    fn report<'a>(&self, task: &'a WriteTask, event: impl Fn(&'a PlannedRange) -> RunEvent<'a>) {
        task.ranges.iter().for_each(|range| self.settings.observer.report(&event(range)));
    }

    async fn attempt(
        &self,
        task: &WriteTask,
        first: &PlannedRange,
    ) -> Result<TaskReceipt<S::Receipt>, AttemptError> {
        let writer = self.limited("writer", self.sink.writer(task)).await;
        let writer = writer.map_err(AttemptError::of_sink(first))?;
        let writer = AsyncMutex::new(writer);
        let partitions = task.ranges.chunk_by(|a, b| a.topic_partition() == b.topic_partition());
        let mut reading: FuturesUnordered<_> =
            partitions.map(|pieces| self.write_partition(pieces, task.attempt, &writer)).collect();
        let mut summaries: Vec<RangeSummary> = Vec::with_capacity(task.ranges.len());
        while let Some(written) = reading.next().await {
            summaries.extend(written?);
        }
        drop(reading);
        summaries.sort_by(|a, b| (&a.topic_partition, a.from).cmp(&(&b.topic_partition, b.from)));
        let began = Instant::now();
        let writer = writer.into_inner();
        let poison = writer.poison();
        let finished = self.limited("finish", writer.finish(&summaries)).await;
        let receipt = finished.map_err(AttemptError::of_sink(first))?;
        self.add_sink_time(began);
        self.poison.fetch_add(poison, Ordering::Relaxed);
        summaries.iter().for_each(|range| self.settings.add_resets(&range.resets));
        Ok(TaskReceipt::new(summaries, receipt))
    }

    /// Writes the pieces of one partition, in order, and none after one that ended early: the next batch
    /// continues there.
    async fn write_partition(
        &self,
        pieces: &[PlannedRange],
        attempt: u32,
        writer: &AsyncMutex<S::Writer>,
    ) -> Result<Vec<RangeSummary>, AttemptError> {
        let mut summaries = Vec::with_capacity(pieces.len());
        for range in pieces {
            let summary = self.write_range(range, attempt, writer).await?;
            let is_short = summary.reached < summary.until;
            summaries.push(summary);
            if is_short {
                break;
            }
        }
        Ok(summaries)
    }

    async fn write_range(
        &self,
        range: &PlannedRange,
        attempt: u32,
        writer: &AsyncMutex<S::Writer>,
    ) -> Result<RangeSummary, AttemptError> {
        let mut batches = self.settings.read_range(&self.cluster, range.clone(), attempt);
        while batches.ready().await? {
            let mut writer = writer.lock().await;
            let _permit = self.decode_permits.acquire().await;
            while let Some(batch) = batches.next_buffered()? {
                let began = Instant::now();
                let written = self.limited("write", writer.write(batch)).await;
                written.map_err(AttemptError::of_sink(range))?;
                self.add_sink_time(began);
            }
        }
        // The buffers are dropped here: many ranges may wait for the disk, with the buffers of none.
        Ok(batches.summary())
    }

    /// One call of the sink or its writer, under the time-out for sinks.
    async fn limited<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        within(self.settings.sink_timeout, call, work).await
    }

    fn add_sink_time(&self, began: Instant) {
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.sink_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// An attempt that cannot be discarded must not hide why it failed.
    async fn abort(&self, task: &WriteTask) {
        self.abort_in_sink(task).await;
        self.open.lock().remove(&task.index);
    }

    /// Aborts the attempts that were stopped in the middle, because they panicked or another range
    /// failed. All tasks of the run must have ended.
    pub(crate) async fn abort_open(&self) {
        let open = std::mem::take(&mut *self.open.lock());
        for task in open.values() {
            self.abort_in_sink(task).await;
        }
    }

    async fn abort_in_sink(&self, task: &WriteTask) {
        if let Err(error) = self.limited("abort", self.sink.abort(task)).await {
            let range = task.ranges.first().map(|range| range.range().to_string());
            tracing::warn!(range, attempt = task.attempt, error = %error, "the sink could not discard a failed attempt");
        }
    }
}
