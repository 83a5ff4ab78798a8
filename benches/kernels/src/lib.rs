//! What the kernels run on: Kafka batches, fetched responses and partitions, the same on every machine.
//!
//! Nothing here talks to a broker. Whoever wants to know what a change costs on a wire asks
//! `benches/compare`.

pub mod batches;
pub mod partitions;
pub mod responses;
pub mod values;
