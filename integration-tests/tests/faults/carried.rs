//! Bytes that a range has fetched beyond its end, and when the next range continues with them.

use std::{sync::Arc, time::Duration};

use kafka_direct::{
    Cluster, ClusterConfig, DecodeOptions, IsolationLevel, KafkaRdd, OffsetRange, PlannedRange,
    TopicPartition,
    fetch::{CarryOver, RangeDecoder, RangeFetch},
};
use kafka_direct_broker::{ApiKey, BatchWriter, Broker, Fault, Marker, RawOffsets, Record};
use kafka_direct_integration_tests::{rows::rows, simulated::Random};
use tokio::time::Instant;

use super::{fill_large, transport::Memory, whole};

/// The records of one read: offset and value.
type Records = Vec<(i64, Vec<u8>)>;

/// Writes a random log to partition 0 of topic `t`: holes, and transactions that commit or abort. Returns its end and the size of its largest batch.
fn write_log(random: &mut Random, broker: &Broker) -> (i64, usize) {
    let (mut at, mut largest) = (0i64, 0);
    let mut open = Vec::new();
    for _ in 0..5 + random.below(60) {
        at += if random.chance(10) { 1 + random.below(9) as i64 } else { 0 };
        let batch = BatchWriter::new().base_offset(at);
        let bytes = if random.chance(15) && !open.is_empty() {
            let producer = open.swap_remove(random.below(open.len() as u64) as usize);
            at += 1;
            let marker = if random.chance(50) { Marker::Commit } else { Marker::Abort };
            batch.transaction(producer, 0).marker(marker).unwrap()
        } else {
            let count = 1 + random.below(30) as i64;
            let mut batch = batch;
            if random.chance(60) {
                let producer = random.below(2) as i64;
                batch = batch.transaction(producer, 0);
                if !open.contains(&producer) {
                    open.push(producer);
                }
            }
            let from = at;
            at += count;
            let records: Vec<Record> =
                (from..at).map(|n| Record::new(format!("{n:>40}"))).collect();
            batch.write(&records).unwrap()
        };
        largest = largest.max(bytes.len());
        broker.append_raw("t", 0, bytes, RawOffsets::Keep).unwrap();
    }
    for producer in open {
        let marker = BatchWriter::new().base_offset(at).transaction(producer, 0);
        let bytes = marker.marker(Marker::Abort).unwrap();
        broker.append_raw("t", 0, bytes, RawOffsets::Keep).unwrap();
        at += 1;
    }
    (at, largest)
}

/// The range `[from, until)` of partition 0, planned as the broker is now.
fn planned(broker: &Broker, from: i64, until: i64, isolation: IsolationLevel) -> PlannedRange {
    let range = OffsetRange::new(TopicPartition::new("t", 0), from, until).unwrap();
    let (_, epoch) = broker.leader("t", 0).unwrap();
    PlannedRange::new(range, isolation)
        .with_topic_id(broker.topic_id("t"))
        .with_leader_epoch(Some(epoch))
}

async fn read(mut fetch: RangeFetch, planned: &PlannedRange) -> Records {
    let mut decoder = RangeDecoder::new(planned, DecodeOptions::new());
    let mut batches = Vec::new();
    while let Some(fetched) = fetch.next().await.unwrap() {
        decoder.push(fetched).unwrap();
        while let Some(batch) = decoder.next_batch().unwrap() {
            batches.push(batch);
        }
    }
    batches.extend(decoder.flush().unwrap());
    assert_eq!(fetch.position(), planned.range().until());
    rows(&batches).into_iter().map(|row| (row.offset, row.value.unwrap())).collect()
}

async fn connect(
    broker: &Arc<Broker>,
    settings: impl FnOnce(ClusterConfig) -> ClusterConfig,
) -> Cluster {
    let config = ClusterConfig::new(broker.addresses()).transport(Memory::new(broker));
    Cluster::connect(settings(config)).await.unwrap()
}

async fn in_memory() -> Arc<Broker> {
    let broker = Arc::new(Broker::builder().in_memory().start().await.unwrap());
    broker.create_topic("t", 1).unwrap();
    broker
}

