//! [`DirectStreamBuilder`]: what a stream follows, how it is limited, and where its checkpoint is.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc, time::Duration};

use kafka_direct_core::{DataLossPolicy, IsolationLevel};
use kafka_direct_driver::{Pacing, Starts, StreamLimits, StreamSettings, TargetEnds};
use kafka_direct_wire::Cluster;
use kafka_direct_worker::{Columns, DecodeOptions};

use super::{
    control::StreamHandle,
    direct::{DirectStream, millis_now, positions_of},
    metadata::Metadata,
    progress::{BatchObserver, BatchProgress},
    publish::GroupPublisher,
    trigger::{Schedule, Trigger},
};
use crate::{
    Error, KafkaRdd, KafkaRddBuilder, RunEvent,
    checkpoint::{
        CheckpointStore, CommittedBatch, DEFAULT_RETAINED_BATCHES, MemoryCheckpoint, StreamLog,
    },
};

/// Selects what a [`DirectStream`] follows. No request is sent before [`DirectStreamBuilder::build`].
///
/// The defaults follow every partition from earliest under read_committed, as soon as there is data, in
/// batches of at most 1,000,000 offsets, and fail on lost data.
#[derive(Debug, Clone)]
#[must_use]
pub struct DirectStreamBuilder {
    selection: KafkaRddBuilder,
    limits: StreamLimits,
    trigger: Trigger,
    checkpoint: Option<Arc<dyn CheckpointStore>>,
    retained_batches: u64,
    on_batch: BatchObserver,
    sink_name: Option<String>,
    allows_other_sink: bool,
    publish_to: Option<String>,
    coalesce: Option<NonZeroUsize>,
    sink_timeout: Option<Duration>,
    user_store: Option<Option<Box<CommittedBatch>>>,
}

impl DirectStreamBuilder {
    pub(super) fn new(cluster: &Cluster) -> Self {
        Self {
            selection: KafkaRdd::builder(cluster),
            limits: StreamLimits::default(),
            trigger: Trigger::default(),
            checkpoint: None,
            retained_batches: DEFAULT_RETAINED_BATCHES,
            on_batch: BatchObserver::default(),
            sink_name: None,
            allows_other_sink: false,
            publish_to: None,
            coalesce: None,
            sink_timeout: None,
            user_store: None,
        }
    }

