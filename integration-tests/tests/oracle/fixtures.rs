//! Compares the library with the Java consumer on every fixture.

use kafka_direct::{
    Cluster, Columns, ErrorKind, IsolationLevel, KafkaRdd, OffsetRange, TopicPartition,
};
use kafka_direct_integration_tests::{
    cluster::{connect, connect_with},
    dump::assert_same,
    rows::{Row, rows},
};

use super::{FIXTURES, dump};
use crate::kafka;

const BOTH: [IsolationLevel; 2] = [IsolationLevel::ReadCommitted, IsolationLevel::ReadUncommitted];

async fn read(cluster: &Cluster, topic: &str, isolation: IsolationLevel) -> (KafkaRdd, Vec<Row>) {
    let builder = KafkaRdd::builder(cluster).topic(topic).isolation(isolation);
    let rdd = builder.columns(Columns::all()).build().await.unwrap();
    let rows = rows(&rdd.collect().await.unwrap());
    (rdd, rows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fixture_reads_as_the_java_consumer_reads_it() {
    let cluster = connect(&kafka().await).await;
    let topics: Vec<&str> = FIXTURES.values().map(String::as_str).collect();
    assert!(topics.len() >= 15, "{topics:?}");
    for isolation in BOTH {
        let dumps = dump(isolation, &topics);
        for (name, topic) in FIXTURES.iter() {
            let theirs = &dumps[topic];
            let (rdd, ours) = read(&cluster, topic, isolation).await;
            for partition in rdd.plan().partitions() {
                let end = partition.watermarks.end(isolation).get();
                let bounds = (partition.watermarks.log_start.get(), end);
                let index = partition.topic_partition.partition();
                assert_eq!(bounds, theirs.bounds[&index], "{name} {index} {isolation}");
            }
            assert_eq!(rdd.count().await.unwrap(), ours.len() as u64, "{name} {isolation}");
            assert_same(name, ours, theirs);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_limits_read_every_fixture_all_the_same() {
    let tight = |config: kafka_direct::ClusterConfig| {
        config.partition_max_bytes(1000).fetch_max_bytes(20_000).memory_budget_bytes(50_000)
    };
    let cluster = connect_with(&kafka().await, tight).await;
    for name in ["two-big", "big", "tx", "lz4", "compacted", "tiny"] {
        let topic = &FIXTURES[name];
        let theirs = &dump(IsolationLevel::ReadCommitted, &[topic])[topic];
        let (_, ours) = read(&cluster, topic, IsolationLevel::ReadCommitted).await;
        assert_same(name, ours, theirs);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_start_and_every_cut_inside_transactions_is_right() {
    let cluster = connect(&kafka().await).await;
    let topic = &FIXTURES["tx"];
    for isolation in BOTH {
        let (rdd, all) = read(&cluster, topic, isolation).await;
        for planned in rdd.partitions() {
            let (tp, until) = (planned.topic_partition(), planned.range().until().get());
            let own: Vec<&Row> = all.iter().filter(|row| row.partition == tp.partition()).collect();
            for from in 0..=until {
                let range = OffsetRange::new(tp.clone(), from, until).unwrap();
                let builder = KafkaRdd::builder(&cluster).isolation(isolation).ranges([range]);
                let rdd = builder.columns(Columns::all()).build().await.unwrap();
                let read = rows(&rdd.collect().await.unwrap());
                let expected = own.iter().filter(|row| row.offset >= from).copied();
                assert!(read.iter().eq(expected), "{tp} from {from} {isolation}");
            }
        }
        for size in [1, 2, 3, 7, 50] {
            let builder = KafkaRdd::builder(&cluster).topic(topic).isolation(isolation);
            let split = builder.max_records_per_partition(size).columns(Columns::all());
            let rdd = split.build().await.unwrap();
            assert_eq!(rows(&rdd.collect().await.unwrap()), all, "pieces of {size} {isolation}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_withholds_what_is_after_it() {
    let cluster = connect(&kafka().await).await;
    let (rdd, _) = read(&cluster, &FIXTURES["tx-open"], IsolationLevel::ReadCommitted).await;
    let partitions = rdd.plan().partitions();
    assert!(partitions[0].watermarks.withheld() > 0);
    assert_eq!(partitions[1].watermarks.withheld(), 0);
    let beyond = partitions[0].watermarks.high;
    let tp = TopicPartition::new(FIXTURES["tx-open"].as_str(), 0);
    let range = OffsetRange::new(tp, 0, beyond).unwrap();
    let error = KafkaRdd::builder(&cluster).ranges([range]).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let withheld = format!("withhold offsets [{}, {beyond})", partitions[0].watermarks.last_stable);
    assert!(error.to_string().contains(&withheld), "{error}");
}
