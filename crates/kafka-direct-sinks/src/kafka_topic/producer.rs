//! [`Producer`], a connection that writes to one topic.
//!
//! Contract: [`Producer::deliver`] returns when all in-sync replicas have every record, or with the
//! error that another try cannot repair. While brokers are unavailable it tries again, for as long as the
//! config says. A batch that a broker refuses because of one record is halved until the record is found.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use kafka_direct::{Cluster, error::WireError};
use parking_lot::Mutex;
use rskafka::{
    BackoffConfig,
    client::{
        Client, ClientBuilder,
        partition::{Compression as ClientCompression, PartitionClient, UnknownTopicHandling},
    },
    record::Record,
};
use tokio::time::{Instant, timeout};

use super::{
    batches::ProducerBatches,
    client_error::{ClientError, is_too_large, is_transient, kind_of, refusal, refuses_a_record},
    partitioner::partition_of,
    record::Origin,
};
use crate::Error;

/// Maximum bytes of a batch of several records; by default brokers accept 1 MiB.
const BATCH_BYTES: usize = 768 * 1024;
/// A smaller batch is not worth a request, whatever the topic accepts.
const MIN_BATCH_BYTES: usize = 16 * 1024;
/// How long the client itself tries again before the producer reports an outage.
const CLIENT_RETRIES: Duration = Duration::from_secs(1);
/// Default of [`ProducerConfig::request_timeout`].
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The wait after the first failed try; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a try that still fails is reported.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// The compression codec of the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Batches are not compressed.
    None,
    /// gzip.
    Gzip,
    /// lz4: little CPU time for about half of the bytes of text.
    #[default]
    Lz4,
    /// snappy.
    Snappy,
    /// zstd.
    Zstd,
}

/// How a [`Producer`] connects and writes.
#[derive(Debug, Clone)]
#[must_use]
pub struct ProducerConfig {
    brokers: Vec<String>,
    client_id: String,
    compression: Compression,
    request_timeout: Duration,
    retry_timeout: Option<Duration>,
}

impl ProducerConfig {
    /// Connects to these brokers, each `host:port`, and finds the others through them.
    pub fn new<S: Into<String>>(brokers: impl IntoIterator<Item = S>) -> Self {
        Self {
            brokers: brokers.into_iter().map(Into::into).collect(),
            client_id: "kafka-direct".to_owned(),
            compression: Compression::default(),
            request_timeout: REQUEST_TIMEOUT,
            retry_timeout: None,
        }
    }

    /// The name under which brokers log, meter and throttle the producer. Default: `kafka-direct`.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// The compression codec. Default: lz4.
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// How long one try to write a batch takes at most, with opening a connection. A try that takes
    /// longer is one of an unavailable broker: the connection is opened again. Default: 30 s.
    pub const fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// How long a batch is tried again while brokers are unavailable; then the write fails as
    /// [`Unavailable`](kafka_direct::ErrorKind::Unavailable). Default: for ever, with a warning twice a minute.
    pub const fn retry_timeout(mut self, limit: Duration) -> Self {
        self.retry_timeout = Some(limit);
        self
    }
}

/// A connection that writes to one topic. Clones share it.
///
/// It opens one connection per partition that is written, to the partition's leader. Partitions that are
/// added to the topic later get no record.
#[derive(Debug, Clone)]
pub struct Producer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    topic: Arc<str>,
    /// Number of partitions of the topic, at least 1.
    count: i32,
    compression: ClientCompression,
    request_timeout: Duration,
    retry_timeout: Option<Duration>,
    partitions: Mutex<BTreeMap<i32, Arc<PartitionClient>>>,
    /// Counts records without a key, which go to the partitions in turn.
    without_key: AtomicU32,
    /// Maximum bytes of a batch of several records; less after the topic has refused a batch.
    batch_bytes: AtomicUsize,
}

