//! A topic as the output of a stream.

use kafka_direct::{DirectStream, TopicPartition, Trigger};
use kafka_direct_sinks::kafka_topic::{
    DeadLetter, DeadLetterTopic, KafkaTopicSink, Producer, ProducerConfig,
};

use super::{all_columns, read};
use crate::{
    cluster::{TestCluster, Writer, connect, unique},
    rows::{Header, Row},
};

/// A record without its place: two topics hold the same records if these are equal.
type Contents = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<Header>, Option<i64>);

fn contents(rows: &[Row]) -> Vec<Contents> {
    let mut all: Vec<Contents> = rows
        .iter()
        .map(|row| (row.key.clone(), row.value.clone(), row.headers.clone(), row.timestamp))
        .collect();
    all.sort();
    all
}

/// Keys, values, tombstones, headers and timestamps are those of the source, the partition is that of
/// the key, and the stream does not read its own records although its pattern matches the output.
pub async fn a_stream_copies_a_topic_and_does_not_read_its_output(cluster: &impl TestCluster) {
    let (prefix, writer) = (unique("copied"), Writer::new(cluster).await);
    let (source, output) = (format!("{prefix}-in"), format!("{prefix}-out"));
    writer.create(&source, 3).await;
    writer.create(&output, 5).await;
    for partition in 0..3 {
        let numbers = i64::from(partition) * 100..i64::from(partition) * 100 + 100;
        writer.write_numbered(&source, partition, numbers, 30).await;
    }
    let connected = connect(cluster).await;
    let producer = async |topic: &str| {
        let config = ProducerConfig::new(cluster.bootstrap());
        Producer::connect(&connected, topic, config).await.unwrap()
    };
    // Records with headers: dead letters are records as any other.
    let letter = |offset: i64| DeadLetter {
        topic_partition: TopicPartition::new("elsewhere", 2),
        offset,
        timestamp: Some(1_700_000_000_000),
        key: Some(b"foobar".to_vec()),
        value: (offset != 1).then(Vec::new),
        headers: vec![("trace".to_owned(), Some(vec![0xff]))],
        error: "no JSON".to_owned(),
    };
    let letters = DeadLetterTopic::new(producer(&source).await);
    letters.send((0..4).map(letter).collect()).await.unwrap();

    let mut stream = DirectStream::builder(&connected)
        .pattern(format!("{prefix}.*"))
        .exclude_topics([output.as_str()])
        .columns(KafkaTopicSink::columns())
        .trigger(Trigger::AvailableNow);
    stream = stream.checkpoint(kafka_direct::checkpoint::MemoryCheckpoint::default());
    let sink = std::sync::Arc::new(KafkaTopicSink::new(producer(&output).await));
    for (run, records) in [304, 0].into_iter().enumerate() {
        let stream = stream.clone().build().await.unwrap();
        let progress = stream.run(std::sync::Arc::clone(&sink)).await.unwrap();
        assert_eq!(progress.records, records, "run {run}");
    }
    let rows = async |topic: &str| {
        let rdd = all_columns(&connected, topic).build().await.unwrap();
        read(&rdd).await
    };
    let (given, copied) = (rows(&source).await, rows(&output).await);
    assert_eq!(given.len(), 304);
    assert_eq!(given.iter().filter(|row| row.headers.len() == 6).count(), 4);
    assert_eq!(contents(&copied), contents(&given));
    // (murmur2 & 0x7fffffff) % 5, with a hash of Kafka's own tests.
    let expected = (-790_332_482_i32 & 0x7fff_ffff).rem_euclid(5);
    let keyed: Vec<&Row> =
        copied.iter().filter(|row| row.key.as_deref() == Some(b"foobar")).collect();
    assert_eq!(keyed.len(), 4);
    assert!(keyed.iter().all(|row| row.partition == expected));
}
