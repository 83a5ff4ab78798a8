//! Streams on the embedded broker: what is read, what is stored, and what happens after a crash.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "an unexpected result is a failed test"
)]

mod carried;
mod closures;
mod groups;
mod memory_sink;
mod recovery;
mod running;
mod stopping;
mod user_store;

use kafka_direct::{
    Cluster, ClusterConfig, DirectStream, StreamLimits, Trigger, checkpoint::MemoryCheckpoint,
    stream::DirectStreamBuilder,
};
use kafka_direct_broker::{Broker, Record};

/// A broker with topic `t` of two partitions.
async fn broker() -> Broker {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 2).unwrap();
    broker
}

/// Appends the numbers `from..until` to both partitions.
fn append(broker: &Broker, from: i64, until: i64) {
    for partition in 0..2 {
        let records: Vec<Record> =
            (from..until).map(|n| Record::new(format!("{partition}/{n}"))).collect();
        broker.append("t", partition, records).unwrap();
    }
}

/// The values of the numbers `0..until` of both partitions, sorted.
fn expected(until: i64) -> Vec<String> {
    let mut all: Vec<String> =
        (0..2).flat_map(|p| (0..until).map(move |n| format!("{p}/{n}"))).collect();
    all.sort();
    all
}

async fn connect(broker: &Broker) -> Cluster {
    let config = ClusterConfig::new([broker.bootstrap()])
        .retry_timeout(std::time::Duration::from_millis(300));
    Cluster::connect(config).await.unwrap()
}

/// A stream over `t` that reads what is available in batches of at most 10 offsets.
fn available(cluster: &Cluster, checkpoint: &MemoryCheckpoint) -> DirectStreamBuilder {
    DirectStream::builder(cluster)
        .topic("t")
        .trigger(Trigger::AvailableNow)
        .limits(StreamLimits::new().max_records_per_batch(10))
        .checkpoint(checkpoint.clone())
}
