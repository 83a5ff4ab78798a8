//! [`DriverError`], the errors of planning.

use std::fmt;

use kafka_direct_core::{
    CoreError, ErrorKind, IsolationLevel, Offset, OffsetRange, ResetCause, TopicId, TopicPartition,
    Watermarks,
};

use crate::{EndOffset, Lookup, StartOffset};

/// How many partitions an error names. It counts the others.
const MAX_NAMES: usize = 5;

/// The part of a selection that has an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Side {
    /// A start.
    Start,
    /// An end.
    End,
    /// An explicit range.
    Range,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::End => "end",
            Self::Range => "range",
        })
    }
}

/// An error of planning a batch, or of parsing what it is planned from. Planning reads no records and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// A requested offset, or one that a group committed, does not exist (policy `fail`).
    #[error(
        "{topic_partition}: {side} offset {asked} is outside the log, {}; request an offset inside it or choose the data-loss policy `resume`", bounds(watermarks, *isolation)
    )]
    OutOfBounds {
        /// The partition.
        topic_partition: TopicPartition,
        /// Whether it is the start or the end of the range.
        side: Side,
        /// The offset that does not exist.
        asked: Offset,
        /// The bounds of the log.
        watermarks: Watermarks,
        /// The isolation level of the read, which decides where the readable end is.
        isolation: IsolationLevel,
    },
    /// Open transactions withhold records below an explicit start or end from read_committed, so that
    /// the batch would be incomplete.
    #[error(
        "{topic_partition}: open transactions withhold offsets [{}, {}), and the {side} is offset {wanted}; plan again when they have ended, wait for them, or end at `latest`", withheld_from(watermarks), watermarks.high
    )]
    Withheld {
        /// The partition.
        topic_partition: TopicPartition,
        /// Which end of the range.
        side: Side,
        /// The offset that the start or end resolved to.
        wanted: Offset,
        /// Log start, last stable offset and high watermark.
        watermarks: Watermarks,
    },
    /// The topic was deleted and created again since the batch after which this one starts (policy
    /// `fail`).
    #[error(
        "{topic_partition}: the topic was re-created since the earlier batch (its id was {old} and is {new}); the data-loss policy `resume` starts it at its log start, offset {log_start}"
    )]
    Recreated {
        /// The partition.
        topic_partition: TopicPartition,
        /// The topic's id when the earlier batch was planned.
        old: TopicId,
        /// The topic's id now.
        new: TopicId,
        /// The first offset of the new topic.
        log_start: Offset,
    },
    /// The leader epoch of a partition went backwards, so the topic was deleted and created again
    /// (policy `fail`). The broker gives no topic ids.
    #[error(
        "{topic_partition}: the topic was re-created since the earlier batch (its leader epoch was {old_epoch} and is {new_epoch}); the data-loss policy `resume` starts it at its log start, offset {log_start}"
    )]
    EpochBackwards {
        /// The partition.
        topic_partition: TopicPartition,
        /// The leader epoch when the earlier batch was planned.
        old_epoch: i32,
        /// The leader epoch now.
        new_epoch: i32,
        /// The first offset of the new topic.
        log_start: Offset,
    },
    /// The position of a stream, or the end that it was to reach, does not exist any more (policy
    /// `fail`).
    #[error(
        "{topic_partition}: {}, {}; the data-loss policy `resume` continues at an offset that exists", lost(*cause, *offset), bounds(watermarks, *isolation)
    )]
    PositionLost {
        /// The partition.
        topic_partition: TopicPartition,
        /// The offset that does not exist.
        offset: Offset,
        /// Whether the log was trimmed or truncated.
        cause: ResetCause,
        /// The bounds of the log.
        watermarks: Watermarks,
        /// The isolation level of the stream.
        isolation: IsolationLevel,
    },
    /// Partitions that a stream follows do not exist any more (policy `fail`).
    #[error(
        "the stream follows {}, which the cluster does not have any more; unsubscribe from them, or choose the data-loss policy `resume`",
        names(partitions)
    )]
    PartitionsMissing {
        /// The partitions.
        partitions: Vec<TopicPartition>,
    },
    /// The start is after the end.
    #[error(
        "{topic_partition}: the start ({}) is after the end ({}); give a start at or before the end", start_at(start, *from), end_at(end, *until)
    )]
    Backwards {
        /// The partition.
        topic_partition: TopicPartition,
        /// The start, as the caller gave it.
        start: StartOffset,
        /// The offset of the start.
        from: Offset,
        /// The end, as the caller gave it.
        end: EndOffset,
        /// The offset of the end.
        until: Offset,
    },
    /// A number is out of range.
    #[error("{}{setting} {value} {problem}", prefix(topic_partition.as_ref()))]
    BadNumber {
        /// The partition, if the number is of one partition.
        topic_partition: Option<TopicPartition>,
        /// The name of the setting.
        setting: &'static str,
        /// The number.
        value: i128,
        /// What is wrong with the number, and what to do.
        problem: &'static str,
    },
    /// A duration or a rate is out of range.
    #[error("{setting} {value} {problem}")]
    BadSetting {
        /// The name of the setting.
        setting: &'static str,
        /// The value, as text.
        value: String,
        /// What is wrong with the value.
        problem: &'static str,
    },
    /// A lower limit is above an upper limit.
    #[error(
        "{} {} is above {} {}; lower the first or raise the second", lower.0, lower.1, upper.0, upper.1
    )]
    ContradictingLimits {
        /// Name and value of the lower limit.
        lower: (&'static str, u64),
        /// Name and value of the upper limit.
        upper: (&'static str, u64),
    },
    /// A start by timestamp found no record ([`NoMatch::Error`](crate::NoMatch::Error)).
    #[error(
        "{topic_partition}: no record has timestamp {millis} ms ({}) or a later one; start earlier, or let such partitions start at latest",
        crate::text::shown(*millis)
    )]
    NoRecordSince {
        /// The partition.
        topic_partition: TopicPartition,
        /// The timestamp in milliseconds since 1970-01-01 UTC.
        millis: i64,
    },
    /// A per-partition map without a default lacks selected partitions.
    #[error("no {side} is given for {}; add them or set a default", names(partitions))]
    Uncovered {
        /// Whether it is the map of starts or of ends.
        side: Side,
        /// The missing partitions.
        partitions: Vec<TopicPartition>,
    },
    /// A map or an explicit range names partitions that are not selected or do not exist.
    #[error(
        "a {side} is given for {}, which the selection does not contain; remove them or correct the name",
        names(partitions)
    )]
    NotSelected {
        /// Whether a start, an end or a range names them.
        side: Side,
        /// The partitions.
        partitions: Vec<TopicPartition>,
    },
    /// The selection has partition indices that no topic has.
    #[error("no selected topic has partition {}; select partitions that exist", names(indices))]
    NoSuchIndex {
        /// The indices.
        indices: Vec<i32>,
    },
    /// [`Lookups`](crate::Lookups) has no result for a lookup that
    /// [`lookups_needed`](crate::lookups_needed) returned.
    #[error(
        "{lookup} was not looked up; insert a result for every lookup that `lookups_needed` returns"
    )]
    MissingResponse {
        /// The lookup without a result.
        lookup: Lookup,
    },
    /// Two explicit ranges overlap.
    #[error("the ranges {first} and {second} overlap; give every offset once")]
    Overlap {
        /// The range with the lower start.
        first: OffsetRange,
        /// The range that starts inside the first one.
        second: OffsetRange,
    },
    /// Text that is not a start, an end or a duration.
    #[error("{reason}")]
    Text {
        /// What is wrong with the text, and what to write.
        reason: String,
    },
    /// The planned ranges and partitions are inconsistent.
    #[error("the batch plan cannot be built")]
    Plan {
        /// What is inconsistent.
        #[from]
        source: CoreError,
    },
}

