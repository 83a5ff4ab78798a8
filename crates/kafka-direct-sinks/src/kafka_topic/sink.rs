//! [`KafkaTopicSink`], a topic as a sink of the engine.
//!
//! Contract: a writer's records are acknowledged by all in-sync replicas when it is finished, and they
//! are visible then, before the commit. So an attempt that failed, and a batch that runs again, leave
//! records twice.

use std::{borrow::Cow, sync::Arc};

use kafka_direct::{
    BatchContext, BoxError, Column, Columns, RangeSummary, RangeWriter, Sink, TaskReceipt,
    WriteTask,
    arrow::array::{Array as _, RecordBatch},
};

use super::{
    Producer, ProducerBatches,
    headers::{AlteredHeaders, HeaderCounts},
    record::{Origin, ProducerRecord},
};
use crate::{Error, format::Rows};

/// Bytes that a writer buffers or has in flight.
const HELD_BYTES: usize = 4 << 20;

/// Which partition of the output topic a record goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Partitioning {
    /// By murmur2 of the key, as Kafka's Java producer does; records without a key go to the partitions
    /// in turn.
    #[default]
    ByKey,
    /// The partition with the number of the source's partition. The topic must have it.
    AsSource,
}

/// Writes every record of a stream to a topic: key, value, headers and timestamp. At-least-once. A value
/// that was decoded to a struct is written as a JSON object.
///
/// The records of one key stay in order while their range is one piece: with `min_partitions`, pieces of
/// a partition are written at the same time. [`KafkaTopicSink::columns`] are the columns to read. Clones
/// write to the same topic.
#[derive(Debug, Clone)]
pub struct KafkaTopicSink {
    producer: Producer,
    partitioning: Partitioning,
    altered: Arc<HeaderCounts>,
}

/// Writes one range to the topic, with at most 4 MiB buffered or in flight.
#[derive(Debug)]
pub struct KafkaTopicWriter {
    batches: ProducerBatches,
    partitioning: Partitioning,
    altered: Arc<HeaderCounts>,
    /// The topic that the last record came from.
    topic: Arc<str>,
}

impl KafkaTopicSink {
    /// The sink that writes through `producer`, by the keys of the records.
    #[must_use]
    pub fn new(producer: Producer) -> Self {
        Self { producer, partitioning: Partitioning::default(), altered: Arc::default() }
    }

    /// Which partition a record goes to. Default: [`Partitioning::ByKey`].
    #[must_use]
    pub const fn partitioning(mut self, partitioning: Partitioning) -> Self {
        self.partitioning = partitioning;
        self
    }

    /// The columns that the sink writes, with those that errors name: all but the type of the timestamp.
    /// Only headers may be left out; then none are written.
    #[must_use]
    pub const fn columns() -> Columns {
        Columns::all().without(Column::TimestampType)
    }

    /// How many headers could not be written as they were, in all batches of this process.
    #[must_use]
    pub fn altered_headers(&self) -> AlteredHeaders {
        self.altered.get()
    }
}

impl Sink for KafkaTopicSink {
    /// How many records of the range were written.
    type Receipt = u64;
    type Writer = KafkaTopicWriter;

    async fn writer(&self, _task: &WriteTask) -> Result<KafkaTopicWriter, BoxError> {
        Ok(KafkaTopicWriter {
            batches: self.producer.batches(HELD_BYTES),
            partitioning: self.partitioning,
            altered: Arc::clone(&self.altered),
            topic: Arc::from(""),
        })
    }

    /// Does nothing: the records are in the topic.
    async fn commit(&self, _: &BatchContext, _: &[TaskReceipt<u64>]) -> Result<(), BoxError> {
        Ok(())
    }
}

impl KafkaTopicWriter {
    async fn write_rows(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let rows = Rows::new(batch)?;
        for row in 0..rows.len {
            let (record, origin) = self.record(&rows, row)?;
            let partition = match (self.partitioning, &origin) {
                (Partitioning::AsSource, Origin::Record { partition, .. }) => Some(*partition),
                _ => None,
            };
            self.batches.add(record, partition, origin).await?;
        }
        Ok(())
    }

    fn record(&mut self, rows: &Rows<'_>, row: usize) -> Result<(ProducerRecord, Origin), Error> {
        let (Some(topics), Some(partitions), Some(offsets)) =
            (&rows.topic, rows.partition, rows.offset)
        else {
            return Err(missing_columns());
        };
        let (Some(keys), Some(values), Some(timestamps)) = (rows.key, rows.value, rows.timestamp)
        else {
            return Err(missing_columns());
        };
        if *self.topic != *topics.name(row) {
            self.topic = Arc::from(topics.name(row));
        }
        let origin = Origin::Record {
            topic: Arc::clone(&self.topic),
            partition: partitions.value(row),
            offset: offsets.value(row),
        };
        let headers = rows.headers.as_ref();
        let headers = headers.map(|headers| self.altered.map(headers.of(row), &origin));
        let record = ProducerRecord {
            key: keys.bytes(row)?.map(Cow::into_owned),
            value: values.bytes(row)?.map(Cow::into_owned),
            headers: headers.unwrap_or_default(),
            timestamp_millis: timestamps.is_valid(row).then(|| timestamps.value(row)),
        };
        Ok((record, origin))
    }
}

impl RangeWriter for KafkaTopicWriter {
    type Receipt = u64;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        Ok(self.write_rows(&batch).await?)
    }

    async fn finish(mut self, _ranges: &[RangeSummary]) -> Result<u64, BoxError> {
        let written = self.batches.finish().await?;
        Ok(u64::try_from(written).unwrap_or(u64::MAX))
    }
}

fn missing_columns() -> Error {
    Error::invalid(
        "a Kafka topic needs the columns key, value, topic, partition, offset and timestamp; read `KafkaTopicSink::columns()`",
    )
}
