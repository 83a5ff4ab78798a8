//! Checks of any [`Sink`] against the contract of a stream's committing sink.
//!
//! A test of a sink calls [`check`] with a [`Target`]: how to make an instance of the sink, and how to
//! see what its readers see. The suite runs batches by hand, without Kafka, and stops at the first
//! property that does not hold.
//!
//! ```
//! # use kafka_direct::{Columns, sink_conformance::{Target, check}};
//! # async fn example<T: Target>(target: T) -> Result<(), kafka_direct::BoxError> {
//! check(&target).await?;
//! # Ok(())
//! # }
//! ```

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, future::Future, sync::Arc};

use arrow_array::{ArrayRef, Int32Array, Int64Array, RecordBatch};
use kafka_direct_core::{BatchPlan, IsolationLevel, OffsetRange, PlannedRange, TopicPartition};
use kafka_direct_worker::{Column, Columns, schema};

use crate::{
    BatchContext, BoxError, RangeSummary, RangeWriter as _, Sink, SinkCommit, StreamBatch,
    TaskReceipt, WriteTask,
    checkpoint::{BatchId, Generation, StreamId},
};

/// The columns of the records that the suite writes.
#[must_use]
pub const fn columns() -> Columns {
    Columns::none().with(Column::Partition).with(Column::Offset)
}

/// Where a sink writes to. It is empty when the suite starts.
pub trait Target: Sync {
    /// The sink.
    type Sink: Sink;

    /// A new instance of the sink over this target, as a program that starts again has it. It takes
    /// records with the columns of [`columns`].
    fn sink(&self) -> impl Future<Output = Result<Self::Sink, BoxError>> + Send;

    /// The partition and offset of every record that a reader of the target sees, in any order.
    fn visible(&self) -> impl Future<Output = Result<Vec<(i32, i64)>, BoxError>> + Send;
}

/// A property that a sink does not keep.
#[derive(Debug, thiserror::Error)]
#[error("{property}: {found}")]
#[non_exhaustive]
pub struct Violation {
    /// The property.
    pub property: &'static str,
    /// What was found instead.
    pub found: String,
}

/// Checks that a sink keeps the contract of [`Sink`] and makes every record of a stream visible exactly
/// once.
///
/// # Errors
/// A [`Violation`], or the error of the sink where none is allowed.
pub async fn check<T: Target>(target: &T) -> Result<(), BoxError> {
    let run = Run { target, stream: StreamId::random() };
    let first = target.sink().await?;
    run.is_newest(&first, None).await?;

    let dropped = "a writer that is dropped before `finish` leaves nothing visible";
    drop(run.written(&first, &run.task(0, 0, 1, 1)?, 0).await?);
    run.sees(dropped, &[]).await?;
    first.abort(&run.task(0, 0, 1, 1)?).await?;

    let aborted = "an aborted attempt leaves nothing visible, also after the batch is committed";
    run.write(&first, 0, 0, 1, 2).await?;
    for _ in 0..2 {
        first.abort(&run.task(0, 0, 1, 2)?).await?;
    }
    let receipts = run.write_all(&first, 0, 1, 3).await?;
    run.sees("records are not visible before the commit", &[]).await?;
    run.commit(&first, 0, 1, &receipts).await?;
    run.sees(aborted, &[0]).await?;
    run.is_newest(&first, Some((0, &receipts))).await?;

    let again = "a commit that is repeated changes nothing";
    run.commit(&first, 0, 1, &receipts).await?;
    run.sees(again, &[0]).await?;

    let second = target.sink().await?;
    run.is_newest(&second, Some((0, &receipts))).await?;
    let repeated = "a committed batch that another instance writes and commits changes nothing";
    let rewritten = run.write_all(&second, 0, 2, 1).await?;
    run.commit(&second, 0, 2, &rewritten).await?;
    run.sees(repeated, &[0]).await?;

    let continued = "another instance continues after the newest batch";
    let receipts = run.write_all(&second, 1, 2, 1).await?;
    let serialised: Vec<TaskReceipt<<T::Sink as Sink>::Receipt>> =
        serde_json::from_slice(&serde_json::to_vec(&receipts)?)?;
    run.commit(&second, 1, 2, &serialised).await?;
    run.sees(continued, &[0, 1]).await?;
    run.is_newest(&second, Some((1, &receipts))).await?;

    let below = "a batch below the newest changes nothing";
    let late = run.write_all(&first, 0, 1, 4).await;
    // An older driver may be refused.
    if let Ok(late) = late {
        let _ = run.commit(&first, 0, 1, &late).await;
    }
    run.sees(below, &[0, 1]).await?;
    run.is_newest(&second, Some((1, &receipts))).await?;

    let raced = "of two drivers that commit one batch, one set of records is visible";
    let third = target.sink().await?;
    run.is_newest(&third, Some((1, &receipts))).await?;
    let older = run.write_all(&second, 2, 2, 1).await?;
    let newer = run.write_all(&third, 2, 3, 1).await?;
    let _ = run.commit(&second, 2, 2, &older).await;
    run.commit(&third, 2, 3, &newer).await?;
    run.sees(raced, &[0, 1, 2]).await?;
    run.is_newest(&third, Some((2, &newer))).await
}

/// The batches of one stream: batch `n` has the offsets `[4n, 4n+4)` of partition 0 and `[3n, 3n+3)` of
/// partition 1.
struct Run<'a, T> {
    target: &'a T,
    stream: StreamId,
}

