//! One task's range of a plan, and its flat text form.

use serde::{Deserialize, Serialize};

use crate::{CoreError, IsolationLevel, Offset, OffsetRange, TopicId, TopicPartition};

/// One task's work: a range with everything a worker in another process needs beside a cluster
/// connection.
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
    /// A range read whole (piece 0) under `isolation`, with topic id and leader epoch not known.
    #[must_use]
    pub const fn new(range: OffsetRange, isolation: IsolationLevel) -> Self {
        Self { range, piece: 0, topic_id: None, leader_epoch: None, isolation }
    }

    /// The same range as piece number `piece` of its partition, from 0.
    #[must_use]
    pub const fn with_piece(mut self, piece: u32) -> Self {
        self.piece = piece;
        self
    }

    /// The same range bound to the topic that has this id: a re-created topic is then refused.
    #[must_use]
    pub const fn with_topic_id(mut self, id: Option<TopicId>) -> Self {
        self.topic_id = id;
        self
    }

    /// The same range with the epoch of the leader that named the log's end at planning.
    #[must_use]
    pub const fn with_leader_epoch(mut self, epoch: Option<i32>) -> Self {
        self.leader_epoch = epoch;
        self
    }

    /// The offsets.
    #[must_use]
    pub const fn range(&self) -> &OffsetRange {
        &self.range
    }

    /// The partition.
    #[must_use]
    pub const fn topic_partition(&self) -> &TopicPartition {
        self.range.topic_partition()
    }

    /// Which piece of its partition this is, from 0; always 0 unless splitting was asked for.
    #[must_use]
    pub const fn piece(&self) -> u32 {
        self.piece
    }

    /// The topic's id when the plan was made, where the broker gave one.
    #[must_use]
    pub const fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    /// The epoch of the leader that named the log's end when the plan was made, where the broker gave
    /// one: no record of the range was appended under a later one, so a log whose records up to this
    /// epoch end before the range does was truncated since (KIP-320). Without it a reader notices only
    /// what happens while it reads.
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

/// The flat text form of a planned range.
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
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
