//! The memory budget: its limit, eviction of idle queues, and releases, under simulated time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kafka_direct::{Cluster, ClusterConfig, KafkaRdd, OffsetRange, RunEvent, TopicPartition};
use kafka_direct_broker::{ApiKey, BatchWriter, Broker, Marker, RawOffsets, Record};
use tokio::time::{Instant, sleep, timeout};

use super::{fill_large, transport::Memory, whole};

/// Two partitions of 20 batches of 100 KiB, and a budget that one reader's queue uses up.
async fn tight(nodes: usize) -> (Arc<Broker>, Arc<Memory>, Cluster) {
    let broker = Arc::new(Broker::builder().in_memory().nodes(nodes).start().await.unwrap());
    broker.create_topic("t", 2).unwrap();
    fill_large(&broker, 0..2, 20, 100 << 10);
    let memory = Memory::new(&broker);
    let cluster = connect(&broker, &memory).await;
    (broker, memory, cluster)
}

async fn connect(broker: &Broker, memory: &Arc<Memory>) -> Cluster {
    let config = ClusterConfig::new(broker.addresses())
        .transport(Arc::<Memory>::clone(memory))
        .memory_budget_bytes(256 << 10);
    Cluster::connect(config).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_idle_queue_is_evicted_however_often_the_blocked_reader_is_polled() {
    let (_broker, _, cluster) = tight(1).await;
    let rdd = whole(&cluster).await;
    let (mut idle, mut blocked) = (rdd.read_partition(0).unwrap(), rdd.read_partition(1).unwrap());
    assert!(idle.ready().await.unwrap());
    let began = Instant::now();
    // Each call wakes the fetch connection, and is dropped before the eviction timeout passes.
    while timeout(Duration::from_millis(300), blocked.ready()).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(10), "the eviction is postponed for ever");
    }
    // The idle reader fetches its evicted batches again.
    let mut read = 0;
    drop(blocked);
    while let Some(batch) = idle.try_next().await.unwrap() {
        read += batch.num_rows();
    }
    assert_eq!(read, 20);
}

