//! Where a batch's results go: the traits [`Sink`] and [`RangeWriter`].
//!
//! Contract of a run, see [`KafkaRdd::write_to`](crate::KafkaRdd::write_to): the ranges of a batch are
//! in groups, by default one in each, and every group gets a writer per attempt. A writer makes its
//! records durable but not yet visible, and returns a receipt. Once every group has a receipt, `commit`
//! makes all of them visible at once. A failed attempt is aborted before the next one starts.

use std::{fmt, future::Future, sync::Arc};

use arrow_array::RecordBatch;
use kafka_direct_core::{BatchPlan, PlannedRange};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    BoxError, RangeSummary,
    checkpoint::{BatchId, Generation, StreamId},
};

/// The batch a sink receives: its plan, and which batch of a stream it is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BatchContext {
    /// The plan that is run.
    pub plan: Arc<BatchPlan>,
    /// The stream and the batch's number in it; `None` for a batch that belongs to no stream.
    pub stream: Option<StreamBatch>,
}

impl BatchContext {
    /// A batch of a stream. The stream makes it; tests of sinks do so too.
    #[must_use]
    pub const fn of_stream(plan: Arc<BatchPlan>, batch: StreamBatch) -> Self {
        Self { plan, stream: Some(batch) }
    }
}

/// Which batch of which stream a sink receives. A batch that runs again has the same number and ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamBatch {
    /// The stream.
    pub stream: StreamId,
    /// The batch's number.
    pub batch: BatchId,
    /// The start of the driver that runs it. Of two drivers the one with the higher number continues.
    pub generation: Generation,
}

impl StreamBatch {
    /// Batch `batch` of `stream`, run by the driver with this generation.
    #[must_use]
    pub const fn new(stream: StreamId, batch: BatchId, generation: Generation) -> Self {
        Self { stream, batch, generation }
    }
}

/// A batch of a stream that a sink has committed, with what the sink stored beside the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct SinkCommit {
    /// The batch's number.
    pub batch: BatchId,
    /// What was read of every range whose records were committed. The ranges of a partition are in
    /// plan order.
    pub ranges: Vec<RangeSummary>,
}

impl SinkCommit {
    /// The commit of `batch`, of whose ranges `receipts` say what was read.
    #[must_use]
    pub fn new<R>(batch: BatchId, receipts: &[TaskReceipt<R>]) -> Self {
        Self { batch, ranges: receipts.iter().flat_map(|receipt| receipt.ranges.clone()).collect() }
    }
}

/// One attempt at one group of planned ranges.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WriteTask {
    /// The batch it belongs to.
    pub batch: BatchContext,
    /// The index of the group in the batch. Where each range is a group of its own, it is the index of
    /// the range in the plan.
    pub index: usize,
    /// The ranges, at least one, in plan order. All pieces of a partition are in one group, unless each
    /// range is a group of its own.
    pub ranges: Vec<PlannedRange>,
    /// The attempt's number, from 1. Above 1, an earlier attempt at the same records was aborted.
    pub attempt: u32,
}

impl WriteTask {
    /// Attempt `attempt`, from 1, at the range with this index in the plan of `batch`, as a group of its
    /// own; `None` if the plan has no such range.
    #[must_use]
    pub fn new(batch: BatchContext, index: usize, attempt: u32) -> Option<Self> {
        let range = batch.plan.ranges().get(index)?.clone();
        Some(Self { batch, index, ranges: vec![range], attempt })
    }

    /// Attempt `attempt`, from 1, at group `index`, which has the ranges with these indices in the plan
    /// of `batch`; `None` without an index, or if the plan lacks one of them.
    #[must_use]
    pub fn of_group(
        batch: BatchContext,
        index: usize,
        ranges: &[usize],
        attempt: u32,
    ) -> Option<Self> {
        let of = |index: &usize| batch.plan.ranges().get(*index).cloned();
        let ranges: Vec<_> = ranges.iter().map(of).collect::<Option<_>>()?;
        (!ranges.is_empty()).then_some(Self { batch, index, ranges, attempt })
    }
}

