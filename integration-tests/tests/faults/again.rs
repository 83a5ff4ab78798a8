//! Repeated calls: after a dropped future, after an error, and after the runtime shut down.

use std::time::Duration;

use kafka_direct::{Cluster, ClusterConfig, DataLossPolicy, ErrorKind, KafkaRdd};
use kafka_direct_broker::{ApiKey, Broker, ErrorCode, Fault, RawOffsets, Record};

use super::{broker, connect, connect_with, offsets, whole};

#[tokio::test]
async fn a_future_dropped_again_and_again_counts_no_fault_twice() {
    for fault in [Fault::Empty, Fault::Raw(vec![0xff; 9].into()), Fault::Cut] {
        let broker = broker(1, 30, 3).await;
        let slow = |config: ClusterConfig| {
            config.retry_backoff(Duration::from_millis(60), Duration::from_millis(60))
        };
        let rdd = whole(&connect_with(&broker, slow).await).await;
        broker.faults().next(ApiKey::Fetch, fault.clone());
        let (mut batches, mut read) = (rdd.read_partition(0).unwrap(), 0);
        // Each call is dropped long before the backoff ends.
        loop {
            let call = tokio::time::timeout(Duration::from_millis(7), batches.try_next());
            match call.await.map(|next| next.unwrap_or_else(|error| panic!("{fault:?}: {error}"))) {
                Ok(Some(batch)) => read += batch.num_rows(),
                Ok(None) => break,
                Err(_dropped) => {}
            }
        }
        assert_eq!(read, 30, "{fault:?}");
    }
}

#[tokio::test]
async fn an_error_does_not_fail_later_calls() {
    let broker = broker(1, 30, 3).await;
    let rdd = whole(&connect(&broker).await).await;
    let mut batches = rdd.read_partition(0).unwrap();
    for fault in [
        Fault::Cut,
        Fault::ErrorCode(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
        Fault::Raw(vec![0xff; 9].into()),
    ] {
        broker.faults().every(ApiKey::Fetch, fault);
        batches.try_next().await.unwrap_err();
    }
    broker.faults().clear();
    assert_eq!(batches.try_next().await.unwrap().unwrap().num_rows(), 30);
    assert!(batches.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_broken_batch_is_never_skipped() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    broker.append("t", 0, [Record::new("first")]).unwrap();
    let mut broken = kafka_direct_broker::BatchWriter::new()
        .base_offset(1)
        .write(&[Record::new("second")])
        .unwrap()
        .to_vec();
    broken[65] ^= 1;
    broker.append_raw("t", 0, broken, RawOffsets::Unchecked { base: 1, next: 2 }).unwrap();
    broker.append("t", 0, [Record::new("third")]).unwrap();
    let rdd = whole(&connect(&broker).await).await;
    assert_eq!(rdd.count().await.unwrap_err().kind(), ErrorKind::Corrupt);
    let (mut batches, mut read, mut errors) = (rdd.read_partition(0).unwrap(), 0, 0);
    while errors < 3 {
        match batches.try_next().await {
            Ok(Some(batch)) => read += batch.num_rows(),
            Ok(None) => panic!("the range ended although a batch of it is broken"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                errors += 1;
            }
        }
    }
    assert_eq!(read, 1);
}

#[tokio::test]
async fn counting_fetches_bytes_with_a_wrong_checksum_again() {
    let broker = broker(1, 30, 30).await;
    let rdd = whole(&connect(&broker).await).await;
    broker.faults().next(ApiKey::Fetch, Fault::flip_byte(300));
    assert_eq!(rdd.count().await.unwrap(), 30);
    assert_eq!(broker.requests(ApiKey::Fetch), 2, "the byte was one of the records");
}

#[tokio::test]
async fn the_skips_of_whole_reads_are_reported_by_the_batch() {
    let broker = broker(2, 40, 4).await;
    let cluster = connect(&broker).await;
    let builder = || KafkaRdd::builder(&cluster).topic("t").on_data_loss(DataLossPolicy::Resume);
    let (counted, taken, collected) = (
        builder().build().await.unwrap(),
        builder().build().await.unwrap(),
        builder().build().await.unwrap(),
    );
    broker.trim("t", 1, 12).unwrap();
    assert_eq!(counted.count().await.unwrap(), 68);
    taken.take(1000).await.unwrap();
    collected.collect().await.unwrap();
    for rdd in [counted, taken, collected] {
        let resets = rdd.resets();
        assert_eq!((resets.len(), resets[0].skipped()), (1, 12), "{resets:?}");
    }
}

#[tokio::test]
async fn a_deadline_also_applies_while_a_plan_is_checked() {
    let broker = broker(1, 30, 3).await;
    let cluster = connect(&broker).await;
    let plan = whole(&cluster).await.plan().clone();
    broker.faults().every(ApiKey::Metadata, Fault::Delay(Duration::from_secs(60)));
    let builder = KafkaRdd::builder(&cluster).deadline(Duration::from_millis(100));
    let error = builder.build_from_plan(plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("deadline"), "{error}");
}

#[test]
fn reads_end_with_an_error_after_the_runtime_shut_down() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    };
    let (servers, clients, readers) = (runtime(), runtime(), runtime());
    let broker = servers.block_on(broker(1, 30, 3));
    let config = ClusterConfig::new(broker.addresses())
        .retry_backoff(Duration::from_millis(2), Duration::from_millis(10))
        .retry_timeout(Duration::from_millis(300));
    let cluster = clients.block_on(Cluster::connect(config)).unwrap();
    let rdd = clients.block_on(whole(&cluster));
    assert_eq!(clients.block_on(offsets(&rdd)).unwrap().len(), 30);
    drop(clients);
    let mut batches = rdd.read_partition(0).unwrap();
    let read = readers.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), batches.try_next()).await
    });
    assert_eq!(read.expect("no hang").unwrap_err().kind(), ErrorKind::Unavailable);
}