#[tokio::test(start_paused = true)]
async fn a_queued_hole_holds_no_budget() {
    let (broker, _, cluster) = tight(1).await;
    broker.create_topic("holes", 1).unwrap();
    let next = BatchWriter::new().base_offset(10).write(&[Record::new(vec![7; 200 << 10])]);
    broker.append_raw("holes", 0, next.unwrap(), RawOffsets::Keep).unwrap();
    let hole = OffsetRange::new(TopicPartition::new("holes", 0), 0, 10).unwrap();
    let holes = KafkaRdd::builder(&cluster).ranges([hole]).build().await.unwrap();
    let mut idle = holes.read_partition(0).unwrap();
    assert!(idle.ready().await.unwrap());
    assert_eq!(cluster.fetch_metrics().queued_bytes, 0);
    // The idle reader is not polled while the other read runs.
    let began = Instant::now();
    assert_eq!(whole(&cluster).await.count().await.unwrap(), 40);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(idle.try_next().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_budget_below_a_usual_partition_limit_is_not_exceeded() {
    let (_broker, _, cluster) = tight(1).await;
    let rdd = whole(&cluster).await;
    assert_eq!(rdd.count().await.unwrap(), 40);
    for index in 0..2 {
        let mut batches = rdd.read_partition(index).unwrap();
        while batches.try_next().await.unwrap().is_some() {}
    }
    assert_eq!(cluster.fetch_metrics().peak_queued_bytes, 256 << 10);
}

#[tokio::test(start_paused = true)]
async fn readers_polled_in_rotation_do_not_wait_for_an_eviction() {
    const PARTITIONS: usize = 8;
    let broker = Arc::new(Broker::builder().in_memory().start().await.unwrap());
    broker.create_topic("t", PARTITIONS as i32).unwrap();
    fill_large(&broker, 0..PARTITIONS as i32, 60, 4 << 10);
    // The budget has room for two responses of 32 KiB in each queue, but not for two of 64 KiB,
    // which is the configured request size of a partition.
    let config = ClusterConfig::new(broker.addresses())
        .transport(Memory::new(&broker))
        .partition_max_bytes(64 << 10)
        .memory_budget_bytes(PARTITIONS * 3 * (32 << 10));
    let cluster = Cluster::connect(config).await.unwrap();
    let rdd = whole(&cluster).await;
    let mut readers: Vec<_> =
        (0..PARTITIONS).map(|index| rdd.read_partition(index).unwrap()).collect();
    let (began, mut read) = (Instant::now(), 0);
    while !readers.is_empty() {
        let mut going_on = Vec::new();
        for mut reader in readers {
            if let Some(batch) = reader.try_next().await.unwrap() {
                read += batch.num_rows();
                going_on.push(reader);
            }
            // The fetch connection fills the queues of the readers that were just polled.
            sleep(Duration::from_millis(1)).await;
        }
        readers = going_on;
    }
    assert_eq!(read, 60 * PARTITIONS);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_blocked_reader_that_is_not_in_the_request_is_served() {
    const PARTITIONS: usize = 12;
    let broker = Arc::new(Broker::builder().in_memory().start().await.unwrap());
    broker.create_topic("t", PARTITIONS as i32).unwrap();
    fill_large(&broker, 0..PARTITIONS as i32, 20, 100 << 10);
    // A request has room for four partitions, and the budget has room for four batches.
    let config = ClusterConfig::new(broker.addresses())
        .transport(Memory::new(&broker))
        .fetch_max_bytes(400 << 10)
        .partition_max_bytes(64 << 10)
        .memory_budget_bytes(450 << 10);
    let cluster = Cluster::connect(config).await.unwrap();
    let rdd = whole(&cluster).await;
    let mut readers: Vec<_> =
        (0..PARTITIONS).map(|index| rdd.read_partition(index).unwrap()).collect();
    // The first readers use up the budget, and the others wait for it. None of them is polled
    // again.
    for reader in &mut readers[..PARTITIONS - 1] {
        let _ = timeout(Duration::from_millis(20), reader.ready()).await;
    }
    let last = readers.last_mut().unwrap();
    let ready = timeout(Duration::from_secs(60), last.ready()).await;
    assert!(ready.expect("the last reader is blocked on the budget").unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_broker_out_of_reach_holds_no_budget() {
    let (broker, memory, cluster) = tight(2).await;
    let rdd = whole(&cluster).await;
    let silent = broker.addresses()[0].clone();
    memory.state.lock().silent = Some(silent.clone());
    memory.state.lock().tried.clear();
    let (mut waiting, mut served) =
        (rdd.read_partition(0).unwrap(), rdd.read_partition(1).unwrap());
    assert!(timeout(Duration::from_millis(10), waiting.ready()).await.is_err());
    assert_eq!(memory.state.lock().tried, [silent]);
    let (began, mut read) = (Instant::now(), 0);
    while let Some(batch) = served.try_next().await.unwrap() {
        read += batch.num_rows();
    }
    assert_eq!(read, 20);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn lists_of_aborted_transactions_count_as_held() {
    let broker = Arc::new(Broker::builder().in_memory().start().await.unwrap());
    broker.create_topic("t", 1).unwrap();
    let mut log = Vec::new();
    for producer in 0..300 {
        let part = BatchWriter::new().base_offset(2 * producer).transaction(producer, 0);
        log.extend(part.write(&[Record::new("")]).unwrap());
        let end = BatchWriter::new().base_offset(2 * producer + 1).transaction(producer, 0);
        log.extend(end.marker(Marker::Abort).unwrap());
    }
    let bytes = log.len();
    broker.append_raw("t", 0, log, RawOffsets::Keep).unwrap();
    let cluster = connect(&broker, &Memory::new(&broker)).await;
    let rdd = KafkaRdd::builder(&cluster).topic("t").build().await.unwrap();
    let mut batches = rdd.read_partition(0).unwrap();
    assert!(batches.ready().await.unwrap());
    sleep(Duration::from_millis(1)).await;
    let held = cluster.fetch_metrics().queued_bytes;
    assert!(held >= (bytes + 300 * 16) as i64, "{held} of {bytes} bytes and 300 transactions");
    assert!(batches.try_next().await.unwrap().is_none());
    assert_eq!(cluster.fetch_metrics().queued_bytes, 0);
}

/// The most ranges that were started at once, and the Fetch requests, of a batch of `ranges` ranges.
async fn started_and_requested(ranges: i64) -> (usize, u64) {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    let records: Vec<Record> = (0..ranges).map(|n| Record::new(n.to_string())).collect();
    for batch in records.chunks(500) {
        broker.append("t", 0, batch).unwrap();
    }
    let cluster = super::connect(&broker).await;
    let open = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, highest) = (Arc::clone(&open), Arc::clone(&most));
    let rdd = KafkaRdd::builder(&cluster)
        .topic("t")
        .max_records_per_partition(1)
        .on_event(move |event| match event {
            RunEvent::Started { .. } => {
                let started = now.fetch_add(1, Ordering::SeqCst) + 1;
                highest.fetch_max(started, Ordering::SeqCst);
            }
            RunEvent::Finished { .. } => {
                now.fetch_sub(1, Ordering::SeqCst);
            }
            _ => {}
        })
        .build()
        .await
        .unwrap();
    assert_eq!(rdd.partitions().len() as i64, ranges);
    let rows = rdd.map_partitions(|_, mut batches| async move {
        let mut rows = 0;
        while let Some(batch) = batches.try_next().await? {
            rows += batch.num_rows();
        }
        Ok(rows)
    });
    assert_eq!(rows.await.unwrap(), vec![1; ranges as usize]);
    (most.load(Ordering::SeqCst), broker.requests(ApiKey::Fetch))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_grows_with_the_number_of_ranges_and_what_is_started_does_not() {
    let (few_started, few_requests) = started_and_requested(500).await;
    let (many_started, many_requests) = started_and_requested(10_000).await;
    let at_once = 2 * std::thread::available_parallelism().unwrap().get();
    assert!(few_started <= at_once && many_started <= at_once, "{few_started} {many_started}");
    // Each range fetches its batch once.
    assert!(few_requests <= 501 && many_requests <= 10_001, "{few_requests} {many_requests}");
}
