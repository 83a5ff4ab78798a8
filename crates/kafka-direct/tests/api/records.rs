//! Typed records: what a record carries, and what happens to one that does not decode.

use kafka_direct::{
    Cluster, ClusterConfig, Column, Error, ErrorKind, KafkaRdd,
    decode::{self, Json, RawBytes, Utf8},
};
use kafka_direct_broker::{Broker, Record};

async fn connect(broker: &Broker) -> Cluster {
    Cluster::connect(ClusterConfig::new([broker.bootstrap()])).await.unwrap()
}

/// Two partitions: a record with headers, a tombstone, and a value that is not a number.
async fn broker() -> Broker {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 2).unwrap();
    let with_headers = Record::new("1")
        .with_key("a")
        .with_timestamp(5)
        .with_header("h", Some("x".into()))
        .with_header("h", None)
        .with_header("empty", Some("".into()));
    broker.append("t", 0, [with_headers, Record::tombstone("b")]).unwrap();
    broker.append("t", 1, [Record::new("no number"), Record::new("4")]).unwrap();
    broker
}

#[tokio::test]
async fn a_record_carries_its_position_time_and_headers() {
    let broker = broker().await;
    let rdd = KafkaRdd::builder(&connect(&broker).await).topic("t").build().await.unwrap();
    let mut records = rdd.records::<Utf8, Json<u32>>();
    let first = records.try_next().await.unwrap().unwrap();
    assert_eq!((first.topic.as_str(), first.partition, first.offset), ("t", 0, 0));
    assert_eq!((first.timestamp, first.key.as_deref(), first.value), (Some(5), Some("a"), Some(1)));
    let headers: Vec<_> = first
        .headers
        .iter()
        .map(|header| (header.name.as_str(), header.value.as_deref()))
        .collect();
    assert_eq!(headers, [("h", Some(&b"x"[..])), ("h", None), ("empty", Some(&b""[..]))]);
    let second = records.try_next().await.unwrap().unwrap();
    assert_eq!((second.offset, second.timestamp, second.value), (1, None, None));
    assert!(second.headers.is_empty());
}

#[tokio::test]
async fn a_record_that_does_not_decode_is_named_and_the_next_one_is_returned() {
    let broker = broker().await;
    let rdd = KafkaRdd::builder(&connect(&broker).await).topic("t").build().await.unwrap();
    let mut records = rdd.records::<RawBytes, Json<u32>>();
    assert!(records.try_next().await.unwrap().is_some());
    assert!(records.try_next().await.unwrap().is_some());
    let error = records.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("t-1 offset 0"), "{error}");
    assert_eq!(records.try_next().await.unwrap().unwrap().value, Some(4));
    assert!(records.try_next().await.unwrap().is_none());
    assert!(records.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn partitions_are_read_as_typed_records_at_the_same_time() {
    let broker = broker().await;
    let builder = KafkaRdd::builder(&connect(&broker).await).topic("t");
    let columns = decode::columns().without(Column::Headers);
    let rdd = builder.clone().columns(columns).build().await.unwrap();
    let counts = rdd.map_partitions(|_, batches| async move {
        let mut records = batches.into_records::<RawBytes, RawBytes>();
        let mut count = 0;
        while let Some(record) = records.try_next().await? {
            assert!(record.headers.is_empty());
            count += 1;
        }
        Ok(count)
    });
    assert_eq!(counts.await.unwrap(), [2, 2]);
    let rdd = builder.columns(columns.without(Column::Topic)).build().await.unwrap();
    let mut records = rdd.read_partition(0).unwrap().into_records::<RawBytes, RawBytes>();
    let error = records.try_next().await.unwrap_err();
    assert!(matches!(error, Error::Setting { setting: "columns", .. }), "{error}");
}
