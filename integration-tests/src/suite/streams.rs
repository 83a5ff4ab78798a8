//! Streams: progress that other tools see, several streams in one process, and what batches fetch.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use kafka_direct::{
    BoxError, Cluster, DirectStream, Offset, StreamLimits, TopicPartition, Trigger,
    stream::{BatchInHand, StreamProgress},
};
use rskafka::client::partition::Compression;
use tokio::sync::watch;

use super::memory::{MIB, large};
use crate::cluster::{TestCluster, Writer, Written, connect, connect_with, unique};

/// The last positions are in the group when the stream has ended, those of idle partitions too.
pub async fn a_stream_publishes_where_it_ended_to_a_group(cluster: &impl TestCluster) {
    let topic = unique("published");
    let writer = Writer::new(cluster).await;
    writer.create(&topic, 3).await;
    writer.write_numbered(&topic, 1, 0..25, 5).await;
    let group = unique("lag");
    let connected = connect(cluster).await;
    let mut stream = DirectStream::builder(&connected)
        .topic(&topic)
        .trigger(Trigger::AvailableNow)
        .publish_to_group(&group)
        .build()
        .await
        .unwrap();
    let mut records = 0;
    while let Some(batch) = stream.next().await.unwrap() {
        records += batch.rdd().count().await.unwrap();
        batch.done().await.unwrap();
    }
    assert_eq!(records, 25);
    let partitions: Vec<_> = (0..3).map(|p| TopicPartition::new(topic.as_str(), p)).collect();
    let committed = connected.committed_offsets(&group, &partitions).await.unwrap();
    let ends = [0, 25, 0].map(|offset| Some(Offset::new(offset)));
    assert_eq!(committed, partitions.into_iter().zip(ends).collect::<BTreeMap<_, _>>());
}

/// Streams over one `Cluster` share its memory budget, and one whose results are slow to store does not
/// stop the other, although its queued bytes fill the budget.
pub async fn a_slow_stream_does_not_stop_another_one_on_its_cluster(cluster: &impl TestCluster) {
    let topic = large(cluster, "shared").await;
    let connected = connect_with(cluster, |config| config.memory_budget_bytes(MIB)).await;
    let (go_on, slow_count, fast_count) =
        (watch::Sender::new(false), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let run = |go_on: &watch::Sender<bool>, count: &Arc<AtomicU64>| {
        run(connected.clone(), topic.clone(), go_on.subscribe(), Arc::clone(count))
    };
    let slow = tokio::spawn(run(&go_on, &slow_count));
    while slow_count.load(Ordering::Acquire) == 0 {
        tokio::task::yield_now().await;
    }
    let open = watch::Sender::new(true);
    let fast = run(&open, &fast_count).await;
    assert_eq!((fast.batches, fast_count.load(Ordering::Acquire)), (1, 8 * 24));
    assert!(!slow.is_finished());
    go_on.send_replace(true);
    assert_eq!(slow.await.unwrap().batches, 1);
    assert_eq!(slow_count.load(Ordering::Acquire), 8 * 24);
    let (peak, oversize) = (connected.fetch_metrics().peak_queued_bytes, 256 << 10);
    assert!(peak > 0 && peak <= (MIB + oversize) as i64, "{peak}");
}

/// Reads what is available of a topic in one stream.
async fn run(
    cluster: Cluster,
    topic: String,
    go_on: watch::Receiver<bool>,
    count: Arc<AtomicU64>,
) -> StreamProgress {
    let stream = DirectStream::builder(&cluster).topic(topic).trigger(Trigger::AvailableNow);
    let stream = stream.build().await.unwrap();
    let read = move |batch| read(batch, go_on.clone(), Arc::clone(&count));
    stream.for_each_batch(read).await.unwrap()
}

/// Reads all ranges. Each counts its first records, and then waits until it may go on.
async fn read(
    batch: BatchInHand,
    go_on: watch::Receiver<bool>,
    count: Arc<AtomicU64>,
) -> Result<(), BoxError> {
    let ranges = batch.rdd().for_each_partition(move |_, mut batches| {
        let (mut go_on, count) = (go_on.clone(), Arc::clone(&count));
        async move {
            while let Some(records) = batches.try_next().await? {
                count.fetch_add(records.num_rows() as u64, Ordering::AcqRel);
                go_on.wait_for(|may| *may).await?;
            }
            Ok(())
        }
    });
    Ok(ranges.await?)
}

/// Batches of 100 offsets of Kafka batches of 2,000 records: 80 batches, and a few requests.
pub async fn batches_below_the_size_of_a_kafka_batch_fetch_it_once(cluster: &impl TestCluster) {
    let topic = unique("carried");
    let writer = Writer::new(cluster).await;
    writer.create(&topic, 2).await;
    let records: Vec<Written> = (0..4000).map(Written::numbered).collect();
    let batches: Vec<&[Written]> = records.chunks(2000).collect();
    for (partition, codec) in [(0, Compression::NoCompression), (1, Compression::Lz4)] {
        writer.write(&topic, partition, &batches, codec).await;
    }
    let connected = connect(cluster).await;
    let mut stream = DirectStream::builder(&connected)
        .topic(&topic)
        .trigger(Trigger::AvailableNow)
        .limits(StreamLimits::new().max_records_per_batch(100))
        .build()
        .await
        .unwrap();
    let (mut count, mut rows) = (0, Vec::new());
    while let Some(batch) = stream.next().await.unwrap() {
        rows.extend(crate::rows::rows(&batch.rdd().collect().await.unwrap()));
        batch.done().await.unwrap();
        count += 1;
    }
    assert_eq!((count, rows.len()), (80, 8000));
    rows.sort();
    for (row, number) in rows.iter().zip((0..4000).chain(0..4000)) {
        assert!(row.offset == number && row.is(&Written::numbered(number)), "{row:?}");
    }
    let metrics = connected.fetch_metrics();
    assert!(metrics.requests <= 10, "{metrics:?}");
}
