//! Simulation of drivers on one checkpoint: every interleaving of two, a crash after every operation,
//! and creates whose outcome is unknown.
//!
//! A driver is a future that is polled by hand. Each operation of the store or the sink is one poll, so
//! a test decides after which operation the other driver runs, or the driver is dropped as if its
//! process had been killed. The sink checks what must hold: a batch number names one set of ranges, and
//! the ranges of successive batches have no gap and no overlap.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::task::noop_waker;
use kafka_direct_core::{
    BatchPlan, ErrorKind, IsolationLevel, Offset, OffsetRange, PlannedPartition, PlannedRange,
    TopicPartition, Watermarks,
};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::{EndPosition, Error};

const ISOLATION: IsolationLevel = IsolationLevel::ReadCommitted;
const PARTITIONS: i32 = 2;

/// A store whose operations take effect at the second poll.
#[derive(Debug, Clone, Default)]
struct Stepped {
    memory: MemoryCheckpoint,
    calls: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Stepped {
    fn step<'a, T: 'a>(&'a self, call: &'static str, run: StoreRun<'a, T>) -> StoreFuture<'a, T> {
        *self.calls.lock().entry(call).or_default() += 1;
        Box::pin(async move {
            futures::pending!();
            run(&self.memory).await
        })
    }
}

type StoreRun<'a, T> = Box<dyn FnOnce(&'a MemoryCheckpoint) -> StoreFuture<'a, T> + Send + 'a>;

impl CheckpointStore for Stepped {
    fn location(&self, name: &str) -> String {
        self.memory.location(name)
    }

    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> StoreFuture<'a, CreateOutcome> {
        self.step("create", Box::new(move |memory| memory.create(name, bytes)))
    }

    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        self.step("read", Box::new(move |memory| memory.read(name)))
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<String>> {
        self.step("list", Box::new(move |memory| memory.list(folder)))
    }

    fn remove<'a>(&'a self, name: &'a str) -> StoreFuture<'a, ()> {
        self.step("remove", Box::new(move |memory| memory.remove(name)))
    }
}

/// A sink whose commit is atomic and idempotent: the first commit of a batch number is kept.
#[derive(Debug, Default)]
struct SinkModel {
    batches: BTreeMap<BatchId, (Vec<PlannedRange>, Vec<EndPosition>)>,
    reached: BTreeMap<TopicPartition, Offset>,
}

impl SinkModel {
    /// Commits a batch that ended after `achieved`; returns the ends of the commit that is kept.
    fn commit(&mut self, entry: &OffsetsEntry, achieved: Vec<EndPosition>) -> Vec<EndPosition> {
        let ranges = entry.plan.ranges().to_vec();
        if let Some((kept, ends)) = self.batches.get(&entry.batch) {
            assert_eq!(*kept, ranges, "batch {} names two sets of ranges", entry.batch);
            return ends.clone();
        }
        assert!(self.batches.last_key_value().is_none_or(|(last, _)| *last < entry.batch));
        for range in ranges.iter().map(PlannedRange::range) {
            let reached = self.reached.get(range.topic_partition());
            assert_eq!(
                range.from(),
                reached.copied().unwrap_or(Offset::ZERO),
                "a gap or an overlap"
            );
        }
        for end in &achieved {
            self.reached.insert(end.topic_partition.clone(), end.offset);
        }
        self.batches.insert(entry.batch, (ranges, achieved.clone()));
        achieved
    }
}

#[derive(Debug, Clone, Default)]
struct World {
    store: Stepped,
    sink: Arc<Mutex<SinkModel>>,
}

fn end(partition: i32, offset: Offset) -> EndPosition {
    EndPosition::new(TopicPartition::new("t", partition), None, offset)
}

/// A plan of `span` offsets for every second partition, in turn.
fn next_plan(log: &StreamLog, span: i64) -> BatchPlan {
    let active = i32::try_from(log.next_batch().get()).unwrap() % PARTITIONS;
    let mut ranges = Vec::new();
    let mut partitions = Vec::new();
    for position in log.positions() {
        let is_active = position.topic_partition.partition() == active;
        let until = position.offset.saturating_add(if is_active { span } else { 0 });
        let topic_partition = position.topic_partition.clone();
        let range = OffsetRange::new(topic_partition.clone(), position.offset, until).unwrap();
        ranges.push(PlannedRange::new(range, ISOLATION));
        let watermarks = Watermarks { log_start: Offset::ZERO, last_stable: until, high: until };
        let until = Some(until);
        partitions.push(PlannedPartition { topic_partition, watermarks, topic_id: None, until });
    }
    BatchPlan::new(Some("c".into()), ISOLATION, ranges, partitions, vec![]).unwrap()
}

