//! What a caller should do about an error, and the errors of the core's own constructors.

use std::fmt;

use crate::{Offset, TopicPartition};

/// What the caller should do. Every error of every crate maps to exactly one kind.
///
/// Adding a kind is an API decision: callers branch on these, and the command line maps each to an
/// exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The cluster could not be reached or answered with a passing fault: retry later.
    Unavailable,
    /// The range fell off the log (trimmed, truncated or re-created): apply the declared data-loss
    /// policy. Nothing was reset silently.
    OffsetLost,
    /// Another driver owns the checkpoint, or the plan belongs to another cluster or to a topic
    /// that was re-created: stop.
    Fenced,
    /// Credentials or ACLs are missing: fix them.
    Unauthorized,
    /// The input is wrong: fix it; a retry responses the same.
    Invalid,
    /// Stored or received bytes are broken: stop; topic, partition and offset are named.
    Corrupt,
    /// The work was cancelled by its owner.
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

/// Why a value of the core could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// A range whose end lies before its start, or whose start is negative.
    #[error(
        "{topic_partition}: a range from {from} to {until} is impossible; `from` must be at least 0 and at most `until`"
    )]
    BackwardsRange {
        /// The partition the range was meant for.
        topic_partition: TopicPartition,
        /// First offset, inclusive.
        from: Offset,
        /// End offset, exclusive.
        until: Offset,
    },
    /// A plan of a version this build does not know.
    #[error(
        "the plan has version {found}, this build reads version {known}; use the kafka-direct that wrote it"
    )]
    PlanVersion {
        /// Version in the plan.
        found: u32,
        /// Newest version this build reads.
        known: u32,
    },
    /// Text that is not a plan.
    #[error("not a batch plan: {reason}")]
    PlanText {
        /// What the parser said, with line and column.
        reason: String,
    },
    /// A plan whose parts contradict each other.
    #[error("{topic_partition}: the plan is inconsistent: {reason}")]
    PlanInconsistent {
        /// The partition at which it was noticed.
        topic_partition: TopicPartition,
        /// What contradicts.
        reason: &'static str,
    },
    /// A topic id that is not 22 characters of URL-safe base64.
    #[error("`{text}` is not a topic id (22 characters of URL-safe base64, as Kafka prints it)")]
    TopicId {
        /// The text that was given.
        text: String,
    },
}

impl CoreError {
    /// What the caller should do: always [`ErrorKind::Invalid`].
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}
