//! Why a batch could not be planned.

use std::fmt;

use kafka_direct_core::{
    CoreError, ErrorKind, IsolationLevel, Offset, OffsetRange, TopicPartition, Watermarks,
};

use crate::{EndOffset, Lookup, StartOffset};

/// How many partitions an error names before it only counts them.
const NAMED: usize = 5;

/// Which part of a selection an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Side {
    /// Where reading starts.
    Start,
    /// Where reading stops.
    End,
    /// A range that was given whole.
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

/// Why a batch could not be planned. Nothing was read and nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// An offset that was asked for, or that a group committed, does not exist (policy `fail`).
    #[error(
        "{topic_partition}: {side} offset {asked} is outside the log, {}; ask for an offset inside it or choose the data-loss policy `resume`", bounds(watermarks, *isolation)
    )]
    OutOfBounds {
        /// The partition.
        topic_partition: TopicPartition,
        /// Which end of the range.
        side: Side,
        /// The offset that does not exist.
        asked: Offset,
        /// What exists.
        watermarks: Watermarks,
        /// The level of the read, which decides where the readable end is.
        isolation: IsolationLevel,
    },
    /// The start lies after the end.
    #[error(
        "{topic_partition}: the start ({}) lies after the end ({}); ask for a start at or before the end", start_at(start, *from), end_at(end, *until)
    )]
    Backwards {
        /// The partition.
        topic_partition: TopicPartition,
        /// The start as it was asked for.
        start: StartOffset,
        /// What it resolved to.
        from: Offset,
        /// The end as it was asked for.
        end: EndOffset,
        /// What it resolved to.
        until: Offset,
    },
    /// A number that cannot be meant.
    #[error("{}{setting} {value} {problem}", prefix(topic_partition.as_ref()))]
    BadNumber {
        /// The partition, where the number belongs to one.
        topic_partition: Option<TopicPartition>,
        /// What the number sets.
        setting: &'static str,
        /// The number.
        value: i128,
        /// What is wrong with it, and what would be right.
        problem: &'static str,
    },
    /// A start by timestamp found no record ([`NoMatch::Error`](crate::NoMatch::Error)).
    #[error(
        "{topic_partition}: no record has timestamp {millis} ms or a later one; start earlier, or let such partitions start at latest"
    )]
    NoRecordSince {
        /// The partition.
        topic_partition: TopicPartition,
        /// The timestamp in milliseconds since 1970-01-01 UTC.
        millis: i64,
    },
    /// A per-partition map without a default leaves selected partitions out.
    #[error("no {side} is given for {}; add them or set a default", names(partitions))]
    Uncovered {
        /// Which map.
        side: Side,
        /// The partitions it leaves out.
        partitions: Vec<TopicPartition>,
    },
    /// Partitions were named that are not selected or do not exist.
    #[error(
        "a {side} is given for {}, which the selection does not have; remove them or correct the name",
        names(partitions)
    )]
    NotSelected {
        /// What named them.
        side: Side,
        /// The partitions.
        partitions: Vec<TopicPartition>,
    },
    /// Partition indices were selected that no topic has.
    #[error("no selected topic has partition {}; select partitions that exist", names(indices))]
    NoSuchIndex {
        /// The indices.
        indices: Vec<i32>,
    },
    /// A response that [`lookups_needed`](crate::lookups_needed) asked for is not among the
    /// [`Lookups`](crate::Lookups).
    #[error("{lookup} was not looked up; answer everything that `lookups_needed` names")]
    MissingResponse {
        /// The question.
        lookup: Lookup,
    },
    /// Two explicit ranges share offsets.
    #[error("the ranges {first} and {second} overlap; give every offset once")]
    Overlap {
        /// The range that starts first.
        first: OffsetRange,
        /// The range that starts inside it.
        second: OffsetRange,
    },
    /// The parts do not make a plan.
    #[error("the batch plan cannot be built")]
    Plan {
        /// Why not.
        #[from]
        source: CoreError,
    },
}

impl DriverError {
    /// What the caller should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::OutOfBounds { .. } => ErrorKind::OffsetLost,
            Self::MissingResponse { .. } => ErrorKind::Internal,
            Self::Plan { source } => source.kind(),
            Self::Backwards { .. }
            | Self::BadNumber { .. }
            | Self::NoRecordSince { .. }
            | Self::Uncovered { .. }
            | Self::NotSelected { .. }
            | Self::NoSuchIndex { .. }
            | Self::Overlap { .. } => ErrorKind::Invalid,
        }
    }
}

fn prefix(topic_partition: Option<&TopicPartition>) -> String {
    topic_partition.map(|tp| format!("{tp}: ")).unwrap_or_default()
}

fn names<T: fmt::Display>(all: &[T]) -> String {
    let mut text = all.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(more) = all.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn bounds(watermarks: &Watermarks, isolation: IsolationLevel) -> String {
    let (log_start, end) = (watermarks.log_start, watermarks.end(isolation));
    match isolation {
        IsolationLevel::ReadUncommitted => format!("which has [{log_start}, {end})"),
        IsolationLevel::ReadCommitted => format!(
            "of which read_committed sees [{log_start}, {end}) (last stable offset {}, high watermark {})",
            watermarks.last_stable, watermarks.high
        ),
    }
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
