//! One stream: its checkpoint, its sink, and the drivers that run it, one or several at once.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
    time::Duration,
};

use kafka_direct::{
    Cluster, DataLossPolicy, DirectStream, Error, ErrorKind, IsolationLevel, StreamLimits,
    TopicPartition, Trigger,
    checkpoint::{MemoryCheckpoint, MemoryFault},
};
use kafka_direct_broker::{ApiKey, Fault};
use kafka_direct_integration_tests::simulated::Random;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::{
    logs::Logs,
    points::{Action, Coverage, Point, Points},
    sink::{MemorySink, Visible},
    store::{History, WatchedStore},
};

/// How long a stream may take for the rest.
const LONGEST_END: Duration = Duration::from_secs(600);

/// What a stream follows.
#[derive(Debug, Clone)]
pub(crate) enum Subscription {
    Named(Vec<String>),
    Pattern(&'static str),
}

impl Subscription {
    fn has(&self, topic: &str) -> bool {
        match self {
            Self::Named(topics) => topics.iter().any(|named| named == topic),
            Self::Pattern(_) => topic.len() == 1,
        }
    }
}

#[derive(Debug)]
struct Driver {
    policy: DataLossPolicy,
    points: Arc<Points>,
    task: JoinHandle<Result<(), Error>>,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) isolation: IsolationLevel,
    pub(crate) checkpoint: MemoryCheckpoint,
    pub(crate) history: Arc<Mutex<History>>,
    pub(crate) visible: Arc<Mutex<Visible>>,
    pub(crate) group: Option<String>,
    subscription: Subscription,
    cluster: Cluster,
    coverage: Arc<Coverage>,
    drivers: Vec<Driver>,
}

impl Stream {
    pub(crate) fn new(
        cluster: &Cluster,
        subscription: Subscription,
        isolation: IsolationLevel,
        group: Option<String>,
        coverage: &Arc<Coverage>,
    ) -> Self {
        Self {
            isolation,
            checkpoint: MemoryCheckpoint::new(),
            history: Arc::default(),
            visible: Arc::default(),
            group,
            subscription,
            cluster: cluster.clone(),
            coverage: Arc::clone(coverage),
            drivers: Vec::new(),
        }
    }

    pub(crate) const fn drivers(&self) -> usize {
        self.drivers.len()
    }

    /// The topics of which the stream has a position.
    pub(crate) fn followed(&self) -> BTreeSet<String> {
        let history = self.history.lock();
        let newest = history.offsets.values().next_back();
        let positions = newest.iter().flat_map(|(_, entry)| &entry.positions);
        positions.map(|end| end.topic_partition.topic().to_owned()).collect()
    }

    /// Whether the newest plan is not done.
    fn is_planned_only(&self) -> bool {
        let history = self.history.lock();
        let newest = history.offsets.keys().next_back();
        newest.is_some_and(|batch| !history.commits.contains_key(batch))
    }

    /// The partitions that the stream must have read.
    pub(crate) fn subscribed(&self, logs: &Logs) -> Vec<TopicPartition> {
        let mut partitions = logs.partitions();
        partitions.retain(|tp| self.subscription.has(tp.topic()));
        partitions
    }

    /// Starts a driver, which may be killed or held up at a named point.
    pub(crate) fn start(&mut self, random: &mut Random, logs: &Logs, trigger: Trigger) {
        let policy = match random.chance(30) {
            true => DataLossPolicy::Fail,
            false => DataLossPolicy::Resume,
        };
        let point = Point::ALL[random.below(Point::ALL.len() as u64) as usize];
        let action = match random.below(10) {
            0..=3 => Some(Action::Kill),
            4 => Some(Action::Stall(Duration::from_millis(random.below(30_000)))),
            5 => Some(Action::Hang),
            _ => None,
        };
        let planned = action.map(|action| (point, random.below(3), action));
        let points = self.start_with(random, logs, trigger, policy, planned);
        if point == Point::Publish && self.group.is_some() && action.is_some() {
            let kill = Fault::corrupt(move |_| points.kill(Point::Publish));
            logs.broker.faults().next(ApiKey::OffsetCommit, kill);
        }
    }

