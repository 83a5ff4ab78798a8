//! Streams: progress that other tools see.

use std::collections::BTreeMap;

use kafka_direct::{DirectStream, Offset, TopicPartition, Trigger};

use crate::cluster::{TestCluster, Writer, connect, unique};

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
