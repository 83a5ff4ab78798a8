//! Bytes that a batch has fetched beyond its end: the next batch continues with them, and nothing
//! else does.

use std::sync::Arc;

use futures::FutureExt as _;
use kafka_direct::{
    BoxError, Cluster, DataLossPolicy, DirectStream, KafkaRdd, StreamLimits,
    checkpoint::MemoryCheckpoint, stream::StreamedBatch,
};
use kafka_direct_broker::{ApiKey, Broker, Record};

use crate::{append, available, broker, connect, memory_sink::MemorySink};

/// A log of one partition with `batches` Kafka batches of `size` records each. Also returns the bytes
/// of the responses of one read of it.
async fn one_partition(batches: i64, size: i64) -> (Broker, u64) {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    for batch in 0..batches {
        let numbers = batch * size..(batch + 1) * size;
        let records: Vec<Record> = numbers.map(|n| Record::new(format!("{n:0>100}"))).collect();
        broker.append("t", 0, records).unwrap();
    }
    let cluster = connect(&broker).await;
    let whole = KafkaRdd::builder(&cluster).topic("t").build().await.unwrap();
    assert_eq!(whole.count().await.unwrap(), u64::try_from(size * batches).unwrap());
    (broker, cluster.fetch_metrics().response_bytes)
}

