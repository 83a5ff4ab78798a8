//! A sink that counts rows and discards them.

use kafka_direct::{
    BatchContext, BoxError, RangeSummary, RangeWriter, Sink, StreamBatch, TaskReceipt, WriteTask,
    arrow::array::RecordBatch,
};
use parking_lot::Mutex;

/// Discards all records, and counts the rows of committed batches. It shows what reading alone costs.
///
/// It keeps no commits: a stream that starts again may read one batch again.
#[derive(Debug, Default)]
pub struct NullSink(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    rows: u64,
    /// The batch that was committed last, if it is of a stream.
    last: Option<StreamBatch>,
}

impl NullSink {
    /// A sink that has counted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The rows of all committed batches.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.0.lock().rows
    }
}

/// Counts the rows of one group of ranges.
#[derive(Debug, Default)]
pub struct NullWriter {
    rows: u64,
}

impl Sink for NullSink {
    /// The rows of a group of ranges.
    type Receipt = u64;
    type Writer = NullWriter;

    async fn writer(&self, _task: &WriteTask) -> Result<NullWriter, BoxError> {
        Ok(NullWriter::default())
    }

    async fn commit(
        &self,
        batch: &BatchContext,
        receipts: &[TaskReceipt<u64>],
    ) -> Result<(), BoxError> {
        let mut counted = self.0.lock();
        let is_repeated = match (batch.stream, counted.last) {
            (Some(batch), Some(last)) => batch.stream == last.stream && batch.batch <= last.batch,
            _ => false,
        };
        if !is_repeated {
            counted.last = batch.stream;
            counted.rows =
                receipts.iter().map(|it| it.receipt).fold(counted.rows, u64::saturating_add);
        }
        Ok(())
    }
}

impl RangeWriter for NullWriter {
    type Receipt = u64;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        let rows = u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        self.rows = self.rows.saturating_add(rows);
        Ok(())
    }

    async fn finish(self, _ranges: &[RangeSummary]) -> Result<u64, BoxError> {
        Ok(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kafka_direct::{
        BatchPlan, IsolationLevel, OffsetRange, PlannedRange, TopicPartition,
        arrow::{
            array::Int64Array,
            schema::{DataType, Field, Schema},
        },
        checkpoint::{BatchId, Generation, StreamId},
    };

    use super::*;

    #[tokio::test]
    async fn a_batch_of_a_stream_is_counted_once() {
        let schema = Schema::new(vec![Field::new("offset", DataType::Int64, false)]);
        let offsets = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let rows = RecordBatch::try_new(Arc::new(schema), vec![offsets]).unwrap();
        let isolation = IsolationLevel::ReadCommitted;
        let range = OffsetRange::new(TopicPartition::new("t", 0), 0, 3).unwrap();
        let ranges = vec![PlannedRange::new(range, isolation)];
        let plan = BatchPlan::new(None, isolation, ranges, vec![], vec![]).unwrap();
        let (plan, stream) = (Arc::new(plan), StreamId::random());
        let sink = NullSink::new();
        for batch in [0, 0, 1] {
            let batch = StreamBatch::new(stream, BatchId::new(batch), Generation::new(1));
            let batch = BatchContext::of_stream(Arc::clone(&plan), batch);
            let task = WriteTask::new(batch.clone(), 0, 1).unwrap();
            let mut writer = sink.writer(&task).await.unwrap();
            writer.write(rows.clone()).await.unwrap();
            let summary = vec![RangeSummary::new(&task.ranges[0])];
            let receipt = writer.finish(&summary).await.unwrap();
            sink.commit(&batch, &[TaskReceipt::new(summary, receipt)]).await.unwrap();
        }
        assert_eq!(sink.rows(), 6);
    }
}
