//! Simulation of streams: drivers that are killed at any await, two drivers at once, faults of the
//! cluster, the checkpoint and the sink, and logs that grow, change leaders and have transactions.
//!
//! A seed determines each run. A failure prints its seed, and `SEED=n` replays it alone. `SEEDS=n` runs
//! more of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a failed step is a failed test, and numbers of tests are small"
)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kafka_direct::{
    BatchContext, BoxError, Cluster, ClusterConfig, DirectStream, Error, ErrorKind, RangeSummary,
    RangeWriter, Sink, SinkCommit, StreamLimits, TaskReceipt, Trigger, WriteTask,
    arrow::array::{RecordBatch, cast::AsArray as _},
    checkpoint::{BatchId, MemoryCheckpoint, MemoryFault, StreamId},
};
use kafka_direct_broker::{
    ApiKey, BatchWriter, Broker, ErrorCode, Fault, Marker, RawOffsets, Record,
};
use kafka_direct_integration_tests::simulated::{InMemory, Random};
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::sleep};

/// What the sinks of all drivers have made visible, and how the next calls behave.
#[derive(Debug, Default)]
struct Visible {
    values: BTreeMap<String, usize>,
    commits: BTreeMap<BatchId, SinkCommit>,
    /// Failures of the next attempts.
    failures: usize,
}

/// A committing sink of one driver. Every step takes a moment, so that a driver may be killed there.
#[derive(Debug)]
struct SlowSink {
    visible: Arc<Mutex<Visible>>,
    pause: Duration,
}

struct Writer {
    values: Vec<String>,
    visible: Arc<Mutex<Visible>>,
    pause: Duration,
}

impl Sink for SlowSink {
    type Receipt = Vec<String>;
    type Writer = Writer;

    async fn last_committed(&self, _: StreamId) -> Result<Option<SinkCommit>, BoxError> {
        sleep(self.pause).await;
        Ok(self.visible.lock().commits.values().next_back().cloned())
    }

    async fn writer(&self, _: &WriteTask) -> Result<Writer, BoxError> {
        let visible = Arc::clone(&self.visible);
        Ok(Writer { values: Vec::new(), visible, pause: self.pause })
    }

    async fn commit(
        &self,
        batch: &BatchContext,
        receipts: &[TaskReceipt<Vec<String>>],
    ) -> Result<(), BoxError> {
        sleep(self.pause).await;
        {
            let mut visible = self.visible.lock();
            let batch = batch.stream.unwrap().batch;
            if visible.commits.keys().next_back().is_some_and(|last| *last >= batch) {
                return Ok(());
            }
            for value in receipts.iter().flat_map(|receipt| &receipt.receipt) {
                *visible.values.entry(value.clone()).or_default() += 1;
            }
            visible.commits.insert(batch, SinkCommit::new(batch, receipts));
        }
        sleep(self.pause).await;
        Ok(())
    }
}

impl RangeWriter for Writer {
    type Receipt = Vec<String>;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        sleep(self.pause).await;
        let values = batch.column_by_name("value").unwrap().as_binary_view();
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
        self.values.extend(values.iter().map(text));
        Ok(())
    }

    async fn finish(self, _: &[RangeSummary]) -> Result<Vec<String>, BoxError> {
        sleep(self.pause).await;
        let mut visible = self.visible.lock();
        if visible.failures > 0 {
            visible.failures -= 1;
            return Err("the sink is full".into());
        }
        Ok(self.values)
    }
}

