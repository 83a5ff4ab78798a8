//! The broker as clients meet it: over TCP or in memory, through `kafka-protocol`'s client side,
//! rskafka and kcat.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::future_not_send,
    reason = "helpers of tests fail by panicking and stay on one thread"
)]

mod client;
mod faults;
mod fetching;
mod groups;
mod nodes;
mod other_clients;
mod sessions;
mod topics;
mod transactions;
