//! Tests of the public interface: what a program with the one dependency `kafka-direct` can write.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "an unexpected result is a failed test"
)]

mod chain;
mod checkpoint;
mod names;
mod records;
