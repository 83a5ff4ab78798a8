//! Base offsets that were changed on the way: no checksum covers them, and no record may be lost,
//! doubled or given another offset for it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kafka_direct::{
    Cluster, ClusterConfig, Columns, Error, ErrorKind, KafkaRdd, OffsetRange, TopicPartition,
};
use kafka_direct_broker::{ApiKey, BatchWriter, Broker, Fault, RawOffsets, Record, TailBatches};
use kafka_direct_integration_tests::rows::rows;

use super::{connect_with, fill};

/// How many bytes of a partition an answer holds, and what it ends with: all of it, one batch of the
/// log below, three, or three and the beginning of a fourth.
const SHAPES: [(usize, TailBatches); 4] = [
    (1 << 20, TailBatches::Whole),
    (1, TailBatches::Whole),
    (700, TailBatches::Whole),
    (700, TailBatches::Cut),
];

/// Partition 0 of topic `t` has 200 records, 10 to a batch.
async fn log(tail: TailBatches) -> Broker {
    let broker = Broker::builder().tail_batches(tail).start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    fill(&broker, 1, 200, 10);
    broker
}

/// Says of the batch at offset 10 that it begins at `base`, with a byte of a record flipped if it is
/// to be `broken` besides: the first `times` that it is sent, which are counted down.
fn moved(base: i64, broken: bool, times: &Arc<AtomicU64>) -> Fault {
    let times = Arc::clone(times);
    Fault::corrupt(move |answer| {
        let is_header =
            |at: &usize| answer[*at..*at + 8] == 10i64.to_be_bytes() && answer[*at + 16] == 2;
        let Some(at) = (0..answer.len().saturating_sub(120)).find(is_header) else { return };
        let left =
            times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            answer[at..at + 8].copy_from_slice(&base.to_be_bytes());
            if broken {
                answer[at + 70] ^= 1;
            }
        }
    })
}

fn bases() -> impl Iterator<Item = i64> {
    let far = [-1, 39, 40, 100, 185, 190, 199, 200, i64::MAX];
    (0..=30).chain(far).filter(|base| *base != 10)
}

async fn connected(broker: &Broker, bytes: usize) -> Cluster {
    connect_with(broker, |config: ClusterConfig| config.partition_max_bytes(bytes)).await
}

/// Reads `[from, until)`: the offsets, each of which must be that of its value.
async fn read(cluster: &Cluster, from: i64, until: i64) -> Result<Vec<i64>, Error> {
    let range = OffsetRange::new(TopicPartition::new("t", 0), from, until).unwrap();
    let rdd = KafkaRdd::builder(cluster).columns(Columns::all()).ranges([range]);
    let rows = rows(&rdd.build().await?.collect().await?);
    for row in &rows {
        let value = String::from_utf8(row.value.clone().unwrap()).unwrap();
        assert_eq!(value, format!("value {}", row.offset));
    }
    Ok(rows.iter().map(|row| row.offset).collect())
}

#[tokio::test]
async fn a_base_offset_that_was_changed_once_loses_and_moves_no_record() {
    for (bytes, tail) in SHAPES {
        let broker = log(tail).await;
        let cluster = connected(&broker, bytes).await;
        for (from, until) in [(0, 200), (0, 20), (10, 20), (13, 200), (13, 17)] {
            for (base, broken) in bases().flat_map(|base| [(base, false), (base, true)]) {
                // As the only batch of an answer: what was asked for begins just there.
                if base == from && bytes == 1 {
                    continue;
                }
                let times = Arc::new(AtomicU64::new(1));
                broker.faults().every(ApiKey::Fetch, moved(base, broken, &times));
                let read = read(&cluster, from, until).await;
                let of = format!("{bytes} {tail:?} [{from}, {until}) {base} {broken}");
                assert_eq!(read.expect(&of), (from..until).collect::<Vec<_>>(), "{of}");
                assert_eq!(times.load(Ordering::SeqCst), 0, "{of}");
            }
        }
    }
}

#[tokio::test]
async fn a_base_offset_that_is_too_high_each_time_is_an_error_where_a_batch_follows() {
    for (bytes, tail) in SHAPES.into_iter().filter(|(bytes, _)| *bytes > 1) {
        let broker = log(tail).await;
        let cluster = connected(&broker, bytes).await;
        for (from, until) in [(0, 200), (0, 20), (10, 20), (13, 200)] {
            for base in bases().filter(|base| *base > 10) {
                let times = Arc::new(AtomicU64::new(u64::MAX));
                broker.faults().every(ApiKey::Fetch, moved(base, false, &times));
                let error = read(&cluster, from, until).await.expect_err("too high");
                assert_eq!(error.kind(), ErrorKind::Corrupt, "[{from}, {until}) {base}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_hole_or_a_start_inside_a_batch_costs_one_more_request_at_most() {
    // The same by one batch an answer, by two first (the first asks for half) and the beginning of a
    // third, and by all: from, until, and the requests of each.
    let reads = [
        (0, 40, [3, 1, 1]),
        (0, 50, [4, 2, 1]),
        (0, 90, [6, 3, 2]),
        (5, 90, [7, 3, 3]),
        // A hole up to the end.
        (0, 60, [6, 3, 2]),
        (20, 30, [2, 1, 1]),
        (35, 50, [3, 1, 1]),
        (85, 90, [2, 2, 2]),
        (40, 50, [1, 1, 1]),
    ];
    for (at, bytes) in [1, 1000, 1 << 20].into_iter().enumerate() {
        let broker = Broker::builder().tail_batches(TailBatches::Cut).start().await.unwrap();
        broker.create_topic("t", 1).unwrap();
        let mut log = Vec::new();
        for base in [0, 30, 40, 80] {
            let records = (base..base + 10).map(|n| Record::new(format!("value {n}")));
            let records: Vec<_> = records.collect();
            log.extend(BatchWriter::new().base_offset(base).write(&records).unwrap());
        }
        broker.append_raw("t", 0, log, RawOffsets::Keep).unwrap();
        for (from, until, requests) in reads {
            let cluster = connected(&broker, bytes).await;
            let there = (from..until).filter(|offset| [0, 3, 4, 8].contains(&(offset / 10)));
            let there: Vec<_> = there.collect();
            assert_eq!(read(&cluster, from, until).await.unwrap(), there, "[{from}, {until})");
            let asked = cluster.fetch_metrics().requests;
            assert_eq!(asked, requests[at], "{bytes} [{from}, {until})");
        }
    }
}

#[tokio::test]
async fn a_log_without_holes_is_asked_for_once() {
    let broker = log(TailBatches::Whole).await;
    // The first asks for half: one batch, then three.
    for (bytes, requests) in [(1, 20), (700, 8), (1 << 20, 1)] {
        let cluster = connected(&broker, bytes).await;
        assert_eq!(read(&cluster, 0, 200).await.unwrap(), (0..200).collect::<Vec<_>>());
        assert_eq!(cluster.fetch_metrics().requests, requests, "{bytes}");
    }
}
