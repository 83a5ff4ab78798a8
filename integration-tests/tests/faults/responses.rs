//! Responses that are cut off, empty, late, refused or malformed.

use std::{sync::Arc, time::Duration};

use kafka_direct::{Cluster, ClusterConfig, ErrorKind, KafkaRdd};
use kafka_direct_broker::{ApiKey, Broker, ByteLimits, ErrorCode, Fault, FillOrder};

use super::{broker, connect, connect_with, fill, fill_large, offsets, transport::Memory, whole};

fn twice(count: i64) -> Vec<i64> {
    (0..count).chain(0..count).collect()
}

#[tokio::test]
async fn a_response_cut_anywhere_loses_and_duplicates_nothing() {
    let broker = broker(2, 50, 7).await;
    let rdd = whole(&connect(&broker).await).await;
    for bytes in (0..2600).step_by(53) {
        broker.faults().next(ApiKey::Fetch, Fault::CutAfter(bytes));
        assert_eq!(offsets(&rdd).await.unwrap(), twice(50), "cut after {bytes}");
    }
    assert!(broker.faults().intercepted(ApiKey::Fetch) > 40);
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_noticed_and_repaired_by_a_second_fetch() {
    let broker = broker(1, 50, 7).await;
    let rdd = whole(&connect(&broker).await).await;
    for at in (0..1300).step_by(17) {
        broker.faults().clear();
        broker.faults().next(ApiKey::Fetch, Fault::flip_byte(at));
        let read = tokio::time::timeout(Duration::from_secs(20), offsets(&rdd)).await;
        match read.unwrap_or_else(|_| panic!("hangs with byte {at} flipped")) {
            Ok(offsets) => assert_eq!(offsets, (0..50).collect::<Vec<_>>(), "byte {at}"),
            Err(error) => {
                // A field without a checksum may report lost offsets, but never an internal error.
                assert!(!matches!(error.kind(), ErrorKind::Internal), "byte {at}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn empty_responses_are_never_the_end() {
    let broker = broker(3, 40, 4).await;
    let rdd = whole(&connect(&broker).await).await;
    // A replica may lag behind the high watermark for a while.
    for count in [1, 2, 6] {
        for _ in 0..count {
            broker.faults().next(ApiKey::Fetch, Fault::Empty);
        }
        assert_eq!(offsets(&rdd).await.unwrap().len(), 120, "{count} empty responses");
    }
    broker.faults().every(ApiKey::Fetch, Fault::Empty);
    let read = offsets(&rdd).await;
    // The high watermark of every response reaches the end of every range. A client can treat the
    // rest as a hole or return an error, but it must end.
    assert!(read.is_err() || read.unwrap().is_empty());
}

#[tokio::test]
async fn the_partition_a_broker_serves_last_is_read_and_no_record_becomes_a_hole() {
    const PARTITIONS: i32 = 8;
    const BATCHES: i64 = 40;
    for order in [FillOrder::Request, FillOrder::Reversed] {
        let broker = Broker::builder().fill_order(order).start().await.unwrap();
        broker.create_topic("t", PARTITIONS).unwrap();
        fill_large(&broker, 0..PARTITIONS, BATCHES as usize, 40_000);
        // A response has room for one batch each of a few of the requested partitions.
        let small = |config: ClusterConfig| config.fetch_max_bytes(150_000);
        let rdd = whole(&connect_with(&broker, small).await).await;
        let expected: Vec<i64> = (0..PARTITIONS).flat_map(|_| 0..BATCHES).collect();
        assert_eq!(offsets(&rdd).await.unwrap(), expected, "{order:?}");
        for _ in 0..20 {
            broker.faults().next(ApiKey::Fetch, Fault::Delay(Duration::ZERO));
            broker.faults().next(ApiKey::Fetch, Fault::Throttle(Duration::from_millis(1)));
        }
        assert_eq!(offsets(&rdd).await.unwrap(), expected, "{order:?}, throttled");
        assert_eq!(broker.faults().intercepted(ApiKey::Fetch), 40);
    }
}

#[tokio::test]
async fn a_hole_at_the_end_of_one_partition_ends_it_while_others_are_read() {
    for order in [FillOrder::Request, FillOrder::Reversed] {
        let broker = Broker::builder().fill_order(order).start().await.unwrap();
        broker.create_topic("t", 4).unwrap();
        fill(&broker, 4, 40, 4);
        // Truncation removes the whole batch that begins at 36.
        broker.truncate("t", 1, 38).unwrap();
        fill_large(&broker, [0, 2, 3], 200, 4_000);
        let small = |config: ClusterConfig| config.fetch_max_bytes(10_000);
        let rdd = whole(&connect_with(&broker, small).await).await;
        assert_eq!(rdd.partitions()[1].range().until().get(), 38);
        let ends = [240, 36, 240, 240];
        let expected: Vec<i64> = ends.into_iter().flat_map(|end| 0..end).collect();
        assert_eq!(offsets(&rdd).await.unwrap(), expected, "{order:?}");
    }
}

#[tokio::test]
async fn a_broker_that_exceeds_every_byte_limit_is_read_with_fewer_partitions_at_once() {
    let broker = Broker::builder().byte_limits(ByteLimits::Ignored).start().await.unwrap();
    broker.create_topic("t", 8).unwrap();
    fill_large(&broker, 0..8, 20, 100_000);
    // All partitions at once are 16 MB; a response may have 4 MiB of fields and one batch more than
    // requested.
    let small = |config: ClusterConfig| config.fetch_max_bytes(100_000).max_batch_bytes(3 << 20);
    let rdd = whole(&connect_with(&broker, small).await).await;
    let expected: Vec<i64> = (0..8).flat_map(|_| 0..20).collect();
    assert_eq!(offsets(&rdd).await.unwrap(), expected);
    let refused = broker.requests(ApiKey::Fetch);
    assert_eq!(offsets(&rdd).await.unwrap(), expected);
    assert!(broker.requests(ApiKey::Fetch) - refused < refused, "the limit is remembered");
    // One partition alone exceeds this one, and nothing smaller can be requested.
    let smaller = |config: ClusterConfig| config.fetch_max_bytes(1000).max_batch_bytes(1000);
    let cluster = connect_with(&broker, smaller).await;
    fill_large(&broker, 0..1, 40, 100_000);
    let error = offsets(&whole(&cluster).await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn transient_error_codes_resume_at_the_fetch_position() {
    let broker = broker(2, 30, 3).await;
    let rdd = whole(&connect(&broker).await).await;
    for code in [
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode::LEADER_NOT_AVAILABLE,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::REPLICA_NOT_AVAILABLE,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::FENCED_LEADER_EPOCH,
        ErrorCode::UNKNOWN_LEADER_EPOCH,
        ErrorCode::OFFSET_NOT_AVAILABLE,
        ErrorCode::UNKNOWN_TOPIC_ID,
        ErrorCode::UNKNOWN_SERVER_ERROR,
    ] {
        for _ in 0..3 {
            broker.faults().next(ApiKey::Fetch, Fault::ErrorCode(code));
        }
        assert_eq!(offsets(&rdd).await.unwrap(), twice(30), "{code}");
    }
}

#[tokio::test]
async fn an_out_of_range_response_inside_the_log_is_retried() {
    let broker = broker(1, 30, 3).await;
    let rdd = whole(&connect(&broker).await).await;
    broker.faults().next(ApiKey::Fetch, Fault::ErrorCode(ErrorCode::OFFSET_OUT_OF_RANGE));
    assert_eq!(offsets(&rdd).await.unwrap().len(), 30);
}

#[tokio::test]
async fn refused_access_is_unauthorized_at_once() {
    let broker = broker(1, 30, 3).await;
    let rdd = whole(&connect(&broker).await).await;
    broker.faults().every(ApiKey::Fetch, Fault::ErrorCode(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let error = offsets(&rdd).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(broker.requests(ApiKey::Fetch) <= 2);
}

#[tokio::test]
async fn lasting_faults_end_as_unavailable_and_name_the_range_and_the_broker() {
    let broker = broker(1, 30, 3).await;
    let rdd = whole(&connect(&broker).await).await;
    broker.faults().every(ApiKey::Fetch, Fault::Cut);
    let error = offsets(&rdd).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains("t-0 [0, 30)") && text.contains(&broker.addresses()[0]), "{text}");
}

#[tokio::test]
async fn a_deadline_ends_a_read_that_makes_no_progress() {
    let broker = broker(1, 30, 3).await;
    let cluster = connect(&broker).await;
    broker.faults().every(ApiKey::Fetch, Fault::Delay(Duration::from_secs(60)));
    let rdd = KafkaRdd::builder(&cluster).topic("t").deadline(Duration::from_millis(300));
    let error = rdd.build().await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("deadline"), "{error}");
}

/// Starts an in-memory broker with topic `t` of one partition, for simulated time.
async fn in_memory(
    count: i64,
    size: usize,
    settings: impl FnOnce(ClusterConfig) -> ClusterConfig,
) -> (Arc<Broker>, Cluster) {
    let broker = Arc::new(Broker::builder().in_memory().start().await.unwrap());
    broker.create_topic("t", 1).unwrap();
    fill(&broker, 1, count, size);
    let memory = Memory::new(&broker);
    let cluster = connect_with(&broker, |config| settings(config.transport(memory))).await;
    (broker, cluster)
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_read_whose_bytes_arrive_faster_than_they_are_taken() {
    let (_broker, cluster) = in_memory(400, 1, |config| config.partition_max_bytes(1)).await;
    let rdd = KafkaRdd::builder(&cluster).topic("t").deadline(Duration::from_secs(10));
    let mut batches = rdd.build().await.unwrap().read_partition(0).unwrap();
    let mut read = 0;
    let error = loop {
        match batches.try_next().await {
            Ok(batch) => read += batch.expect("the deadline is not noticed").num_rows(),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(error.to_string().contains("deadline"), "{error}");
    // Each call returns one or two of the 400 rows.
    assert!((90..=204).contains(&read), "{read}");
}

/// Asserts that a reader survives a fault whose duration is longer than `retry_timeout`.
///
/// It polls the reader for `polled`, then leaves it idle for longer than `retry_timeout`, three
/// times. Then the fault ends, and every record must be read.
async fn left_idle(fault: Fault, polled: Duration, retry_timeout: Duration) {
    let (broker, cluster) = in_memory(30, 3, |config| config.retry_timeout(retry_timeout)).await;
    let mut batches = whole(&cluster).await.read_partition(0).unwrap();
    broker.faults().every(ApiKey::Fetch, fault);
    for _ in 0..3 {
        let ready = tokio::time::timeout(polled, batches.ready()).await;
        assert!(ready.is_err(), "{ready:?}");
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    broker.faults().clear();
    let mut read = 0;
    while let Some(batch) = batches.try_next().await.unwrap() {
        read += batch.num_rows();
    }
    assert_eq!(read, 30);
}

#[tokio::test(start_paused = true)]
async fn the_retry_timeout_does_not_pass_in_a_backoff_while_nobody_polls() {
    left_idle(
        Fault::ErrorCode(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        Duration::from_millis(1),
        Duration::from_secs(1),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_retry_timeout_does_not_pass_after_a_fault_that_the_reader_has_not_seen() {
    // Each request ends in its timeout of 5 s.
    let silent = Fault::Delay(Duration::from_secs(3600));
    left_idle(silent, Duration::from_secs(1), Duration::from_secs(20)).await;
}

#[tokio::test]
async fn malformed_and_hostile_sizes_are_refused_without_memory_or_a_hang() {
    let broker = broker(1, 30, 3).await;
    let rdd = whole(&connect(&broker).await).await;
    let frame = |body: &[u8]| [&(body.len() as u32).to_be_bytes()[..], body].concat();
    let count = [&[0; 4][..], &[0; 10], &[0x7f, 0xff, 0xff, 0xff, 0, 0]].concat();
    let endless = vec![0xff; 64];
    for raw in [
        vec![0x7f, 0xff, 0xff, 0xff],
        vec![0xff; 8],
        frame(b"HTTP/1.1"),
        frame(&count),
        frame(&endless),
    ] {
        broker.faults().every(ApiKey::Fetch, Fault::Raw(raw.clone().into()));
        let read = tokio::time::timeout(Duration::from_secs(20), offsets(&rdd)).await;
        let error = read.expect("no hang").unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unavailable),
            "{raw:?}: {error}"
        );
        broker.faults().clear();
        assert_eq!(offsets(&rdd).await.unwrap().len(), 30, "the cluster is usable after {raw:?}");
    }
}

#[tokio::test]
async fn a_throttle_is_waited_out() {
    let broker = broker(1, 30, 3).await;
    let cluster = connect_with(&broker, |config| config.partition_max_bytes(400)).await;
    let rdd = whole(&cluster).await;
    // More throttles in a row than a malformed response is retried, and longer than the retry
    // timeout.
    for _ in 0..5 {
        broker.faults().next(ApiKey::Fetch, Fault::Throttle(Duration::from_millis(250)));
    }
    assert_eq!(offsets(&rdd).await.unwrap().len(), 30);
    assert!(cluster.fetch_metrics().throttled >= Duration::from_millis(1250));
}

#[tokio::test]
async fn time_under_a_throttle_does_not_count_towards_the_retry_timeout() {
    let broker = broker(1, 30, 3).await;
    let rdd = whole(&connect(&broker).await).await;
    broker.faults().next(ApiKey::Fetch, Fault::Cut);
    // Longer than the retry timeout of 1 s.
    for millis in [250, 250, 1200] {
        broker.faults().next(ApiKey::Fetch, Fault::Throttle(Duration::from_millis(millis)));
    }
    broker.faults().next(ApiKey::Fetch, Fault::Cut);
    assert_eq!(offsets(&rdd).await.unwrap().len(), 30);
}

#[tokio::test]
async fn a_quota_that_blocks_every_response_reduces_the_request_size_until_data_arrives() {
    let broker = broker(1, 200, 1).await;
    let cluster = connect_with(&broker, |config| config.partition_max_bytes(1 << 20)).await;
    let rdd = KafkaRdd::builder(&cluster).topic("t").max_records_per_partition(20);
    let rdd = rdd.build().await.unwrap();
    for _ in 0..7 {
        broker.faults().next(ApiKey::Fetch, Fault::Throttle(Duration::from_millis(1)));
    }
    let rows: usize = rdd.collect().await.unwrap().iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(rows, 200);
    let requested: Vec<i32> = broker.fetches().iter().map(|seen| seen.max_bytes).collect();
    let (refused, served) = requested.split_at(8);
    assert!(refused.is_sorted_by(|more, less| more >= less), "{requested:?}");
    assert_eq!(refused[7], 256 << 10, "{requested:?}");
    assert!(served.iter().max() > refused.last(), "{requested:?}");
}

#[tokio::test]
async fn a_range_dropped_under_a_throttle_is_not_requested_after_it() {
    let broker = broker(1, 30, 3).await;
    let cluster = connect(&broker).await;
    let rdd = whole(&cluster).await;
    broker.faults().next(ApiKey::Fetch, Fault::Throttle(Duration::from_millis(300)));
    let throttled = async {
        while cluster.fetch_metrics().throttled.is_zero() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        read = rdd.collect() => panic!("{read:?} under a throttle"),
        () = throttled => {}
    }
    assert_eq!(offsets(&rdd).await.unwrap().len(), 30);
    assert_eq!(broker.requests(ApiKey::Fetch), 2, "one was throttled, one read");
}

#[tokio::test]
async fn both_ways_to_name_a_topic_read_the_same() {
    for versions in [4..=4, 7..=7, 11..=11, 12..=12, 13..=13, 15..=15, 16..=16, 17..=17] {
        let broker = broker(2, 30, 3).await;
        broker.cap_versions(ApiKey::Fetch, versions.clone());
        let rdd = whole(&connect(&broker).await).await;
        assert_eq!(offsets(&rdd).await.unwrap(), twice(30), "Fetch {versions:?}");
        assert_eq!(broker.fetches()[0].version, *versions.end());
    }
}

#[tokio::test]
async fn a_cluster_out_of_reach_names_every_server_and_why() {
    let config = ClusterConfig::new(["127.0.0.1:1", "127.0.0.1:2"]);
    let error = Cluster::connect(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:1") && text.contains("127.0.0.1:2"), "{text}");
    assert!(text.to_lowercase().contains("refused"), "{text}");
}

#[tokio::test]
async fn a_dropped_read_sends_no_more_requests() {
    let broker = broker(4, 3000, 3).await;
    let cluster = connect_with(&broker, |config| config.partition_max_bytes(500)).await;
    let rdd = whole(&cluster).await;
    broker.faults().every(ApiKey::Fetch, Fault::Delay(Duration::from_millis(5)));
    let read = tokio::time::timeout(Duration::from_millis(100), rdd.collect()).await;
    assert!(read.is_err(), "the read finished before it was dropped");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let requests = broker.requests(ApiKey::Fetch);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(broker.requests(ApiKey::Fetch), requests);
    assert_eq!(cluster.fetch_metrics().queued_bytes, 0);
}