/// What was read of one group of ranges, and what the sink wrote of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct TaskReceipt<R> {
    /// What was read of each range, in plan order. After a range that ended early, later pieces of its
    /// partition are left out.
    pub ranges: Vec<RangeSummary>,
    /// The writer's receipt.
    pub receipt: R,
}

impl<R> TaskReceipt<R> {
    /// A receipt of these ranges; for sinks that keep receipts for [`Sink::finished`].
    #[must_use]
    pub const fn new(ranges: Vec<RangeSummary>, receipt: R) -> Self {
        Self { ranges, receipt }
    }
}

/// Where a batch's results go. Implemented by files, tables, topics.
pub trait Sink: Send + Sync + 'static {
    /// What a writer returns: enough to make its records visible, also from another process.
    type Receipt: Serialize + DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static;
    /// Writes one attempt at one group of ranges.
    type Writer: RangeWriter<Receipt = Self::Receipt>;

    /// The receipt of a group that an earlier run of the same plan has finished: it is not read
    /// again. Default: none.
    fn finished(
        &self,
        task: &WriteTask,
    ) -> impl Future<Output = Result<Option<TaskReceipt<Self::Receipt>>, BoxError>> + Send {
        let _ = task;
        std::future::ready(Ok(None))
    }

    /// A writer for one attempt at one group of ranges.
    fn writer(
        &self,
        task: &WriteTask,
    ) -> impl Future<Output = Result<Self::Writer, BoxError>> + Send;

    /// The newest batch of `stream` that is committed here, with what was read of it. A stream asks for
    /// it when it starts: a batch whose commit was not logged is not read again. Default: none, for a
    /// sink that keeps no commits. Such a sink may get the records of one batch again after a crash.
    fn last_committed(
        &self,
        stream: StreamId,
    ) -> impl Future<Output = Result<Option<SinkCommit>, BoxError>> + Send {
        let _ = stream;
        std::future::ready(Ok(None))
    }

    /// Makes the records of all receipts visible. `receipts` has one entry per group, in the order of
    /// their first ranges; in a stream not those of a partition after a range that ended early. It must be
    /// idempotent: it is called again if its outcome is unknown. Of a stream, a batch at or below the
    /// newest that is committed here changes nothing.
    fn commit(
        &self,
        batch: &BatchContext,
        receipts: &[TaskReceipt<Self::Receipt>],
    ) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Discards what an attempt wrote, after its writer was dropped. It is called for every attempt that
    /// failed, panicked, or was stopped because another group failed; not where the future of
    /// [`KafkaRdd::write_to`](crate::KafkaRdd::write_to) was dropped. It may be called more than once for
    /// an attempt, so it must be idempotent. Default: nothing.
    fn abort(&self, task: &WriteTask) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = task;
        std::future::ready(Ok(()))
    }
}

/// Writes one attempt at one group of ranges. Dropped before [`RangeWriter::finish`], it leaves nothing that
/// a reader of the sink could see.
pub trait RangeWriter: Send + 'static {
    /// What [`RangeWriter::finish`] returns.
    type Receipt;

    /// Takes the next records. A batch has records of one range; those of a range arrive in order,
    /// and between them may be batches of other ranges of the group. It must not wait for another group:
    /// as many write at the same time as there are cores. The batch may be dropped or kept; while it is kept it
    /// holds the memory it points into.
    fn write(&mut self, batch: RecordBatch) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// How many records of this attempt could not be decoded so far. It is asked for before
    /// [`RangeWriter::finish`], and reported as [`BatchProgress::poison`](crate::stream::BatchProgress::poison).
    /// Default: none.
    fn poison(&self) -> u64 {
        0
    }

    /// Makes what was written durable, not yet visible. `ranges` says what was read, as in
    /// [`TaskReceipt::ranges`].
    fn finish(
        self,
        ranges: &[RangeSummary],
    ) -> impl Future<Output = Result<Self::Receipt, BoxError>> + Send;
}
