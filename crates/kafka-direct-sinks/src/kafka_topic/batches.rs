//! [`ProducerBatches`] collects records into batches per partition and sends them.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;

use super::{
    Producer,
    producer::Batch,
    record::{Origin, ProducerRecord},
};
use crate::Error;

/// Maximum number of records in a batch.
const BATCH_RECORDS: usize = 10_000;

/// Collects records by partition and sends them in batches, one batch per partition at a time.
///
/// Dropping it cancels the batches in flight: their records may be written or not.
#[derive(Debug)]
pub struct ProducerBatches {
    producer: Producer,
    /// The records that are not sent yet.
    buffered: BTreeMap<i32, Batch>,
    sending: JoinSet<Sent>,
    /// The partitions with a batch in flight.
    busy: BTreeSet<i32>,
    /// Bytes that are buffered or in flight.
    held_bytes: usize,
    /// Bytes at which every batch is sent, and waited for.
    max_held_bytes: usize,
    written: usize,
}

/// A batch whose outcome is known.
#[derive(Debug)]
struct Sent {
    partition: i32,
    bytes: usize,
    written: usize,
    outcome: Result<(), Error>,
}

impl ProducerBatches {
    pub(super) fn new(producer: Producer, max_held_bytes: usize) -> Self {
        Self {
            producer,
            buffered: BTreeMap::new(),
            sending: JoinSet::new(),
            busy: BTreeSet::new(),
            held_bytes: 0,
            max_held_bytes,
            written: 0,
        }
    }

    /// Adds a record. Without a partition it goes to the one that Kafka's Java producer chooses by the
    /// key, or without a key to the next. Waits while too many bytes are held.
    ///
    /// # Errors
    /// [`Invalid`](kafka_direct::ErrorKind::Invalid) for a partition that the topic does not have, or a
    /// timestamp out of range; and the errors of batches sent before.
    ///
    /// # Cancel safety
    /// Not safe: the record may be added or not.
    pub async fn add(
        &mut self,
        record: ProducerRecord,
        partition: Option<i32>,
        origin: Origin,
    ) -> Result<(), Error> {
        let by_key = || self.producer.partition_for(record.key.as_deref());
        let partition = partition.unwrap_or_else(by_key);
        let count = self.producer.partitions();
        if !(0..count).contains(&partition) {
            return Err(Error::invalid(format!(
                "{origin} names partition {partition}, but topic `{}` has only {count}",
                self.producer.topic()
            )));
        }
        let bytes = record.size_bytes();
        let record = record.into_client(&origin)?;
        let open = self.buffered.get(&partition).map_or(0, |batch| batch.bytes);
        if open.saturating_add(bytes) > self.producer.batch_bytes() {
            self.send(partition).await?;
        }
        let batch = self.buffered.entry(partition).or_default();
        batch.records.push(record);
        batch.origins.push(origin);
        batch.bytes = batch.bytes.saturating_add(bytes);
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        if batch.records.len() >= BATCH_RECORDS {
            self.send(partition).await?;
        }
        if self.held_bytes >= self.max_held_bytes {
            self.send_all().await?;
            // Down to half, so that the next batches are not of single records.
            while self.held_bytes > self.max_held_bytes / 2 && self.wait_for_one().await? {}
        }
        Ok(())
    }

    /// Starts to send every record that is buffered.
    ///
    /// # Errors
    /// Those of batches sent before.
    pub async fn send_all(&mut self) -> Result<(), Error> {
        let partitions: Vec<i32> = self.buffered.keys().copied().collect();
        for partition in partitions {
            self.send(partition).await?;
        }
        Ok(())
    }

    /// Waits until the previous batch of a partition is acknowledged, then starts to send the next.
    async fn send(&mut self, partition: i32) -> Result<(), Error> {
        while self.busy.contains(&partition) && self.wait_for_one().await? {}
        let Some(batch) = self.buffered.remove(&partition) else { return Ok(()) };
        self.busy.insert(partition);
        let producer = self.producer.clone();
        self.sending.spawn(async move {
            let bytes = batch.bytes;
            let (written, outcome) = producer.deliver(partition, batch).await;
            Sent { partition, bytes, written, outcome }
        });
        Ok(())
    }

    /// Waits until the outcome of a batch in flight is known; `false` if none is in flight.
    async fn wait_for_one(&mut self) -> Result<bool, Error> {
        match self.sending.join_next().await {
            None => Ok(false),
            Some(Err(error)) => Err(Error::Internal {
                message: format!(
                    "the task that writes to `{}` failed: {error}",
                    self.producer.topic()
                ),
            }),
            Some(Ok(Sent { partition, bytes, written, outcome })) => {
                self.busy.remove(&partition);
                self.held_bytes = self.held_bytes.saturating_sub(bytes);
                self.written = self.written.saturating_add(written);
                outcome.map(|()| true)
            }
        }
    }

    /// Sends all records, waits until they are acknowledged, and returns how many were written by this
    /// value.
    ///
    /// # Errors
    /// The first error of a batch.
    pub async fn finish(&mut self) -> Result<usize, Error> {
        self.send_all().await?;
        while self.wait_for_one().await? {}
        Ok(self.written)
    }

    /// Waits for the batches in flight, drops what is buffered, and returns how many records were
    /// written. For a run that has failed already.
    pub async fn stop(mut self) -> usize {
        while !self.sending.is_empty() {
            // The first failure is the one to report.
            drop(self.wait_for_one().await);
        }
        self.written
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka_direct::{Cluster, ClusterConfig};
    use kafka_direct_broker::{ApiKey, Broker, Fault};

    use super::{super::ProducerConfig, *};

    #[tokio::test]
    async fn bytes_that_are_buffered_or_in_flight_are_bounded_while_a_broker_is_slow() {
        let broker = Broker::start().await.unwrap();
        broker.create_topic("out", 5).unwrap();
        broker.faults().every(ApiKey::Produce, Fault::Delay(Duration::from_millis(1)));
        let servers = [broker.bootstrap()];
        let cluster = Cluster::connect(ClusterConfig::new(servers.clone())).await.unwrap();
        let config = ProducerConfig::new(servers);
        let producer = Producer::connect(&cluster, "out", config).await.unwrap();
        let mut batches = producer.batches(100_000);
        for number in 1..=500 {
            let value = Some(vec![b'v'; 3_000]);
            let record = ProducerRecord { value, ..ProducerRecord::default() };
            batches.add(record, None, Origin::Line(number)).await.unwrap();
            assert!(batches.held_bytes < 100_000, "after line {number}: {}", batches.held_bytes);
        }
        assert_eq!(batches.finish().await.unwrap(), 500);
        assert_eq!(batches.held_bytes, 0);
        let requests = broker.requests(ApiKey::Produce);
        assert!(requests < 250, "{requests} requests for 500 records");
    }
}
