//! `KafkaRddBuilder`: asks the cluster what the driver must know, then plans.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    time::Duration,
};

use kafka_direct_core::{
    BatchPlan, DataLossPolicy, IsolationLevel, OffsetRange, TopicId, TopicPartition,
};
use kafka_direct_driver::{
    EndOffset, Ends, Lookup, Lookups, PartitionState, Selection, Starts, lookups_needed, plan,
    plan_ranges,
};
use kafka_direct_wire::{Cluster, LogBounds, TopicMetadata};
use kafka_direct_worker::{Columns, DecodeOptions};
use regex_lite::Regex;
use tokio::time::Instant;

use crate::{
    Error, KafkaRdd, ReadOptions, RunEvent,
    event::Observer,
    plan_check::{Leaders, check_plan, leaders},
    rdd::Settings,
};

/// Default number of attempts that a closure or a sink has at a range.
const DEFAULT_ATTEMPTS: u32 = 3;

/// Which topics to read.
#[derive(Debug, Clone)]
enum Topics {
    Named(Vec<String>),
    Pattern(String),
    Ranges(Vec<OffsetRange>),
}

/// Selects what a [`KafkaRdd`] reads. No request is sent before [`KafkaRddBuilder::build`].
///
/// The defaults read every partition from earliest to latest under read_committed and fail on lost
/// data; see each method.
#[derive(Debug, Clone)]
#[must_use]
pub struct KafkaRddBuilder {
    cluster: Cluster,
    topics: Topics,
    selection: Selection,
    decode: DecodeOptions,
    concurrency: Option<NonZeroUsize>,
    attempts: u32,
    deadline: Option<Duration>,
    observer: Observer,
}

