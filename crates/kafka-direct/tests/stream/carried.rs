//! Bytes that a batch has fetched beyond its end: the next batch continues with them.

use std::sync::Arc;

use kafka_direct::{Cluster, StreamLimits, checkpoint::MemoryCheckpoint};
use kafka_direct_broker::{Broker, Record};

use crate::{available, connect, memory_sink::MemorySink};

/// A log of one partition with `batches` Kafka batches of 1,000 records each, and its size in bytes.
async fn large_batches(batches: i64) -> (Broker, u64) {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    for batch in 0..batches {
        let numbers = batch * 1000..(batch + 1) * 1000;
        let records = numbers.map(|n| Record::new(format!("{n:0>100}")));
        broker.append("t", 0, records.collect::<Vec<_>>()).unwrap();
    }
    let cluster = connect(&broker).await;
    let whole = kafka_direct::KafkaRdd::builder(&cluster).topic("t").build().await.unwrap();
    assert_eq!(whole.count().await.unwrap(), 1000 * batches as u64);
    let bytes = cluster.fetch_metrics().response_bytes;
    (broker, bytes)
}

/// Reads all of the log in batches of `limit` offsets.
async fn stream_all(cluster: &Cluster, limit: u64) -> Vec<String> {
    let checkpoint = MemoryCheckpoint::default();
    let sink = Arc::new(MemorySink::default());
    let limits = StreamLimits::new().max_records_per_batch(limit);
    let stream = available(cluster, &checkpoint).limits(limits).build().await.unwrap();
    stream.run(Arc::clone(&sink)).await.unwrap();
    sink.values()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_limit_does_not_fetch_a_large_batch_again() {
    let (broker, log_bytes) = large_batches(20).await;
    let cluster = connect(&broker).await;
    let values = stream_all(&cluster, 100).await;
    let expected: Vec<String> = (0..20_000).map(|n| format!("{n:0>100}")).collect();
    assert!(values == expected);
    let metrics = cluster.fetch_metrics();
    println!(
        "log {log_bytes} B; fetched {} B in {} requests",
        metrics.response_bytes, metrics.requests
    );
    assert!(metrics.response_bytes <= log_bytes + log_bytes / 4, "{metrics:?}");
}
