//! Determines which partitions a batch reads, where each starts, and where it ends at the latest.

use std::collections::{BTreeMap, BTreeSet};

use kafka_direct_core::{DataLossPolicy, Offset, Reset, ResetCause, TopicId, TopicPartition};

use crate::{
    DriverError, Observed, PartitionState, Position, Positions, ResolvedStarts, Side,
    StreamSettings, TargetEnds, selection::sort, stream::continued::LossPolicy,
};

/// A partition that a batch can read.
pub(crate) struct Candidate {
    pub(crate) state: PartitionState,
    pub(crate) from: Offset,
    pub(crate) end: Offset,
}

impl Candidate {
    /// How many offsets the batch may read of the partition.
    pub(crate) fn lag(&self) -> u64 {
        u64::try_from(self.end.distance_from(self.from)).unwrap_or(0)
    }
}

/// The partitions of a batch before its limits apply.
pub(crate) struct Followed {
    pub(crate) positions: Positions,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) resets: Vec<Reset>,
    /// The target ends that a reset shortens.
    pub(crate) shortened: Vec<(TopicPartition, Option<TopicId>, Offset)>,
    pub(crate) new_partitions: Vec<TopicPartition>,
    pub(crate) missing: Vec<TopicPartition>,
    pub(crate) leaderless: Vec<TopicPartition>,
}

/// Determines where each partition starts, and where it ends at the latest.
pub(crate) fn follow(
    settings: &StreamSettings,
    positions: &Positions,
    observed: Observed,
    targets: Option<&TargetEnds>,
) -> Result<Followed, DriverError> {
    let Observed { mut states, leaderless, diverged, unsubscribed, starts } = observed;
    sort(&mut states)?;
    states.retain(|state| !unsubscribed.contains(&state.topic_partition));
    let policy = LossPolicy { isolation: settings.isolation, on_data_loss: settings.on_data_loss };
    let mut followed = Followed {
        positions: positions.clone(),
        candidates: Vec::with_capacity(states.len()),
        resets: Vec::new(),
        shortened: Vec::new(),
        new_partitions: Vec::new(),
        missing: Vec::new(),
        leaderless: Vec::new(),
    };
    followed.leave_out(positions, &states, leaderless, &unsubscribed, settings.on_data_loss)?;
    states.retain(|state| {
        targets.is_none_or(|targets| targets.get(&state.topic_partition).is_some())
    });
    for tp in &followed.leaderless {
        // The other partitions of the topic are followed from this batch on.
        if !positions.follows_topic(tp.topic()) && has_topic(&states, tp.topic()) {
            followed.positions.set_pending(tp.clone());
        }
    }
    let mut uncovered = Vec::new();
    for state in states {
        let tp = &state.topic_partition;
        let position = match (positions.get(tp), start(positions, &starts, &state)) {
            (Some(position), _) => *position,
            (None, Some(position)) => {
                followed.new_partitions.push(tp.clone());
                position
            }
            (None, None) => {
                uncovered.push(tp.clone());
                continue;
            }
        };
        followed.add(policy, state, position, &diverged, targets)?;
    }
    if !uncovered.is_empty() {
        return Err(DriverError::Uncovered { side: Side::Start, partitions: uncovered });
    }
    // In the order of the states, so sorted.
    let new = &followed.new_partitions;
    let is_new = |reset: &&Reset| new.binary_search(&reset.topic_partition).is_ok();
    let of_starts: Vec<_> = starts.resets().iter().filter(is_new).cloned().collect();
    followed.resets.extend(of_starts);
    followed.resets.sort_by(|a, b| {
        (&a.topic_partition, a.from, a.to).cmp(&(&b.topic_partition, b.from, b.to))
    });
    Ok(followed)
}

/// Where the stream starts in a partition that it does not follow yet.
fn start(
    positions: &Positions,
    starts: &ResolvedStarts,
    state: &PartitionState,
) -> Option<Position> {
    let tp = &state.topic_partition;
    let follows_stream = positions.is_pending(tp) || !positions.follows_topic(tp.topic());
    if follows_stream {
        return starts.get(tp).copied();
    }
    Some(Position::new(state, state.watermarks.log_start))
}

impl Followed {
    /// Finds the partitions that are not planned: those without a leader, and those that are missing.
    fn leave_out(
        &mut self,
        positions: &Positions,
        states: &[PartitionState],
        leaderless: BTreeSet<TopicPartition>,
        unsubscribed: &BTreeSet<TopicPartition>,
        on_data_loss: DataLossPolicy,
    ) -> Result<(), DriverError> {
        let has_state = |tp: &TopicPartition| {
            states.binary_search_by(|state| state.topic_partition.cmp(tp)).is_ok()
        };
        for tp in leaderless {
            if has_state(&tp) || unsubscribed.contains(&tp) {
                continue;
            }
            self.leaderless.push(tp);
        }
        let is_missing = |tp: &&TopicPartition| {
            !has_state(tp)
                && !unsubscribed.contains(*tp)
                && self.leaderless.binary_search(tp).is_err()
        };
        let missing = positions.iter().map(|(tp, _)| tp).filter(is_missing);
        self.missing = missing.cloned().collect();
        if !self.missing.is_empty() && on_data_loss == DataLossPolicy::Fail {
            return Err(DriverError::PartitionsMissing { partitions: self.missing.clone() });
        }
        Ok(())
    }

    /// Adds a partition at `position`, which may be lost.
    fn add(
        &mut self,
        policy: LossPolicy,
        state: PartitionState,
        position: Position,
        diverged: &BTreeMap<TopicPartition, Offset>,
        targets: Option<&TargetEnds>,
    ) -> Result<(), DriverError> {
        let tp = state.topic_partition.clone();
        let resets_before = self.resets.len();
        let stored = position;
        let position = policy.continued(&state, &stored, diverged.get(&tp), &mut self.resets)?;
        let mut end = state.watermarks.end(policy.isolation);
        if let Some(target) = targets.and_then(|targets| targets.get(&tp)) {
            let was_recreated = self.resets.iter().skip(resets_before).any(is_recreated);
            // Re-created before the snapshot, the topic has a target of its own.
            let of_other = targets.and_then(|t| t.is_of_other_topic(&tp, state.topic_id));
            let target = if of_other.unwrap_or(was_recreated) {
                position.offset
            } else {
                let from = if was_recreated { &position } else { &stored };
                policy.reachable_target(&state, from, target, &mut self.resets)?
            };
            self.shortened.push((tp.clone(), state.topic_id, target));
            end = end.min(target);
        }
        self.positions.set(tp, position);
        self.candidates.push(Candidate { state, from: position.offset, end });
        Ok(())
    }
}

/// Whether one of `states`, which are sorted, is of this topic.
fn has_topic(states: &[PartitionState], topic: &str) -> bool {
    let first = states.partition_point(|state| state.topic_partition.topic() < topic);
    states.get(first).is_some_and(|state| state.topic_partition.topic() == topic)
}

fn is_recreated(reset: &Reset) -> bool {
    reset.cause == ResetCause::Recreated
}
