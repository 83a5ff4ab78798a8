//! The values that the crates of kafka-direct exchange, and the rules that these values keep.
//!
//! **Promises:** every type here is a plain value; a range that runs backwards cannot be built; a
//! [`BatchPlan`] is self-contained, versioned and holds no secret; walking Kafka batch headers and
//! messages never panics and never reads past what it was given.
//!
//! **Does not know:** sockets, files, clocks, async runtimes, Arrow, or how a record is encoded
//! behind the 61-byte batch header.
//!
//! # Map
//!
//! - `error.rs`: `ErrorKind`, the kinds that every error of every crate maps to; `CoreError`
//! - `offset.rs`: `Offset`, `OffsetRange`: half-open, never backwards, with a span and no length
//! - `topic.rs`: `TopicPartition`, `TopicId`; `is_legal_topic_name`, Kafka's rule for topic names
//! - `planned_range.rs`: `PlannedRange`, the work of one task
//! - `plan.rs`: `BatchPlan`, its checks and its JSON
//! - `watermarks.rs`: log start, last stable offset, high watermark, and which of them ends a read
//! - `isolation.rs`: the two isolation levels
//! - `reset.rs`: `DataLossPolicy`, and `Reset`, the record of offsets that a policy skipped
//! - `fetched.rs`: `Fetched`, what wire gives and worker takes: whole batches of one partition
//! - `kafka_batch.rs`: the 61-byte batch header, and `walk`, which goes from one header to the next
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
