//! [`TargetEnds`]: the ends at which a stream stops that reads only what is available now.

use std::collections::BTreeMap;

use kafka_direct_core::{IsolationLevel, Offset, TopicPartition};

use crate::{PartitionState, Positions};

/// A snapshot of the readable ends, which a stream reads up to in one or more batches.
///
/// Spark: `Trigger.AvailableNow`. [`next_batch`](crate::next_batch) never plans an offset at or after
/// these ends, and ignores the minimum batch size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetEnds {
    ends: BTreeMap<TopicPartition, Offset>,
}

impl TargetEnds {
    /// Takes the readable end of each partition, exclusive: the last stable offset under
    /// read_committed, or else the high watermark.
    ///
    /// Partitions that are added later are not part of the snapshot, and are not planned.
    #[must_use]
    pub fn snapshot(states: &[PartitionState], isolation: IsolationLevel) -> Self {
        let end = |state: &PartitionState| {
            (state.topic_partition.clone(), state.watermarks.end(isolation))
        };
        Self { ends: states.iter().map(end).collect() }
    }

    /// The partitions that a stream at `positions` has not read to their end, ordered by topic and
    /// partition. Empty when the stream has reached its target.
    ///
    /// A partition without a position counts as not read.
    #[must_use]
    pub fn unreached(&self, positions: &Positions) -> Vec<TopicPartition> {
        let is_open = |(topic_partition, end): &(&TopicPartition, &Offset)| {
            positions.get(topic_partition).is_none_or(|position| position.offset < **end)
        };
        let open = self.ends.iter().filter(is_open);
        open.map(|(topic_partition, _)| topic_partition.clone()).collect()
    }

    /// The end of a partition; `None` if it is not part of the snapshot.
    #[must_use]
    pub fn get(&self, topic_partition: &TopicPartition) -> Option<Offset> {
        self.ends.get(topic_partition).copied()
    }

    /// Replaces the end of a partition by an earlier one.
    pub(crate) fn shorten(&mut self, topic_partition: &TopicPartition, end: Offset) {
        if let Some(target) = self.ends.get_mut(topic_partition) {
            *target = end.min(*target);
        }
    }

    /// Removes a partition, which counts as reached.
    pub(crate) fn remove(&mut self, topic_partition: &TopicPartition) {
        self.ends.remove(topic_partition);
    }
}
