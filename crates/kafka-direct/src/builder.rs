//! `KafkaRddBuilder`: asks the cluster what the driver must know, then plans.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    time::Duration,
};

use arrow_array::{Array as _, TimestampMillisecondArray};
use kafka_direct_core::{
    BatchPlan, DataLossPolicy, IsolationLevel, OffsetRange, PlannedRange, TopicId, TopicPartition,
};
use kafka_direct_driver::{
    DriverError, Ends, Lookup, Lookups, PartitionState, Selection, StartOffset, Starts,
    lookups_needed, plan, plan_ranges,
};
use kafka_direct_wire::{Cluster, LogBounds, TopicMetadata};
use kafka_direct_worker::{Column, Columns, DecodeOptions};
use regex_lite::Regex;
use tokio::time::Instant;

use crate::{
    BatchEnd, EndPosition, Error, KafkaRdd, ReadOptions, RunEvent,
    event::Observer,
    plan_check::{Leaders, check_plan, leaders},
    rdd::Settings,
    read_range,
};

/// Default number of attempts that a closure or a sink has at a range.
const DEFAULT_ATTEMPTS: u32 = 3;

/// How often the ends of logs are asked for while open transactions are waited for.
const TRANSACTION_POLL: Duration = Duration::from_millis(250);

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
    wait_for_transactions: Duration,
    /// The cluster of the batch after which this one starts.
    expected_cluster: Option<String>,
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
            wait_for_transactions: Duration::ZERO,
            expected_cluster: None,
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

    /// Starts where an earlier batch ended, under its isolation level, and reads its topics unless
    /// others are named. Partitions that it did not have start at earliest. A topic that was re-created
    /// since falls under the data-loss policy; another cluster is refused.
    pub fn after(mut self, end: &BatchEnd) -> Self {
        let start = |position: &EndPosition| {
            let (offset, topic_id) = (position.offset, position.topic_id);
            (position.topic_partition.clone(), StartOffset::After { offset, topic_id })
        };
        let starts = Starts::per_partition(end.positions.iter().map(start));
        self.expected_cluster.clone_from(&end.cluster);
        if matches!(&self.topics, Topics::Named(names) if names.is_empty()) {
            self.topics = Topics::Named(end.topics().map(str::to_owned).collect());
        }
        self.start(starts.with_default(StartOffset::Earliest)).isolation(end.isolation)
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

    /// What is selected, as names and values: two builders with the same description plan the same
    /// offsets of the same logs. For settings that a re-run is compared with.
    #[must_use]
    pub fn description(&self) -> BTreeMap<String, String> {
        let topics = match &self.topics {
            Topics::Named(names) => joined(names.iter().collect::<BTreeSet<_>>(), ","),
            Topics::Pattern(pattern) => format!("pattern {pattern}"),
            Topics::Ranges(ranges) => joined(ranges, ", "),
        };
        let Selection { min_partitions, max_records_per_partition, partitions, .. } =
            &self.selection;
        let optional = [
            ("min_partitions", min_partitions.map(|count| count.to_string())),
            ("max_records_per_partition", max_records_per_partition.map(|count| count.to_string())),
            ("partitions", partitions.as_ref().map(|indices| joined(indices, ","))),
        ];
        let always = [
            ("topics", topics),
            ("start", self.selection.starts.to_string()),
            ("end", self.selection.ends.to_string()),
            ("isolation", self.selection.isolation.to_string()),
        ];
        let given = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
        always.into_iter().chain(given).map(|(name, value)| (name.to_owned(), value)).collect()
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

    /// The same, unless a number was set before.
    pub const fn default_concurrency(mut self, ranges: NonZeroUsize) -> Self {
        if self.concurrency.is_none() {
            self.concurrency = Some(ranges);
        }
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

    /// Waits up to this long, while planning, for open transactions that withhold records below an
    /// explicit start or end. Default: not at all, and the plan fails with [`Error::Withheld`].
    pub const fn wait_for_transactions(mut self, limit: Duration) -> Self {
        self.wait_for_transactions = limit;
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
        let planning = Box::pin(self.plan_when_settled());
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

    /// Plans again while open transactions withhold an explicit bound, for as long as allowed.
    async fn plan_when_settled(&self) -> Result<(BatchPlan, Leaders), Error> {
        let began = Instant::now();
        loop {
            let withheld = match self.plan().await {
                Err(Error::Driver(withheld @ DriverError::Withheld { .. })) => withheld,
                other => return other,
            };
            let left = self.wait_for_transactions.saturating_sub(began.elapsed());
            if left.is_zero() {
                let oldest_millis = self.oldest_withheld(&withheld).await;
                return Err(Error::Withheld { withheld, oldest_millis });
            }
            tracing::info!(reason = %withheld, "waiting for open transactions");
            tokio::time::sleep(left.min(TRANSACTION_POLL)).await;
        }
    }

    /// The timestamp of the first record that open transactions withhold, as far as it can be read:
    /// since when the oldest of them has been open.
    async fn oldest_withheld(&self, withheld: &DriverError) -> Option<i64> {
        let DriverError::Withheld { topic_partition, watermarks, .. } = withheld else {
            return None;
        };
        let from = watermarks.end(IsolationLevel::ReadCommitted);
        let range = OffsetRange::new(topic_partition.clone(), from, watermarks.high).ok()?;
        let planned = PlannedRange::new(range, IsolationLevel::ReadUncommitted);
        let decode = DecodeOptions::default()
            .with_columns(Columns::none().with(Column::Timestamp))
            .with_max_rows(1);
        let options = ReadOptions::new().with_decode(decode);
        let batch = read_range(&self.cluster, planned, &options).try_next().await.ok()??;
        let times = batch.column_by_name(Column::Timestamp.as_str())?;
        let times: &TimestampMillisecondArray = times.as_any().downcast_ref()?;
        (times.is_valid(0)).then(|| times.value(0))
    }

    async fn plan(&self) -> Result<(BatchPlan, Leaders), Error> {
        if let (Some(expected), Some(here)) = (&self.expected_cluster, self.cluster.id())
            && *expected != here
        {
            return Err(Error::ForeignBatch { expected: expected.clone(), here });
        }
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
                let whole = whole_name(pattern).map_err(|error| Error::Setting {
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
            // Under read_committed ListOffsets by time stops at the last stable offset, so that "none"
            // may only mean "not yet". The driver compares the offset with both ends of the log.
            let isolation = IsolationLevel::ReadUncommitted;
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

fn joined<T: ToString>(all: impl IntoIterator<Item = T>, separator: &str) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(separator)
}

/// A regular expression that matches a whole name. The pattern must be valid alone: inside a group
/// `a)|(b` would be too, with another meaning.
fn whole_name(pattern: &str) -> Result<Regex, regex_lite::Error> {
    Regex::new(pattern)?;
    // With the flag `x` the pattern may end in a comment, which only a line break ends.
    Regex::new(&format!("^(?:{pattern})$")).or_else(|_| Regex::new(&format!("^(?:{pattern}\n)$")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_valid_alone_and_matches_whole_names_only() {
        for broken in ["a)|(b.*", "(", "a)(b", ")"] {
            assert!(whole_name(broken).is_err(), "{broken}");
        }
        for (pattern, name, expected) in [
            ("a|ab", "ab", true),
            ("a|b", "ab", false),
            ("orders-.*", "orders-eu", true),
            ("orders-.*", "old-orders-eu", false),
            ("(?x) orders - .* # all of them", "orders-eu", true),
            ("(?x) orders # all of them", "orders-eu", false),
            ("(?i)ORDERS", "orders", true),
        ] {
            assert_eq!(whole_name(pattern).unwrap().is_match(name), expected, "{pattern} {name}");
        }
    }
}
