//! The library's error: what failed, where, and what the caller should do.
//!
//! [`Error`] and [`BoxError`] are also at the root of the crate. The other types are parts of
//! [`Error`]; a program needs them only to match on one cause.

use std::time::Duration;

pub use kafka_direct_core::{CoreError, HeaderError};
use kafka_direct_core::{ErrorKind, OffsetRange, TopicPartition};
pub use kafka_direct_driver::{DriverError, Lookup, Side};
pub use kafka_direct_wire::WireError;
pub use kafka_direct_worker::WorkerError;

use crate::checkpoint::{BatchId, Generation, StreamId};

/// Any error, as a caller's closure may return it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a batch could not be planned or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cluster could not give what was asked for.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The selection does not fit the topics' logs.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// Fetched bytes could not be decoded.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A range or plan contradicts itself.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// A setting that cannot work.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The plan was made for another cluster, or for a topic or partition that no longer exists.
    #[error("the plan does not fit this cluster: {reason}; make a new plan")]
    ForeignPlan {
        /// What differs.
        reason: String,
        /// [`ErrorKind::Invalid`] for another cluster, [`ErrorKind::OffsetLost`] for a topic that
        /// was re-created.
        kind: ErrorKind,
    },
    /// The batch after which this one starts was of another cluster.
    #[error(
        "the earlier batch was of cluster {expected}, this is cluster {here}; connect to the first, or choose starts for this one"
    )]
    ForeignBatch {
        /// The cluster of the earlier batch.
        expected: String,
        /// The cluster this one would read.
        here: String,
    },
    /// Open transactions withhold records below an explicit start or end, so that the batch would be
    /// incomplete.
    #[error("{withheld}{}", since(*oldest_millis))]
    Withheld {
        /// Which partition and bound.
        withheld: DriverError,
        /// Timestamp of the first record that is withheld, in milliseconds since 1970-01-01 UTC; `None`
        /// if it has none or could not be read.
        oldest_millis: Option<i64>,
    },
    /// The broker found no record at or after a time, but there is one. See
    /// `UnifiedLog.fetchOffsetByTimestamp`: only the first segment that may have such a record is
    /// searched, also if trimming or compaction removed it there.
    #[error(
        "{topic_partition}: the broker found no record at or after timestamp {millis} ms, but the last records have {later_millis} ms; it cannot find times in this trimmed or compacted log, so give an offset"
    )]
    TimeNotIndexed {
        /// The partition.
        topic_partition: TopicPartition,
        /// The time that was asked for, in milliseconds since 1970-01-01 UTC.
        millis: i64,
        /// The timestamp of one of the last records.
        later_millis: i64,
    },
    /// The deadline passed before anything was read.
    #[error("the deadline passed while the batch was planned; raise it, or check the brokers")]
    PlanningDeadline,
    /// A stream of what is available has waited too long for a partition without a leader.
    #[error("{partition} has had no leader for {waited:.0?}; run the stream again once it has one")]
    NoLeader {
        /// The partition.
        partition: TopicPartition,
        /// How long the stream has waited.
        waited: Duration,
    },
    /// A caller's closure failed every attempt it had.
    #[error("{range}: the closure failed {attempts} times")]
    Closure {
        /// The range it was given.
        range: OffsetRange,
        /// How many attempts were made.
        attempts: u32,
        /// What the last attempt returned.
        source: BoxError,
    },
    /// A caller's closure or sink panicked.
    #[error("{range}: the closure or sink panicked; its attempt was not repeated: {message}")]
    ClosurePanicked {
        /// The range it was given.
        range: OffsetRange,
        /// The message of the panic, or `a panic without a message`.
        message: String,
    },
    /// A sink failed every attempt at a range.
    #[error("{range}: the sink failed {attempts} times")]
    Sink {
        /// The range it was given.
        range: OffsetRange,
        /// How many attempts were made.
        attempts: u32,
        /// What the last attempt returned.
        source: BoxError,
    },
    /// A closure for the batches of a stream failed every attempt it had at one.
    #[error("batch {batch}: the closure failed {attempts} times; nothing of it is committed")]
    BatchClosure {
        /// The batch it was given.
        batch: BatchId,
        /// How many attempts were made.
        attempts: u32,
        /// What the last attempt returned.
        source: BoxError,
    },
    /// A closure for the batches of a stream panicked.
    #[error("batch {batch}: the closure panicked; its attempt was not repeated: {message}")]
    BatchClosurePanicked {
        /// The batch it was given.
        batch: BatchId,
        /// The message of the panic, or `a panic without a message`.
        message: String,
    },
    /// A call of a sink, or a closure for the batches of a stream, took longer than its time-out. It is
    /// the source of the error that ends the stream.
    #[error(
        "`{call}` took longer than {limit:?}; raise the sink time-out, or find what it waits for"
    )]
    SinkTimeout {
        /// The method of the sink or its writer, or `closure`.
        call: &'static str,
        /// The time-out.
        limit: Duration,
    },
    /// A sink could not commit a batch whose ranges are all written.
    #[error("the sink could not commit the batch; run it again")]
    Commit {
        /// What the sink returned.
        source: BoxError,
    },
    /// A sink has committed a batch of the stream that the checkpoint does not know.
    #[error(
        "the sink has committed batch {sink} of stream {stream}, the checkpoint only {}; restore the checkpoint, or start a new stream with a new checkpoint and output",
        checkpoint.map_or_else(|| "none".to_owned(), |batch| format!("batch {batch}"))
    )]
    SinkAhead {
        /// The stream.
        stream: StreamId,
        /// The newest batch in the sink.
        sink: BatchId,
        /// The newest committed batch of the checkpoint.
        checkpoint: Option<BatchId>,
    },
    /// The checkpoint has a batch that the user's store, from which the stream resumes, does not have.
    #[error(
        "the checkpoint of stream {stream} has committed batch {checkpoint}, the store only {}: its records would be lost; give the store's newest entry, or use an empty checkpoint to run later batches again",
        stored.map_or_else(|| "none".to_owned(), |batch| format!("batch {batch}"))
    )]
    StoreBehind {
        /// The stream.
        stream: StreamId,
        /// The newest batch in the user's store.
        stored: Option<BatchId>,
        /// The newest committed batch of the checkpoint.
        checkpoint: BatchId,
    },
    /// An entry of a user's store is not of this stream, checkpoint or cluster.
    #[error("the entry of the user's store does not fit: {reason}")]
    ForeignEntry {
        /// What differs, and what to do.
        reason: String,
    },
    /// The checkpoint is of a stream into another sink.
    #[error(
        "the checkpoint is of a stream into {before}, and this one goes into {now}: batches that are done are not there; use another checkpoint, or allow the other sink"
    )]
    OtherSink {
        /// Where the records of the last batch went.
        before: String,
        /// Where they are to go now.
        now: String,
    },
    /// A key or value could not be decoded.
    #[error("{topic}-{partition} offset {offset}: the {part} is not {wanted}")]
    Poison {
        /// The record's topic.
        topic: String,
        /// The record's partition.
        partition: i32,
        /// The record's offset.
        offset: i64,
        /// `key` or `value`.
        part: &'static str,
        /// What the decoder wanted.
        wanted: &'static str,
        /// What the decoder said.
        source: BoxError,
    },
    /// Another driver has started on the same checkpoint: this one must stop.
    #[error(
        "{location}: another driver has started on this checkpoint (start {newer}, this is start {generation}); this one stops"
    )]
    Fenced {
        /// The file that shows it: a path or a URL.
        location: String,
        /// The number of this driver's start.
        generation: Generation,
        /// The number of the other driver's start.
        newer: Generation,
    },
    /// A checkpoint cannot be used.
    #[error("{location}: {reason}")]
    Checkpoint {
        /// The file: a path or a URL.
        location: String,
        /// What is wrong, and what to do.
        reason: String,
        /// [`ErrorKind::Invalid`], [`ErrorKind::Corrupt`], [`ErrorKind::Unavailable`] or
        /// [`ErrorKind::Internal`].
        kind: ErrorKind,
        /// What the store or the parser returned.
        source: Option<BoxError>,
    },
}

