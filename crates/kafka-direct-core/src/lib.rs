//! The words of kafka-direct and the values that travel between its rooms.
//!
//! **Promises:** every type here is a plain value; a range that runs backwards cannot be built; a
//! [`BatchPlan`] is self-contained, versioned and holds no secret; walking Kafka batch headers
//! never panics and never reads past what it was given.
//!
//! **Does not know:** sockets, files, clocks, async runtimes, Arrow, or how a record is encoded
//! behind the 61-byte batch header.

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
pub use kafka_batch::{BATCH_HEADER_BYTES, BatchHeader, Batches, Codec, HeaderError, walk};
pub use offset::{Offset, OffsetRange};
pub use plan::{BatchPlan, PLAN_VERSION, PlannedPartition, pieces_are_contiguous};
pub use planned_range::PlannedRange;
pub use pool::BufferPool;
pub use reset::{DataLossPolicy, Reset, ResetCause};
pub use topic::{TopicId, TopicPartition, check_topic_name, is_legal_topic_name};
pub use watermarks::Watermarks;
