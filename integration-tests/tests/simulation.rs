//! Simulation of the fetch path: an in-memory broker, a paused clock, random logs and faults.
//!
//! A seed determines each run. A failure prints its seed, and `SEED=n` replays it alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a failed step is a failed test, and numbers of tests are small"
)]

use std::{sync::Arc, time::Duration};

use kafka_direct::{Cluster, ClusterConfig, Columns, DecodeOptions, IsolationLevel, KafkaRdd};
use kafka_direct_broker::{
    ApiKey, BatchWriter, Broker, ErrorCode, Fault, FillOrder, Marker, RawOffsets, Record,
    TailBatches,
};
use kafka_direct_integration_tests::{
    rows::rows,
    simulated::{InMemory, Random},
};

/// Codes after which the same read may succeed.
const PASSING: [ErrorCode; 9] = [
    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode::LEADER_NOT_AVAILABLE,
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ErrorCode::REPLICA_NOT_AVAILABLE,
    ErrorCode::KAFKA_STORAGE_ERROR,
    ErrorCode::FENCED_LEADER_EPOCH,
    ErrorCode::UNKNOWN_LEADER_EPOCH,
    ErrorCode::OFFSET_NOT_AVAILABLE,
    ErrorCode::UNKNOWN_TOPIC_ID,
];

/// The records of one partition: offset, and whether it is visible under `read_committed`.
type Log = Vec<(i64, bool)>;

/// Writes a random log: plain batches, holes, and interleaved transactions that commit or abort.
fn write_log(random: &mut Random, broker: &Broker, partition: i32) -> Log {
    let (mut log, mut at) = (Log::new(), 0i64);
    let mut open: Vec<(i64, Vec<usize>)> = Vec::new();
    for _ in 0..5 + random.below(40) {
        if random.chance(10) {
            elect(random, broker, partition);
        }
        if random.chance(15) {
            at += 1 + random.below(20) as i64;
        }
        let batch = BatchWriter::new().base_offset(at);
        let bytes = if random.chance(20) && !open.is_empty() {
            let (producer, indices) = open.swap_remove(random.below(open.len() as u64) as usize);
            let commit = random.chance(50);
            for index in indices {
                log[index].1 = commit;
            }
            at += 1;
            let marker = if commit { Marker::Commit } else { Marker::Abort };
            batch.transaction(producer, 0).marker(marker).unwrap()
        } else {
            let count = 1 + random.below(6) as i64;
            let gap = random.chance(20);
            let deltas: Vec<i32> = (0..count as i32).map(|d| if gap { d * 2 } else { d }).collect();
            let last = deltas.last().unwrap() + random.below(3) as i32 * i32::from(gap);
            let first = log.len();
            log.extend(deltas.iter().map(|delta| (at + i64::from(*delta), true)));
            let mut batch = batch.offset_deltas(deltas).last_offset_delta(last);
            if random.chance(40) {
                let producer = random.below(3) as i64;
                batch = batch.transaction(producer, 0);
                let own = first..log.len();
                match open.iter_mut().find(|(id, _)| *id == producer) {
                    Some((_, indices)) => indices.extend(own),
                    None => open.push((producer, own.collect())),
                }
            }
            let records: Vec<Record> = log[first..]
                .iter()
                .map(|(offset, _)| Record::new(format!("{partition}:{offset}")))
                .collect();
            at += i64::from(last) + 1;
            batch.write(&records).unwrap()
        };
        broker.append_raw("t", partition, bytes, RawOffsets::Keep).unwrap();
    }
    for (producer, indices) in open {
        for index in indices {
            log[index].1 = false;
        }
        let marker = BatchWriter::new().base_offset(at).transaction(producer, 0);
        broker
            .append_raw("t", partition, marker.marker(Marker::Abort).unwrap(), RawOffsets::Keep)
            .unwrap();
        at += 1;
    }
    log
}

/// Makes a random node the leader, in the next epoch, without data loss.
fn elect(random: &mut Random, broker: &Broker, partition: i32) {
    let node = 1 + random.below(broker.addresses().len() as u64) as i32;
    broker.set_leader("t", partition, Some(node)).unwrap();
}

