//! The worker against batches written byte by byte: one binary, one module per promise.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod batch_writer;
mod columns;
mod corrupt;
mod hostile;
mod reader;
mod records;
mod sizes;
mod splits;
mod transactions;
mod unasked;
