//! Helpers that change a cluster for a test: create topics, write records, commit offsets.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use chrono::DateTime;
use kafka_direct::{Cluster, ClusterConfig};
use rskafka::{
    client::{
        Client, ClientBuilder,
        partition::{Compression, UnknownTopicHandling},
    },
    record::Record,
};

/// A cluster a test may write to.
pub trait TestCluster: Sync {
    /// `host:port` of a broker.
    fn bootstrap(&self) -> Vec<String>;
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
