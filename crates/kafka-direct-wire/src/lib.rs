//! The client of a Kafka cluster: connections, metadata, offsets and the fetch path.
//!
//! **Promises:**
//!
//! - No request creates a topic.
//! - Whatever a broker sends, nothing here panics, and memory stays within the configured bounds.
//! - Passing faults are retried until the retry timeout. The error then names the last ones.
//! - A dropped future never leaves half a request on a connection that another task uses.
//!
//! **Out of scope:** the contents of a Kafka batch after its header, the purpose of a batch plan,
//! and the destination of results.
//!
//! # Map
//!
//! - `config.rs`: `ClusterConfig`, every setting with its default
//! - `cluster.rs`: `Cluster`, bootstrap, and requests that any broker can serve
//! - `topology.rs`: the known brokers, topics and leaders; sends no requests
//! - `metadata.rs`: Metadata requests for topics and leaders, shared by tasks that need the same
//! - `offsets.rs`: ListOffsets, one request per leader and query
//! - `groups.rs`: FindCoordinator and OffsetFetch: the committed offsets of a group
//! - `epochs.rs`: OffsetForLeaderEpoch
//! - `queries.rs`: `PartitionQueries`, the queries of the fetch path about one partition
//! - `pool.rs`: control connections, kept between calls
//! - `connection.rs`: handshake, framing and throttling of one connection
//! - `transport.rs`, `low_water.rs`: `Transport` opens connections; how many bytes wake a socket's
//!   reader
//! - `race.rs`: connects to one of several addresses of a host
//! - `address.rs`: parses and prints `host:port`
//! - `listener.rs`: recognises ports that are no Kafka listener of plain TCP
//! - `versions.rs`: the supported versions of each request
//! - `guard.rs`: checks each response against its schema before it is decoded
//! - `response.rs`: the trait of all decoded responses
//! - `retry.rs`: `RetryPolicy`, how long passing faults are retried
//! - `code.rs`: Kafka's error codes, their kinds, and which of them may pass
//! - `error.rs`: `WireError`; `Attempt`, a failed attempt for error messages
//! - `fetch/mod.rs`: `Lanes`, all lanes of a cluster by leader
//! - `fetch/range_fetch.rs`: `RangeFetch`, the reader of one range
//! - `fetch/range_state.rs`: how far a range was read, under which topic id and epochs
//! - `fetch/partition_cursor.rs`: the state that a reader and its lane share: queue, position, stop
//! - `fetch/lane.rs`: one connection with one Fetch in flight, for all cursors that have room
//! - `fetch/request.rs`: which cursors go into a request, and in which order
//! - `fetch/limits.rs`: how many bytes a Fetch requests
//! - `fetch/quota.rs`: counts responses that a broker's quota refuses
//! - `fetch/frame.rs`, `fetch/frame_tests.rs`: reads one frame in pieces; its tests
//! - `fetch/response.rs`: parses the Fetch response as it arrives
//! - `fetch/response_handler.rs`: applies a response to the cursors of its request
//! - `fetch/accept.rs`, `fetch/accept_tests.rs`: which batches of one partition's response are
//!   delivered
//! - `fetch/stop.rs`: why a cursor is no longer served
//! - `fetch/recover.rs`, `fetch/recover_tests.rs`: where to continue after a stop, **the rules of
//!   reading one range**; `fetch/scripted.rs`: the scripted cluster of their tests
//! - `fetch/examine.rs`: queries the cluster about a stop
//! - `fetch/loss.rs`: lost offsets, and the data-loss policy
//! - `fetch/fault_counters.rs`: counts the consecutive faults of a range
//! - `fetch/budget.rs`: the memory budget, grants and leases
//! - `fetch/carry_over.rs`, `fetch/carry_over_tests.rs`: what a stream's ranges fetched beyond
//!   their ends, for the next batch; its tests
//! - `fetch/metrics.rs`: counters
//! - `testing.rs`, `tests/*`: a scripted cluster, and the tests that run on it

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
mod listener;
mod low_water;
mod metadata;
mod offsets;
mod pool;
mod queries;
mod race;
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
pub use fetch::{CarryOver, FetchMetrics, FetchOptions, Latency, RangeFetch};
pub use offsets::LogBounds;
pub use topology::{PartitionMetadata, TopicMetadata};
pub use transport::{Connecting, TcpTransport, Transport, TransportStream};
