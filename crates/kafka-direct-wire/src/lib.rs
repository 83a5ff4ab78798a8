//! Talking to a Kafka cluster: connections, metadata, offsets and the fetch path.
//!
//! **Promises:** no request creates a topic; whatever a broker sends, nothing here panics, and
//! memory stays within the configured bounds; passing faults are retried for a stated time and then
//! named; a dropped future never leaves half a request on a connection that someone else uses.
//!
//! **Does not know:** what is inside a Kafka batch behind its header, what a batch plan is for, or
//! where results go.
//!
//! # Map
//!
//! - `config.rs`: `ClusterConfig`, every setting with its default
//! - `cluster.rs`: `Cluster`, bootstrap, and asking any broker until one responds
//! - `topology.rs`: what is known of brokers, topics and leaders; it asks nobody
//! - `metadata.rs`: topics and leaders, requested once however many tasks need them
//! - `offsets.rs`: ListOffsets, one request per leader and question
//! - `groups.rs`: FindCoordinator and OffsetFetch, what a group committed
//! - `epochs.rs`: OffsetForLeaderEpoch
//! - `queries.rs`: `PartitionQueries`, what the fetch path asks the cluster about one partition
//! - `pool.rs`: control connections, kept between calls
//! - `connection.rs`: handshake, framing and throttling of one connection
//! - `transport.rs`, `low_water.rs`: the seam for the network; how many bytes wake a socket's reader
//! - `address.rs`: `host:port`
//! - `versions.rs`: which versions of which requests are spoken
//! - `guard.rs`: the schemas by which a response is checked before it is decoded
//! - `response.rs`: what all decoded responses have in common
//! - `retry.rs`: `RetryPolicy`, how long passing faults are retried
//! - `code.rs`: Kafka's error codes, their kinds, and which pass by themselves
//! - `error.rs`: `WireError`, and `Attempt`, a failed try as people read it
//! - `fetch/mod.rs`: `Lanes`, all lanes of a cluster by leader
//! - `fetch/range_fetch.rs`: `RangeFetch`, the reader's end of one range
//! - `fetch/range_state.rs`: how far a range was read, under which topic id and epochs
//! - `fetch/partition_cursor.rs`: where a reader and its lane meet: queue, position, stop
//! - `fetch/lane.rs`: one connection, one Fetch in flight, all cursors that have room
//! - `fetch/request.rs`: which cursors go into a request, and in which order
//! - `fetch/limits.rs`: how many bytes a request asks for
//! - `fetch/quota.rs`: how much a broker's quota lets through
//! - `fetch/frame.rs`, `fetch/frame_tests.rs`: one frame read piece by piece; its tests
//! - `fetch/response.rs`: the Fetch response, parsed as it arrives
//! - `fetch/response_handler.rs`: what a response means for the cursors of its request
//! - `fetch/accept.rs`, `fetch/accept_tests.rs`: which batches of one partition's response are delivered
//! - `fetch/stop.rs`: why a cursor is no longer served
//! - `fetch/recover.rs`, `fetch/recover_tests.rs`: where to continue after a stop, **the rules of
//!   reading one range**; `fetch/scripted.rs`: the cluster of their tests
//! - `fetch/examine.rs`: what the cluster says about a stop
//! - `fetch/loss.rs`: offsets that are gone, and the data-loss policy
//! - `fetch/fault_counters.rs`: faults of a range without progress between them
//! - `fetch/budget.rs`: the memory budget, grants and leases
//! - `fetch/metrics.rs`: counters
//! - `testing.rs`, `tests/*`: a scripted cluster, and the tests that use it

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
pub use transport::{Connecting, TcpTransport, Transport, TransportStream};