impl DriverError {
    /// The kind of this error, which says what the caller should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OutOfBounds { .. }
            | Self::Recreated { .. }
            | Self::EpochBackwards { .. }
            | Self::PositionLost { .. }
            | Self::PartitionsMissing { .. } => ErrorKind::OffsetLost,
            Self::Withheld { .. } => ErrorKind::Unavailable,
            Self::MissingResponse { .. } => ErrorKind::Internal,
            Self::Plan { source } => source.kind(),
            Self::Backwards { .. }
            | Self::BadNumber { .. }
            | Self::BadSetting { .. }
            | Self::ContradictingLimits { .. }
            | Self::NoRecordSince { .. }
            | Self::Uncovered { .. }
            | Self::NotSelected { .. }
            | Self::NoSuchIndex { .. }
            | Self::Text { .. }
            | Self::Overlap { .. } => ErrorKind::Invalid,
        }
    }
}

fn prefix(topic_partition: Option<&TopicPartition>) -> String {
    topic_partition.map(|tp| format!("{tp}: ")).unwrap_or_default()
}

fn names<T: fmt::Display>(all: &[T]) -> String {
    let mut text =
        all.iter().take(MAX_NAMES).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(more) = all.len().checked_sub(MAX_NAMES).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn bounds(watermarks: &Watermarks, isolation: IsolationLevel) -> String {
    let (log_start, end) = (watermarks.log_start, watermarks.end(isolation));
    match isolation {
        IsolationLevel::ReadUncommitted => format!("which has [{log_start}, {end})"),
        IsolationLevel::ReadCommitted => format!(
            "of which read_committed can read [{log_start}, {end}) (last stable offset {}, high watermark {})",
            watermarks.last_stable, watermarks.high
        ),
    }
}

fn lost(cause: ResetCause, offset: Offset) -> String {
    match cause {
        ResetCause::Trimmed => format!("offset {offset} was deleted from the start of the log"),
        _ => format!("offset {offset} is after the end of the log, which was truncated"),
    }
}

fn withheld_from(watermarks: &Watermarks) -> Offset {
    watermarks.end(IsolationLevel::ReadCommitted)
}

fn start_at(start: &StartOffset, from: Offset) -> String {
    match start {
        StartOffset::At(_) => start.to_string(),
        resolved => format!("{resolved}: offset {from}"),
    }
}

fn end_at(end: &EndOffset, until: Offset) -> String {
    match end {
        EndOffset::At(_) => end.to_string(),
        resolved => format!("{resolved}: offset {until}"),
    }
}
