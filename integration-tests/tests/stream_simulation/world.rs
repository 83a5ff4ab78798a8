//! The world of one run: a cluster with topics that change, and the streams that follow them.

use std::{sync::Arc, time::Duration};

use kafka_direct::{Cluster, ClusterConfig, IsolationLevel, TopicPartition, Trigger};
use kafka_direct_broker::{ApiKey, Broker, ErrorCode, Fault, Marker};
use kafka_direct_integration_tests::simulated::{InMemory, Random};
use tokio::time::sleep;

use crate::{
    logs::Logs,
    model,
    points::Coverage,
    stream::{Stream, Subscription},
};

/// The topics that may exist. The last one matches no pattern of a stream.
const TOPICS: [&str; 4] = ["a", "b", "c", "other"];

pub(crate) struct World {
    random: Random,
    logs: Logs,
    streams: Vec<Stream>,
    coverage: Arc<Coverage>,
    /// Percentage of steps in which a log loses offsets or a topic is replaced.
    losses: u64,
}

impl World {
    pub(crate) async fn new(seed: u64, coverage: &Arc<Coverage>) -> Self {
        let mut random = Random(seed);
        let nodes = 1 + random.below(3) as usize;
        let broker = Broker::builder().in_memory().nodes(nodes).start().await.unwrap();
        let broker = Arc::new(broker);
        let config = ClusterConfig::new(broker.addresses())
            .transport(Arc::new(InMemory(Arc::clone(&broker))))
            .retry_timeout(Duration::from_secs(1 + random.below(20)))
            .memory_budget_bytes(1 + random.below(4000) as usize)
            .partition_max_bytes(1 + random.below(1000) as usize);
        let cluster = Cluster::connect(config).await.unwrap();
        let mut logs = Logs::new(broker);
        let topics = 1 + random.below(2) as usize;
        for topic in &TOPICS[..topics] {
            logs.create(topic, 1 + random.below(3));
        }
        let subscription = if random.chance(50) {
            Subscription::Named(TOPICS[..topics].iter().map(|&t| t.to_owned()).collect())
        } else {
            Subscription::Pattern("[abc]")
        };
        let both = [IsolationLevel::ReadCommitted, IsolationLevel::ReadUncommitted];
        let levels = match random.below(10) {
            0..=5 => &both[..1],
            6 | 7 => &both[1..],
            _ => &both[..],
        };
        let streams = (0..).zip(levels).map(|(index, isolation)| {
            let group = random.chance(40).then(|| format!("group-{index}"));
            Stream::new(&cluster, subscription.clone(), *isolation, group, coverage)
        });
        let streams = streams.collect();
        let losses = [0, 10, 25][random.below(3) as usize];
        Self { random, logs, streams, coverage: Arc::clone(coverage), losses }
    }

    pub(crate) async fn run(mut self) {
        for stream in &mut self.streams {
            stream.start(&mut self.random, &self.logs, Trigger::Immediate);
        }
        for _ in 0..20 + self.random.below(80) {
            self.step().await;
            let longest = if self.random.chance(20) { 2000 } else { 60 };
            sleep(Duration::from_millis(self.random.below(longest))).await;
        }
        self.finish().await;
    }

    async fn step(&mut self) {
        if self.random.chance(self.losses) {
            return self.lose();
        }
        let stream = self.random.below(self.streams.len() as u64) as usize;
        match self.random.below(20) {
            0..=7 => self.append(),
            8..=10 => self.fault(),
            11 => self.streams[stream].checkpoint_fault(&mut self.random),
            12 => self.streams[stream].sink_fault(&mut self.random),
            13 | 14 if self.streams[stream].drivers() < 3 => {
                self.streams[stream].start(&mut self.random, &self.logs, Trigger::Immediate);
            }
            15 | 16 => self.streams[stream].kill(&mut self.random, &self.logs).await,
            17 | 18 => self.change(),
            _ => {}
        }
    }

    fn append(&mut self) {
        let Some(tp) = self.logs.any(&mut self.random) else { return };
        let producer = self.random.below(2) as i64;
        let count = 1 + self.random.below(12);
        match self.random.below(10) {
            0..=5 => self.logs.write(&tp, count, None),
            6 | 7 => self.logs.write(&tp, count, Some(producer)),
            8 => self.logs.end_transaction(&tp, producer, Marker::Commit),
            _ => self.logs.end_transaction(&tp, producer, Marker::Abort),
        }
    }

