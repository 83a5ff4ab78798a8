//! Reads Kafka the way a batch engine reads files: exact offset ranges, one task per partition,
//! straight from the leaders into Arrow. No receiver, no consumer group.
//!
//! **Promises:** a record inside its range that exists and is visible is delivered exactly once per
//! read of the range, one outside never. After a fault of the cluster, reading resumes inside the same
//! stream. Bytes in flight and queued stay within the cluster's budget plus one oversize batch per
//! fetch connection. Dropping a future or a stream cancels its work.
//!
//! **Out of scope:** file formats, where results are stored, consumer groups beyond reading what they
//! committed, and order between partitions.
//!
//! ```no_run
//! use kafka_direct::{Cluster, ClusterConfig, EndOffset, KafkaRdd, StartOffset};
//!
//! # async fn example() -> Result<(), kafka_direct::Error> {
//! let cluster = Cluster::connect(ClusterConfig::new(["localhost:9092"])).await?;
//! let rdd = KafkaRdd::builder(&cluster)
//!     .topic("orders")
//!     .start(StartOffset::Earliest)
//!     .end(EndOffset::Latest)
//!     .build()
//!     .await?;
//! println!("{} partitions, span {}", rdd.partitions().len(), rdd.span());
//! rdd.for_each_partition(|planned, mut batches| async move {
//!     while let Some(batch) = batches.try_next().await? {
//!         println!("{}: {} rows", planned.range(), batch.num_rows());
//!     }
//!     Ok(())
//! })
//! .await?;
//! # Ok(())
//! # }
//! ```
//!
//! The columns of a batch and their Arrow types are in the table of [`schema`]. [`decode`] returns
//! typed records instead of columns. [`read_range`] reads one range of a plan, in any process:
//!
//! ```no_run
//! # use kafka_direct::{Cluster, Error, KafkaRdd};
//! # async fn example(cluster: Cluster, rdd: KafkaRdd) -> Result<(), Error> {
//! use kafka_direct::{ReadOptions, decode::Utf8, read_range};
//!
//! let mut records = rdd.records::<Utf8, Utf8>();
//! while let Some(record) = records.try_next().await? {
//!     println!("{:?}: {:?}, {} headers", record.key, record.value, record.headers.len());
//! }
//! let mut batches = read_range(&cluster, rdd.partitions()[0].clone(), &ReadOptions::new());
//! println!("{:?}", batches.try_next().await?);
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! - `builder.rs`: `KafkaRddBuilder` selects what is read
//! - `planning.rs`: asks the cluster what the driver must know, then plans
//! - `time_check.rs`: whether a broker's "no record at or after this time" is true
//! - `topic_pattern.rs`: `TopicPattern`, a regular expression for whole topic names
//! - `plan_check.rs`: whether a plan belongs to the cluster and the topics it is read from
//! - `rdd.rs`: `KafkaRdd`, a plan bound to a cluster, and the ways to read it
//! - `batches.rs`: `read_range` and `Batches`, one range as a stream of Arrow batches
//! - `batch_end.rs`: `BatchEnd`, where a batch ended and the next one continues
//! - `settings.rs`: how the ranges of a batch are read and written
//! - `runner.rs`: `Runner`, one task per range, the only place where ranges become tasks
//! - `sink.rs`: `Sink` and `RangeWriter`, where results go
//! - `sink_conformance.rs`: checks of any sink, with the feature `testing`;
//!   `sink_conformance/tests.rs`: it accepts a correct sink, and finds what is wrong in others
//! - `write.rs`: a batch run into a sink, with attempts and one commit
//! - `time_limit.rs`: the time-out of a call of a sink or closure
//! - `summary.rs`: `RangeSummary`, what was read of a range
//! - `event.rs`: `RunEvent`, what a running batch reports
//! - `decode.rs`: `Decoder`, typed keys and values; `records.rs`: `Records`, typed records one at a
//!   time
//! - `checkpoint/mod.rs`: the durable log of a stream, and its files
//!   - `checkpoint/log.rs`: `StreamLog`, which a driver writes plans and commits to
//!   - `checkpoint/opening.rs`: opens a checkpoint and claims its generation
//!   - `checkpoint/draft.rs`: `PlanDraft`, `LoggedPlan` and `CommitDraft`, the arguments and results
//!   - `checkpoint/state.rs`: `CheckpointState`, what a checkpoint says, without changing it
//!   - `checkpoint/user_store.rs`: a store of the user, which outranks the checkpoint
//!   - `checkpoint/verify.rs`: whether the retained batches continue each other
//!   - `checkpoint/retention.rs`: purging and rewinding
//!   - `checkpoint/positions.rs`: where partitions continue, and whether a plan continues there
//!   - `checkpoint/entry.rs`: the JSON of each file; `checkpoint/ids.rs`: their numbers and ids
//!   - `checkpoint/files.rs`: reads, checks and creates files in a store
//!   - `checkpoint/store.rs`: `CheckpointStore`, the trait; `checkpoint/local.rs`: a local folder;
//!     `checkpoint/memory.rs`: memory, for tests
//!   - `checkpoint/tests.rs`, `checkpoint/tests/damage.rs`, `checkpoint/simulation.rs`: tests, the last
//!     with every interleaving and crash
//! - `stream/mod.rs`: the direct stream
//!   - `stream/builder.rs`: `DirectStreamBuilder` selects what is followed, and how
//!   - `stream/direct.rs`: `DirectStream` plans and logs one batch after the other
//!   - `stream/streamed_batch.rs`: `StreamedBatch`, one batch from its plan to its end;
//!     `stream/batch_in_hand.rs`: `BatchInHand`, the part of it that a closure gets
//!   - `stream/run.rs`: the loop over the batches; `stream/into_sink.rs`, `stream/into_closure.rs`:
//!     what it does with each
//!   - `stream/observe.rs`, `stream/metadata.rs`: ask the
//!     cluster what a batch is planned from
//!   - `stream/trigger.rs`: when batches are due; `stream/control.rs`: `StreamHandle`;
//!     `stream/publish.rs`: the positions in a consumer group, for lag tools
//!     `stream/progress.rs`: what a stream reports
//! - `fetch.rs`: the types below Arrow, for a program that decodes the fetched bytes itself
//! - `error.rs`: `Error`, and the errors that it contains

