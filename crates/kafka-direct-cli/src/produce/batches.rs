//! Buffers records by partition and sends them in batches, one batch per partition at a time.

use std::{collections::BTreeMap, sync::Arc};

use rskafka::{
    client::{
        Client,
        error::Error,
        partition::{Compression, PartitionClient, UnknownTopicHandling},
    },
    record::Record,
};
use tokio::task::JoinHandle;

use super::partitioner::partition_of;
use crate::exit::Failure;

/// Maximum bytes of a batch of several records; by default brokers accept 1 MiB.
const BATCH_BYTES: usize = 768 * 1024;
/// Maximum number of records in a batch.
const BATCH_RECORDS: usize = 10_000;
/// Bytes buffered by all partitions together at which every batch is sent.
const BUFFER_BYTES: usize = 16 << 20;
/// Maximum bytes that a record takes in a batch besides its contents.
const RECORD_OVERHEAD_BYTES: usize = 40;

/// Buffers records by partition and sends them to one topic in batches.
///
/// Dropping it cancels the batches in flight.
#[derive(Debug)]
pub(crate) struct Batches {
    client: Client,
    topic: String,
    /// Number of partitions of the topic.
    count: i32,
    compression: Compression,
    /// The partition for the next record without a partition.
    next: i32,
    partitions: BTreeMap<i32, PartitionBuffer>,
    buffered_bytes: usize,
    written: usize,
}

/// The buffered records of one partition, and its batch in flight.
#[derive(Debug)]
struct PartitionBuffer {
    client: Arc<PartitionClient>,
    records: Vec<Record>,
    bytes: usize,
    in_flight: Option<JoinHandle<Result<usize, Error>>>,
}

/// Cancels the batch in flight, so that a failed run sends nothing more.
impl Drop for PartitionBuffer {
    fn drop(&mut self) {
        if let Some(in_flight) = &self.in_flight {
            in_flight.abort();
        }
    }
}

impl Batches {
    pub(crate) fn new(client: Client, topic: &str, count: i32, compression: Compression) -> Self {
        Self {
            client,
            topic: topic.to_owned(),
            count,
            compression,
            next: 0,
            partitions: BTreeMap::new(),
            buffered_bytes: 0,
            written: 0,
        }
    }

    /// Adds the record of line `number`; without a partition it chooses one by the key, or round robin.
    pub(crate) async fn add(
        &mut self,
        record: Record,
        partition: Option<i32>,
        number: u64,
    ) -> Result<(), Failure> {
        let partition = match (partition, &record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of(key, self.count),
            (None, None) => self.next_partition(),
        };
        if !(0..self.count).contains(&partition) {
            return Err(Failure::usage(format!(
                "line {number} names partition {partition}, but topic `{}` has only {}; correct the line, or pass --partition",
                self.topic, self.count
            )));
        }
        let bytes = record.approximate_size().saturating_add(RECORD_OVERHEAD_BYTES);
        if self.buffer(partition).await?.bytes.saturating_add(bytes) > BATCH_BYTES {
            self.send(partition).await?;
        }
        let buffer = self.buffer(partition).await?;
        buffer.records.push(record);
        buffer.bytes = buffer.bytes.saturating_add(bytes);
        let full = buffer.records.len() >= BATCH_RECORDS;
        self.buffered_bytes = self.buffered_bytes.saturating_add(bytes);
        if self.buffered_bytes >= BUFFER_BYTES {
            return self.send_all().await;
        }
        if full { self.send(partition).await } else { Ok(()) }
    }

    fn next_partition(&mut self) -> i32 {
        let partition = self.next;
        self.next = partition.saturating_add(1).checked_rem(self.count).unwrap_or(0);
        partition
    }

    async fn buffer(&mut self, partition: i32) -> Result<&mut PartitionBuffer, Failure> {
        use std::collections::btree_map::Entry;
        match self.partitions.entry(partition) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let unknown = UnknownTopicHandling::Error;
                let client = self.client.partition_client(&self.topic, partition, unknown).await;
                let client = client.map_err(|source| Failure::Produce {
                    target: format!("{}-{partition}", self.topic),
                    source,
                })?;
                let client = Arc::new(client);
                Ok(entry.insert(PartitionBuffer {
                    client,
                    records: Vec::new(),
                    bytes: 0,
                    in_flight: None,
                }))
            }
        }
    }

    /// Starts to send the buffered records of every partition.
    pub(crate) async fn send_all(&mut self) -> Result<(), Failure> {
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        for partition in partitions {
            self.send(partition).await?;
        }
        Ok(())
    }

    /// Waits until the previous batch of a partition is confirmed, then starts to send the next.
    async fn send(&mut self, partition: i32) -> Result<(), Failure> {
        self.wait_for_confirmation(partition).await?;
        let compression = self.compression;
        let Some(buffer) = self.partitions.get_mut(&partition) else { return Ok(()) };
        if buffer.records.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut buffer.records);
        self.buffered_bytes = self.buffered_bytes.saturating_sub(std::mem::take(&mut buffer.bytes));
        let client = Arc::clone(&buffer.client);
        buffer.in_flight = Some(tokio::spawn(async move {
            client.produce(records, compression).await.map(|offsets| offsets.len())
        }));
        Ok(())
    }

    /// Waits until the batch in flight of a partition is confirmed.
    async fn wait_for_confirmation(&mut self, partition: i32) -> Result<(), Failure> {
        let in_flight =
            self.partitions.get_mut(&partition).and_then(|buffer| buffer.in_flight.take());
        let Some(in_flight) = in_flight else { return Ok(()) };
        let target = format!("{}-{partition}", self.topic);
        match in_flight.await {
            Ok(Ok(written)) => {
                self.written = self.written.saturating_add(written);
                Ok(())
            }
            Ok(Err(source)) => Err(Failure::Produce { target, source }),
            Err(_) => Err(Failure::unmet(format!(
                "the task that writes to {target} panicked; report this"
            ))),
        }
    }

    /// Waits for the batches in flight, drops what is buffered and returns the number of written
    /// records. For a run that has failed already.
    pub(crate) async fn stop(mut self) -> usize {
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        for partition in partitions {
            drop(self.wait_for_confirmation(partition).await);
        }
        self.written
    }

    /// Sends all buffered records, waits for all batches and returns the number of written records.
    pub(crate) async fn finish(&mut self) -> Result<usize, Failure> {
        self.send_all().await?;
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        for partition in partitions {
            self.wait_for_confirmation(partition).await?;
        }
        Ok(self.written)
    }
}