    /// A change of the cluster that loses nothing.
    fn change(&mut self) {
        let Some(tp) = self.logs.any(&mut self.random) else { return };
        let broker = &self.logs.broker;
        match self.random.below(6) {
            0..=2 => {
                let node = 1 + self.random.below(broker.addresses().len() as u64) as i32;
                broker.set_leader(tp.topic(), tp.partition(), Some(node)).unwrap();
            }
            3 => {
                self.coverage.saw("a partition without a leader");
                broker.set_leader(tp.topic(), tp.partition(), None).unwrap();
            }
            4 => {
                self.coverage.saw("a partition that was added");
                self.logs.add_partition(tp.topic());
            }
            _ => {
                let missing = TOPICS.iter().find(|topic| !self.logs.topics.contains_key(**topic));
                if let Some(topic) = missing {
                    self.coverage.saw("a topic that was created");
                    self.logs.create(topic, 1 + self.random.below(3));
                }
            }
        }
    }

    fn lose(&mut self) {
        let Some(tp) = self.logs.any(&mut self.random) else { return };
        let (start, end) = {
            let log = self.logs.log(&tp).unwrap();
            (log.start, log.end)
        };
        let offset = start + self.random.below((end - start + 1) as u64) as i64;
        match self.random.below(10) {
            0..=3 => {
                self.coverage.saw("a trimmed log");
                self.logs.trim(&tp, offset);
            }
            4..=7 => {
                self.coverage.saw("a truncated log");
                self.logs.truncate(&tp, offset);
                if self.random.chance(70) {
                    // Other records take the offsets before anyone looks.
                    let count = 1 + self.random.below(20);
                    self.logs.write(&tp, count, None);
                }
            }
            other => {
                self.coverage.saw("a deleted topic");
                self.logs.delete(tp.topic());
                if other == 8 {
                    self.coverage.saw("a re-created topic");
                    self.logs.create(tp.topic(), 1 + self.random.below(3));
                    let tp = TopicPartition::new(tp.topic(), 0);
                    let count = 1 + self.random.below(20);
                    self.logs.write(&tp, count, None);
                }
            }
        }
    }

    fn fault(&mut self) {
        let apis = [
            ApiKey::Fetch,
            ApiKey::ListOffsets,
            ApiKey::Metadata,
            ApiKey::OffsetForLeaderEpoch,
            ApiKey::OffsetCommit,
            ApiKey::FindCoordinator,
        ];
        let api = apis[self.random.below(6) as usize];
        let is_group = matches!(api, ApiKey::OffsetCommit | ApiKey::FindCoordinator);
        let fault = match self.random.below(5) {
            0 => Fault::Cut,
            1 => Fault::CutAfter(self.random.below(300) as usize),
            2 => Fault::Delay(Duration::from_millis(self.random.below(3000))),
            3 if api == ApiKey::Fetch => Fault::Empty,
            _ if is_group => Fault::ErrorCode(ErrorCode::NOT_COORDINATOR),
            _ => Fault::ErrorCode(ErrorCode::NOT_LEADER_OR_FOLLOWER),
        };
        if is_group && self.random.chance(30) {
            self.logs.broker.faults().every(api, fault);
            return;
        }
        // Metadata and ListOffsets responses that are cut in the middle are retried, as errors are.
        for _ in 0..=self.random.below(3) {
            self.logs.broker.faults().next(api, fault.clone());
        }
    }

    /// After all faults: the rest is read, and everything is checked.
    async fn finish(mut self) {
        let Self { random, logs, streams, coverage, .. } = &mut self;
        logs.end_transactions();
        logs.broker.faults().clear();
        for tp in logs.partitions() {
            logs.broker.set_leader(tp.topic(), tp.partition(), Some(1)).unwrap();
        }
        for topic in &TOPICS[..2] {
            let is_followed = streams.iter().all(|s| s.followed().contains(*topic));
            if !logs.topics.contains_key(*topic) && (!is_followed || random.chance(50)) {
                logs.create(topic, 1 + random.below(3));
            }
        }
        for stream in streams {
            stream.finish(random, logs).await;
            model::check(stream, logs);
            coverage.saw(match stream.isolation {
                IsolationLevel::ReadCommitted => "a read_committed stream",
                IsolationLevel::ReadUncommitted => "a read_uncommitted stream",
            });
            if let Some(group) = &stream.group {
                coverage.saw("a stream that publishes its positions");
                for tp in stream.subscribed(logs) {
                    let end = logs.log(&tp).unwrap().end;
                    let published = logs.broker.committed(group, tp.topic(), tp.partition());
                    assert_eq!(published.map(|o| o.get()), Some(end), "{tp} of {group}");
                }
            }
            if random.chance(20) {
                stream.lose_checkpoint(random, logs).await;
            }
        }
    }
}