mod batch_end;
mod batches;
mod builder;
pub mod checkpoint;
pub mod decode;
pub mod error;
mod event;
pub mod fetch;
mod plan_check;
mod planning;
mod rdd;
mod records;
mod runner;
mod settings;
mod sink;
#[cfg(any(test, feature = "testing"))]
pub mod sink_conformance;
pub mod stream;
mod summary;
mod time_check;
mod time_limit;
mod topic_pattern;
mod write;

#[doc(inline)]
pub use self::stream::{DirectStream, StreamHandle, Trigger};
pub use self::{
    batch_end::{BatchEnd, EndPosition},
    batches::{Batches, ReadOptions, ReadTimes, read_range},
    builder::KafkaRddBuilder,
    error::{BoxError, Error},
    event::RunEvent,
    rdd::KafkaRdd,
    records::Records,
    sink::{BatchContext, RangeWriter, Sink, SinkCommit, StreamBatch, TaskReceipt, WriteTask},
    summary::RangeSummary,
    topic_pattern::TopicPattern,
    write::WrittenBatch,
};
pub use kafka_direct_core::{
    BatchPlan, DataLossPolicy, ErrorKind, IsolationLevel, Offset, OffsetRange, PlannedPartition,
    PlannedRange, Reset, ResetCause, TopicId, TopicPartition, Watermarks, is_legal_topic_name,
};
pub use kafka_direct_driver::{
    Backpressure, ByPartition, EndOffset, Ends, NoMatch, OffsetSpec, PidSettings, PlanTable,
    StartOffset, Starts, StreamLimits, parse_duration,
};
pub use kafka_direct_wire::{
    Attempt, Cluster, ClusterConfig, Connecting, FetchMetrics, Latency, LogBounds,
    PartitionMetadata, TcpTransport, TopicMetadata, Transport, TransportStream,
};
pub use kafka_direct_worker::{Codecs, Column, Columns, Counts, DecodeOptions, schema};

/// The Arrow crates whose types appear in this API. With them, `kafka-direct` is the only dependency
/// needed.
pub mod arrow {
    pub use arrow_array as array;
    pub use arrow_buffer as buffer;
    pub use arrow_schema as schema;
}