#[tokio::test(start_paused = true)]
async fn any_consecutive_ranges_have_the_records_of_one_read_and_fetch_the_log_once() {
    for seed in 0..25 {
        let mut random = Random(seed);
        let broker = in_memory().await;
        let (end, largest) = write_log(&mut random, &broker);
        let partition_bytes = 500 + random.below(40_000) as usize;
        for isolation in [IsolationLevel::ReadCommitted, IsolationLevel::ReadUncommitted] {
            let cluster = connect(&broker, |c| c.partition_max_bytes(partition_bytes)).await;
            let one = planned(&broker, 0, end, isolation);
            let expected = read(cluster.fetch(one.clone(), Default::default()), &one).await;
            let log_bytes = cluster.fetch_metrics().response_bytes;
            let cluster = connect(&broker, |c| c.partition_max_bytes(partition_bytes)).await;
            let store = cluster.carry_over();
            let (mut at, mut records) = (0, Records::new());
            while at < end {
                let until = end.min(at + 1 + random.below(40) as i64);
                let part = planned(&broker, at, until, isolation);
                let fetch = cluster.fetch(part.clone(), Default::default()).continue_from(&store);
                records.extend(read(fetch, &part).await);
                at = until;
            }
            assert!(records == expected, "seed {seed} {isolation:?}");
            let metrics = cluster.fetch_metrics();
            // The end of a response cuts a batch, also in one read.
            let bound = log_bytes + metrics.requests * (largest as u64 + 100);
            assert!(metrics.response_bytes <= bound, "seed {seed}: {metrics:?} {bound}");
            assert_eq!(metrics.carried_bytes, 0, "seed {seed}: nothing is after the end");
        }
    }
}

/// Reads `[0, 5)` of a log of one batch, then `next`. Returns how many requests `next` took.
async fn requests_of_next(
    broker: &Arc<Broker>,
    next: impl FnOnce(PlannedRange) -> PlannedRange,
    start: impl FnOnce(RangeFetch, &CarryOver) -> RangeFetch,
) -> u64 {
    let cluster = connect(broker, |config| config).await;
    let store = cluster.carry_over();
    let first = planned(broker, 0, 5, IsolationLevel::ReadCommitted);
    let fetch = cluster.fetch(first.clone(), Default::default()).continue_from(&store);
    assert_eq!(read(fetch, &first).await.len(), 5);
    let before = broker.requests(ApiKey::Fetch);
    let next = next(planned(broker, 5, 20, IsolationLevel::ReadCommitted));
    let fetch = start(cluster.fetch(next.clone(), Default::default()), &store);
    let records = read(fetch, &next).await;
    let offsets: Vec<i64> = records.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (next.range().from().get()..20).collect::<Vec<_>>());
    broker.requests(ApiKey::Fetch) - before
}