    fn start_with(
        &mut self,
        random: &mut Random,
        logs: &Logs,
        trigger: Trigger,
        policy: DataLossPolicy,
        planned: Option<(Point, u64, Action)>,
    ) -> Arc<Points> {
        let points = Arc::new(Points {
            pause: Duration::from_millis(random.below(20)),
            planned: Mutex::new(planned),
            task: OnceLock::new(),
            coverage: Arc::clone(&self.coverage),
        });
        let limits = StreamLimits::new().max_records_per_batch(1 + random.below(30));
        let limits = match random.chance(30) {
            true => limits.max_records_per_partition(1 + random.below(7)),
            false => limits,
        };
        let mut builder = DirectStream::builder(&self.cluster)
            .trigger(trigger)
            .limits(limits)
            .isolation(self.isolation)
            .on_data_loss(policy)
            .retained_batches(1 + random.below(5))
            .checkpoint(WatchedStore {
                inner: self.checkpoint.clone(),
                history: Arc::clone(&self.history),
                visible: Arc::clone(&self.visible),
                points: Arc::clone(&points),
                clock: logs.clock.clone(),
            });
        builder = match &self.subscription {
            Subscription::Named(topics) => builder.topics(topics.iter().cloned()),
            Subscription::Pattern(pattern) => builder.pattern(*pattern),
        };
        if let Some(group) = &self.group {
            builder = builder.publish_to_group(group);
        }
        if random.chance(50) {
            let writers = NonZeroUsize::new(1 + random.below(3) as usize).unwrap();
            builder = builder.coalesce(writers);
        }
        let sink = Arc::new(MemorySink {
            visible: Arc::clone(&self.visible),
            history: Arc::clone(&self.history),
            points: Arc::clone(&points),
        });
        let task = tokio::spawn(async move { builder.build().await?.run(sink).await.map(drop) });
        points.task.set(task.abort_handle()).unwrap();
        self.drivers.push(Driver { policy, points: Arc::clone(&points), task });
        points
    }

    /// Kills a driver at the await that it has reached.
    pub(crate) async fn kill(&mut self, random: &mut Random, logs: &Logs) {
        if self.drivers.is_empty() {
            return;
        }
        let at = random.below(self.drivers.len() as u64) as usize;
        let driver = self.drivers.swap_remove(at);
        driver.task.abort();
        self.end(driver, logs).await;
    }

