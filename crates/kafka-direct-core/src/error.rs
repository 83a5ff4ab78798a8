//! The error kinds of all crates, and the errors of the core's own constructors.

use std::fmt;

use crate::{Offset, TopicPartition};

/// The kind of an error, which says what the caller should do.
///
/// Every error of every crate maps to exactly one kind. Adding a kind is an API decision: callers
/// branch on these, and the command line maps each to an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The cluster is unreachable or returned a retriable error: retry later.
    Unavailable,
    /// Offsets of the range no longer exist (log trimmed, truncated or re-created): apply the
    /// declared data-loss policy. Nothing was reset silently.
    OffsetLost,
    /// Another driver owns the checkpoint, or the plan belongs to another cluster or to a topic
    /// that was re-created: stop.
    Fenced,
    /// Credentials or ACLs are missing: fix them.
    Unauthorized,
    /// The input is wrong: fix it; a retry gives the same result.
    Invalid,
    /// Stored or received bytes are corrupt: stop. The error names topic, partition and offset.
    Corrupt,
    /// The caller cancelled the work.
    Cancelled,
    /// A bug in kafka-direct: report it.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "unavailable",
            Self::OffsetLost => "offset lost",
            Self::Fenced => "fenced",
            Self::Unauthorized => "unauthorized",
            Self::Invalid => "invalid",
            Self::Corrupt => "corrupt",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        })
    }
}

/// An error of a constructor of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// A range whose end is below its start, or whose start is negative.
    #[error(
        "{topic_partition}: invalid range from {from} to {until}; `from` must be at least 0 and at most `until`"
    )]
    BackwardsRange {
        /// The partition of the range.
        topic_partition: TopicPartition,
        /// First offset, inclusive.
        from: Offset,
        /// End offset, exclusive.
        until: Offset,
    },
    /// A plan of a version that this build cannot read.
    #[error(
        "the plan has version {found}, this build reads version {known}; use the version of kafka-direct that wrote it"
    )]
    PlanVersion {
        /// The version in the plan.
        found: u32,
        /// The newest version that this build reads.
        known: u32,
    },
    /// Text that is not a plan.
    #[error("not a batch plan: {reason}")]
    PlanText {
        /// The parser's message, with line and column.
        reason: String,
    },
    /// A plan whose parts contradict each other.
    #[error("{topic_partition}: the plan is inconsistent: {reason}")]
    PlanInconsistent {
        /// The partition of the first range that does not fit.
        topic_partition: TopicPartition,
        /// The rule that the plan violates.
        reason: &'static str,
    },
    /// A topic id that is not 22 characters of URL-safe base64.
    #[error("`{text}` is not a topic id (22 characters of URL-safe base64, as Kafka prints it)")]
    TopicId {
        /// The invalid text.
        text: String,
    },
}

impl CoreError {
    /// The kind of this error: always [`ErrorKind::Invalid`].
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}
