//! [`next_batch`] plans the next micro-batch of a stream.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kafka_direct_core::{
    BatchPlan, DataLossPolicy, IsolationLevel, Offset, OffsetRange, PlannedPartition,
    TopicPartition,
};

use crate::{
    DriverError, Pacing, PartitionState, Positions, ResolvedStarts, TargetEnds,
    split::try_split,
    stream::follow::{Candidate, follow},
};

/// What a stream reads, apart from its limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StreamSettings {
    /// Which records are visible, and where the readable end is. Default: read_committed.
    pub isolation: IsolationLevel,
    /// What to do with offsets and partitions that do not exist any more. Default: fail.
    pub on_data_loss: DataLossPolicy,
    /// The id of the cluster, if it has one. A reader of another cluster refuses the plans.
    pub cluster: Option<String>,
}

impl StreamSettings {
    /// Creates settings with their defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets which records are visible.
    #[must_use]
    pub const fn isolation(mut self, isolation: IsolationLevel) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sets what happens to offsets and partitions that do not exist any more.
    #[must_use]
    pub const fn on_data_loss(mut self, policy: DataLossPolicy) -> Self {
        self.on_data_loss = policy;
        self
    }

    /// Sets the id of the cluster.
    #[must_use]
    pub fn cluster(mut self, id: impl Into<Option<String>>) -> Self {
        self.cluster = id.into();
        self
    }
}

/// The state of the cluster that a batch is planned from. The order of the partitions does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// The subscribed partitions that have a leader.
    ///
    /// A high watermark below a position counts as a truncated log. A new leader reports a lower one
    /// for a moment, so confirm it with `ListOffsets` under the leader's epoch (KIP-207) before
    /// planning.
    pub states: Vec<PartitionState>,
    /// The subscribed partitions that exist and have no leader. A partition that also has a state is
    /// planned.
    pub leaderless: BTreeSet<TopicPartition>,
    /// The offset at which a leader's log differs from the one that the stream has read, of partitions
    /// where that is below the position (KIP-320): the log was truncated there, and may have grown
    /// again. Ask for it where the leader epoch is newer than that of the position.
    pub diverged: BTreeMap<TopicPartition, Offset>,
    /// The partitions that the stream follows and is not subscribed to any more. They keep their
    /// position, are not planned, and are not missing.
    pub unsubscribed: BTreeSet<TopicPartition>,
    /// The starts of the partitions that [`needs_start`](crate::needs_start) returns.
    pub starts: ResolvedStarts,
}

/// Why a batch has no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitReason {
    /// Every partition is at its readable end, or at its target end.
    NoData,
    /// Fewer offsets wait than `min_records_per_batch`.
    BelowMinimum {
        /// How long until a batch runs with fewer.
        max_wait: Duration,
    },
    /// No partition may take an offset yet, because of the rates.
    RateLimited {
        /// How long until one may.
        wait: Duration,
    },
}

/// The next micro-batch of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NextBatch {
    /// The ranges to read, and the skipped offsets.
    pub plan: BatchPlan,
    /// Where the stream continues after the plan, if every range is read to its planned end.
    pub positions: Positions,
    /// Whether the positions differ from those before the plan, or an offset was skipped. Such a batch
    /// must be stored, also if it has no range.
    pub must_be_stored: bool,
    /// Why the plan has no range; `None` if it has one.
    pub wait: Option<WaitReason>,
    /// How many readable offsets waited before this batch, over all partitions. The batch takes some of
    /// them.
    pub backlog: u64,
    /// The partitions that the stream follows from this batch on.
    pub new_partitions: Vec<TopicPartition>,
    /// The partitions that do not exist any more (policy `resume`). They keep their position.
    pub missing: Vec<TopicPartition>,
    /// The partitions that are left out of this plan because they have no leader.
    pub leaderless: Vec<TopicPartition>,
}

