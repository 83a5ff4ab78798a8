//! Lost data, declared: the policy a reader was given and the record of what it did.

use serde::{Deserialize, Serialize};

use crate::{Offset, TopicId, TopicPartition};

/// What to do when offsets that were asked for no longer exist, or do not exist yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataLossPolicy {
    /// Stop with `OffsetLost` naming what was asked and what exists. The default.
    #[default]
    Fail,
    /// Go on inside the planned range with what exists, and record a [`Reset`] for every jump.
    Resume,
}

/// Why a read did not go on where it was meant to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResetCause {
    /// The log start moved past the wanted offset (retention or `DeleteRecords`).
    Trimmed,
    /// The log's end lies before the wanted end (unclean leader election).
    Truncated,
    /// The topic was deleted and created again under its name.
    Recreated,
    /// The topic was deleted.
    Deleted,
    /// An explicit offset of the selection lay outside the log when the plan was made.
    Clamped,
}

/// One declared jump: offsets `[from, to)` of the partition were wanted and not delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// The partition (flattened into `topic` and `partition` in JSON).
    #[serde(flatten)]
    pub topic_partition: TopicPartition,
    /// Why.
    pub cause: ResetCause,
    /// First offset that was wanted and does not exist, inclusive.
    pub from: Offset,
    /// Where reading went on, or the end of the planned range, exclusive.
    pub to: Offset,
    /// Leader epoch before, where known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub old_epoch: Option<i32>,
    /// Leader epoch after, where known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new_epoch: Option<i32>,
    /// Topic id before, for [`ResetCause::Recreated`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub old_topic_id: Option<TopicId>,
    /// Topic id after, for [`ResetCause::Recreated`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new_topic_id: Option<TopicId>,
}

impl Reset {
    /// A jump over `[from, to)` with no epochs or ids known.
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
