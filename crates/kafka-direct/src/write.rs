//! Runs a batch into a sink: a writer per range and attempt, then one commit.
//!
//! Contract: a range holds nothing decoded while it waits for its records. As many ranges decode and
//! write at once as there are cores, so that memory does not grow with the number of ranges. Only an
//! error of the sink starts another attempt. After a fault of the cluster, reading resumes inside the
//! same attempt, or the batch ends with the error.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kafka_direct_core::PlannedRange;
use kafka_direct_wire::Cluster;
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    BatchEnd, BoxError, Error, RangeWriter as _, RunEvent, Sink, TaskReceipt, WriteTask,
    rdd::Settings, runner::cores, sink::BatchContext,
};

/// What [`KafkaRdd::write_to`](crate::KafkaRdd::write_to) has written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WrittenBatch<R> {
    /// The receipts that were committed, in plan order.
    pub receipts: Vec<TaskReceipt<R>>,
    /// Where the batch ended, for the next one.
    pub end: BatchEnd,
    /// How many ranges this run has read; the others were finished by an earlier run.
    pub ranges_read: usize,
}

/// The wait after the first failed attempt; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

fn backoff(failed_attempts: u32) -> Duration {
    let factor = 1u32.checked_shl(failed_attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_BACKOFF.saturating_mul(factor).min(LONGEST_BACKOFF)
}

/// What all ranges of one run share.
#[derive(Debug)]
pub(crate) struct BatchWriter<S> {
    pub(crate) sink: Arc<S>,
    pub(crate) batch: BatchContext,
    pub(crate) cluster: Cluster,
    pub(crate) settings: Settings,
    /// How long ranges waited for the sink, all of them together, in nanoseconds.
    pub(crate) sink_nanos: AtomicU64,
    decode_permits: Semaphore,
    /// Attempts that have begun and are neither finished nor aborted.
    open: Mutex<BTreeMap<usize, WriteTask>>,
}

/// A range's receipt, and whether an earlier run had finished it.
pub(crate) type Written<R> = (TaskReceipt<R>, bool);

/// Why an attempt failed: only the sink's errors are worth another attempt.
enum AttemptError {
    Engine(Error),
    Sink(BoxError),
}

impl From<Error> for AttemptError {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl<S: Sink> BatchWriter<S> {
    pub(crate) fn new(
        sink: Arc<S>,
        batch: BatchContext,
        cluster: Cluster,
        settings: Settings,
    ) -> Self {
        Self {
            sink,
            batch,
            cluster,
            settings,
            sink_nanos: AtomicU64::new(0),
            decode_permits: Semaphore::new(cores()),
            open: Mutex::default(),
        }
    }

    /// All attempts at one range.
    pub(crate) async fn run(
        self: Arc<Self>,
        index: usize,
        range: PlannedRange,
    ) -> Result<Written<S::Receipt>, Error> {
        let observer = &self.settings.observer;
        let batch = self.batch.clone();
        let mut task = WriteTask { batch, index, range: range.clone(), attempt: 1 };
        let finished = self.sink.finished(&task).await;
        let failed =
            |attempts, source| Error::Sink { range: range.range().clone(), attempts, source };
        if let Some(receipt) = finished.map_err(|source| failed(task.attempt, source))? {
            observer.report(&RunEvent::Finished { range: &range, resumed: true });
            return Ok((receipt, true));
        }
        loop {
            observer.report(&RunEvent::Started { range: &range, attempt: task.attempt });
            self.open.lock().insert(index, task.clone());
            let source = match Box::pin(self.attempt(&task)).await {
                Ok(receipt) => {
                    self.open.lock().remove(&index);
                    observer.report(&RunEvent::Finished { range: &range, resumed: false });
                    return Ok((receipt, false));
                }
                Err(AttemptError::Engine(error)) => {
                    self.abort(&task).await;
                    return Err(error);
                }
                Err(AttemptError::Sink(source)) => source,
            };
            self.abort(&task).await;
            if task.attempt >= self.settings.attempts {
                return Err(failed(task.attempt, source));
            }
            tracing::warn!(range = %range.range(), attempt = task.attempt, error = %source, "the sink failed; the range is read again");
            observer.report(&RunEvent::Retrying {
                range: &range,
                attempt: task.attempt,
                error: &source,
            });
            tokio::time::sleep(backoff(task.attempt)).await;
            task.attempt = task.attempt.saturating_add(1);
        }
    }

    async fn attempt(&self, task: &WriteTask) -> Result<TaskReceipt<S::Receipt>, AttemptError> {
        let mut writer = self.sink.writer(task).await.map_err(AttemptError::Sink)?;
        let mut batches = self.settings.read_range(&self.cluster, task.range.clone(), task.attempt);
        while batches.ready().await? {
            let _permit = self.decode_permits.acquire().await;
            while let Some(batch) = batches.next_buffered()? {
                let began = Instant::now();
                writer.write(batch).await.map_err(AttemptError::Sink)?;
                self.add_sink_time(began);
            }
        }
        let range = batches.summary();
        // Many ranges may wait for the disk here, with the buffers of none.
        drop(batches);
        let began = Instant::now();
        let receipt = writer.finish(&range).await.map_err(AttemptError::Sink)?;
        self.add_sink_time(began);
        self.settings.add_resets(&range.resets);
        Ok(TaskReceipt::new(range, receipt))
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
        if let Err(error) = self.sink.abort(task).await {
            tracing::warn!(range = %task.range.range(), attempt = task.attempt, error = %error, "the sink could not discard a failed attempt");
        }
    }
}
