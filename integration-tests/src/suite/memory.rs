//! INV-8: memory is bounded, and an idle reader does not block other readers.

use super::{all_columns, read};
use crate::{
    cluster::{TestCluster, Writer, Written, connect_with, unique},
    rows::rows,
};

pub(super) const MIB: usize = 1 << 20;

/// Creates a topic with 8 partitions of 24 batches of 100 KiB: 19 MiB, more than any budget here.
pub(super) async fn large(cluster: &impl TestCluster, name: &str) -> String {
    let (writer, topic) = (Writer::new(cluster).await, unique(name));
    writer.create(&topic, 8).await;
    let record = Written { key: None, value: Some(vec![7; 100 << 10]), timestamp: 1 };
    let batch = [record];
    let batches: Vec<&[Written]> = vec![&batch; 24];
    for partition in 0..8 {
        let codec = rskafka::client::partition::Compression::NoCompression;
        writer.write(&topic, partition, &batches, codec).await;
    }
    topic
}

pub async fn readers_that_nobody_polls_do_not_stop_the_others(cluster: &impl TestCluster) {
    let topic = large(cluster, "stalled").await;
    let connection = connect_with(cluster, |config| config.memory_budget_bytes(MIB)).await;
    let rdd = all_columns(&connection, &topic).build().await.unwrap();
    let mut readers: Vec<_> = (0..8).map(|index| rdd.read_partition(index).unwrap()).collect();
    // Each reader is polled once, so that all of them prefetch and use up the budget.
    for reader in &mut readers {
        assert!(reader.ready().await.unwrap());
    }
    for mut reader in readers.into_iter().rev() {
        let mut all = Vec::new();
        while let Some(batch) = reader.try_next().await.unwrap() {
            all.push(batch);
        }
        assert_eq!(rows(&all).len(), 24);
    }
}

pub async fn the_budget_bounds_what_is_queued(cluster: &impl TestCluster) {
    let topic = large(cluster, "bounded").await;
    let connection = connect_with(cluster, |config| config.memory_budget_bytes(2 * MIB)).await;
    let rdd = all_columns(&connection, &topic).build().await.unwrap();
    assert_eq!(read(&rdd).await.len(), 8 * 24);
    let peak = connection.fetch_metrics().peak_queued_bytes;
    let oversize = 256 << 10;
    assert!(peak > 0 && peak <= (2 * MIB + oversize) as i64, "{peak}");
    drop(rdd);
    assert_eq!(connection.fetch_metrics().queued_bytes, 0);
}

pub async fn batches_kept_for_ever_do_not_stop_the_read(cluster: &impl TestCluster) {
    let topic = large(cluster, "kept").await;
    let connection = connect_with(cluster, |config| config.memory_budget_bytes(MIB)).await;
    let rdd = all_columns(&connection, &topic).build().await.unwrap();
    // `collect` keeps every batch of every partition alive: 19 times the budget.
    let kept = rdd.collect().await.unwrap();
    assert_eq!(rows(&kept).len(), 8 * 24);
    // The budget counts none of these bytes. The metrics count them as held by batches.
    let values = 8 * 24 * (100 << 10);
    // The fetch connection may not yet have released the rest of its last request's reservation.
    let settled = async {
        while connection.fetch_metrics().queued_bytes != 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), settled).await.unwrap();
    let metrics = connection.fetch_metrics();
    assert!((values..2 * values).contains(&metrics.held_bytes), "{}", metrics.held_bytes);
    drop(kept);
    assert_eq!(connection.fetch_metrics().held_bytes, 0);
}
