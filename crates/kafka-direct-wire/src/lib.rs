//! Talking to a Kafka cluster: connections, metadata, offsets and the fetch path.
//!
//! **Promises:** no request creates a topic; whatever a broker sends, nothing here panics, and
//! memory stays within the configured bounds; passing faults are retried for a stated time and then
//! named; a dropped future never leaves half a request on a connection that someone else uses.
//!
//! **Does not know:** what is inside a Kafka batch behind its header, what a batch plan is for, or
//! where results go.

mod address;
mod cluster;
mod code;
mod config;
mod connection;
mod epochs;
mod error;
mod fetch;
mod groups;
mod guard;
mod low_water;
mod metadata;
mod offsets;
mod pool;
mod queries;
mod response;
mod retry;
mod topology;
mod transport;
mod versions;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use cluster::Cluster;
pub use config::ClusterConfig;
pub use error::{Attempt, WireError};
pub use fetch::{FetchMetrics, FetchOptions, Latency, RangeFetch};
pub use offsets::LogBounds;
pub use topology::{PartitionMetadata, TopicMetadata};
pub use transport::{Connecting, Stream, TcpTransport, Transport};