#[tokio::test(start_paused = true)]
async fn only_an_equal_plan_that_starts_at_the_end_continues_with_the_bytes() {
    let broker = in_memory().await;
    broker.append("t", 0, vec![Record::new("x"); 20]).unwrap();
    // So that an older epoch exists whose records are all still there.
    broker.set_leader("t", 0, Some(1)).unwrap();
    let continues = RangeFetch::continue_from;
    assert_eq!(requests_of_next(&broker, |plan| plan, continues).await, 0);
    let started = |fetch: RangeFetch, store: &CarryOver| fetch.start_anew(store);
    assert_eq!(requests_of_next(&broker, |plan| plan, started).await, 1);
    let later = planned(&broker, 6, 20, IsolationLevel::ReadCommitted);
    let other_level = planned(&broker, 5, 20, IsolationLevel::ReadUncommitted);
    let same = planned(&broker, 5, 20, IsolationLevel::ReadCommitted);
    for (what, plan) in [
        ("another start", later),
        ("another isolation level", other_level),
        ("no topic id", same.clone().with_topic_id(None)),
        ("no epoch", same.clone().with_leader_epoch(None)),
        ("an older epoch", same.with_leader_epoch(Some(0))),
    ] {
        assert_eq!(requests_of_next(&broker, |_| plan, continues).await, 1, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_of_another_epoch_than_the_plan_does_not_continue_with_the_bytes() {
    let broker = in_memory().await;
    broker.append("t", 0, vec![Record::new("x"); 20]).unwrap();
    let cluster = connect(&broker, |config| config).await;
    let store = cluster.carry_over();
    let first = planned(&broker, 0, 5, IsolationLevel::ReadCommitted);
    let fetch = cluster.fetch(first.clone(), Default::default()).continue_from(&store);
    assert_eq!(read(fetch, &first).await.len(), 5);
    let next = planned(&broker, 5, 20, IsolationLevel::ReadCommitted);
    broker.set_leader("t", 0, Some(1)).unwrap();
    // Its metadata is requested again.
    cluster.topics(&["t".to_owned()]).await.unwrap();
    let before = broker.requests(ApiKey::Fetch);
    let fetch = cluster.fetch(next.clone(), Default::default()).continue_from(&store);
    assert_eq!(read(fetch, &next).await.len(), 15);
    assert_eq!(broker.requests(ApiKey::Fetch) - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_range_that_runs_gets_the_room_of_kept_bytes_at_once() {
    let broker = Arc::new(Broker::builder().in_memory().start().await.unwrap());
    broker.create_topic("t", 2).unwrap();
    fill_large(&broker, 1..2, 20, 100 << 10);
    let records: Vec<Record> = (0..20).map(|n| Record::new(vec![n; 3 << 10])).collect();
    broker.append("t", 0, records).unwrap();
    let cluster = connect(&broker, |config| config.memory_budget_bytes(256 << 10)).await;
    let store = cluster.carry_over();
    let first = planned(&broker, 0, 5, IsolationLevel::ReadCommitted);
    let fetch = cluster.fetch(first.clone(), Default::default()).continue_from(&store);
    assert_eq!(read(fetch, &first).await.len(), 5);
    let kept = cluster.fetch_metrics().carried_bytes;
    assert!((60 << 10..256 << 10).contains(&kept), "{kept}");
    // A request takes the whole budget, and nobody reads the kept bytes.
    let began = Instant::now();
    let all = KafkaRdd::builder(&cluster).topic("t").partitions([1]).build().await.unwrap();
    assert_eq!(all.count().await.unwrap(), 20);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(cluster.fetch_metrics().carried_bytes, 0);
    let next = planned(&broker, 5, 20, IsolationLevel::ReadCommitted);
    let fetch = cluster.fetch(next.clone(), Default::default()).continue_from(&store);
    assert_eq!(read(fetch, &next).await.len(), 15);
}

#[tokio::test(start_paused = true)]
async fn kept_bytes_that_are_corrupt_are_fetched_again() {
    let broker = in_memory().await;
    broker.append("t", 0, vec![Record::new("first"); 5]).unwrap();
    broker.append("t", 0, vec![Record::new("second"); 5]).unwrap();
    let cluster = connect(&broker, |config| config).await;
    let rdd = whole(&cluster).await;
    assert_eq!(rdd.count().await.unwrap(), 10);
    broker.faults().next(
        ApiKey::Fetch,
        Fault::corrupt(|response| {
            let at = response.windows(6).rposition(|bytes| bytes == b"second").unwrap();
            response[at] ^= 1;
        }),
    );
    let store = cluster.carry_over();
    let first = planned(&broker, 0, 5, IsolationLevel::ReadCommitted);
    let fetch = cluster.fetch(first.clone(), Default::default()).continue_from(&store);
    assert_eq!(read(fetch, &first).await.len(), 5);
    let next = planned(&broker, 5, 10, IsolationLevel::ReadCommitted);
    let mut fetch = cluster.fetch(next.clone(), Default::default()).continue_from(&store);
    let before = broker.requests(ApiKey::Fetch);
    let mut decoder = RangeDecoder::new(&next, DecodeOptions::new());
    decoder.push(fetch.next().await.unwrap().unwrap()).unwrap();
    assert_eq!(broker.requests(ApiKey::Fetch), before);
    let error = decoder.next_batch().unwrap_err();
    fetch.seek(error.checksum_mismatch_at().unwrap());
    let records = read(fetch, &next).await;
    assert!(records.iter().all(|(_, value)| value == b"second") && records.len() == 5);
    assert_eq!(broker.requests(ApiKey::Fetch), before + 1);
}
