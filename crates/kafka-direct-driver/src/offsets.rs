//! Where a range starts and where it stops, as the caller gives it.
//!
//! `text/mod.rs` parses them. The driver resolves each start and end to an offset once, when it builds the plan.

use std::fmt;

use kafka_direct_core::{Offset, TopicId};

/// Where reading a partition starts, inclusive.
///
/// "Latest" means the readable end: the last stable offset under read_committed, the high
/// watermark otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartOffset {
    /// The first offset that exists.
    Earliest,
    /// The readable end: no existing record is read.
    Latest,
    /// This offset. If it is outside the log, the data-loss policy applies.
    At(Offset),
    /// This many offsets (at least 0) before the readable end, but not before the log start offset.
    FromEnd(i64),
    /// The first offset whose record has this timestamp or a later one.
    Timestamp {
        /// Milliseconds since 1970-01-01 UTC, at least 0.
        millis: i64,
        /// What to do with a partition that has no such record.
        no_match: NoMatch,
    },
    /// Where an earlier batch ended. Outside the log, and if the topic was re-created since, the
    /// data-loss policy decides: `resume` starts a re-created topic at its log start.
    After {
        /// The end of the earlier batch, exclusive.
        offset: Offset,
        /// The topic's id at that time, where the broker gave one.
        topic_id: Option<TopicId>,
    },
    /// The committed offset of a consumer group. If it is outside the log, the data-loss policy
    /// applies.
    GroupCommitted {
        /// The id of the group.
        group: String,
        /// The start of a partition for which the group has no committed offset.
        fallback: Box<Self>,
    },
}

/// What a start by timestamp does with a partition that has no record at or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NoMatch {
    /// Fail to plan. The default.
    #[default]
    Error,
    /// Start at the readable end, so that nothing of the partition is read.
    Latest,
}

/// Where reading a partition stops, exclusive.
///
/// "Latest" has the same meaning as for [`StartOffset`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndOffset {
    /// The readable end.
    Latest,
    /// This offset. If it is outside the log, the data-loss policy applies.
    At(Offset),
    /// This many offsets (at least 0) before the readable end, but not before the log start offset.
    FromEnd(i64),
    /// The first offset whose record has this timestamp or a later one; the readable end if there
    /// is none.
    ///
    /// The bound is an *offset*: with create-time timestamps, older records may come after it, and
    /// are not read.
    Timestamp {
        /// Milliseconds since 1970-01-01 UTC, at least 0.
        millis: i64,
    },
}

impl fmt::Display for StartOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::At(offset) => write!(f, "offset {offset}"),
            Self::FromEnd(back) => write!(f, "{back} from the end"),
            Self::After { offset, topic_id: None } => {
                write!(f, "after the earlier batch, offset {offset}")
            }
            Self::After { offset, topic_id: Some(id) } => {
                write!(f, "after the earlier batch, offset {offset} of topic id {id}")
            }
            Self::Timestamp { millis, no_match: NoMatch::Error } => {
                write!(f, "timestamp {millis} ms")
            }
            Self::Timestamp { millis, no_match: NoMatch::Latest } => {
                write!(f, "timestamp {millis} ms or latest")
            }
            Self::GroupCommitted { group, fallback } => {
                write!(f, "committed by group `{group}` or {fallback}")
            }
        }
    }
}

impl fmt::Display for EndOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::At(offset) => write!(f, "offset {offset}"),
            // What `earliest` is as an end.
            Self::FromEnd(i64::MAX) => f.write_str("earliest"),
            Self::FromEnd(back) => write!(f, "{back} from the end"),
            Self::Timestamp { millis } => write!(f, "timestamp {millis} ms"),
        }
    }
}