async fn stream(cluster: &Cluster, limit: u64) -> DirectStream {
    let limits = StreamLimits::new().max_records_per_batch(limit);
    available(cluster, &MemoryCheckpoint::default()).limits(limits).build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_below_the_size_of_a_response_fetches_no_byte_twice() {
    // Few large Kafka batches, and many small ones.
    for (batches, size) in [(20, 1000), (1000, 20)] {
        let (broker, log_bytes) = one_partition(batches, size).await;
        let cluster = connect(&broker).await;
        let sink = Arc::new(MemorySink::default());
        stream(&cluster, 100).await.run(Arc::clone(&sink)).await.unwrap();
        let expected: Vec<String> = (0..20_000).map(|n| format!("{n:0>100}")).collect();
        assert!(sink.values() == expected);
        let metrics = cluster.fetch_metrics();
        // A response that ends inside a Kafka batch fetches its beginning in vain.
        assert!(metrics.response_bytes <= log_bytes + log_bytes / 4, "{log_bytes} {metrics:?}");
        assert!(metrics.requests <= 4, "{metrics:?}");
        assert_eq!((metrics.carried_bytes, metrics.queued_bytes), (0, 0));
    }
}

/// Reads a batch of `t` and returns how many records it has and how many Fetch requests that took.
async fn read(broker: &Broker, batch: StreamedBatch<'_>) -> (u64, u64) {
    let before = broker.requests(ApiKey::Fetch);
    let records = batch.rdd().count().await.unwrap();
    batch.done().await.unwrap();
    (records, broker.requests(ApiKey::Fetch) - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_again_fetches_all_its_bytes() {
    let (broker, _) = one_partition(1, 50).await;
    let cluster = connect(&broker).await;
    let mut stream = stream(&cluster, 10).await;
    assert_eq!(read(&broker, stream.next().await.unwrap().unwrap()).await, (10, 1));
    assert_eq!(read(&broker, stream.next().await.unwrap().unwrap()).await, (10, 0));
    // A closure that fails before it has read anything.
    let batch = stream.next().await.unwrap().unwrap();
    let before = broker.requests(ApiKey::Fetch);
    let counted = batch.rdd().map_partitions(|_, mut batches| async move {
        if batches.attempt() == 1 {
            return Err::<usize, BoxError>("not yet".into());
        }
        let mut rows = 0;
        while let Some(batch) = batches.try_next().await? {
            rows += batch.num_rows();
        }
        Ok(rows)
    });
    assert_eq!(counted.await.unwrap(), [10]);
    assert_eq!(broker.requests(ApiKey::Fetch) - before, 1, "the second attempt");
    batch.done().await.unwrap();
    // A batch whose first run is dropped before it has read anything.
    let batch = stream.next().await.unwrap().unwrap();
    assert_ne!(cluster.fetch_metrics().carried_bytes, 0);
    let never = |_, _| std::future::pending::<Result<(), BoxError>>();
    assert!(batch.rdd().map_partitions(never).now_or_never().is_none());
    assert_eq!(read(&broker, batch).await, (10, 1));
    // A batch that is handed out again.
    drop(stream.next().await.unwrap().unwrap());
    let again = stream.next().await.unwrap().unwrap();
    assert!(again.is_repeated());
    assert_eq!(read(&broker, again).await, (10, 1));
    assert!(stream.next().await.unwrap().is_none());
    assert_eq!(cluster.fetch_metrics().carried_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_a_log_that_was_replaced_are_not_delivered() {
    for recreate in [false, true] {
        let (broker, _) = one_partition(1, 50).await;
        let cluster = connect(&broker).await;
        let limits = StreamLimits::new().max_records_per_batch(10);
        let stream = available(&cluster, &MemoryCheckpoint::default()).limits(limits);
        let mut stream = stream.on_data_loss(DataLossPolicy::Resume).build().await.unwrap();
        assert_eq!(read(&broker, stream.next().await.unwrap().unwrap()).await, (10, 1));
        let other = vec![Record::new("other"); 40];
        if recreate {
            broker.recreate_topic("t").unwrap();
            cluster.topics(&["t".to_owned()]).await.unwrap();
            broker.append("t", 0, other.clone()).unwrap();
            broker.append("t", 0, other).unwrap();
        } else {
            broker.truncate("t", 0, 10).unwrap();
            broker.append("t", 0, other).unwrap();
        }
        let sink = Arc::new(MemorySink::default());
        stream.run(Arc::clone(&sink)).await.unwrap();
        // A stream that reads what is available does not begin with a topic that is new.
        assert_eq!(sink.values(), vec!["other"; if recreate { 0 } else { 40 }]);
        assert_eq!(cluster.fetch_metrics().carried_bytes, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_dropped_or_has_ended_keeps_no_bytes() {
    let broker = broker().await;
    append(&broker, 0, 50);
    let cluster = connect(&broker).await;
    for stops in [false, true] {
        let mut stream = stream(&cluster, 10).await;
        assert_eq!(read(&broker, stream.next().await.unwrap().unwrap()).await.0, 10);
        assert_ne!(cluster.fetch_metrics().carried_bytes, 0);
        if stops {
            stream.handle().stop();
            assert!(stream.next().await.unwrap().is_none());
        } else {
            drop(stream);
        }
        assert_eq!(cluster.fetch_metrics().carried_bytes, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_a_partition_continue_as_the_whole_partition_does() {
    let (broker, _) = one_partition(3, 100).await;
    let cluster = connect(&broker).await;
    let limits = StreamLimits::new().max_records_per_batch(40).min_partitions(4);
    let stream = available(&cluster, &MemoryCheckpoint::default()).limits(limits);
    let sink = Arc::new(MemorySink::default());
    let progress = stream.build().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
    let expected: Vec<String> = (0..300).map(|n| format!("{n:0>100}")).collect();
    assert_eq!((progress.batches, sink.values()), (8, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_not_followed_any_more_keeps_no_bytes() {
    let broker = broker().await;
    broker.create_topic("u", 1).unwrap();
    append(&broker, 0, 50);
    broker.append("u", 0, vec![Record::new("u"); 50]).unwrap();
    let cluster = connect(&broker).await;
    let limits = StreamLimits::new().max_records_per_batch(15);
    let stream = available(&cluster, &MemoryCheckpoint::default()).limits(limits);
    let stream = stream.pattern("t|u").on_data_loss(DataLossPolicy::Resume);
    let mut stream = stream.build().await.unwrap();
    assert_eq!(read(&broker, stream.next().await.unwrap().unwrap()).await.0, 15);
    let all = cluster.fetch_metrics().carried_bytes;
    broker.delete_topic("u").unwrap();
    // Its log cannot be read any more: the topics are described again.
    let batch = stream.next().await.unwrap().unwrap();
    assert!(
        batch.entry().plan.ranges().iter().all(|planned| planned.topic_partition().topic() == "t")
    );
    let left = cluster.fetch_metrics().carried_bytes;
    assert!(0 < left && left < all, "{left} of {all}");
}
