//! The metadata of one partition that planning needs.

use kafka_direct_core::{
    IsolationLevel, OffsetRange, PlannedRange, TopicId, TopicPartition, Watermarks,
};

/// The metadata of one partition when a batch is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The topic's id, if the broker reports one. Every range of the partition contains it.
    pub topic_id: Option<TopicId>,
    /// The epoch of the leader that reported the high watermark, if the broker reports one. Every
    /// range of the partition contains it.
    pub leader_epoch: Option<i32>,
    /// The log's bounds.
    pub watermarks: Watermarks,
}

impl PartitionState {
    /// Adds the known topic id and leader epoch to a range of this partition.
    pub(crate) fn planned(&self, range: OffsetRange, isolation: IsolationLevel) -> PlannedRange {
        PlannedRange::new(range, isolation)
            .with_topic_id(self.topic_id)
            .with_leader_epoch(self.leader_epoch)
    }
}
