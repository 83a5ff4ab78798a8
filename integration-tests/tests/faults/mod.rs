//! Broker faults, and how a reader handles them.

mod again;
mod batches;
mod budget;
mod carried;
mod fetch_connections;
mod leaders;
mod logs;
mod remote;
mod responses;
mod transport;
mod truncation;
mod versions;

use std::time::Duration;

use kafka_direct::{
    BoxError, Cluster, ClusterConfig, Columns, DataLossPolicy, Error, KafkaRdd, Reset,
};
use kafka_direct_broker::{Broker, Record};
use kafka_direct_integration_tests::rows::rows;

/// Starts a broker with topic `t`: `partitions` of `count` records, `size` records per batch.
async fn broker(partitions: i32, count: i64, size: usize) -> Broker {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", partitions).unwrap();
    fill(&broker, partitions, count, size);
    broker
}

fn fill(broker: &Broker, partitions: i32, count: i64, size: usize) {
    for partition in 0..partitions {
        let numbers: Vec<i64> = (0..count).collect();
        for batch in numbers.chunks(size) {
            let records: Vec<Record> =
                batch.iter().map(|n| Record::new(format!("value {n}"))).collect();
            broker.append("t", partition, records).unwrap();
        }
    }
}

/// Appends `batches` batches of one record to each partition; each value has `bytes` bytes.
fn fill_large(
    broker: &Broker,
    partitions: impl IntoIterator<Item = i32>,
    batches: usize,
    bytes: usize,
) {
    for partition in partitions {
        for _ in 0..batches {
            broker.append("t", partition, [Record::new(vec![7; bytes])]).unwrap();
        }
    }
}

/// Connects with short backoffs and a retry timeout of one second.
async fn connect(broker: &Broker) -> Cluster {
    connect_with(broker, |config| config).await
}

async fn connect_with(
    broker: &Broker,
    settings: impl FnOnce(ClusterConfig) -> ClusterConfig,
) -> Cluster {
    let config = ClusterConfig::new(broker.addresses())
        .retry_backoff(Duration::from_millis(2), Duration::from_millis(10))
        .retry_timeout(Duration::from_secs(1))
        .request_timeout(Duration::from_secs(5));
    Cluster::connect(settings(config)).await.unwrap()
}

async fn whole(cluster: &Cluster) -> KafkaRdd {
    KafkaRdd::builder(cluster).topic("t").columns(Columns::all()).build().await.unwrap()
}

/// Reads all offsets of every partition, in plan order.
async fn offsets(rdd: &KafkaRdd) -> Result<Vec<i64>, Error> {
    Ok(rows(&rdd.collect().await?).iter().map(|row| row.offset).collect())
}

/// Reads partition 0 under the policy `Resume`: returns offsets, resets and the achieved end.
async fn resume(
    cluster: &Cluster,
    rdd: &KafkaRdd,
) -> Result<(Vec<i64>, Vec<Reset>, i64), BoxError> {
    let builder = KafkaRdd::builder(cluster).columns(Columns::all());
    let builder = builder.on_data_loss(DataLossPolicy::Resume);
    let rdd = builder.build_from_plan(rdd.plan().clone()).await?;
    let mut batches = rdd.read_partition(0).ok_or("no range")?;
    let mut offsets = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        offsets.extend(rows(&[batch]).iter().map(|row| row.offset));
    }
    Ok((offsets, batches.resets().to_vec(), batches.position().get()))
}
