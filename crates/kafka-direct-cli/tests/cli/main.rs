//! The real binary against an embedded broker in this process: one test binary, a module per
//! subject.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set itself up has failed"
)]

mod bad_input;
mod bench;
mod connection;
mod driven;
mod metadata;
mod output;
mod produce;
mod read;
mod selection;
mod shell;
mod stopping;
