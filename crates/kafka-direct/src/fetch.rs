//! The types below Arrow, for a program that decodes the fetched bytes itself.
//!
//! [`Cluster::fetch`](crate::Cluster::fetch) returns a [`RangeFetch`], which returns [`Fetched`]:
//! whole Kafka batches. [`RangeDecoder`] turns them into Arrow batches. [`read_range`](crate::read_range)
//! does both, and fetches a batch again whose checksum does not match.

pub use bytes::Bytes;
pub use kafka_direct_core::{AbortedTransaction, BufferPool, Fetched};
pub use kafka_direct_wire::{CarryOver, FetchOptions, RangeFetch};
pub use kafka_direct_worker::RangeDecoder;