/// A driver that plans `span` offsets a batch and reads `short` fewer, until batch `last` is committed.
async fn drive(world: World, span: i64, short: i64, last: u64) -> Result<(), Error> {
    let store: Arc<dyn CheckpointStore> = Arc::new(world.store.clone());
    let (mut log, _) = StreamLog::open(store, Some("c"), span).await?;
    loop {
        let starts = (0..PARTITIONS).map(|index| end(index, Offset::ZERO)).collect();
        let entry = match log.log_starts(starts, ISOLATION, span).await? {
            Some(entry) => entry,
            None => {
                let draft = PlanDraft::new(next_plan(&log, span), span);
                log.log_plan(draft).await?.entry
            }
        };
        let name = entry.batch.file_in("offsets");
        if !world.store.memory.objects().contains_key(&name) {
            // A newer driver has committed and purged the batch since it was logged.
            assert_eq!(log.check_generation().await.unwrap_err().kind(), ErrorKind::Fenced);
        }
        log.check_generation().await?;
        futures::pending!();
        let ends = entry.plan.ranges().iter().map(|planned| {
            let end = planned.range().until().saturating_add(-short);
            (planned.topic_partition().partition(), end.max(planned.range().from()))
        });
        let ends = ends.map(|(partition, offset)| end(partition, offset)).collect();
        let kept = world.sink.lock().commit(&entry, ends);
        log.log_commit(CommitDraft::restored(kept, vec![], span)).await?;
        // As before publishing. Where the commit was purged meanwhile, only this shows a newer driver.
        log.check_generation().await?;
        log.purge(2).await?;
        if log.last_committed() >= Some(BatchId::new(last)) {
            return Ok(());
        }
    }
}

type Driver = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// Polls a driver at most `steps` times; returns its result if it has ended.
fn poll(driver: &mut Driver, steps: usize) -> Option<Result<(), Error>> {
    let waker = noop_waker();
    let mut context = Context::from_waker(&waker);
    for _ in 0..steps {
        if let Poll::Ready(result) = driver.as_mut().poll(&mut context) {
            return Some(result);
        }
    }
    None
}

fn run(driver: impl Future<Output = Result<(), Error>> + 'static) -> Result<(), Error> {
    let mut driver: Driver = Box::pin(driver);
    poll(&mut driver, 100_000).expect("the driver waits for something that no one does")
}

/// Opens the checkpoint once more, runs to batch `last`, and compares with the sink.
fn check_end(world: &World, last: u64) {
    run(drive(world.clone(), 3, 0, last)).unwrap();
    let sink = world.sink.lock();
    let objects = world.store.memory.objects();
    let mut compared = 0;
    for (batch, (ranges, ends)) in &sink.batches {
        let text = |folder| objects.get(&batch.file_in(folder));
        let (Some(offsets), Some(commit)) = (text("offsets"), text("commits")) else { continue };
        let offsets: OffsetsEntry = serde_json::from_slice(offsets).unwrap();
        let commit: CommitEntry = serde_json::from_slice(commit).unwrap();
        assert_eq!(offsets.plan.ranges(), ranges);
        assert_eq!(commit.achieved, *ends);
        compared += 1;
    }
    assert!(compared >= 1);
}

fn check_that_only_the_newest_plan_has_no_commit(world: &World) {
    let objects = world.store.memory.objects();
    let plans: Vec<_> = objects.keys().filter_map(|name| name.strip_prefix("offsets/")).collect();
    for number in plans.split_last().map_or(&[][..], |(_, older)| older) {
        assert!(objects.contains_key(&format!("commits/{number}")), "{number} has no commit");
    }
}

#[test]
fn a_driver_that_is_killed_after_any_operation_runs_the_same_ranges_again() {
    for steps in 0.. {
        let world = World::default();
        let mut driver: Driver = Box::pin(drive(world.clone(), 10, 4, 4));
        let ended = poll(&mut driver, steps).is_some();
        drop(driver);
        check_that_only_the_newest_plan_has_no_commit(&world);
        let planned = |world: &World| {
            let mut objects = world.store.memory.objects().into_iter();
            objects.rfind(|(name, _)| name.starts_with("offsets"))
        };
        let before = planned(&world);
        run(drive(world.clone(), 7, 1, before.is_some().into())).unwrap();
        if let Some((name, text)) = before {
            let now = world.store.memory.objects().get(&name).cloned();
            assert!(now.is_none_or(|now| now == text), "{name} was changed");
        }
        check_end(&world, 9);
        if ended {
            assert!(steps > 40, "the driver did nothing");
            break;
        }
    }
}

