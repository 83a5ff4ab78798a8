//! Leaders that move, fail or do not exist.

use std::time::Duration;

use kafka_direct::ErrorKind;
use kafka_direct_broker::{ApiKey, Broker, Fault};

use super::{connect, connect_with, fill, offsets, whole};

async fn three_nodes() -> Broker {
    let broker = Broker::builder().nodes(3).start().await.unwrap();
    broker.create_topic("t", 3).unwrap();
    fill(&broker, 3, 200, 4);
    broker
}

fn thrice() -> Vec<i64> {
    (0..3).flat_map(|_| 0..200).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_fails_mid_read_is_replaced() {
    let broker = three_nodes().await;
    let cluster = connect_with(&broker, |config| config.partition_max_bytes(300)).await;
    let rdd = whole(&cluster).await;
    broker.faults().every(ApiKey::Fetch, Fault::Delay(Duration::from_millis(2)));
    let read = tokio::spawn(async move { offsets(&rdd).await });
    while broker.requests(ApiKey::Fetch) < 20 {
        tokio::task::yield_now().await;
    }
    broker.stop_node(2).await.unwrap();
    broker.set_leader("t", 1, Some(3)).unwrap();
    assert_eq!(read.await.unwrap().unwrap(), thrice());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_that_move_often_lose_and_duplicate_nothing() {
    let broker = three_nodes().await;
    let cluster = connect_with(&broker, |config| {
        config.partition_max_bytes(300).retry_timeout(Duration::from_secs(20))
    })
    .await;
    let rdd = whole(&cluster).await;
    let read = tokio::spawn(async move { offsets(&rdd).await });
    let mut node = 0;
    while !read.is_finished() {
        node = node % 3 + 1;
        for partition in 0..3 {
            broker.set_leader("t", partition, Some(node)).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    assert_eq!(read.await.unwrap().unwrap(), thrice());
}

#[tokio::test]
async fn a_partition_without_a_leader_is_unavailable_and_named() {
    let broker = three_nodes().await;
    let cluster = connect(&broker).await;
    let rdd = whole(&cluster).await;
    broker.set_leader("t", 1, None).unwrap();
    let error = offsets(&rdd).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("t-1"), "{error}");
    let planning = kafka_direct::KafkaRdd::builder(&cluster).topic("t").build().await.unwrap_err();
    assert_eq!(planning.kind(), ErrorKind::Unavailable);
    assert!(planning.to_string().contains("t-1"), "{planning}");
}

#[tokio::test]
async fn each_leader_gets_one_connection_for_all_its_partitions() {
    let broker = Broker::builder().nodes(2).start().await.unwrap();
    broker.create_topic("t", 10).unwrap();
    fill(&broker, 10, 20, 5);
    let rdd = whole(&connect(&broker).await).await;
    assert_eq!(offsets(&rdd).await.unwrap().len(), 200);
    let fetches = broker.fetches();
    let widest = fetches.iter().map(|fetch| fetch.partitions.len()).max().unwrap();
    assert!(widest >= 4, "{fetches:?}");
    for fetch in &fetches {
        let mut partitions: Vec<_> = fetch.partitions.iter().map(|(tp, _)| tp).collect();
        partitions.sort();
        partitions.dedup();
        assert_eq!(partitions.len(), fetch.partitions.len(), "a partition twice in one request");
    }
}
