//! One task's range of a plan, and its flat JSON form.

use serde::{Deserialize, Serialize};

use crate::{CoreError, IsolationLevel, Offset, OffsetRange, TopicId, TopicPartition};

/// The range that one task reads.
///
/// It holds everything that a worker in another process needs, except a cluster connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PlannedRangeText", into = "PlannedRangeText")]
pub struct PlannedRange {
    range: OffsetRange,
    piece: u32,
    topic_id: Option<TopicId>,
    leader_epoch: Option<i32>,
    isolation: IsolationLevel,
}

impl PlannedRange {
    /// An undivided range (piece 0), read under `isolation`, without topic id and leader epoch.
    #[must_use]
    pub const fn new(range: OffsetRange, isolation: IsolationLevel) -> Self {
        Self { range, piece: 0, topic_id: None, leader_epoch: None, isolation }
    }

    /// Sets which piece of its partition the range is, from 0.
    #[must_use]
    pub const fn with_piece(mut self, piece: u32) -> Self {
        self.piece = piece;
        self
    }

    /// Binds the range to the topic with this id: reading a re-created topic then fails.
    #[must_use]
    pub const fn with_topic_id(mut self, id: Option<TopicId>) -> Self {
        self.topic_id = id;
        self
    }

    /// Sets the epoch of the leader that reported the log's end during planning.
    #[must_use]
    pub const fn with_leader_epoch(mut self, epoch: Option<i32>) -> Self {
        self.leader_epoch = epoch;
        self
    }

    /// The offsets to read.
    #[must_use]
    pub const fn range(&self) -> &OffsetRange {
        &self.range
    }

    /// The partition to read.
    #[must_use]
    pub const fn topic_partition(&self) -> &TopicPartition {
        self.range.topic_partition()
    }

    /// Which piece of its partition this is, from 0; always 0 unless the plan was split.
    #[must_use]
    pub const fn piece(&self) -> u32 {
        self.piece
    }

    /// The topic's id when the plan was made, if the broker returned one.
    #[must_use]
    pub const fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    /// The epoch of the leader that reported the log's end during planning, if the broker returned
    /// one.
    ///
    /// No record of the range was appended under a later epoch. If the log's records up to this
    /// epoch end before the range does, the log was truncated after planning (KIP-320). Without the
    /// epoch, a reader detects only truncation that happens while it reads.
    #[must_use]
    pub const fn leader_epoch(&self) -> Option<i32> {
        self.leader_epoch
    }

    /// The isolation level of the read.
    #[must_use]
    pub const fn isolation(&self) -> IsolationLevel {
        self.isolation
    }
}

/// The flat JSON form of a planned range.
#[derive(Serialize, Deserialize)]
struct PlannedRangeText {
    #[serde(flatten)]
    topic_partition: TopicPartition,
    from: Offset,
    until: Offset,
    #[serde(default, skip_serializing_if = "is_zero")]
    piece: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic_id: Option<TopicId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leader_epoch: Option<i32>,
    #[serde(default)]
    isolation: IsolationLevel,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde requires")]
const fn is_zero(piece: &u32) -> bool {
    *piece == 0
}

impl TryFrom<PlannedRangeText> for PlannedRange {
    type Error = CoreError;

    fn try_from(text: PlannedRangeText) -> Result<Self, CoreError> {
        let range = OffsetRange::new(text.topic_partition, text.from, text.until)?;
        Ok(Self {
            range,
            piece: text.piece,
            topic_id: text.topic_id,
            leader_epoch: text.leader_epoch,
            isolation: text.isolation,
        })
    }
}

impl From<PlannedRange> for PlannedRangeText {
    fn from(planned: PlannedRange) -> Self {
        Self {
            from: planned.range.from(),
            until: planned.range.until(),
            topic_partition: planned.range.topic_partition().clone(),
            piece: planned.piece,
            topic_id: planned.topic_id,
            leader_epoch: planned.leader_epoch,
            isolation: planned.isolation,
        }
    }
}
