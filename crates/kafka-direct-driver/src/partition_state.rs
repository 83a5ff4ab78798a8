//! What the cluster says about one partition before a batch is planned.

use kafka_direct_core::{
    IsolationLevel, OffsetRange, PlannedRange, TopicId, TopicPartition, Watermarks,
};

/// What is known of one partition when a batch is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// The partition.
    pub topic_partition: TopicPartition,
    /// The topic's id, where the broker gives one. It goes into every range of the partition.
    pub topic_id: Option<TopicId>,
    /// The epoch of the leader that named the high watermark, where the broker gives one. It goes
    /// into every range of the partition.
    pub leader_epoch: Option<i32>,
    /// The log's bounds.
    pub watermarks: Watermarks,
}

impl PartitionState {
    /// `range` of this partition, with the topic id and the leader epoch that are known.
    pub(crate) fn planned(&self, range: OffsetRange, isolation: IsolationLevel) -> PlannedRange {
        PlannedRange::new(range, isolation)
            .with_topic_id(self.topic_id)
            .with_leader_epoch(self.leader_epoch)
    }
}
