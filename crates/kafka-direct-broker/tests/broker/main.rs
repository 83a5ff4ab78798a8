//! Tests the broker through clients, over TCP or in memory: `kafka-protocol`'s client side, rskafka
//! and kcat.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::future_not_send,
    reason = "test helpers panic on failure and stay on one thread"
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