/// The world of one run.
struct World {
    random: Random,
    broker: Arc<Broker>,
    cluster: Cluster,
    checkpoint: MemoryCheckpoint,
    visible: Arc<Mutex<Visible>>,
    partitions: i32,
    /// Values that the stream must deliver, and those of transactions that are open.
    expected: Vec<String>,
    open: BTreeMap<(i32, i64), Vec<String>>,
    written: u64,
    drivers: Vec<JoinHandle<Result<(), Error>>>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let nodes = 1 + random.below(3) as usize;
        let broker = Broker::builder().in_memory().nodes(nodes).start().await.unwrap();
        let broker = Arc::new(broker);
        let partitions = 1 + random.below(3) as i32;
        broker.create_topic("t", partitions).unwrap();
        let config = ClusterConfig::new(broker.addresses())
            .transport(Arc::new(InMemory(Arc::clone(&broker))))
            .retry_timeout(Duration::from_secs(1 + random.below(20)))
            .memory_budget_bytes(1 + random.below(4000) as usize)
            .partition_max_bytes(1 + random.below(1000) as usize);
        let cluster = Cluster::connect(config).await.unwrap();
        Self {
            random,
            broker,
            cluster,
            checkpoint: MemoryCheckpoint::new(),
            visible: Arc::default(),
            partitions,
            expected: Vec::new(),
            open: BTreeMap::new(),
            written: 0,
            drivers: Vec::new(),
        }
    }

    fn values(&mut self, partition: i32) -> Vec<String> {
        let count = 1 + self.random.below(12);
        let first = self.written;
        self.written += count;
        (first..self.written).map(|n| format!("{partition}/{n}")).collect()
    }

    fn append(&mut self) {
        let partition = self.random.below(self.partitions as u64) as i32;
        let producer = self.random.below(2) as i64;
        let append = |broker: &Broker, bytes| {
            broker.append_raw("t", partition, bytes, RawOffsets::Assign).unwrap();
        };
        let transaction = BatchWriter::new().transaction(producer, 0);
        match self.random.below(10) {
            0..=5 => {
                let values = self.values(partition);
                let records: Vec<_> = values.iter().cloned().map(Record::new).collect();
                append(&self.broker, BatchWriter::new().write(&records).unwrap());
                self.expected.extend(values);
            }
            6 | 7 => {
                let values = self.values(partition);
                let records: Vec<_> = values.iter().cloned().map(Record::new).collect();
                append(&self.broker, transaction.write(&records).unwrap());
                self.open.entry((partition, producer)).or_default().extend(values);
            }
            end => {
                let Some(values) = self.open.remove(&(partition, producer)) else { return };
                let marker = if end == 8 { Marker::Commit } else { Marker::Abort };
                append(&self.broker, transaction.marker(marker).unwrap());
                if end == 8 {
                    self.expected.extend(values);
                }
            }
        }
    }

    fn end_transactions(&mut self) {
        for ((partition, producer), values) in std::mem::take(&mut self.open) {
            let marker = BatchWriter::new().transaction(producer, 0).marker(Marker::Commit);
            self.broker.append_raw("t", partition, marker.unwrap(), RawOffsets::Assign).unwrap();
            self.expected.extend(values);
        }
    }

    fn fault(&mut self) {
        let api = [ApiKey::Fetch, ApiKey::ListOffsets, ApiKey::Metadata];
        let api = api[self.random.below(3) as usize];
        let fault = match self.random.below(5) {
            0 => Fault::Cut,
            1 => Fault::CutAfter(self.random.below(300) as usize),
            2 => Fault::Delay(Duration::from_millis(self.random.below(3000))),
            3 if api == ApiKey::Fetch => Fault::Empty,
            _ => Fault::ErrorCode(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        };
        // Metadata and ListOffsets responses that are cut in the middle are retried, as errors are.
        for _ in 0..=self.random.below(3) {
            self.broker.faults().next(api, fault.clone());
        }
    }

    fn checkpoint_fault(&mut self) {
        let faults = [
            MemoryFault::CreateStored,
            MemoryFault::CreateNotStored,
            MemoryFault::CreateNotDurable,
            MemoryFault::Read,
            MemoryFault::Remove,
        ];
        self.checkpoint.inject(faults[self.random.below(5) as usize]);
    }

    fn start(&mut self, trigger: Trigger) {
        let limits = StreamLimits::new().max_records_per_batch(1 + self.random.below(30));
        let limits = match self.random.chance(30) {
            true => limits.max_records_per_partition(1 + self.random.below(7)),
            false => limits,
        };
        let builder = DirectStream::builder(&self.cluster)
            .topic("t")
            .trigger(trigger)
            .limits(limits)
            .retained_batches(1 + self.random.below(5))
            .checkpoint(self.checkpoint.clone());
        let visible = Arc::clone(&self.visible);
        let pause = Duration::from_millis(self.random.below(20));
        self.drivers.push(tokio::spawn(async move {
            let stream = builder.build().await?;
            stream.run(Arc::new(SlowSink { visible, pause })).await.map(drop)
        }));
    }

    async fn kill(&mut self) {
        if self.drivers.is_empty() {
            return;
        }
        let driver = self.random.below(self.drivers.len() as u64) as usize;
        let driver = self.drivers.swap_remove(driver);
        driver.abort();
        if let Ok(ended) = driver.await {
            check_end(ended);
        }
    }

    async fn step(&mut self) {
        match self.random.below(20) {
            0..=7 => self.append(),
            8..=10 => self.fault(),
            11 => self.checkpoint_fault(),
            12 => self.visible.lock().failures += self.random.below(4) as usize,
            13 | 14 if self.drivers.len() < 3 => self.start(Trigger::Immediate),
            15 | 16 => self.kill().await,
            17 => {
                let partition = self.random.below(self.partitions as u64) as i32;
                let node = 1 + self.random.below(self.broker.addresses().len() as u64) as i32;
                self.broker.set_leader("t", partition, Some(node)).unwrap();
            }
            _ => {}
        }
        let longest = if self.random.chance(20) { 2000 } else { 60 };
        let pause = self.random.below(longest);
        sleep(Duration::from_millis(pause)).await;
    }

    /// After all faults: the rest is read by one driver that nothing disturbs.
    async fn finish(mut self) {
        self.end_transactions();
        self.broker.faults().clear();
        self.checkpoint.clear_faults();
        self.visible.lock().failures = 0;
        while !self.drivers.is_empty() {
            self.kill().await;
        }
        self.start(Trigger::AvailableNow);
        self.drivers.pop().unwrap().await.unwrap().unwrap();
        let visible = self.visible.lock();
        let doubled: Vec<_> = visible.values.iter().filter(|(_, times)| **times != 1).collect();
        assert!(doubled.is_empty(), "not exactly once: {doubled:?}");
        self.expected.sort();
        let seen: Vec<&String> = visible.values.keys().collect();
        assert_eq!(seen, self.expected.iter().collect::<Vec<_>>());
        // INV-2: the ranges of a partition follow each other over all batches.
        let mut reached: BTreeMap<i32, i64> = BTreeMap::new();
        for commit in visible.commits.values() {
            for range in &commit.ranges {
                let at = reached.entry(range.topic_partition.partition()).or_default();
                assert_eq!(range.from.get(), *at, "{range:?}");
                *at = range.reached.get();
            }
        }
    }
}

/// A driver may be fenced, or end because its checkpoint or its sink failed. Nothing else.
fn check_end(ended: Result<(), Error>) {
    if let Err(error) = ended {
        let is_known = matches!(error, Error::Fenced { .. } | Error::Sink { .. })
            || matches!(&error, Error::Checkpoint { kind, .. }
                if [ErrorKind::Unavailable, ErrorKind::Corrupt].contains(kind));
        assert!(is_known, "{error}: {error:?}");
    }
}

async fn run(seed: u64) {
    let mut world = World::new(seed).await;
    world.start(Trigger::Immediate);
    for _ in 0..20 + world.random.below(80) {
        world.step().await;
    }
    world.finish().await;
}

#[test]
fn a_stream_under_any_faults_delivers_every_record_exactly_once() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(300),
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
                "replay with: SEED={seed} cargo test -p kafka-direct-integration-tests --test stream_simulation"
            );
            std::panic::resume_unwind(panic);
        }
    }
}
