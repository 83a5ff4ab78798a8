//! Where a batch ended, so that the next one continues there: the identity of the cluster and of
//! every topic, and an offset per partition.
//!
//! Offsets alone do not identify a position: a topic that was deleted and created again has other
//! records at the same offsets.

use std::collections::{BTreeMap, BTreeSet};

use kafka_direct_core::{
    BatchPlan, IsolationLevel, Offset, PlannedPartition, PlannedRange, TopicId, TopicPartition,
};
use serde::{Deserialize, Serialize};

use crate::RangeSummary;

/// Where one partition ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EndPosition {
    /// The partition (flattened into `topic` and `partition` in JSON).
    #[serde(flatten)]
    pub topic_partition: TopicPartition,
    /// The topic's id, where the broker gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<TopicId>,
    /// The achieved end, exclusive.
    pub offset: Offset,
    /// The epoch of a leader whose log reached `offset`, where it is known. The log of a later leader
    /// may differ below it (KIP-320).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<i32>,
}

impl EndPosition {
    /// The position `offset` of a partition of the topic with this id, under an unknown leader epoch.
    #[must_use]
    pub const fn new(
        topic_partition: TopicPartition,
        topic_id: Option<TopicId>,
        offset: Offset,
    ) -> Self {
        Self { topic_partition, topic_id, offset, leader_epoch: None }
    }
}

/// Where a batch ended: what [`KafkaRddBuilder::after`](crate::KafkaRddBuilder::after) continues from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BatchEnd {
    /// The cluster's id, where it has one.
    pub cluster: Option<String>,
    /// The isolation level of the batch.
    pub isolation: IsolationLevel,
    /// Every partition the batch looked at, also those without a record to read. Empty if the plan, of
    /// an older build, does not say where all of them end: then no batch can continue here.
    pub positions: Vec<EndPosition>,
}

impl BatchEnd {
    /// The end of a batch of `plan`, of whose ranges `summaries` says what was read. A partition ends
    /// at the achieved end of its first range that ended early, or else at its planned end.
    #[must_use]
    pub fn new<'a>(
        plan: &BatchPlan,
        summaries: impl IntoIterator<Item = &'a RangeSummary>,
    ) -> Self {
        let mut reached: BTreeMap<&TopicPartition, Offset> = BTreeMap::new();
        let mut ended_early = BTreeSet::new();
        for summary in summaries {
            let tp = &summary.topic_partition;
            if !ended_early.contains(tp) {
                reached.insert(tp, summary.reached);
            }
            if summary.reached < summary.until {
                ended_early.insert(tp);
            }
        }
        let planned: BTreeMap<&TopicPartition, &PlannedRange> =
            plan.ranges().iter().map(|planned| (planned.topic_partition(), planned)).collect();
        let position = |partition: &PlannedPartition| {
            let tp = &partition.topic_partition;
            let offset = reached.get(tp).copied().or(partition.until)?;
            let range = planned.get(tp);
            let topic_id = partition.topic_id.or_else(|| range.and_then(|range| range.topic_id()));
            let leader_epoch = range.and_then(|range| range.leader_epoch());
            Some(EndPosition { topic_partition: tp.clone(), topic_id, offset, leader_epoch })
        };
        // All or none: a partition that is left out would be read again from its start.
        let positions: Option<Vec<_>> = plan.partitions().iter().map(position).collect();
        Self {
            cluster: plan.cluster().map(str::to_owned),
            isolation: plan.isolation(),
            positions: positions.unwrap_or_default(),
        }
    }

    /// An end that was kept elsewhere, for example in a receipt.
    #[must_use]
    pub const fn restored(
        cluster: Option<String>,
        isolation: IsolationLevel,
        positions: Vec<EndPosition>,
    ) -> Self {
        Self { cluster, isolation, positions }
    }

    /// The topics of the batch, in order.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        let names: BTreeSet<&str> =
            self.positions.iter().map(|position| position.topic_partition.topic()).collect();
        names.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use kafka_direct_core::{OffsetRange, Watermarks};

    use super::*;

    const ISOLATION: IsolationLevel = IsolationLevel::ReadCommitted;

    /// The ends of partitions 0 and 1, whose planned end is 100, after ranges of partition, from,
    /// until and achieved end.
    fn ends(ranges: &[(i32, i64, i64, i64)]) -> Vec<i64> {
        let partition = |partition| TopicPartition::new("t", partition);
        let planned: Vec<_> = ranges
            .iter()
            .map(|(index, from, until, _)| {
                let range = OffsetRange::new(partition(*index), *from, *until).unwrap();
                PlannedRange::new(range, ISOLATION)
            })
            .collect();
        let mut summaries: Vec<_> = planned.iter().map(RangeSummary::new).collect();
        for (summary, (.., reached)) in summaries.iter_mut().zip(ranges) {
            summary.reached = (*reached).into();
        }
        let watermarks =
            Watermarks { log_start: 0.into(), last_stable: 120.into(), high: 120.into() };
        let looked_at = (0..2).map(|index| PlannedPartition {
            topic_partition: partition(index),
            watermarks,
            topic_id: TopicId::from_bytes([1; 16]),
            until: Some(100.into()),
        });
        let plan = BatchPlan::new(None, ISOLATION, planned, looked_at.collect(), vec![]).unwrap();
        let end = BatchEnd::new(&plan, &summaries);
        assert_eq!(end.topics().collect::<Vec<_>>(), ["t"]);
        assert!(end.positions.iter().all(|position| position.topic_id.is_some()));
        end.positions.iter().map(|position| position.offset.get()).collect()
    }

    #[test]
    fn a_plan_that_does_not_say_where_a_partition_ends_gives_no_positions() {
        let watermarks = Watermarks { log_start: 0.into(), last_stable: 9.into(), high: 9.into() };
        let looked_at = [Some(9.into()), None].into_iter().zip(0..).map(|(until, index)| {
            let topic_partition = TopicPartition::new("t", index);
            PlannedPartition { topic_partition, watermarks, topic_id: None, until }
        });
        let plan = BatchPlan::new(None, ISOLATION, vec![], looked_at.collect(), vec![]).unwrap();
        assert!(BatchEnd::new(&plan, []).positions.is_empty());
    }

    #[test]
    fn partitions_end_where_reading_ended_or_at_their_planned_end() {
        assert_eq!(ends(&[(0, 5, 9, 9), (0, 9, 50, 50), (1, 0, 7, 7)]), [50, 7]);
        assert_eq!(ends(&[(0, 5, 50, 50)]), [50, 100]);
        assert_eq!(ends(&[]), [100, 100]);
    }

    #[test]
    fn a_partition_that_ended_early_ends_there_whatever_later_pieces_say() {
        assert_eq!(ends(&[(0, 5, 50, 30), (0, 50, 90, 50), (1, 0, 100, 100)]), [30, 100]);
    }
}