    /// Follows this topic too.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.selection = self.selection.topic(topic);
        self
    }

    /// Follows these topics too.
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.selection = self.selection.topics(topics);
        self
    }

    /// Follows every topic whose whole name matches the regular expression, also one that is created
    /// later; internal topics are left out. Replaces topics named before.
    pub fn pattern(mut self, pattern: impl Into<String>) -> Self {
        self.selection = self.selection.pattern(pattern);
        self
    }

    /// Never reads these topics: those that the stream itself writes to on this cluster. A pattern does
    /// not match them, and a stream that follows one by name is refused. Default: none.
    pub fn exclude_topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.selection.excluded.extend(topics.into_iter().map(Into::into));
        self
    }

    /// Follows only these partition indices of each topic. Default: all, also those added later.
    pub fn partitions(mut self, indices: impl IntoIterator<Item = i32>) -> Self {
        self.selection = self.selection.partitions(indices);
        self
    }

    /// Where the stream starts in topics that it does not follow yet. Default: earliest. A checkpoint
    /// has the positions of the topics that it follows already, and partitions that are added to them
    /// start at earliest.
    pub fn start(mut self, starts: impl Into<Starts>) -> Self {
        self.selection = self.selection.start(starts);
        self
    }

    /// The isolation level. Default: read_committed.
    pub fn isolation(mut self, isolation: IsolationLevel) -> Self {
        self.selection = self.selection.isolation(isolation);
        self
    }

    /// What to do about offsets, topics and partitions that do not exist any more. Default: fail.
    pub fn on_data_loss(mut self, policy: DataLossPolicy) -> Self {
        self.selection = self.selection.on_data_loss(policy);
        self
    }

    /// The limits of the batches. Default: at most 1,000,000 offsets per batch.
    pub fn limits(mut self, limits: StreamLimits) -> Self {
        self.limits = limits;
        self
    }

    /// When batches are planned. Default: [`Trigger::Immediate`].
    pub const fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    /// Where the stream keeps its plans and positions. Default: in memory, so that a stream that is
    /// started again starts over.
    pub fn checkpoint(mut self, store: impl CheckpointStore) -> Self {
        self.checkpoint = Some(Arc::new(store));
        self
    }

    /// How many committed batches the checkpoint keeps, at least 1. Default: 100.
    pub const fn retained_batches(mut self, batches: u64) -> Self {
        self.retained_batches = batches;
        self
    }

    /// Which columns to build. Default: all but headers.
    pub fn columns(mut self, columns: Columns) -> Self {
        self.selection = self.selection.columns(columns);
        self
    }

    /// Columns and sizes of the Arrow batches together.
    pub fn decode(mut self, decode: DecodeOptions) -> Self {
        self.selection = self.selection.decode(decode);
        self
    }

    /// How many attempts a closure or a sink has at a range, at least 1. Default: 3. Faults of the
    /// cluster are not attempts.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.selection = self.selection.attempts(attempts);
        self
    }

    /// Gives the ranges of a batch to at most this many writers of the sink, so that a sink of files makes
    /// as many files. Ranges are grouped by their size, and all pieces of a partition go to one writer,
    /// one after the other. Default: a writer per range.
    pub const fn coalesce(mut self, writers: NonZeroUsize) -> Self {
        self.coalesce = Some(writers);
        self
    }

    /// How many ranges are started at once, or groups of ranges with [`DirectStreamBuilder::coalesce`].
    /// Default: as [`KafkaRddBuilder::concurrency`].
    pub fn concurrency(mut self, ranges: NonZeroUsize) -> Self {
        self.selection = self.selection.concurrency(ranges);
        self
    }

    /// Calls `observer` with what happens while a batch runs. See [`KafkaRddBuilder::on_event`].
    pub fn on_event(mut self, observer: impl Fn(&RunEvent<'_>) + Send + Sync + 'static) -> Self {
        self.selection = self.selection.on_event(observer);
        self
    }

    /// Resumes after the newest batch of a store of your own, which keeps each batch's results and its
    /// [`CommittedBatch`] together; `None` if it has no batch yet. See
    /// [a store of your own](super#a-store-of-your-own). Default: the checkpoint alone decides.
    ///
    /// Pass it at every start, also at the first. The entry outranks the checkpoint.
    pub fn resume_from(mut self, newest: impl Into<Option<CommittedBatch>>) -> Self {
        self.user_store = Some(newest.into().map(Box::new));
        self
    }

    /// How long one call of the sink or its writer may take, and of a closure of
    /// [`DirectStream::for_each_batch`] one attempt, reading included. Default: no limit, because only you
    /// know how long a batch may take.
    ///
    /// An attempt that exceeds it fails with [`Error::SinkTimeout`], is aborted, and is repeated as after
    /// any other error. A call that blocks its thread is not ended.
    pub const fn sink_timeout(mut self, limit: Duration) -> Self {
        self.sink_timeout = Some(limit);
        self
    }

    /// Keeps in the checkpoint where the records go. A stream whose checkpoint names another sink is
    /// refused: batches that one sink got are missing in the other. Default: not kept.
    pub fn sink_name(mut self, name: impl Into<String>) -> Self {
        self.sink_name = Some(name.into());
        self
    }

    /// Accepts a checkpoint that names another sink. Batches that were done before stay where they are.
    pub const fn allow_other_sink(mut self) -> Self {
        self.allows_other_sink = true;
        self
    }

    /// Commits the stream's positions to this consumer group, for tools that show the lag of groups.
    /// Default: none.
    ///
    /// At most once a second, and after the last batch. The stream itself never reads them, and a
    /// refusal is a warning. Kafka refuses a group that has consumers as members.
    pub fn publish_to_group(mut self, group: impl Into<String>) -> Self {
        self.publish_to = Some(group.into());
        self
    }

    /// Calls `observer` after each batch that is done. It must return quickly. Default: none.
    pub fn on_batch(mut self, observer: impl Fn(&BatchProgress) + Send + Sync + 'static) -> Self {
        self.on_batch = BatchObserver::new(observer);
        self
    }

    /// Opens the checkpoint, or creates it: any other driver on it is fenced from then on. Reads no
    /// record.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for limits that contradict each other, a group without a
    /// name, for an excluded topic that is named, for a checkpoint of another cluster or a newer version,
    /// and for an entry of [`DirectStreamBuilder::resume_from`] that does not fit or is older than the
    /// checkpoint; [`Corrupt`](crate::ErrorKind::Corrupt) for a damaged one;
    /// [`Unavailable`](crate::ErrorKind::Unavailable).
    pub async fn build(self) -> Result<DirectStream, Error> {
        let Self {
            selection,
            mut limits,
            trigger,
            checkpoint,
            retained_batches,
            on_batch,
            sink_name,
            allows_other_sink,
            publish_to,
            coalesce,
            sink_timeout,
            user_store,
        } = self;
        if let (None, Trigger::Interval(interval)) = (limits.batch_interval, trigger) {
            limits = limits.batch_interval(interval);
        }
        selection.check_names()?;
        if let Some(group) = &publish_to {
            // Sends nothing: it checks the name.
            selection.cluster.commit_offsets(group, &BTreeMap::new()).await?;
        }
        let store = checkpoint.unwrap_or_else(|| Arc::new(MemoryCheckpoint::default()));
        let cluster_id = selection.cluster.id();
        let (id, now) = (cluster_id.as_deref(), millis_now());
        let (log, state) = match &user_store {
            Some(newest) => StreamLog::open_after(store, newest.as_deref(), id, now).await?,
            None => StreamLog::open(store, id, now).await?,
        };
        let newest = state.pending.as_ref();
        let newest = newest.or_else(|| state.last.as_ref().map(|batch| &batch.offsets));
        let before = newest.and_then(|entry| entry.sink.as_ref());
        if let (Some(before), Some(now), false) = (before, &sink_name, allows_other_sink)
            && before != now
        {
            return Err(Error::OtherSink { before: before.clone(), now: now.clone() });
        }
        let rate = state.last.as_ref().and_then(|batch| batch.offsets.rate.clone());
        // A rate of another build's form is learnt again.
        let rate = rate.and_then(|rate| serde_json::from_value(rate).ok());
        let pacing = Pacing::new(limits, rate)?;
        let settings = StreamSettings::new()
            .isolation(selection.selection.isolation)
            .on_data_loss(selection.selection.on_data_loss)
            .cluster(cluster_id);
        let targets: Option<TargetEnds> = None;
        let cluster = &selection.cluster;
        let publisher = publish_to.map(|group| GroupPublisher::start(cluster.clone(), group));
        let stream = DirectStream {
            positions: positions_of(&log)?,
            carry_over: cluster.carry_over(),
            leaderless: None,
            selection,
            settings,
            pacing,
            schedule: Schedule::new(trigger),
            trigger,
            targets,
            log,
            retained_batches,
            coalesce,
            on_batch,
            sink_name,
            metadata: Metadata::default(),
            leaders: BTreeMap::new(),
            handle: StreamHandle::new(),
            began: tokio::time::Instant::now(),
            publisher,
            sink_timeout,
            is_stored_by_user: user_store.is_some(),
        };
        stream.publish();
        Ok(stream)
    }
}
