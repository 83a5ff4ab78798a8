//! [`TargetEnds`]: the ends at which a stream stops that reads only what is available now.

use std::collections::BTreeMap;

use kafka_direct_core::{IsolationLevel, Offset, TopicId, TopicPartition};

use crate::{PartitionState, Positions};

/// A snapshot of the readable ends, which a stream reads up to in one or more batches.
///
/// Spark: `Trigger.AvailableNow`. [`next_batch`](crate::next_batch) never plans an offset at or after
/// these ends, and ignores the minimum batch size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetEnds {
    ends: BTreeMap<TopicPartition, Target>,
}

/// An end, and the topic that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    topic_id: Option<TopicId>,
    end: Offset,
}

impl Target {
    /// Whether the ids are known, and of two topics of the same name.
    fn is_of_other_topic(self, topic_id: Option<TopicId>) -> bool {
        self.topic_id.zip(topic_id).is_some_and(|(one, two)| one != two)
    }
}

impl TargetEnds {
    /// Takes the readable end of each partition, exclusive: the last stable offset under
    /// read_committed, or else the high watermark.
    ///
    /// Partitions that are added later are not part of the snapshot, and are not planned.
    #[must_use]
    pub fn snapshot(states: &[PartitionState], isolation: IsolationLevel) -> Self {
        let end = |state: &PartitionState| {
            let (topic_id, end) = (state.topic_id, state.watermarks.end(isolation));
            (state.topic_partition.clone(), Target { topic_id, end })
        };
        Self { ends: states.iter().map(end).collect() }
    }

    /// The partitions that a stream at `positions` has not read to their end, ordered by topic and
    /// partition. Empty when the stream has reached its target.
    ///
    /// A partition without a position counts as not read, and so does one whose position is of a topic
    /// that was re-created before the snapshot.
    #[must_use]
    pub fn unreached(&self, positions: &Positions) -> Vec<TopicPartition> {
        let is_open = |(topic_partition, target): &(&TopicPartition, &Target)| {
            positions.get(topic_partition).is_none_or(|position| {
                position.offset < target.end || target.is_of_other_topic(position.topic_id)
            })
        };
        let open = self.ends.iter().filter(is_open);
        open.map(|(topic_partition, _)| topic_partition.clone()).collect()
    }

    /// The end of a partition; `None` if it is not part of the snapshot.
    #[must_use]
    pub fn get(&self, topic_partition: &TopicPartition) -> Option<Offset> {
        self.ends.get(topic_partition).map(|target| target.end)
    }

    /// Whether the end of a partition is of another topic than `topic_id`; `None` if an id is unknown.
    pub(crate) fn is_of_other_topic(
        &self,
        topic_partition: &TopicPartition,
        topic_id: Option<TopicId>,
    ) -> Option<bool> {
        let target = self.ends.get(topic_partition)?;
        target.topic_id.zip(topic_id).map(|(one, two)| one != two)
    }

    /// Replaces the end of a partition by an earlier one, or by one of a topic that was re-created since.
    pub(crate) fn shorten(
        &mut self,
        topic_partition: &TopicPartition,
        topic_id: Option<TopicId>,
        end: Offset,
    ) {
        if let Some(target) = self.ends.get_mut(topic_partition) {
            let end = if target.is_of_other_topic(topic_id) { end } else { end.min(target.end) };
            *target = Target { topic_id, end };
        }
    }

    /// Removes a partition, which counts as reached.
    pub(crate) fn remove(&mut self, topic_partition: &TopicPartition) {
        self.ends.remove(topic_partition);
    }
}
