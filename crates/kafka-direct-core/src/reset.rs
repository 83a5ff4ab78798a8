//! Data loss: the policy of a reader, and the record of the offsets that it skipped.

use serde::{Deserialize, Serialize};

use crate::{Offset, TopicId, TopicPartition};

/// What a reader does when requested offsets no longer exist, or do not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataLossPolicy {
    /// Stop with `OffsetLost`, which names the requested and the existing offsets. The default.
    #[default]
    Fail,
    /// Continue with the existing offsets of the planned range, and record a [`Reset`] for every
    /// skip.
    Resume,
}

/// Why a read skipped offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResetCause {
    /// The log start offset moved past the requested offset (retention or `DeleteRecords`).
    Trimmed,
    /// The log ends before the end of the range (unclean leader election).
    Truncated,
    /// The topic was deleted and created again under its name.
    Recreated,
    /// The topic was deleted.
    Deleted,
    /// An explicit offset of the selection was outside the log when the plan was made.
    Clamped,
}

/// One recorded skip: offsets `[from, to)` of the partition were requested and not delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// The partition (flattened into `topic` and `partition` in JSON).
    #[serde(flatten)]
    pub topic_partition: TopicPartition,
    /// Why the offsets were skipped.
    pub cause: ResetCause,
    /// The first requested offset that does not exist, inclusive.
    pub from: Offset,
    /// The offset where reading continues, or the end of the planned range, exclusive.
    pub to: Offset,
    /// Leader epoch before the skip, if known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub old_epoch: Option<i32>,
    /// Leader epoch after the skip, if known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new_epoch: Option<i32>,
    /// Topic id before the topic was re-created, for [`ResetCause::Recreated`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub old_topic_id: Option<TopicId>,
    /// Topic id after the topic was re-created, for [`ResetCause::Recreated`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new_topic_id: Option<TopicId>,
}

impl Reset {
    /// A skip of `[from, to)` without epochs and topic ids.
    #[must_use]
    pub const fn new(
        topic_partition: TopicPartition,
        cause: ResetCause,
        from: Offset,
        to: Offset,
    ) -> Self {
        Self {
            topic_partition,
            cause,
            from,
            to,
            old_epoch: None,
            new_epoch: None,
            old_topic_id: None,
            new_topic_id: None,
        }
    }

    /// How many offsets were skipped.
    #[must_use]
    pub const fn skipped(&self) -> i64 {
        self.to.distance_from(self.from)
    }
}
