//! A topic as the sink of a stream, and dead letters, against the embedded broker and its faults.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "an unexpected result is a failed test"
)]

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_direct::{
    Cluster, ClusterConfig, Columns, DirectStream, ErrorKind, KafkaRdd, TopicPartition, Trigger,
    stream::StreamProgress,
};
use kafka_direct_broker::{ApiKey, AutoCreate, Broker, ErrorCode, Fault, Record};
use kafka_direct_sinks::{
    Error,
    format::Rows,
    kafka_topic::{
        DeadLetter, DeadLetterTopic, KafkaTopicSink, Partitioning, Producer, ProducerConfig,
    },
};

const MESSAGE_TOO_LARGE: ErrorCode = ErrorCode(10);
const NOT_ENOUGH_REPLICAS: ErrorCode = ErrorCode(19);

type Header = (String, Option<Vec<u8>>);
/// Key, value, headers and timestamp.
type Contents = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<Header>, Option<i64>);

/// A broker with the topics `in` and `out`, and a connection to it.
async fn cluster(source: i32, output: i32) -> (Broker, Cluster) {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("in", source).unwrap();
    broker.create_topic("out", output).unwrap();
    let cluster = Cluster::connect(ClusterConfig::new([broker.bootstrap()])).await.unwrap();
    (broker, cluster)
}

async fn producer(broker: &Broker, cluster: &Cluster) -> Producer {
    let config = ProducerConfig::new([broker.bootstrap()]);
    Producer::connect(cluster, "out", config.retry_timeout(Duration::from_secs(20))).await.unwrap()
}

async fn copy(
    cluster: &Cluster,
    sink: KafkaTopicSink,
    columns: Columns,
) -> Result<StreamProgress, Error> {
    let builder = DirectStream::builder(cluster).pattern(".*").exclude_topics(["out"]);
    let builder = builder.columns(columns).trigger(Trigger::AvailableNow);
    Ok(builder.build().await?.run(Arc::new(sink)).await?)
}

/// The records of a topic by partition, in order.
async fn read(cluster: &Cluster, topic: &str) -> BTreeMap<i32, Vec<Contents>> {
    let rdd = KafkaRdd::builder(cluster).topic(topic).columns(Columns::all()).build();
    let mut found: BTreeMap<i32, Vec<Contents>> = BTreeMap::new();
    for batch in rdd.await.unwrap().collect().await.unwrap() {
        let rows = Rows::new(&batch).unwrap();
        for row in 0..rows.len {
            let record = contents(&rows, row);
            found.entry(rows.partition.unwrap().value(row)).or_default().push(record);
        }
    }
    found
}

fn contents(rows: &Rows<'_>, row: usize) -> Contents {
    use kafka_direct::arrow::array::Array as _;
    let (key, value) = (rows.key.unwrap(), rows.value.unwrap());
    let timestamp = rows.timestamp.unwrap();
    let headers = rows.headers.as_ref().unwrap().of(row);
    (
        key.bytes(row).unwrap().map(Cow::into_owned),
        value.bytes(row).unwrap().map(Cow::into_owned),
        headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect(),
        timestamp.is_valid(row).then(|| timestamp.value(row)),
    )
}

fn all(records: &BTreeMap<i32, Vec<Contents>>) -> Vec<Contents> {
    let mut all: Vec<Contents> = records.values().flatten().cloned().collect();
    all.sort();
    all
}