impl Error {
    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Wire(error) => error.kind(),
            Self::Driver(error) => error.kind(),
            Self::Worker(error) => error.kind(),
            Self::Core(error) => error.kind(),
            Self::Setting { .. }
            | Self::ForeignBatch { .. }
            | Self::TimeNotIndexed { .. }
            | Self::OtherSink { .. }
            | Self::StoreBehind { .. }
            | Self::ForeignEntry { .. }
            | Self::SinkAhead { .. } => ErrorKind::Invalid,
            Self::Withheld { .. }
            | Self::PlanningDeadline
            | Self::NoLeader { .. }
            | Self::SinkTimeout { .. } => ErrorKind::Unavailable,
            Self::ForeignPlan { kind, .. } | Self::Checkpoint { kind, .. } => *kind,
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::Closure { source, .. }
            | Self::BatchClosure { source, .. }
            | Self::Sink { source, .. }
            | Self::Commit { source } => {
                source.downcast_ref::<Self>().map_or(ErrorKind::Internal, Self::kind)
            }
            Self::ClosurePanicked { .. } | Self::BatchClosurePanicked { .. } => ErrorKind::Internal,
            Self::Poison { .. } => ErrorKind::Corrupt,
        }
    }
}

fn since(oldest_millis: Option<i64>) -> String {
    oldest_millis
        .map(|millis| format!(" (the first withheld record has timestamp {millis} ms)"))
        .unwrap_or_default()
}
