//! Records gathered by partition and sent in batches, one batch of a partition at a time.

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

use crate::exit::Failure;

/// A batch is sent when it has this many bytes: brokers take batches of 1 MiB by default.
const BATCH_BYTES: usize = 768 * 1024;
/// A batch is sent when it has this many records.
const BATCH_RECORDS: usize = 10_000;
/// All partitions together gather no more than this.
const GATHERED_BYTES: usize = 16 << 20;
/// What a record adds to a batch beside its contents, at most.
const RECORD_OVERHEAD_BYTES: usize = 40;

/// See the module.
#[derive(Debug)]
pub(crate) struct Batches {
    client: Client,
    topic: String,
    /// How many partitions the topic has.
    count: i32,
    compression: Compression,
    /// The partition of the next record that names none.
    next: i32,
    partitions: BTreeMap<i32, Gathered>,
    gathered_bytes: usize,
    written: usize,
}

/// One partition's records, and the batch of it that is under way.
#[derive(Debug)]
struct Gathered {
    client: Arc<PartitionClient>,
    records: Vec<Record>,
    bytes: usize,
    sending: Option<JoinHandle<Result<usize, Error>>>,
}

/// Whoever stops half-way sends nothing more.
impl Drop for Gathered {
    fn drop(&mut self) {
        if let Some(sending) = &self.sending {
            sending.abort();
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
            gathered_bytes: 0,
            written: 0,
        }
    }

    /// Adds the record of line `number`; without a partition the next in turn takes it.
    pub(crate) async fn add(
        &mut self,
        record: Record,
        partition: Option<i32>,
        number: u64,
    ) -> Result<(), Failure> {
        let partition = partition.unwrap_or_else(|| self.turn());
        if !(0..self.count).contains(&partition) {
            return Err(Failure::usage(format!(
                "line {number} is for partition {partition}, topic `{}` has {}; pass --partition",
                self.topic, self.count
            )));
        }
        let bytes = record.approximate_size().saturating_add(RECORD_OVERHEAD_BYTES);
        if self.gathered(partition).await?.bytes.saturating_add(bytes) > BATCH_BYTES {
            self.send(partition).await?;
        }
        let gathered = self.gathered(partition).await?;
        gathered.records.push(record);
        gathered.bytes = gathered.bytes.saturating_add(bytes);
        let full = gathered.records.len() >= BATCH_RECORDS;
        self.gathered_bytes = self.gathered_bytes.saturating_add(bytes);
        if self.gathered_bytes >= GATHERED_BYTES {
            return self.send_all().await;
        }
        if full { self.send(partition).await } else { Ok(()) }
    }

    fn turn(&mut self) -> i32 {
        let turn = self.next;
        self.next = turn.saturating_add(1).checked_rem(self.count).unwrap_or(0);
        turn
    }

    async fn gathered(&mut self, partition: i32) -> Result<&mut Gathered, Failure> {
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
                Ok(entry.insert(Gathered { client, records: Vec::new(), bytes: 0, sending: None }))
            }
        }
    }

    /// Sends what every partition has gathered.
    pub(crate) async fn send_all(&mut self) -> Result<(), Failure> {
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        for partition in partitions {
            self.send(partition).await?;
        }
        Ok(())
    }

    /// Starts sending what a partition has gathered once its batch before is confirmed.
    async fn send(&mut self, partition: i32) -> Result<(), Failure> {
        self.confirmed(partition).await?;
        let compression = self.compression;
        let Some(gathered) = self.partitions.get_mut(&partition) else { return Ok(()) };
        if gathered.records.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut gathered.records);
        self.gathered_bytes =
            self.gathered_bytes.saturating_sub(std::mem::take(&mut gathered.bytes));
        let client = Arc::clone(&gathered.client);
        gathered.sending = Some(tokio::spawn(async move {
            client.produce(records, compression).await.map(|offsets| offsets.len())
        }));
        Ok(())
    }

    /// Waits for the batch of a partition that is under way.
    async fn confirmed(&mut self, partition: i32) -> Result<(), Failure> {
        let sending = self.partitions.get_mut(&partition).and_then(|g| g.sending.take());
        let Some(sending) = sending else { return Ok(()) };
        let target = format!("{}-{partition}", self.topic);
        match sending.await {
            Ok(Ok(written)) => {
                self.written = self.written.saturating_add(written);
                Ok(())
            }
            Ok(Err(source)) => Err(Failure::Produce { target, source }),
            Err(_) => Err(Failure::unmet(format!("the task that writes to {target} panicked"))),
        }
    }

    /// Sends the rest, waits for everything and gives the number of records written.
    pub(crate) async fn finish(mut self) -> Result<usize, Failure> {
        self.send_all().await?;
        let partitions: Vec<i32> = self.partitions.keys().copied().collect();
        for partition in partitions {
            self.confirmed(partition).await?;
        }
        Ok(self.written)
    }
}