impl KafkaRddBuilder {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self {
            cluster: cluster.clone(),
            topics: Topics::Named(Vec::new()),
            selection: Selection::default(),
            decode: DecodeOptions::default(),
            concurrency: None,
            attempts: DEFAULT_ATTEMPTS,
            deadline: None,
            observer: Observer::default(),
        }
    }

    /// Reads this topic too.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        match &mut self.topics {
            Topics::Named(names) => names.push(topic.into()),
            Topics::Pattern(_) | Topics::Ranges(_) => {
                self.topics = Topics::Named(vec![topic.into()]);
            }
        }
        self
    }

    /// Reads these topics too.
    pub fn topics<T: Into<String>>(self, topics: impl IntoIterator<Item = T>) -> Self {
        topics.into_iter().fold(self, Self::topic)
    }

    /// Reads every topic whose whole name matches the regular expression; internal topics are left
    /// out. Replaces topics named before.
    pub fn pattern(mut self, pattern: impl Into<String>) -> Self {
        self.topics = Topics::Pattern(pattern.into());
        self
    }

    /// Reads exactly these ranges, each as one partition of the batch: Spark's `createRDD`. Starts,
    /// ends and splitting do not apply. Replaces topics named before.
    pub fn ranges(mut self, ranges: impl IntoIterator<Item = OffsetRange>) -> Self {
        self.topics = Topics::Ranges(ranges.into_iter().collect());
        self
    }

    /// Reads only these partition indices of each topic. Default: all.
    pub fn partitions(mut self, indices: impl IntoIterator<Item = i32>) -> Self {
        self.selection = self.selection.partitions(indices);
        self
    }

    /// Where to start, for all partitions or by partition. Default: earliest.
    pub fn start(mut self, starts: impl Into<Starts>) -> Self {
        self.selection = self.selection.starts(starts);
        self
    }

    /// Where to end, exclusive, for all partitions or by partition. Default: latest.
    pub fn end(mut self, ends: impl Into<Ends>) -> Self {
        self.selection = self.selection.ends(ends);
        self
    }

    /// The isolation level. Default: read_committed.
    pub fn isolation(mut self, isolation: IsolationLevel) -> Self {
        self.selection = self.selection.isolation(isolation);
        self
    }

    /// What to do about offsets that do not exist, while planning and while reading. Default: fail.
    pub fn on_data_loss(mut self, policy: DataLossPolicy) -> Self {
        self.selection = self.selection.on_data_loss(policy);
        self
    }

    /// Splits ranges until there are about this many. Default: one range per partition.
    pub fn min_partitions(mut self, count: u64) -> Self {
        self.selection = self.selection.min_partitions(count);
        self
    }

    /// Splits ranges so that none spans more offsets than this. Default: no limit.
    pub fn max_records_per_partition(mut self, count: u64) -> Self {
        self.selection = self.selection.max_records_per_partition(count);
        self
    }

    /// Whether every partition is read up to its readable end.
    #[must_use]
    pub fn ends_at_latest(&self) -> bool {
        !matches!(self.topics, Topics::Ranges(_))
            && self.selection.ends == Ends::from(EndOffset::Latest)
    }

    /// Which columns to build. Default: all but headers.
    pub fn columns(mut self, columns: Columns) -> Self {
        self.decode = self.decode.with_columns(columns);
        self
    }

    /// Columns and sizes of the Arrow batches together.
    pub fn decode(mut self, decode: DecodeOptions) -> Self {
        self.decode = decode;
        self
    }

    /// Calls `observer` with what happens while the batch runs, for progress and logs. It is called
    /// on the tasks that read: it must return quickly and must not block. Default: none.
    pub fn on_event(mut self, observer: impl Fn(&RunEvent<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observer);
        self
    }

    /// How many ranges are started at once. Default: one range of every partition, and at least two
    /// per core; the cluster's memory budget bounds what they hold.
    pub const fn concurrency(mut self, ranges: NonZeroUsize) -> Self {
        self.concurrency = Some(ranges);
        self
    }

    /// How many attempts a closure or a sink has at a range, at least 1. Default: 3. Faults of the
    /// cluster are not attempts: reading resumes inside the same stream.
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = if attempts == 0 { 1 } else { attempts };
        self
    }

    /// Planning and reading fail as `Unavailable` this long after [`KafkaRddBuilder::build`] was
    /// called. Default: never.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Resolves the selection once and plans the batch. It sends two or three batched requests to each
    /// leader and reads no record.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for an unknown topic or partition (it is not
    /// created) or a selection that contradicts itself;
    /// [`OffsetLost`](crate::ErrorKind::OffsetLost) for offsets outside the log under the policy
    /// `fail`; [`Unavailable`](crate::ErrorKind::Unavailable);
    /// [`Unauthorized`](crate::ErrorKind::Unauthorized).
    ///
    /// # Cancel safety
    /// Safe: the requests change nothing.
    pub async fn build(self) -> Result<KafkaRdd, Error> {
        let deadline = self.deadline.and_then(|limit| Instant::now().checked_add(limit));
        let planning = self.plan();
        let (plan, leaders) = match deadline {
            None => planning.await?,
            Some(at) => tokio::time::timeout_at(at, planning)
                .await
                .map_err(|_| Error::PlanningDeadline)??,
        };
        Ok(KafkaRdd::new(self.cluster.clone(), plan, leaders, self.settings(deadline)))
    }

    /// Binds a plan that was made before. Topics, starts, ends and splitting of this builder do not
    /// apply.
    ///
    /// # Errors
    /// As [`KafkaRdd::from_plan`].
    pub async fn build_from_plan(self, plan: BatchPlan) -> Result<KafkaRdd, Error> {
        let deadline = self.deadline.and_then(|limit| Instant::now().checked_add(limit));
        let checking = check_plan(&self.cluster, &plan);
        let leaders = match deadline {
            None => checking.await?,
            Some(at) => tokio::time::timeout_at(at, checking)
                .await
                .map_err(|_| Error::PlanningDeadline)??,
        };
        Ok(KafkaRdd::new(self.cluster.clone(), plan, leaders, self.settings(deadline)))
    }

    fn settings(&self, deadline: Option<Instant>) -> Settings {
        Settings {
            read: ReadOptions::new()
                .with_on_data_loss(self.selection.on_data_loss)
                .with_deadline(deadline)
                .with_decode(self.decode.clone()),
            concurrency: self.concurrency,
            attempts: self.attempts,
            resets: std::sync::Arc::default(),
            observer: self.observer.clone(),
        }
    }

    async fn plan(&self) -> Result<(BatchPlan, Leaders), Error> {
        let topics = self.find_topics().await?;
        let leaders = leaders(&topics);
        let selected = self.selected(&topics);
        let bounds = self.cluster.log_bounds(&selected.keys().cloned().collect::<Vec<_>>()).await?;
        let states: Vec<PartitionState> = selected
            .into_iter()
            .filter_map(|(topic_partition, topic_id)| {
                // The epoch of this response, not of the older metadata: a leader elected in between
                // may have appended the planned records.
                let LogBounds { watermarks, leader_epoch, .. } = *bounds.get(&topic_partition)?;
                Some(PartitionState { topic_partition, topic_id, leader_epoch, watermarks })
            })
            .collect();
        let cluster_id = self.cluster.id();
        if let Topics::Ranges(ranges) = &self.topics {
            let plan = plan_ranges(ranges.clone(), &self.selection, cluster_id, states)?;
            return Ok((plan, leaders));
        }
        let lookups = self.response(lookups_needed(&self.selection, &states)?).await?;
        Ok((plan(&self.selection, cluster_id, states, &lookups)?, leaders))
    }

    async fn find_topics(&self) -> Result<Vec<TopicMetadata>, Error> {
        match &self.topics {
            Topics::Named(names) if names.is_empty() => Err(Error::Setting {
                setting: "topics",
                reason: "none is selected; name a topic or give a pattern".to_owned(),
            }),
            Topics::Named(names) => Ok(self.cluster.topics(names).await?),
            Topics::Pattern(pattern) => {
                let whole = Regex::new(&format!("^(?:{pattern})$"));
                let whole = whole.map_err(|error| Error::Setting {
                    setting: "topic pattern",
                    reason: format!("`{pattern}` is no regular expression: {error}"),
                })?;
                let mut topics = self.cluster.all_topics().await?;
                topics.retain(|topic| !topic.is_internal && whole.is_match(&topic.name));
                if topics.is_empty() {
                    return Err(Error::Setting {
                        setting: "topic pattern",
                        reason: format!("no topic's whole name matches `{pattern}`"),
                    });
                }
                Ok(topics)
            }
            Topics::Ranges(ranges) => {
                let names: BTreeSet<String> =
                    ranges.iter().map(|range| range.topic_partition().topic().to_owned()).collect();
                Ok(self.cluster.topics(&names.into_iter().collect::<Vec<_>>()).await?)
            }
        }
    }

    /// The partitions whose watermarks are needed: those of explicit ranges, or those with a selected
    /// index. The driver reports selected partitions that do not exist.
    fn selected(&self, topics: &[TopicMetadata]) -> BTreeMap<TopicPartition, Option<TopicId>> {
        let explicit: Option<BTreeSet<&TopicPartition>> = match &self.topics {
            Topics::Ranges(ranges) => {
                Some(ranges.iter().map(OffsetRange::topic_partition).collect())
            }
            Topics::Named(_) | Topics::Pattern(_) => None,
        };
        let indices = self.selection.partitions.as_ref();
        let all = topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(move |partition| {
                let tp = TopicPartition::new(std::sync::Arc::clone(&topic.name), partition.index);
                (tp, topic.id)
            })
        });
        all.filter(|(tp, _)| match &explicit {
            Some(explicit) => explicit.contains(tp),
            None => indices.is_none_or(|indices| indices.contains(&tp.partition())),
        })
        .collect()
    }

    /// Sends the driver's lookups: one batched request per leader and timestamp, one per group.
    async fn response(&self, questions: BTreeSet<Lookup>) -> Result<Lookups, Error> {
        let mut by_time: BTreeMap<i64, BTreeMap<TopicPartition, i64>> = BTreeMap::new();
        let mut by_group: BTreeMap<String, Vec<TopicPartition>> = BTreeMap::new();
        for question in questions {
            match question {
                Lookup::Timestamp { topic_partition, millis } => {
                    by_time.entry(millis).or_default().insert(topic_partition, millis);
                }
                Lookup::Committed { group, topic_partition } => {
                    by_group.entry(group).or_default().push(topic_partition);
                }
            }
        }
        let mut lookups = Lookups::new();
        for (millis, partitions) in by_time {
            let isolation = self.selection.isolation;
            for (tp, offset) in self.cluster.offsets_for_times(&partitions, isolation).await? {
                lookups.insert_timestamp(tp, millis, offset);
            }
        }
        for (group, partitions) in by_group {
            for (tp, offset) in self.cluster.committed_offsets(&group, &partitions).await? {
                lookups.insert_committed(group.clone(), tp, offset);
            }
        }
        Ok(lookups)
    }
}
