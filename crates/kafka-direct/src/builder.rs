//! `KafkaRddBuilder`: selects what is read, and how.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    time::Duration,
};

use kafka_direct_core::{BatchPlan, DataLossPolicy, IsolationLevel, OffsetRange};
use kafka_direct_driver::{Ends, Selection, StartOffset, Starts};
use kafka_direct_wire::Cluster;
use kafka_direct_worker::{Columns, DecodeOptions};
use tokio::time::Instant;

use crate::{
    BatchEnd, EndPosition, Error, KafkaRdd, ReadOptions, RunEvent, TopicPattern, event::Observer,
    plan_check::check_plan, settings::Settings,
};

/// Default number of attempts that a closure or a sink has at a range.
const DEFAULT_ATTEMPTS: u32 = 3;

/// Which topics to read.
#[derive(Debug, Clone)]
pub(crate) enum Topics {
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
    pub(crate) cluster: Cluster,
    pub(crate) topics: Topics,
    /// Topics that no pattern selects and that must not be named; only streams set it.
    pub(crate) excluded: BTreeSet<String>,
    pub(crate) selection: Selection,
    pub(crate) decode: DecodeOptions,
    pub(crate) concurrency: Option<NonZeroUsize>,
    pub(crate) attempts: u32,
    pub(crate) deadline: Option<Duration>,
    pub(crate) wait_for_transactions: Duration,
    /// In the caller's words, for the plan.
    selected_by: Option<BTreeMap<String, String>>,
    /// The end of the batch after which this one starts.
    pub(crate) earlier: Option<BatchEnd>,
    pub(crate) observer: Observer,
}

impl KafkaRddBuilder {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self {
            cluster: cluster.clone(),
            topics: Topics::Named(Vec::new()),
            excluded: BTreeSet::new(),
            selection: Selection::default(),
            decode: DecodeOptions::default(),
            concurrency: None,
            attempts: DEFAULT_ATTEMPTS,
            deadline: None,
            wait_for_transactions: Duration::ZERO,
            selected_by: None,
            earlier: None,
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
    /// since falls under the data-loss policy; another cluster or isolation level is refused.
    pub fn after(mut self, end: &BatchEnd) -> Self {
        let start = |position: &EndPosition| {
            let (offset, topic_id) = (position.offset, position.topic_id);
            (position.topic_partition.clone(), StartOffset::After { offset, topic_id })
        };
        let starts = Starts::per_partition(end.positions.iter().map(start));
        self.earlier = Some(end.clone());
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

    /// Keeps these names and values in the plan, to compare a later run with: what was selected, in the
    /// caller's words. Default: none.
    pub fn selected_by(mut self, words: BTreeMap<String, String>) -> Self {
        self.selected_by = Some(words);
        self
    }

    /// Which columns to build. Default: all but headers.
    pub fn columns(mut self, columns: Columns) -> Self {
        self.decode = self.decode.columns(columns);
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
        let plan = match &self.selected_by {
            Some(words) => plan.with_selected_by(words.clone()),
            None => plan,
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

    /// Refuses an excluded topic that is named.
    pub(crate) fn check_names(&self) -> Result<(), Error> {
        let Topics::Named(names) = &self.topics else { return Ok(()) };
        match names.iter().find(|name| self.excluded.contains(*name)) {
            None => Ok(()),
            Some(name) => Err(Error::Setting {
                setting: "topics",
                reason: format!(
                    "the stream writes to `{name}`, so it would read its own records; name another topic to read, or another to write to"
                ),
            }),
        }
    }

    /// Whether the topic is selected, also if it does not exist.
    pub(crate) fn names_topic(&self, topic: &str) -> bool {
        match &self.topics {
            Topics::Named(names) => names.iter().any(|name| name == topic),
            Topics::Pattern(pattern) => {
                !self.excluded.contains(topic)
                    && TopicPattern::new(pattern).is_ok_and(|pattern| pattern.is_match(topic))
            }
            Topics::Ranges(ranges) => {
                ranges.iter().any(|range| range.topic_partition().topic() == topic)
            }
        }
    }

    pub(crate) fn settings(&self, deadline: Option<Instant>) -> Settings {
        Settings {
            read: ReadOptions::new()
                .on_data_loss(self.selection.on_data_loss)
                .deadline(deadline)
                .decode(self.decode.clone()),
            concurrency: self.concurrency,
            attempts: self.attempts,
            coalesce: None,
            resets: std::sync::Arc::default(),
            observer: self.observer.clone(),
            sink_timeout: None,
            carry_over: None,
        }
    }
}

fn joined<T: ToString>(all: impl IntoIterator<Item = T>, separator: &str) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(separator)
}
