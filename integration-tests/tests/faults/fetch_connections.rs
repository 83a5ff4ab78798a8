//! Fetch connections: the partitions of each request, the address, timeouts and budget waits.

use std::{sync::Arc, time::Duration};

use kafka_direct::{Cluster, ClusterConfig, DecodeOptions, ErrorKind, IsolationLevel, KafkaRdd};
use kafka_direct_broker::{ApiKey, Broker, ErrorCode, Fault};
use tokio::time::timeout;

use super::{broker, connect_with, fill, offsets, transport::Memory, whole};

/// Topic `t` with batches of two records, and a limit of one batch per partition in a response.
async fn in_memory(partitions: i32, count: i64) -> (Arc<Broker>, Arc<Memory>, Cluster) {
    let broker = Arc::new(Broker::builder().in_memory().start().await.unwrap());
    broker.create_topic("t", partitions).unwrap();
    fill(&broker, partitions, count, 2);
    let memory = Memory::new(&broker);
    let config = ClusterConfig::new(broker.addresses())
        .transport(Arc::<Memory>::clone(&memory))
        .partition_max_bytes(150)
        .request_timeout(Duration::from_secs(2))
        .retry_timeout(Duration::from_secs(5));
    let cluster = Cluster::connect(config).await.unwrap();
    (broker, memory, cluster)
}

#[tokio::test(start_paused = true)]
async fn a_partition_left_out_of_a_request_is_in_a_following_one() {
    let (broker, _, cluster) = in_memory(3, 60).await;
    let planned = |partition, isolation| {
        KafkaRdd::builder(&cluster).topic("t").partitions([partition]).isolation(isolation).build()
    };
    // A request has one isolation level, so the middle partition never fits in with the other two.
    let first = planned(0, IsolationLevel::ReadCommitted).await.unwrap();
    let middle = planned(1, IsolationLevel::ReadUncommitted).await.unwrap();
    let last = planned(2, IsolationLevel::ReadCommitted).await.unwrap();
    let (first, middle, last) = tokio::join!(first.count(), middle.count(), last.count());
    assert_eq!([first, middle, last].map(Result::unwrap), [60; 3]);
    let fetches = broker.fetches();
    let is_middle = |at: &usize| fetches[*at].partitions[0].0.partition() == 1;
    let middle: Vec<usize> = (0..fetches.len()).filter(is_middle).collect();
    assert!(middle.len() >= 30 && middle[0] < 4, "{middle:?}");
    assert!(middle.windows(2).all(|pair| pair[1] - pair[0] <= 3), "{middle:?}");
}

/// Runs on one thread, and the reader never waits, so it has to yield.
#[tokio::test(start_paused = true)]
async fn fetching_continues_while_a_reader_never_waits() {
    let (broker, _, cluster) = in_memory(1, 40).await;
    let one_row = DecodeOptions::new().max_rows(1);
    let rdd = KafkaRdd::builder(&cluster).topic("t").decode(one_row).build().await.unwrap();
    let mut batches = rdd.read_partition(0).unwrap();
    assert!(batches.ready().await.unwrap());
    let mut before = 0;
    while before != broker.fetches().len() {
        before = broker.fetches().len();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Two record sets of two records are queued.
    for _ in 0..4 {
        assert_eq!(batches.try_next().await.unwrap().unwrap().num_rows(), 1);
    }
    assert!(broker.fetches().len() > before);
}

#[tokio::test(start_paused = true)]
async fn a_leader_with_a_new_address_is_connected_to_there() {
    let (broker, memory, cluster) = in_memory(1, 40).await;
    let rdd = whole(&cluster).await;
    let mut batches = rdd.read_partition(0).unwrap();
    assert!(batches.ready().await.unwrap());
    memory.state.lock().tried.clear();
    let moved = Fault::corrupt(|response| {
        let (old, new) = (9092u32.to_be_bytes(), 9093u32.to_be_bytes());
        let at = response.windows(4).position(|four| four == old).unwrap();
        response[at..at + 4].copy_from_slice(&new);
    });
    broker.faults().every(ApiKey::Metadata, moved);
    broker.faults().next(ApiKey::Fetch, Fault::ErrorCode(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    let mut read = 0;
    while let Some(batch) = batches.try_next().await.unwrap() {
        read += batch.num_rows();
    }
    assert_eq!(read, 40);
    let tried = memory.state.lock().tried.clone();
    assert!(tried.len() == 1 && tried[0].ends_with(":9093"), "{tried:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_sent_ends_in_the_request_timeout() {
    let (_broker, memory, cluster) = in_memory(1, 40).await;
    let rdd = whole(&cluster).await;
    let mut batches = rdd.read_partition(0).unwrap();
    assert!(batches.ready().await.unwrap());
    memory.state.lock().stuck = true;
    let error = loop {
        let next = timeout(Duration::from_secs(120), batches.try_next()).await;
        match next.expect("the fetch connection hangs on a write") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the range ended although no request can be sent"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_fetch_waits_for_remote_storage_for_less_than_the_request_timeout() {
    for (seconds, max_wait_ms) in [(30, 5000), (5, 2500)] {
        let broker = broker(2, 30, 3).await;
        let timeout = Duration::from_secs(seconds);
        let cluster = connect_with(&broker, |config| config.request_timeout(timeout)).await;
        offsets(&whole(&cluster).await).await.unwrap();
        let fetches = broker.fetches();
        assert!(!fetches.is_empty());
        assert!(fetches.iter().all(|fetch| fetch.max_wait_ms == max_wait_ms), "{fetches:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_connection_that_waits_for_budget_gets_what_others_release() {
    const PARTITIONS: i32 = 48;
    let broker = Arc::new(Broker::builder().in_memory().nodes(4).start().await.unwrap());
    broker.create_topic("t", PARTITIONS).unwrap();
    fill(&broker, PARTITIONS, 40, 1);
    let config = ClusterConfig::new(broker.addresses())
        .transport(Memory::new(&broker))
        .memory_budget_bytes(3 << 20)
        .fetch_max_bytes(1 << 20);
    let cluster = Cluster::connect(config).await.unwrap();
    let pieces = KafkaRdd::builder(&cluster).topic("t").max_records_per_partition(1);
    assert_eq!(pieces.build().await.unwrap().count().await.unwrap(), 40 * 48);
    // The budget has room for three of four connections, and none waits until another finishes.
    let fetches = broker.fetches();
    for node in 1..=4 {
        let mut requests = (0..fetches.len()).filter(|at| fetches[*at].node == node);
        let (first, last) = (requests.next().unwrap(), requests.next_back().unwrap());
        assert!(first < 8 && last >= fetches.len() - 8, "{node}: {first} to {last}");
    }
}
