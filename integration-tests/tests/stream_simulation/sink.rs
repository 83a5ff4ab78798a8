//! A committing sink in memory that passes the named points, and can fail.

use std::{collections::BTreeMap, sync::Arc};

use kafka_direct::{
    BatchContext, BoxError, RangeSummary, RangeWriter, Sink, SinkCommit, TaskReceipt,
    TopicPartition, WriteTask,
    arrow::array::{
        RecordBatch, StringArray,
        cast::AsArray as _,
        types::{Int32Type, Int64Type},
    },
    checkpoint::{BatchId, StreamId},
};
use parking_lot::Mutex;

use crate::{
    points::{Point, Points},
    store::History,
};

/// A record in the sink.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Delivered {
    pub(crate) value: String,
    pub(crate) topic_partition: TopicPartition,
    pub(crate) offset: i64,
}

/// What the sinks of all drivers of a stream have made visible, and how the next calls behave.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    pub(crate) records: Vec<Delivered>,
    pub(crate) commits: BTreeMap<BatchId, SinkCommit>,
    /// Failures of the next attempts.
    pub(crate) failures: usize,
    /// Whether the next commit fails, and whether it takes effect before.
    pub(crate) failing_commit: Option<bool>,
}

/// The sink of one driver.
#[derive(Debug)]
pub(crate) struct MemorySink {
    pub(crate) visible: Arc<Mutex<Visible>>,
    pub(crate) history: Arc<Mutex<History>>,
    pub(crate) points: Arc<Points>,
}

pub(crate) struct Writer {
    records: Vec<Delivered>,
    task: WriteTask,
    visible: Arc<Mutex<Visible>>,
    points: Arc<Points>,
}

impl Sink for MemorySink {
    type Receipt = Vec<Delivered>;
    type Writer = Writer;

    async fn last_committed(&self, _: StreamId) -> Result<Option<SinkCommit>, BoxError> {
        tokio::time::sleep(self.points.pause).await;
        Ok(self.visible.lock().commits.values().next_back().cloned())
    }

    async fn writer(&self, task: &WriteTask) -> Result<Writer, BoxError> {
        {
            let history = self.history.lock();
            let batch = task.batch.stream.unwrap().batch;
            let (_, stored) = history.offsets.get(&batch.get()).expect("INV-4: no durable plan");
            assert_eq!(stored.plan, *task.batch.plan, "INV-5: another plan of batch {batch}");
        }
        self.points.at(Point::BeforeRange).await;
        let (visible, points) = (Arc::clone(&self.visible), Arc::clone(&self.points));
        Ok(Writer { records: Vec::new(), task: task.clone(), visible, points })
    }

    async fn commit(
        &self,
        batch: &BatchContext,
        receipts: &[TaskReceipt<Vec<Delivered>>],
    ) -> Result<(), BoxError> {
        self.points.at(Point::BeforeSinkCommit).await;
        let failing = self.visible.lock().failing_commit.take();
        if failing == Some(false) {
            return Err("the sink is unreachable".into());
        }
        {
            let mut visible = self.visible.lock();
            let batch = batch.stream.unwrap().batch;
            let is_new = visible.commits.keys().next_back().is_none_or(|last| *last < batch);
            if is_new {
                let records = receipts.iter().flat_map(|receipt| receipt.receipt.iter().cloned());
                visible.records.extend(records);
                visible.commits.insert(batch, SinkCommit::new(batch, receipts));
            }
        }
        self.points.at(Point::AfterSinkCommit).await;
        match failing {
            Some(_) => Err("the sink's response was lost".into()),
            None => Ok(()),
        }
    }
}

/// The partition that all records of a batch are from.
fn topic_partition(batch: &RecordBatch) -> TopicPartition {
    let topics = batch.column_by_name("topic").unwrap().as_dictionary::<Int32Type>();
    let topics = topics.downcast_dict::<StringArray>().unwrap();
    let partitions = batch.column_by_name("partition").unwrap().as_primitive::<Int32Type>();
    TopicPartition::new(topics.into_iter().next().unwrap().unwrap(), partitions.value(0))
}

impl RangeWriter for Writer {
    type Receipt = Vec<Delivered>;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        self.points.at(Point::InsideRange).await;
        let values = batch.column_by_name("value").unwrap().as_binary_view();
        let offsets = batch.column_by_name("offset").unwrap().as_primitive::<Int64Type>();
        let of = topic_partition(&batch);
        let ranges = self.task.ranges.iter().map(|planned| planned.range());
        let ranges: Vec<_> = ranges.filter(|range| *range.topic_partition() == of).collect();
        for (value, offset) in values.iter().zip(offsets.values()) {
            assert!(
                ranges.iter().any(|range| range.contains((*offset).into())),
                "INV-3: offset {offset} of {of} is outside {ranges:?}"
            );
            self.records.push(Delivered {
                value: String::from_utf8(value.unwrap().to_vec()).unwrap(),
                topic_partition: of.clone(),
                offset: *offset,
            });
        }
        Ok(())
    }

    async fn finish(self, _: &[RangeSummary]) -> Result<Vec<Delivered>, BoxError> {
        self.points.at(Point::BeforeFinish).await;
        {
            let mut visible = self.visible.lock();
            if visible.failures > 0 {
                visible.failures -= 1;
                return Err("the sink is full".into());
            }
        }
        self.points.at(Point::AfterFinish).await;
        Ok(self.records)
    }
}