/// Plans the next micro-batch of a stream at `positions`.
///
/// Keeps INV-1: a plan does not depend on the order of partitions. Keeps INV-2: a partition's range
/// starts at its position, except at a recorded reset.
///
/// - `now` is the time since any fixed moment, on a clock that does not go backwards.
/// - A new partition of a topic that the stream follows starts at earliest (Spark's DStreams skip the
///   records that were written before the partition was discovered).
/// - A partition of another topic starts at its offset in [`Observed::starts`].
/// - A position or target end that is lost, a re-created topic and a missing partition fail, or are
///   recorded, as the data-loss policy says.
/// - Under read_committed, a position between the last stable offset and the high watermark waits.
/// - With `targets`, the batch ends there at the latest, other partitions are left out, and the minimum
///   batch size is ignored. A reset shortens them.
///
/// `pacing` changes only if the plan has a range, apart from the time that has passed. If the plan is
/// not used, the tokens of its ranges are lost, which delays later batches.
///
/// # Errors
/// `pacing` may have advanced its time; nothing else has changed.
///
/// - `OffsetLost` (policy `fail`): [`DriverError::PositionLost`], [`DriverError::Recreated`],
///   [`DriverError::EpochBackwards`], [`DriverError::PartitionsMissing`].
/// - `Invalid`: [`DriverError::Uncovered`] for a partition that needs a start and has none in
///   [`Observed::starts`], [`DriverError::BadNumber`] for a negative log start offset or a split into
///   more than [`MAX_PLANNED_RANGES`](crate::MAX_PLANNED_RANGES), [`DriverError::Plan`] for a partition
///   with two states.
pub fn next_batch(
    settings: &StreamSettings,
    positions: &Positions,
    observed: Observed,
    targets: Option<&mut TargetEnds>,
    pacing: &mut Pacing,
    now: Duration,
) -> Result<NextBatch, DriverError> {
    let mut followed = follow(settings, positions, observed, targets.as_deref())?;
    let candidates = &followed.candidates;
    let lags: Vec<_> = candidates.iter().map(|c| (&c.state.topic_partition, c.lag())).collect();
    let backlog = lags.iter().fold(0_u128, |sum, (_, lag)| sum.saturating_add((*lag).into()));
    let delay = pacing.delay(backlog, now).filter(|_| targets.is_none());
    let (spans, mut wait) = match (backlog, delay) {
        (0, _) => (Vec::new(), Some(WaitReason::NoData)),
        (_, Some(max_wait)) => (Vec::new(), Some(WaitReason::BelowMinimum { max_wait })),
        (_, None) => (pacing.spans(now, &lags), None),
    };
    if wait.is_none() && spans.iter().all(|span| *span == 0) {
        let waiting = lags.iter().filter(|(_, lag)| *lag > 0).map(|(tp, _)| *tp);
        wait = Some(WaitReason::RateLimited { wait: pacing.time_to_next(waiting) });
    }
    let mut ranges = Vec::with_capacity(spans.len());
    for (candidate, span) in candidates.iter().zip(&spans) {
        let until = candidate.from.saturating_add(i64::try_from(*span).unwrap_or(i64::MAX));
        let topic_partition = candidate.state.topic_partition.clone();
        let range = OffsetRange::new(topic_partition, candidate.from, until)?;
        followed.positions.move_to(range.topic_partition(), range.until());
        ranges.push(candidate.state.planned(range, settings.isolation));
    }
    let limits = pacing.limits();
    let ranges = try_split(ranges, limits.min_partitions, limits.max_records_per_partition)?;
    let partitions = candidates.iter().map(|Candidate { state, .. }| PlannedPartition {
        until: followed.positions.get(&state.topic_partition).map(|position| position.offset),
        topic_partition: state.topic_partition.clone(),
        watermarks: state.watermarks,
        topic_id: state.topic_id,
    });
    let partitions = partitions.collect();
    let has_resets = !followed.resets.is_empty();
    let (cluster, isolation) = (settings.cluster.clone(), settings.isolation);
    let plan = BatchPlan::new(cluster, isolation, ranges, partitions, followed.resets)?;
    if wait.is_none() {
        let planned = lags.iter().zip(&spans).map(|((tp, _), span)| (*tp, *span));
        pacing.planned(now, planned);
    }
    if let Some(targets) = targets {
        for (topic_partition, topic_id, end) in &followed.shortened {
            targets.shorten(topic_partition, *topic_id, *end);
        }
        followed.missing.iter().for_each(|topic_partition| targets.remove(topic_partition));
    }
    Ok(NextBatch {
        must_be_stored: has_resets || !followed.positions.is_equivalent(positions),
        plan,
        wait,
        positions: followed.positions,
        backlog: u64::try_from(backlog).unwrap_or(u64::MAX),
        new_partitions: followed.new_partitions,
        missing: followed.missing,
        leaderless: followed.leaderless,
    })
}