/// Records of every form that the output can keep.
fn whole_records(numbers: std::ops::Range<i64>) -> Vec<Record> {
    let odd = Bytes::from_static(b"\xff\xfe");
    numbers
        .map(|number| {
            let value = format!("value {number}");
            let record = match number % 5 {
                0 => Record::tombstone(format!("key {number}")),
                1 => Record::new("").with_key(""),
                2 => Record::new(value),
                3 => Record::new(odd.clone())
                    .with_key(odd.clone())
                    .with_header("b", Some(odd.clone())),
                _ => Record::new(value).with_key("k").with_header("a", Some("1".into())),
            };
            if number % 7 == 0 { record } else { record.with_timestamp(1_700_000_000_000 + number) }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_of_a_stream_is_in_the_topic_once_unchanged_and_by_its_key() {
    let (broker, cluster) = cluster(4, 7).await;
    for partition in 0..4_i64 {
        let records = whole_records(partition * 300..partition * 300 + 300);
        broker.append("in", i32::try_from(partition).unwrap(), records).unwrap();
    }
    broker.append("in", 0, [Record::new("1").with_key("foobar")]).unwrap();
    broker.append("in", 3, [Record::new("2").with_key("foobar")]).unwrap();
    let sink = KafkaTopicSink::new(producer(&broker, &cluster).await);
    let progress = copy(&cluster, sink.clone(), KafkaTopicSink::columns()).await.unwrap();
    assert_eq!(progress.records, 1_202, "a pattern that matches the output does not read it");
    let written = read(&cluster, "out").await;
    assert!(all(&written) == all(&read(&cluster, "in").await));
    assert_eq!(sink.altered_headers(), kafka_direct_sinks::kafka_topic::AlteredHeaders::default());
    // (murmur2 & 0x7fffffff) % 7, with a hash of Kafka's own tests.
    let expected = (-790_332_482_i32 & 0x7fff_ffff).rem_euclid(7);
    let of_key = |records: &[Contents]| {
        records.iter().filter(|(key, ..)| key.as_deref() == Some(b"foobar")).count()
    };
    assert_eq!(of_key(&written[&expected]), 2);
    // Records without a key go to the partitions in turn.
    let keyless = written.values().map(|of| of.iter().filter(|(key, ..)| key.is_none()).count());
    assert!(
        keyless.clone().all(|count| (34..=35).contains(&count)),
        "{:?}",
        keyless.collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_may_be_kept_and_headers_left_out() {
    let (broker, cluster) = cluster(3, 3).await;
    for partition in 0..3 {
        broker.append("in", partition, whole_records(0..50)).unwrap();
    }
    let sink = KafkaTopicSink::new(producer(&broker, &cluster).await);
    let sink = sink.partitioning(Partitioning::AsSource);
    copy(&cluster, sink, KafkaTopicSink::columns()).await.unwrap();
    assert!(read(&cluster, "out").await == read(&cluster, "in").await);

    broker.recreate_topic("out").unwrap();
    let sink = KafkaTopicSink::new(producer(&broker, &cluster).await);
    let columns = KafkaTopicSink::columns().without(kafka_direct::Column::Headers);
    copy(&cluster, sink, columns).await.unwrap();
    let written = read(&cluster, "out").await;
    assert_eq!(all(&written).len(), 150);
    assert!(all(&written).iter().all(|(_, _, headers, _)| headers.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_output_cannot_keep_is_refused_by_name_or_counted() {
    let (broker, cluster) = cluster(2, 1).await;
    broker.append("in", 1, [Record::new("v").with_timestamp(1)]).unwrap();
    let sink = || async { KafkaTopicSink::new(producer(&broker, &cluster).await) };
    let kept = sink().await.partitioning(Partitioning::AsSource);
    let error = copy(&cluster, kept, KafkaTopicSink::columns()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = "in-1 offset 0 names partition 1, but topic `out` has only 1";
    assert!(error.to_string().contains(text), "{error}");
    let error =
        copy(&cluster, sink().await, Columns::default().without(kafka_direct::Column::Value));
    let error = error.await.unwrap_err();
    assert!(error.to_string().contains("needs the columns key, value"), "{error}");

    let headers = [("h", None), ("a", Some("1")), ("a", Some("2"))];
    let record =
        headers.iter().fold(Record::new("w").with_timestamp(2), |record, (name, value)| {
            record.with_header(*name, value.map(Bytes::from))
        });
    broker.append("in", 0, [record.clone(), record]).unwrap();
    let counting = sink().await;
    copy(&cluster, counting.clone(), KafkaTopicSink::columns()).await.unwrap();
    let altered = counting.altered_headers();
    assert_eq!((altered.null_values, altered.repeated_names), (2, 2));
    let written = all(&read(&cluster, "out").await);
    let kept = vec![("a".to_owned(), Some(b"2".to_vec())), ("h".to_owned(), Some(vec![]))];
    assert_eq!(written[1].2, kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_does_not_exist_is_refused_and_not_created() {
    let builder = Broker::builder().auto_create_topics(AutoCreate::Partitions(1));
    let broker = builder.start().await.unwrap();
    let cluster = Cluster::connect(ClusterConfig::new([broker.bootstrap()])).await.unwrap();
    let config = ProducerConfig::new([broker.bootstrap()]);
    let error = Producer::connect(&cluster, "nowhere", config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let command = "kafka-direct topics create nowhere --partitions N";
    assert!(error.to_string().contains(command), "{error}");
    assert_eq!(broker.topic_id("nowhere"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_while_producing_lose_nothing() {
    let (broker, cluster) = cluster(3, 2).await;
    for partition in 0..3_i64 {
        let records = whole_records(partition * 100..partition * 100 + 100);
        broker.append("in", i32::try_from(partition).unwrap(), records).unwrap();
    }
    let source = all(&read(&cluster, "in").await);
    for (fault, doubles) in [
        (Fault::Cut, false),
        (Fault::ErrorCode(ErrorCode::NOT_LEADER_OR_FOLLOWER), false),
        (Fault::ErrorCode(NOT_ENOUGH_REPLICAS), false),
        (Fault::ErrorCode(ErrorCode::KAFKA_STORAGE_ERROR), false),
        (Fault::CutAfter(0), true),
        // rskafka sends a throttled request again.
        (Fault::Throttle(Duration::from_millis(5)), true),
        (Fault::flip_byte(30), true),
    ] {
        broker.recreate_topic("out").unwrap();
        let sink = KafkaTopicSink::new(producer(&broker, &cluster).await);
        for _ in 0..3 {
            broker.faults().next(ApiKey::Produce, fault.clone());
        }
        copy(&cluster, sink, KafkaTopicSink::columns()).await.unwrap();
        let mut written = all(&read(&cluster, "out").await);
        assert!(doubles || written == source, "{fault:?}: {} of {}", written.len(), source.len());
        written.dedup();
        let mut once = source.clone();
        once.dedup();
        assert!(written == once, "{fault:?}: {} of {}", written.len(), once.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_stays_unavailable_fails_after_the_retry_timeout() {
    let (broker, cluster) = cluster(1, 1).await;
    broker.append("in", 0, whole_records(0..10)).unwrap();
    broker.faults().every(ApiKey::Produce, Fault::ErrorCode(NOT_ENOUGH_REPLICAS));
    let config = ProducerConfig::new([broker.bootstrap()]).retry_timeout(Duration::ZERO);
    let producer = Producer::connect(&cluster, "out", config).await.unwrap();
    let error = copy(&cluster, KafkaTopicSink::new(producer), KafkaTopicSink::columns()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.to_string(), "writing to out-0 failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_too_large_is_halved_and_a_record_that_is_too_large_is_named() {
    let (broker, cluster) = cluster(1, 1).await;
    broker.append("in", 0, whole_records(0..40)).unwrap();
    for _ in 0..3 {
        broker.faults().next(ApiKey::Produce, Fault::ErrorCode(MESSAGE_TOO_LARGE));
    }
    let sink = KafkaTopicSink::new(producer(&broker, &cluster).await);
    copy(&cluster, sink.clone(), KafkaTopicSink::columns()).await.unwrap();
    assert!(read(&cluster, "out").await == read(&cluster, "in").await);
    // Halves of a batch that was refused three times: 5, 5, 10 and 20 records.
    assert_eq!(broker.requests(ApiKey::Produce), 3 + 4);
    broker.faults().every(ApiKey::Produce, Fault::ErrorCode(MESSAGE_TOO_LARGE));
    let error = copy(&cluster, sink, KafkaTopicSink::columns()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = "in-0 offset 0 cannot be written to out-0: it is larger than topic `out` accepts";
    assert!(error.to_string().starts_with(text), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_the_record_with_its_place_and_error_in_headers() {
    let (broker, cluster) = cluster(1, 3).await;
    let letters = DeadLetterTopic::new(producer(&broker, &cluster).await);
    let letter = |offset: i64| DeadLetter {
        topic_partition: TopicPartition::new("in", 4),
        offset,
        timestamp: (offset != 1).then_some(1_700_000_000_000),
        key: Some(b"k\xff".to_vec()),
        value: (offset != 1).then(|| b"{broken".to_vec()),
        headers: vec![("trace".to_owned(), Some(b"7".to_vec()))],
        error: format!("line {offset}: no JSON"),
    };
    letters.send((0..3).map(letter).collect()).await.unwrap();
    letters.send(Vec::new()).await.unwrap();
    // They are durable when `send` returns.
    let written = all(&read(&cluster, "out").await);
    assert_eq!(written.len(), 3);
    let (key, value, headers, timestamp) = written[0].clone();
    assert_eq!((key, value), (Some(b"k\xff".to_vec()), None));
    let text = |headers: &[Header]| -> Vec<String> {
        let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap()).unwrap();
        headers.iter().map(|(name, value)| format!("{name}={}", text(value))).collect()
    };
    let mut expected = vec![
        "kafka-direct.error=line 1: no JSON",
        "kafka-direct.offset=1",
        "kafka-direct.partition=4",
        "kafka-direct.topic=in",
        "trace=7",
    ];
    assert_eq!(text(&headers), expected);
    assert!(timestamp.unwrap() > 1_700_000_000_000, "the time of writing");
    let (_, value, headers, _) = written[1].clone();
    assert_eq!(value, Some(b"{broken".to_vec()));
    expected[0] = "kafka-direct.error=line 0: no JSON";
    expected[1] = "kafka-direct.offset=0";
    expected.insert(3, "kafka-direct.timestamp=1700000000000");
    assert_eq!(text(&headers), expected);
}