/// Records of one partition, in order, with what errors call them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    pub(super) origins: Vec<Origin>,
    /// Bytes of the records before compression.
    pub(super) bytes: usize,
}

impl Batch {
    /// Splits it into two halves, in order. It has at least two records.
    fn halved(mut self) -> (Self, Self) {
        let half = self.records.len().div_ceil(2);
        let second = Self {
            records: self.records.split_off(half),
            origins: self.origins.split_off(half),
            bytes: self.bytes / 2,
        };
        self.bytes /= 2;
        (self, second)
    }
}

impl Producer {
    /// Connects to the brokers of `config`. `cluster` is a connection to the same cluster: it looks the
    /// topic up without creating it.
    ///
    /// # Errors
    /// [`Invalid`](kafka_direct::ErrorKind::Invalid) for a topic that does not exist;
    /// [`Unavailable`](kafka_direct::ErrorKind::Unavailable) and [`Unauthorized`](kafka_direct::ErrorKind::Unauthorized) as the
    /// cluster says.
    ///
    /// # Cancel safety
    /// Safe: nothing is written.
    pub async fn connect(
        cluster: &Cluster,
        topic: impl Into<Arc<str>>,
        config: ProducerConfig,
    ) -> Result<Self, Error> {
        let topic = topic.into();
        let found = match cluster.topics(&[String::from(&*topic)]).await {
            Ok(topics) => topics,
            Err(WireError::UnknownTopic { .. }) => return Err(missing(&topic)),
            Err(error) => return Err(Error::Read(error.into())),
        };
        let count = found.first().map_or(0, |topic| topic.partitions.len());
        let count = i32::try_from(count).ok().filter(|count| *count > 0);
        let count = count.ok_or_else(|| missing(&topic))?;
        let backoff = BackoffConfig {
            max_backoff: CLIENT_RETRIES,
            deadline: Some(CLIENT_RETRIES),
            ..BackoffConfig::default()
        };
        let connecting = ClientBuilder::new(config.brokers)
            .client_id(config.client_id)
            .backoff_config(backoff)
            .build();
        let client = timeout(config.request_timeout, connecting).await;
        let client = client.unwrap_or(Err(ClientError::Timeout));
        let client = client.map_err(|error| failed(topic.to_string(), error))?;
        Ok(Self(Arc::new(Inner {
            client,
            topic,
            count,
            compression: compression(config.compression),
            request_timeout: config.request_timeout,
            retry_timeout: config.retry_timeout,
            partitions: Mutex::default(),
            without_key: AtomicU32::new(0),
            batch_bytes: AtomicUsize::new(BATCH_BYTES),
        })))
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// How many partitions the topic had when the producer connected; at least 1.
    #[must_use]
    pub fn partitions(&self) -> i32 {
        self.0.count
    }

    /// Collects records into batches, of which at most `held_bytes` are buffered or in flight.
    #[must_use]
    pub fn batches(&self, held_bytes: usize) -> ProducerBatches {
        ProducerBatches::new(self.clone(), held_bytes)
    }

    /// The partition of a record: as Kafka's Java producer chooses it by the key, else the next one.
    pub(super) fn partition_for(&self, key: Option<&[u8]>) -> i32 {
        if let Some(key) = key {
            return partition_of(key, self.0.count);
        }
        let number = self.0.without_key.fetch_add(1, Ordering::Relaxed);
        let count = u32::try_from(self.0.count).unwrap_or(1);
        number.checked_rem(count).and_then(|index| i32::try_from(index).ok()).unwrap_or(0)
    }

    pub(super) fn batch_bytes(&self) -> usize {
        self.0.batch_bytes.load(Ordering::Relaxed)
    }

    /// Writes a batch. Also returns, with an error, how many of its records were written.
    ///
    /// # Cancel safety
    /// Dropped, it may have written any number of the records.
    pub(super) async fn deliver(&self, partition: i32, batch: Batch) -> (usize, Result<(), Error>) {
        let mut written = 0_usize;
        // The last one is the next.
        let mut rest = vec![batch];
        while let Some(batch) = rest.pop() {
            let error = match self.retried(partition, &batch.records).await {
                Ok(()) => {
                    written = written.saturating_add(batch.records.len());
                    continue;
                }
                Err(error) => error,
            };
            if !refuses_a_record(&error) {
                return (written, Err(failed(self.target(partition), error)));
            }
            if batch.records.len() > 1 {
                if is_too_large(&error) {
                    let smaller = (batch.bytes / 2).max(MIN_BATCH_BYTES);
                    self.0.batch_bytes.fetch_min(smaller, Ordering::Relaxed);
                }
                let (first, second) = batch.halved();
                rest.extend([second, first]);
                continue;
            }
            let origin =
                batch.origins.first().map_or_else(|| "a record".to_owned(), Origin::to_string);
            let reason = refusal(&error, &self.0.topic);
            let target = self.target(partition);
            let refused =
                Error::invalid(format!("{origin} cannot be written to {target}: {reason}"));
            return (written, Err(refused));
        }
        (written, Ok(()))
    }

    /// Tries again while brokers are unavailable.
    async fn retried(&self, partition: i32, records: &[Record]) -> Result<(), ClientError> {
        let began = Instant::now();
        let mut warned: Option<Instant> = None;
        let mut pause = FIRST_PAUSE;
        loop {
            // A copy: the client takes the records, and another try or the halves need them.
            let error = match self.once(partition, records.to_vec()).await {
                Err(error) if is_transient(&error) => error,
                done => return done,
            };
            if self.0.retry_timeout.is_some_and(|limit| began.elapsed() >= limit) {
                return Err(error);
            }
            if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                warned = Some(Instant::now());
                tracing::warn!(partition = %self.target(partition), %error, "records cannot be written; trying again");
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    async fn once(&self, partition: i32, records: Vec<Record>) -> Result<(), ClientError> {
        let writing = async {
            let client = self.client(partition).await?;
            // Boxed: the client's futures are deeply nested.
            Box::pin(client.produce(records, self.0.compression)).await.map(drop)
        };
        // The client itself waits for a response without end.
        let done = timeout(self.0.request_timeout, writing).await;
        done.unwrap_or_else(|_| {
            self.0.partitions.lock().remove(&partition);
            Err(ClientError::Timeout)
        })
    }

    async fn client(&self, partition: i32) -> Result<Arc<PartitionClient>, ClientError> {
        if let Some(client) = self.0.partitions.lock().get(&partition) {
            return Ok(Arc::clone(client));
        }
        let unknown = UnknownTopicHandling::Error;
        let client = self.0.client.partition_client(&*self.0.topic, partition, unknown);
        let client = Box::pin(client).await?;
        // Of two writers that connect at the same time, both use the connection that is stored first.
        let mut partitions = self.0.partitions.lock();
        Ok(Arc::clone(partitions.entry(partition).or_insert_with(|| Arc::new(client))))
    }

    pub(super) fn target(&self, partition: i32) -> String {
        format!("{}-{partition}", self.0.topic)
    }
}

fn missing(topic: &str) -> Error {
    Error::invalid(format!(
        "the output topic `{topic}` does not exist, and it is not created by writing to it; create it: kafka-direct topics create {topic} --partitions N"
    ))
}

pub(super) fn failed(target: String, error: ClientError) -> Error {
    Error::Produce { target, kind: kind_of(&error), source: Box::new(error) }
}

const fn compression(codec: Compression) -> ClientCompression {
    match codec {
        Compression::None => ClientCompression::NoCompression,
        Compression::Gzip => ClientCompression::Gzip,
        Compression::Lz4 => ClientCompression::Lz4,
        Compression::Snappy => ClientCompression::Snappy,
        Compression::Zstd => ClientCompression::Zstd,
    }
}
