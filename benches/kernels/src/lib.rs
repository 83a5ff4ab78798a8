//! Inputs of the kernels: Kafka batches, fetched responses and partitions.
//!
//! They are the same on every machine, and need no broker. `benches/compare` measures reads from
//! a broker.

pub mod batches;
pub mod partitions;
pub mod responses;
pub mod values;