fn plan_faults(random: &mut Random, broker: &Broker) {
    // No client can distinguish many false responses in a row from a hole or a broken broker. False
    // are empty responses with a full high watermark, and malformed ones. Two of them are retried.
    let mut false_responses = 2;
    for _ in 0..random.below(30) {
        let fault = match random.below(8) {
            0 => Fault::Cut,
            1 => Fault::CutAfter(random.below(3000) as usize),
            2 if false_responses > 0 => {
                false_responses -= 1;
                Fault::Empty
            }
            3 => Fault::Delay(Duration::from_millis(random.below(40_000))),
            4 => Fault::Throttle(Duration::from_millis(random.below(2000))),
            5 => Fault::ErrorCode(PASSING[random.below(9) as usize]),
            6 if false_responses > 0 => {
                false_responses -= 1;
                Fault::Raw(vec![0xff; 1 + random.below(40) as usize].into())
            }
            _ => Fault::Delay(Duration::ZERO),
        };
        broker.faults().next(ApiKey::Fetch, fault);
    }
    if random.chance(30) {
        broker
            .faults()
            .next(ApiKey::ListOffsets, Fault::ErrorCode(ErrorCode::OFFSET_NOT_AVAILABLE));
        broker.faults().next(ApiKey::Metadata, Fault::Cut);
    }
}

async fn run(seed: u64) {
    let mut random = Random(seed);
    let nodes = 1 + random.below(3) as usize;
    let tail = if random.chance(50) { TailBatches::Cut } else { TailBatches::Whole };
    let order = if random.chance(30) { FillOrder::Reversed } else { FillOrder::Request };
    let broker = Broker::builder().in_memory().nodes(nodes).tail_batches(tail).fill_order(order);
    let broker = Arc::new(broker.start().await.unwrap());
    let partitions = 1 + random.below(5) as i32;
    broker.create_topic("t", partitions).unwrap();
    let logs: Vec<Log> = (0..partitions).map(|p| write_log(&mut random, &broker, p)).collect();
    if random.chance(50) {
        broker.cap_versions(ApiKey::Fetch, 4..=12);
    }
    let config = ClusterConfig::new(broker.addresses())
        .transport(Arc::new(InMemory(Arc::clone(&broker))))
        .retry_timeout(Duration::from_secs(3600))
        .memory_budget_bytes(1 + random.below(4000) as usize)
        .partition_max_bytes(1 + random.below(1000) as usize)
        .fetch_max_bytes(1 + random.below(4000) as usize)
        .fetch_connections_per_broker(1 + random.below(3) as usize);
    let cluster = Cluster::connect(config).await.unwrap();
    let isolation = if random.chance(70) {
        IsolationLevel::ReadCommitted
    } else {
        IsolationLevel::ReadUncommitted
    };
    let decode = DecodeOptions::new().columns(Columns::all());
    let mut builder = KafkaRdd::builder(&cluster)
        .topic("t")
        .isolation(isolation)
        .decode(decode.max_rows(1 + random.below(20) as usize));
    if random.chance(40) {
        builder = builder.max_records_per_partition(1 + random.below(30));
    }
    let rdd = builder.build().await.unwrap();
    for partition in 0..partitions {
        if random.chance(30) {
            elect(&mut random, &broker, partition);
        }
    }
    plan_faults(&mut random, &broker);
    let read = rows(&rdd.collect().await.unwrap());
    let read: Vec<(i32, i64, String)> = read
        .into_iter()
        .map(|row| (row.partition, row.offset, String::from_utf8(row.value.unwrap()).unwrap()))
        .collect();
    let expected: Vec<(i32, i64, String)> = (0..)
        .zip(&logs)
        .flat_map(|(partition, log)| {
            log.iter()
                .filter(|(_, visible)| *visible || isolation == IsolationLevel::ReadUncommitted)
                .map(move |(offset, _)| (partition, *offset, format!("{partition}:{offset}")))
        })
        .collect();
    assert_eq!(read, expected);
    let queued = cluster.fetch_metrics().queued_bytes;
    assert_eq!(queued, 0, "bytes are still queued");
}

#[test]
fn any_log_under_any_faults_is_read_exactly_once() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..400).collect(),
    };
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                let day = Duration::from_secs(86_400);
                tokio::time::timeout(day, run(seed)).await.expect("a simulated day passed");
            });
        }));
        if let Err(panic) = outcome {
            eprintln!(
                "replay with: SEED={seed} cargo test -p kafka-direct-integration-tests --test simulation"
            );
            std::panic::resume_unwind(panic);
        }
    }
}