    async fn end(&self, driver: Driver, logs: &Logs) -> Option<Result<(), Error>> {
        drop(driver.points);
        match driver.task.await {
            Ok(ended) => {
                self.check_end(&ended, driver.policy, logs);
                Some(ended)
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }

    /// A driver may be fenced, or end because its checkpoint or its sink failed, or because offsets are
    /// lost under the policy `fail`. Nothing else.
    fn check_end(&self, ended: &Result<(), Error>, policy: DataLossPolicy, logs: &Logs) {
        let Err(error) = ended else { return };
        if error.kind() == ErrorKind::OffsetLost && policy == DataLossPolicy::Fail {
            self.coverage.saw("offsets lost under the policy fail");
            let text = error.to_string();
            let is_named = logs.lossy.iter().any(|tp| text.contains(&tp.to_string()));
            assert!(is_named, "no partition that lost offsets is named: {text}");
            return;
        }
        let is_known = match error {
            Error::Fenced { .. } => {
                self.coverage.saw("a fenced driver");
                true
            }
            Error::Sink { .. } | Error::Commit { .. } => true,
            Error::Checkpoint { kind, .. } => {
                [ErrorKind::Unavailable, ErrorKind::Corrupt].contains(kind)
            }
            Error::Wire(kafka_direct::error::WireError::UnknownTopic { topic, .. }) => {
                // A driver that started before another one stored the first plan with the topic, which it
                // would have adopted: the next start does.
                !self.followed().contains(&**topic) || self.is_planned_only()
            }
            // A pattern that matches nothing.
            Error::Setting { .. } => self.followed().is_empty(),
            _ => false,
        };
        assert!(is_known, "{error}: {error:?}");
    }

    pub(crate) fn checkpoint_fault(&self, random: &mut Random) {
        let faults = [
            MemoryFault::CreateStored,
            MemoryFault::CreateNotStored,
            MemoryFault::CreateNotDurable,
            MemoryFault::Read,
            MemoryFault::Remove,
        ];
        self.checkpoint.inject(faults[random.below(5) as usize]);
    }

    pub(crate) fn sink_fault(&self, random: &mut Random) {
        let mut visible = self.visible.lock();
        if random.chance(70) {
            visible.failures += random.below(4) as usize;
        } else {
            visible.failing_commit = Some(random.chance(50));
        }
    }

    /// After all faults: one driver that nothing disturbs reads the rest. Under `fail` it may end with
    /// lost offsets; the next, under `resume`, continues.
    pub(crate) async fn finish(&mut self, random: &mut Random, logs: &Logs) {
        self.checkpoint.clear_faults();
        {
            let mut visible = self.visible.lock();
            (visible.failures, visible.failing_commit) = (0, None);
        }
        while !self.drivers.is_empty() {
            self.kill(random, logs).await;
        }
        let strict = random.chance(30).then_some(DataLossPolicy::Fail);
        for policy in strict.into_iter().chain([DataLossPolicy::Resume]) {
            self.start_with(random, logs, Trigger::AvailableNow, policy, None);
            let driver = self.drivers.pop().unwrap();
            let ended = tokio::time::timeout(LONGEST_END, self.end(driver, logs)).await;
            let newest = || self.history.lock().offsets.values().next_back().cloned();
            let ended = ended.unwrap_or_else(|_| panic!("it never ends: {:#?}", newest()));
            match ended.unwrap() {
                Ok(()) => {}
                Err(error) => {
                    let is_lost = error.kind() == ErrorKind::OffsetLost;
                    assert!(is_lost && policy == DataLossPolicy::Fail, "{error}: {error:?}");
                    self.coverage.saw("a restart with resume after lost offsets");
                }
            }
        }
    }

    /// A checkpoint that knows less than the sink: nothing is skipped silently.
    pub(crate) async fn lose_checkpoint(&mut self, random: &mut Random, logs: &Logs) {
        let newest = self.visible.lock().commits.keys().next_back().map(|batch| batch.get());
        let Some(newest) = newest else { return };
        let objects = self.checkpoint.objects();
        let copy = MemoryCheckpoint::new();
        let number = |name: &str| name.rsplit('/').next()?.parse::<u64>().ok();
        let is_retained = |batch: u64| {
            let digits = format!("{batch:020}");
            ["offsets", "commits"].iter().all(|f| objects.contains_key(&format!("{f}/{digits}")))
        };
        // All batches are lost, or those from one on that follows a retained one.
        let kept = (random.chance(50) && newest > 0 && is_retained(newest - 1)).then(|| newest - 1);
        for (name, bytes) in &objects {
            let is_kept = match name.split_once('/') {
                None => true,
                Some(("generations", _)) => kept.is_some(),
                Some(_) => kept >= number(name) && kept.is_some(),
            };
            if is_kept {
                copy.overwrite(name.clone(), bytes.clone());
            }
        }
        self.checkpoint = copy;
        let before = self.visible.lock().records.len();
        // What follows is not part of the stream's history.
        self.history = Arc::default();
        let policy = DataLossPolicy::Resume;
        self.start_with(random, logs, Trigger::AvailableNow, policy, None);
        let ended = self.drivers.pop().unwrap().task.await.unwrap();
        let error = ended.expect_err("a sink that is ahead was not noticed");
        assert!(matches!(error, Error::SinkAhead { .. }), "{error}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(self.visible.lock().records.len(), before);
        self.coverage.saw("a sink that is ahead of the checkpoint");
    }
}
