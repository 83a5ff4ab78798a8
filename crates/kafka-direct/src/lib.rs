//! Reads Kafka the way a batch engine reads files: exact offset ranges, one task per partition,
//! straight from the leaders into Arrow. No receiver, no consumer group.
//!
//! **Promises:** a record inside its range that exists and is visible is delivered exactly once per
//! read of the range, one outside never; faults of the cluster resume inside the same stream;
//! bytes in flight and queued stay within the cluster's budget plus one oversize batch per lane; dropping a
//! future or a stream cancels its work.
//!
//! **Does not know:** how results are stored, consumer groups beyond reading what they committed,
//! and order between partitions.
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

mod batches;
mod builder;
pub mod decode;
mod error;
mod rdd;

pub use self::{
    batches::{Batches, ReadOptions, ReadTimes, read_range},
    builder::KafkaRddBuilder,
    error::{BoxError, Error},
    rdd::KafkaRdd,
};
pub use kafka_direct_core::{
    BatchPlan, DataLossPolicy, ErrorKind, IsolationLevel, Offset, OffsetRange, PlannedPartition,
    PlannedRange, Reset, ResetCause, TopicId, TopicPartition, Watermarks,
};
pub use kafka_direct_driver::{EndOffset, Ends, NoMatch, PlanTable, StartOffset, Starts};
pub use kafka_direct_wire::{
    Attempt, Cluster, ClusterConfig, Connecting, FetchMetrics, Latency, LogBounds,
    PartitionMetadata, Stream, TcpTransport, TopicMetadata, Transport,
};
pub use kafka_direct_worker::{Column, Columns, Counts, DecodeOptions};

/// The Arrow crates whose types appear in this API: add `kafka-direct` alone and use these.
pub mod arrow {
    pub use arrow_array as array;
    pub use arrow_buffer as buffer;
    pub use arrow_schema as schema;
}
