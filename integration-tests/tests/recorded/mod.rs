//! Reads batches recorded from a real Apache Kafka, and compares with the Java consumer's reads.
//!
//! The embedded broker serves the recordings, which `integration-tests/kafka/record.sh` makes.

use std::{collections::BTreeMap, path::PathBuf};

use kafka_direct::{
    Cluster, ClusterConfig, Columns, ErrorKind, IsolationLevel, KafkaRdd, OffsetRange,
    TopicPartition,
};
use kafka_direct_broker::{Broker, RawOffsets};
use kafka_direct_integration_tests::{
    dump::{Dump, assert_same, parse},
    rows::{Row, rows},
};

const NAMES: [&str; 9] = [
    "gzip",
    "snappy",
    "lz4",
    "zstd",
    "log-append-time",
    "tx",
    "tx-open",
    "compacted",
    "compacted-tail",
];
const BOTH: [IsolationLevel; 2] = [IsolationLevel::ReadCommitted, IsolationLevel::ReadUncommitted];

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/recorded")).join(name)
}

fn topic(name: &str) -> String {
    format!("recorded-{name}")
}

/// Returns the records that the Java consumer read under `isolation`.
fn oracle(name: &str, isolation: IsolationLevel) -> Dump {
    let text = std::fs::read_to_string(file(&format!("{name}.{isolation}.jsonl"))).unwrap();
    let mut dumps: BTreeMap<String, Dump> = parse(&text);
    dumps.remove(&topic(name)).unwrap()
}

/// Starts a broker that serves the recordings at their recorded offsets.
async fn serve(names: &[&str]) -> Broker {
    let broker = Broker::start().await.unwrap();
    for name in names {
        let partitions: Vec<Vec<u8>> = (0..)
            .map_while(|partition| std::fs::read(file(&format!("{name}-{partition}.batches"))).ok())
            .collect();
        assert!(!partitions.is_empty(), "{name} is not recorded");
        broker.create_topic(&topic(name), partitions.len() as i32).unwrap();
        for (partition, batches) in (0..).zip(partitions) {
            broker.append_raw(&topic(name), partition, batches, RawOffsets::Keep).unwrap();
        }
    }
    broker
}

async fn connect(broker: &Broker, partition_max_bytes: usize) -> Cluster {
    let config = ClusterConfig::new(broker.addresses()).partition_max_bytes(partition_max_bytes);
    Cluster::connect(config).await.unwrap()
}

async fn read(rdd: &KafkaRdd) -> Vec<Row> {
    rows(&rdd.collect().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_logs_read_as_the_java_consumer_read_them() {
    let broker = serve(&NAMES).await;
    // First the whole log in one response, then one batch per response with its own aborted list.
    for partition_max_bytes in [1 << 20, 1] {
        let cluster = connect(&broker, partition_max_bytes).await;
        for (name, isolation) in NAMES.iter().flat_map(|name| BOTH.map(|level| (*name, level))) {
            let theirs = oracle(name, isolation);
            let builder = KafkaRdd::builder(&cluster).topic(topic(name)).isolation(isolation);
            let rdd = builder.columns(Columns::all()).build().await.unwrap();
            for partition in rdd.plan().partitions() {
                let marks = partition.watermarks;
                let bounds = (marks.log_start.get(), marks.end(isolation).get());
                let index = partition.topic_partition.partition();
                assert_eq!(bounds, theirs.bounds[&index], "{name} {index} {isolation}");
            }
            assert_eq!(rdd.count().await.unwrap(), theirs.rows.len() as u64, "{name} {isolation}");
            assert_same(name, read(&rdd).await, &theirs);
        }
    }
}

/// Logs that span fewer offsets are read from every offset.
const EVERY_OFFSET_BELOW: i64 = 400;

/// Returns the start offsets to test: every offset below `until`, or for a long log those of every
/// record and of its neighbours.
fn starts(until: i64, own: &[&Row]) -> Vec<i64> {
    if until < EVERY_OFFSET_BELOW {
        return (0..until).collect();
    }
    let beside = own.iter().flat_map(|row| row.offset - 1..=row.offset + 1);
    beside.filter(|from| (0..until).contains(from)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_start_and_every_cut_of_a_recorded_log_is_right() {
    let broker = serve(&NAMES).await;
    let cluster = connect(&broker, 1 << 20).await;
    for (name, isolation) in NAMES.iter().flat_map(|name| BOTH.map(|level| (*name, level))) {
        let builder = || KafkaRdd::builder(&cluster).isolation(isolation).columns(Columns::all());
        let whole = builder().topic(topic(name)).build().await.unwrap();
        let all = read(&whole).await;
        for planned in whole.partitions() {
            let (tp, until) = (planned.topic_partition(), planned.range().until().get());
            let own: Vec<&Row> = all.iter().filter(|row| row.partition == tp.partition()).collect();
            for from in starts(until, &own) {
                let range = OffsetRange::new(tp.clone(), from, until).unwrap();
                let rdd = builder().ranges([range]).build().await.unwrap();
                let expected = own.iter().filter(|row| row.offset >= from).copied();
                assert!(read(&rdd).await.iter().eq(expected), "{tp} from {from} {isolation}");
            }
        }
        for size in
            if whole.span() < EVERY_OFFSET_BELOW { [1, 2, 3, 7] } else { [40, 150, 500, 1000] }
        {
            let split = builder().topic(topic(name)).max_records_per_partition(size);
            let rdd = split.build().await.unwrap();
            assert_eq!(read(&rdd).await, all, "{name} in pieces of {size} {isolation}");
        }
    }
}

#[tokio::test]
async fn what_a_recorded_open_transaction_withholds_is_reported() {
    let broker = serve(&["tx-open"]).await;
    let marks = broker.watermarks(&topic("tx-open"), 0).unwrap();
    assert_eq!((marks.last_stable.get(), marks.high.get()), (101, 161));
}

#[tokio::test]
async fn a_recorded_batch_with_any_flipped_byte_is_never_read_as_another() {
    for name in ["gzip", "snappy", "lz4", "zstd"] {
        let bytes = std::fs::read(file(&format!("{name}-0.batches"))).unwrap();
        let sound = oracle(name, IsolationLevel::ReadCommitted);
        // Bytes of the first batch after base offset, length and epoch, which no checksum covers.
        let first = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as usize;
        for at in (16..first).step_by(13) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            let broker = Broker::start().await.unwrap();
            broker.create_topic(&topic(name), 1).unwrap();
            let next = sound.bounds[&0].1;
            let offsets = RawOffsets::Unchecked { base: 0, next };
            broker.append_raw(&topic(name), 0, bytes, offsets).unwrap();
            let cluster = connect(&broker, 1 << 20).await;
            let range = OffsetRange::new(TopicPartition::new(topic(name), 0), 0, next).unwrap();
            let rdd = KafkaRdd::builder(&cluster).ranges([range]).build().await.unwrap();
            let error = rdd.count().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name} byte {at}: {error}");
        }
    }
}
