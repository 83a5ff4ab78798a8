//! The values that the crates of kafka-direct exchange, and the rules that these values keep.
//!
//! **Promises:**
//!
//! - Every type is a plain value, except [`BufferPool`].
//! - A range whose end is below its start cannot be built.
//! - A [`BatchPlan`] is self-contained, versioned and holds no secret.
//! - Walking Kafka batch headers and messages never panics and never reads past the input's end.
//!
//! **Out of scope:** sockets, files, clocks, async runtimes, Arrow, or how a record is encoded
//! after the 61-byte batch header.
//!
//! # Map
//!
//! - `error.rs`: `ErrorKind`, the kinds that every error of every crate maps to; `CoreError`
//! - `offset.rs`: `Offset`, and `OffsetRange`, a half-open range of offsets
//! - `topic.rs`: `TopicPartition`, `TopicId`; `is_legal_topic_name`, Kafka's rule for topic names
//! - `planned_range.rs`: `PlannedRange`, the range that one task reads
//! - `plan.rs`: `BatchPlan`, its checks and its JSON
//! - `watermarks.rs`: log start offset, last stable offset, high watermark, and which one ends a
//!   read
//! - `isolation.rs`: the two isolation levels
//! - `reset.rs`: `DataLossPolicy`, and `Reset`, the record of offsets that a policy skipped
//! - `fetched.rs`: `Fetched`, whole batches of one partition, which wire passes to the worker
//! - `kafka_batch.rs`: the 61-byte batch header, and `walk`, which iterates over batches
//! - `message_schema.rs`: checks a message against its schema before a codec decodes it
//! - `pool.rs`: `BufferPool`, which reuses the memory of record sets and decompressed batches

mod error;
mod fetched;
mod isolation;
mod kafka_batch;
pub mod message_schema;
mod offset;
mod plan;
mod planned_range;
mod pool;
mod reset;
mod topic;
mod watermarks;

pub use error::{CoreError, ErrorKind};
pub use fetched::{AbortedTransaction, Fetched};
pub use isolation::IsolationLevel;
pub use kafka_batch::{BATCH_HEADER_BYTES, BatchHeader, BatchWalker, Codec, HeaderError, walk};
pub use offset::{Offset, OffsetRange};
pub use plan::{BatchPlan, PLAN_VERSION, PlannedPartition, pieces_are_contiguous};
pub use planned_range::PlannedRange;
pub use pool::BufferPool;
pub use reset::{DataLossPolicy, Reset, ResetCause};
pub use topic::{TopicId, TopicPartition, check_topic_name, is_legal_topic_name};
pub use watermarks::Watermarks;