type Receipts<T> = Vec<TaskReceipt<<<T as Target>::Sink as Sink>::Receipt>>;

const SIZES: [(i32, i64); 2] = [(0, 4), (1, 3)];

impl<T: Target> Run<'_, T> {
    fn context(&self, batch: u64, generation: u64) -> Result<BatchContext, BoxError> {
        let number = i64::try_from(batch)?;
        let isolation = IsolationLevel::ReadCommitted;
        let mut ranges = Vec::new();
        for (partition, size) in SIZES {
            let from = number.saturating_mul(size);
            let tp = TopicPartition::new("conformance", partition);
            let range = OffsetRange::new(tp, from, from.saturating_add(size))?;
            ranges.push(PlannedRange::new(range, isolation));
        }
        let plan = BatchPlan::new(None, isolation, ranges, vec![], vec![])?;
        let (batch, generation) = (BatchId::new(batch), Generation::new(generation));
        let batch = StreamBatch::new(self.stream, batch, generation);
        Ok(BatchContext::of_stream(Arc::new(plan), batch))
    }

    fn task(
        &self,
        batch: u64,
        index: usize,
        generation: u64,
        attempt: u32,
    ) -> Result<WriteTask, BoxError> {
        let task = WriteTask::new(self.context(batch, generation)?, index, attempt);
        task.ok_or_else(|| "the plan has two ranges".into())
    }

    /// A writer that has all records of its range, and what was read of it.
    async fn written(
        &self,
        sink: &T::Sink,
        task: &WriteTask,
        index: usize,
    ) -> Result<(<T::Sink as Sink>::Writer, RangeSummary), BoxError> {
        let planned = task.batch.plan.ranges().get(index).ok_or("the plan has two ranges")?;
        let mut summary = RangeSummary::new(planned);
        let (from, until) = (summary.from.get(), summary.until.get());
        summary.records = until.abs_diff(from);
        let mut writer = sink.writer(task).await?;
        // In two pieces.
        for (from, until) in [(from, from.saturating_add(1)), (from.saturating_add(1), until)] {
            writer.write(records(summary.topic_partition.partition(), from, until)?).await?;
        }
        Ok((writer, summary))
    }

    async fn write(
        &self,
        sink: &T::Sink,
        batch: u64,
        index: usize,
        generation: u64,
        attempt: u32,
    ) -> Result<TaskReceipt<<T::Sink as Sink>::Receipt>, BoxError> {
        let task = self.task(batch, index, generation, attempt)?;
        let (writer, summary) = self.written(sink, &task, index).await?;
        let summaries = vec![summary];
        let receipt = writer.finish(&summaries).await?;
        Ok(TaskReceipt::new(summaries, receipt))
    }

    async fn write_all(
        &self,
        sink: &T::Sink,
        batch: u64,
        generation: u64,
        attempt: u32,
    ) -> Result<Receipts<T>, BoxError> {
        let mut receipts = Vec::new();
        for index in 0..SIZES.len() {
            receipts.push(self.write(sink, batch, index, generation, attempt).await?);
        }
        Ok(receipts)
    }

    async fn commit(
        &self,
        sink: &T::Sink,
        batch: u64,
        generation: u64,
        receipts: &Receipts<T>,
    ) -> Result<(), BoxError> {
        sink.commit(&self.context(batch, generation)?, receipts).await
    }

    /// Checks that exactly the records of `batches` are visible, each once.
    async fn sees(&self, property: &'static str, batches: &[i64]) -> Result<(), BoxError> {
        let of_batch = |batch: &i64| {
            let batch = *batch;
            SIZES.into_iter().flat_map(move |(partition, size)| {
                let from = batch.saturating_mul(size);
                (from..from.saturating_add(size)).map(move |offset| (partition, offset))
            })
        };
        let mut expected: Vec<_> = batches.iter().flat_map(of_batch).collect();
        let mut visible = self.target.visible().await?;
        expected.sort_unstable();
        visible.sort_unstable();
        if visible == expected {
            return Ok(());
        }
        let found = format!("visible (partition, offset) are {visible:?}, not {expected:?}");
        Err(Violation { property, found }.into())
    }

    /// Checks what `last_committed` returns, also of another stream.
    async fn is_newest(
        &self,
        sink: &T::Sink,
        newest: Option<(u64, &Receipts<T>)>,
    ) -> Result<(), BoxError> {
        let expected =
            newest.map(|(batch, receipts)| SinkCommit::new(BatchId::new(batch), receipts));
        let found = sink.last_committed(self.stream).await?;
        if found != expected {
            let property = "`last_committed` returns the newest batch that was committed";
            let found = format!("it returned {found:?}, not {expected:?}");
            return Err(Violation { property, found }.into());
        }
        Ok(())
    }
}

fn records(partition: i32, from: i64, until: i64) -> Result<RecordBatch, BoxError> {
    let partitions = Int32Array::from_iter_values((from..until).map(|_| partition));
    let offsets = Int64Array::from_iter_values(from..until);
    let arrays = BTreeMap::from([
        ("partition", Arc::new(partitions) as ArrayRef),
        ("offset", Arc::new(offsets) as ArrayRef),
    ]);
    let schema = schema(columns());
    let of = |name: &String| arrays.get(name.as_str()).cloned();
    let columns = schema.fields().iter().filter_map(|field| of(field.name())).collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}
