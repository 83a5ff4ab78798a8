//! Streams: progress that other tools see, and what batches fetch.

use std::collections::BTreeMap;

use kafka_direct::{DirectStream, Offset, StreamLimits, TopicPartition, Trigger};
use rskafka::client::partition::Compression;

use crate::cluster::{TestCluster, Writer, Written, connect, unique};

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
