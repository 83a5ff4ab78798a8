//! What simulations share: random numbers from a seed, and a transport in memory.

use std::sync::Arc;

use kafka_direct::{Connecting, Transport, TransportStream};
use kafka_direct_broker::Broker;

/// Random number generator (splitmix64), with the same numbers for a seed in every version.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Connects to the broker in memory.
#[derive(Debug)]
pub struct InMemory(pub Arc<Broker>);

impl Transport for InMemory {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> Connecting<'a> {
        let stream = self.0.connect_in_memory(host, port);
        Box::pin(async move { stream.map(|s| Box::new(s) as Box<dyn TransportStream>) })
    }
}