#[test]
fn an_older_driver_that_wakes_up_at_any_operation_is_fenced_and_harms_nothing() {
    // How many batches the newer driver does meanwhile: with 8, it has purged those of the older one.
    for newer_last in [1, 2, 3, 8] {
        for steps in 0.. {
            let world = World::default();
            let mut older: Driver = Box::pin(drive(world.clone(), 10, 4, 5));
            if poll(&mut older, steps).is_some() {
                assert!(steps > 40);
                break;
            }
            let objects = world.store.memory.objects();
            let has_started = objects.len() >= 2;
            let has_done_all = objects.contains_key(&BatchId::new(5).file_in("commits"));
            run(drive(world.clone(), 7, 1, newer_last)).unwrap();
            let result = run(older);
            if has_started && !has_done_all {
                let kind = result.as_ref().map_err(Error::kind);
                assert_eq!(
                    kind,
                    Err(ErrorKind::Fenced),
                    "after {steps} steps, {newer_last} {result:?}"
                );
            }
            check_end(&world, 12);
        }
    }
}

#[test]
fn a_checkpoint_can_be_read_at_any_moment_while_a_driver_writes() {
    for (before, between) in (0..60).flat_map(|before| [1, 2, 5].map(|steps| (before, steps))) {
        let world = World::default();
        let mut driver: Driver = Box::pin(drive(world.clone(), 10, 4, 40));
        poll(&mut driver, before);
        let newest = |world: &World| world.sink.lock().batches.keys().next_back().copied();
        let committed = newest(&world);
        let reading = world.clone();
        let mut reader: Driver = Box::pin(async move {
            let state = CheckpointState::read(Arc::new(reading.store.clone())).await?;
            let last = state.and_then(|state| state.last).map(|last| last.batch().next());
            assert!(last >= committed, "{last:?} is before {committed:?}");
            Ok(())
        });
        while poll(&mut reader, 1).map(Result::unwrap).is_none() {
            assert!(poll(&mut driver, between).is_none(), "the reader did not end");
        }
    }
}

#[test]
fn a_batch_takes_two_creates_four_reads_and_no_listing() {
    let world = World::default();
    run(drive(world.clone(), 10, 0, 10)).unwrap();
    let before = world.store.calls.lock().clone();
    let count = |calls: &BTreeMap<&str, usize>, call| calls.get(call).copied().unwrap_or(0);
    run(drive(world.clone(), 10, 0, 11)).unwrap();
    let start = world.store.calls.lock().clone();
    run(drive(world.clone(), 10, 0, 22)).unwrap();
    let after = world.store.calls.lock().clone();
    // Both starts cost the same; the second run has 10 batches more.
    let more = |call| {
        let first = count(&start, call) - count(&before, call);
        count(&after, call) - count(&start, call) - first
    };
    assert_eq!((more("create"), more("list")), (20, 0));
    // The driver checks the generation before its sink commits and before it publishes, the log twice.
    assert_eq!((more("read"), more("remove")), (40, 20));
}

fn arbitrary_fault() -> impl Strategy<Value = MemoryFault> {
    prop_oneof![
        Just(MemoryFault::CreateStored),
        Just(MemoryFault::CreateNotStored),
        Just(MemoryFault::Read),
        Just(MemoryFault::Remove),
    ]
}

/// What a schedule does next.
#[derive(Debug, Clone)]
enum Move {
    /// Lets driver 0, 1 or 2 take this many steps.
    Run(usize, usize),
    /// Kills a driver and starts it again.
    Restart(usize),
    Fault(MemoryFault),
}

fn arbitrary_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => (0..3usize, 1..12usize).prop_map(|(driver, steps)| Move::Run(driver, steps)),
        1 => (0..3usize).prop_map(Move::Restart),
        2 => arbitrary_fault().prop_map(Move::Fault),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn drivers_that_are_interleaved_killed_and_given_faults_never_commit_two_plans_of_a_batch(
        moves in proptest::collection::vec(arbitrary_move(), 1..60)
    ) {
        let world = World::default();
        let start = |index: usize| -> Driver {
            let (span, short) = [(10, 4), (7, 1), (5, 0)][index];
            Box::pin(drive(world.clone(), span, short, 200))
        };
        let mut drivers: Vec<Driver> = (0..3).map(start).collect();
        for one in moves {
            match one {
                Move::Run(index, steps) => {
                    if let Some(result) = poll(&mut drivers[index], steps) {
                        let kind = result.unwrap_err().kind();
                        prop_assert!(matches!(kind, ErrorKind::Fenced | ErrorKind::Unavailable));
                        drivers[index] = start(index);
                    }
                }
                Move::Restart(index) => drivers[index] = start(index),
                Move::Fault(fault) => world.store.memory.inject(fault),
            }
        }
        drop(drivers);
        world.store.memory.clear_faults();
        let newest = world.sink.lock().batches.last_key_value().map_or(0, |(last, _)| last.get());
        check_end(&world, newest + 4);
    }
}
