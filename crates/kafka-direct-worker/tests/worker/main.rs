//! Tests of the worker with batches that are written byte by byte: one module per promise.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot continue has failed"
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
