//! Where the partitions of a stream continue, and whether a plan continues there.
//!
//! Keeps INV-2 at the moment a plan becomes durable: the ranges of a partition have no gap and no
//! overlap, within a batch and from one batch to the next, except at a recorded reset.

use std::collections::{BTreeMap, BTreeSet};

use kafka_direct_core::{BatchPlan, Offset, TopicPartition};

use super::entry::{CommitEntry, OffsetsEntry};
use crate::{BatchEnd, EndPosition, RangeSummary};

/// Positions by partition.
pub(crate) type Positions = BTreeMap<TopicPartition, EndPosition>;

pub(crate) fn by_partition(positions: impl IntoIterator<Item = EndPosition>) -> Positions {
    positions.into_iter().map(|position| (position.topic_partition.clone(), position)).collect()
}

/// Where the stream continues after a committed batch.
pub(crate) fn after(offsets: &OffsetsEntry, commit: &CommitEntry) -> Positions {
    match &commit.rewind {
        Some(rewind) => by_partition(rewind.positions.iter().cloned()),
        None => by_partition(offsets.positions.iter().chain(&commit.achieved).cloned()),
    }
}

/// Where every partition continues after `plan`, which follows `before`, if all its ranges are read to
/// their planned ends.
///
/// # Errors
/// The reason why the plan does not continue at `before`.
pub(crate) fn after_plan(before: &Positions, plan: &BatchPlan) -> Result<Positions, String> {
    let summaries: Vec<_> = plan.ranges().iter().map(RangeSummary::new).collect();
    let ends = by_partition(BatchEnd::new(plan, &summaries).positions);
    if ends.len() != plan.partitions().len() {
        return Err("the plan does not say where each of its partitions ends".to_owned());
    }
    let reset: BTreeSet<_> = plan.resets().iter().map(|reset| &reset.topic_partition).collect();
    let mut reached: BTreeMap<&TopicPartition, Offset> =
        before.iter().map(|(tp, position)| (tp, position.offset)).collect();
    for planned in plan.ranges() {
        let tp = planned.topic_partition();
        let (from, until) = (planned.range().from(), planned.range().until());
        if !ends.contains_key(tp) {
            return Err(format!("{tp} has a planned range and is not among the plan's partitions"));
        }
        if let Some(position) = reached.insert(tp, until)
            && position != from
            && !reset.contains(tp)
        {
            return Err(format!(
                "{tp} starts at {from}, its position is {position}, and no reset is recorded"
            ));
        }
    }
    for (tp, end) in &ends {
        if let Some(position) = reached.get(tp)
            && *position != end.offset
            && !reset.contains(tp)
        {
            return Err(format!(
                "{tp} is to continue at {}, its position is {position}, and no reset is recorded",
                end.offset
            ));
        }
        let known = before.get(tp).and_then(|position| position.topic_id);
        if let (Some(old), Some(new)) = (known, end.topic_id)
            && old != new
            && !reset.contains(tp)
        {
            return Err(format!("{tp} was of topic {old}, is of {new}, and no reset is recorded"));
        }
    }
    let mut after = before.clone();
    for (tp, mut end) in ends {
        // A position without a range to it is of the leader that the reset saw, or stays as it was.
        if end.leader_epoch.is_none() {
            let resets = plan.resets().iter().rev();
            let reset = resets.into_iter().find(|reset| reset.topic_partition == tp);
            end.leader_epoch = match reset {
                Some(reset) => reset.new_epoch,
                None => before.get(&tp).and_then(|position| position.leader_epoch),
            };
        }
        after.insert(tp, end);
    }
    Ok(after)
}

/// Checks that every partition with a planned range has an achieved end inside its ranges, and no
/// other partition has one.
///
/// # Errors
/// The reason why the achieved ends do not belong to the plan.
pub(crate) fn check_achieved(plan: &BatchPlan, achieved: &[EndPosition]) -> Result<(), String> {
    let mut bounds: BTreeMap<&TopicPartition, (Offset, Offset)> = BTreeMap::new();
    for planned in plan.ranges() {
        let range = planned.range();
        let bound = bounds.entry(range.topic_partition());
        bound.or_insert_with(|| (range.from(), range.until())).1 = range.until();
    }
    for EndPosition { topic_partition: tp, offset, .. } in achieved {
        match bounds.remove(tp) {
            None => return Err(format!("{tp} has an achieved end and no planned range")),
            Some((from, until)) if *offset < from || until < *offset => {
                return Err(format!("{tp} ended at {offset}, outside its plan [{from}, {until})"));
            }
            Some(_) => {}
        }
    }
    match bounds.keys().next() {
        Some(tp) => Err(format!("{tp} has a planned range and no achieved end")),
        None => Ok(()),
    }
}
