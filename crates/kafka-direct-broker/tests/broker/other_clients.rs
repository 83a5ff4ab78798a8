//! Tests with third-party clients: rskafka, and kcat if it is installed.

use std::{collections::BTreeMap, process::Stdio};

use kafka_direct_broker::{Broker, Record};
use rskafka::{
    chrono::{TimeZone, Utc},
    client::{
        Client, ClientBuilder,
        partition::{Compression, OffsetAt, UnknownTopicHandling},
    },
};
use tokio::io::AsyncWriteExt;

async fn rskafka(broker: &Broker) -> Client {
    ClientBuilder::new(broker.addresses()).build().await.unwrap()
}

#[tokio::test]
async fn rskafka_creates_writes_looks_up_reads_and_deletes() {
    let broker = Broker::builder().nodes(2).start().await.unwrap();
    let client = rskafka(&broker).await;
    let controller = client.controller_client().unwrap();
    controller.create_topic("t", 2, 1, 5_000).await.unwrap();
    for partition in 0..2 {
        let client =
            client.partition_client("t", partition, UnknownTopicHandling::Error).await.unwrap();
        let record = |n: i64| rskafka::record::Record {
            key: Some(n.to_be_bytes().to_vec()),
            value: Some(vec![7; 100]),
            headers: BTreeMap::from([("h".to_owned(), b"v".to_vec())]),
            timestamp: Utc.timestamp_millis_opt(1_000 + n).unwrap(),
        };
        let written: Vec<_> = (0..100).map(record).collect();
        let offsets = client.produce(written.clone(), Compression::NoCompression).await.unwrap();
        assert_eq!(offsets, (0..100).collect::<Vec<_>>());
        let (read, high) = client.fetch_records(40, 1..1_000_000, 1_000).await.unwrap();
        assert_eq!(high, 100);
        let read: Vec<_> = read.into_iter().filter(|r| r.offset >= 40).map(|r| r.record).collect();
        assert_eq!(read, written[40..]);
        let time = Utc.timestamp_millis_opt(1_050).unwrap();
        assert_eq!(client.get_offset(OffsetAt::Timestamp(time)).await.unwrap(), 50);
        client.delete_records(30, 1_000).await.unwrap();
        assert_eq!(client.get_offset(OffsetAt::Earliest).await.unwrap(), 30);
        assert_eq!(client.get_offset(OffsetAt::Latest).await.unwrap(), 100);
    }
    controller.delete_topic("t", 5_000).await.unwrap();
    assert!(client.list_topics().await.unwrap().is_empty());
}

#[tokio::test]
#[ignore = "needs kcat"]
async fn kcat_writes_and_reads_back() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    broker.append("t", 0, [Record::new("zero")]).unwrap();
    let kcat = |mode: &'static [&'static str]| {
        let mut command = tokio::process::Command::new("kcat");
        command.args(["-b", &broker.bootstrap(), "-t", "t", "-p", "0"]).args(mode);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut producer = kcat(&["-P"]);
    producer.stdin.take().unwrap().write_all(b"one\ntwo\n").await.unwrap();
    assert!(producer.wait().await.unwrap().success());
    let read = kcat(&["-C", "-e", "-o", "beginning"]).wait_with_output().await.unwrap();
    assert_eq!(String::from_utf8(read.stdout).unwrap(), "zero\none\ntwo\n");
}
