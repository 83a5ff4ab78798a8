//! Tests of the real binary against an embedded broker, with a module per subject.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed setup fails the test"
)]

mod bad_input;
mod bench;
mod completion;
mod connection;
mod driven;
mod metadata;
mod output;
mod produce;
mod read;
#[cfg(feature = "full")]
mod readers;
mod selection;
mod shell;
mod stopping;
mod topics;
mod verify;
