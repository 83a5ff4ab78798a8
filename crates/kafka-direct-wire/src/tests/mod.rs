//! The control half against a scripted cluster: what it asks, how often, on which connection, and
//! what it makes of bad responses.

mod bootstrap;
mod control;
mod framing;
mod guard;
