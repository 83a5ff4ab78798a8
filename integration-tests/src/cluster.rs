//! Helpers that change a cluster for a test: create topics, write records, commit offsets.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use chrono::DateTime;
use kafka_direct::{Cluster, ClusterConfig, TopicPartition};
use rskafka::{
    client::{
        Client, ClientBuilder,
        partition::{Compression, UnknownTopicHandling},
    },
    record::Record,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A cluster a test may write to.
pub trait TestCluster: Sync {
    /// `host:port` of a broker.
    fn bootstrap(&self) -> Vec<String>;
}

/// Commits `offset` for `group` without being its member, as tools do (OffsetCommit version 2).
pub async fn commit(cluster: &impl TestCluster, group: &str, topic: &str, p: i32, offset: i64) {
    // This request makes the broker create the topic that stores committed offsets.
    let partition = [TopicPartition::new(topic, p)];
    connect(cluster).await.committed_offsets(group, &partition).await.unwrap();
    let string = |text: &str| [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat();
    let body = [
        &[0, 8, 0, 2, 0, 0, 0, 1][..],
        &string("tests"),
        &string(group),
        &(-1i32).to_be_bytes(),
        &string(""),
        &(-1i64).to_be_bytes(),
        &1i32.to_be_bytes(),
        &string(topic),
        &1i32.to_be_bytes(),
        &p.to_be_bytes(),
        &offset.to_be_bytes(),
        &(-1i16).to_be_bytes(),
    ]
    .concat();
    let frame = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
    loop {
        let mut stream = TcpStream::connect(&cluster.bootstrap()[0]).await.unwrap();
        stream.write_all(&frame).await.unwrap();
        let size = stream.read_u32().await.unwrap();
        let mut response = vec![0; size as usize];
        stream.read_exact(&mut response).await.unwrap();
        match *response.last_chunk::<2>().unwrap() {
            [0, 0] => return,
            // The coordinator is loading, not available or not this broker.
            [0, 14..=16] => tokio::time::sleep(Duration::from_millis(50)).await,
            code => panic!("OffsetCommit failed with error code {code:?}"),
        }
    }
}

/// Connects with default settings. The first bootstrap server is unreachable on purpose.
pub async fn connect(cluster: &impl TestCluster) -> Cluster {
    connect_with(cluster, |config| config).await
}

/// Connects with `settings` applied. The first bootstrap server is unreachable on purpose.
pub async fn connect_with(
    cluster: &impl TestCluster,
    settings: impl FnOnce(ClusterConfig) -> ClusterConfig,
) -> Cluster {
    let mut servers = vec!["127.0.0.1:1".to_owned()];
    servers.extend(cluster.bootstrap());
    Cluster::connect(settings(ClusterConfig::new(servers))).await.unwrap()
}

/// Returns a topic name that no other test uses, in this run or an earlier one on the same cluster.
#[must_use]
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{number}", std::process::id())
}

/// One record to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp: i64,
}

impl Written {
    /// Returns the record whose key, value and timestamp are derived from `number`.
    #[must_use]
    pub fn numbered(number: i64) -> Self {
        let key = (number % 3 != 0).then(|| format!("key-{number}").into_bytes());
        let value = match number % 7 {
            0 => None,
            1 => Some(Vec::new()),
            _ => {
                Some(format!("value {number} {}", "x".repeat((number % 40) as usize)).into_bytes())
            }
        };
        Self { key, value, timestamp: 1_700_000_000_000 + number }
    }
}

/// Writes to a cluster through an independent client (rskafka).
#[derive(Debug)]
pub struct Writer(Client);

impl Writer {
    pub async fn new(cluster: &impl TestCluster) -> Self {
        Self(ClientBuilder::new(cluster.bootstrap()).build().await.unwrap())
    }

    /// Creates a topic and waits until its partitions can be written.
    pub async fn create(&self, topic: &str, partitions: i32) {
        let controller = self.0.controller_client().unwrap();
        controller.create_topic(topic, partitions, 1, 10_000).await.unwrap();
        for partition in 0..partitions.min(8) {
            self.partition(topic, partition).await;
        }
    }

    pub async fn delete(&self, topic: &str) {
        self.0.controller_client().unwrap().delete_topic(topic, 10_000).await.unwrap();
    }

    async fn partition(
        &self,
        topic: &str,
        partition: i32,
    ) -> rskafka::client::partition::PartitionClient {
        self.0.partition_client(topic, partition, UnknownTopicHandling::Retry).await.unwrap()
    }

    /// Writes one Kafka batch per slice.
    pub async fn write(
        &self,
        topic: &str,
        partition: i32,
        batches: &[&[Written]],
        compression: Compression,
    ) {
        let client = self.partition(topic, partition).await;
        for batch in batches {
            let records = batch.iter().map(|written| Record {
                key: written.key.clone(),
                value: written.value.clone(),
                headers: BTreeMap::new(),
                timestamp: DateTime::from_timestamp_millis(written.timestamp).unwrap(),
            });
            client.produce(records.collect(), compression).await.unwrap();
        }
    }

    /// Writes the numbered records of the range `numbers`, in batches of `size` records.
    pub async fn write_numbered(
        &self,
        topic: &str,
        partition: i32,
        numbers: std::ops::Range<i64>,
        size: usize,
    ) {
        let all: Vec<Written> = numbers.map(Written::numbered).collect();
        let batches: Vec<&[Written]> = all.chunks(size).collect();
        self.write(topic, partition, &batches, Compression::NoCompression).await;
    }

    /// Moves the log start offset to `offset`, as `kafka-delete-records` does.
    pub async fn trim(&self, topic: &str, partition: i32, offset: i64) {
        self.partition(topic, partition).await.delete_records(offset, 10_000).await.unwrap();
    }
}
