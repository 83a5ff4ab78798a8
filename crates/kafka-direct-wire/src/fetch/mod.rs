//! The fetch path: planned ranges in, bytes of each range out.
//!
//! - A [`RangeFetch`] is the reader's end of one range. It registers a [`slot`] with a lane of the
//!   partition's leader and takes bytes from the slot's queue.
//! - A [`lane`] is one connection with one Fetch in flight for all its slots that have room.
//! - The [`budget`] bounds what lanes have in flight and queues hold.
//! - Whatever is out of the ordinary stops the slot and is looked into by its own reader
//!   ([`recover`]): the lane goes on with the others.

mod accept;
#[cfg(test)]
mod accept_tests;
mod answers;
mod budget;
mod frame;
mod lane;
mod loss;
mod metrics;
mod quota;
mod range_fetch;
mod recover;
mod request;
mod response;
mod slot;
mod streak;
#[cfg(test)]
mod waking;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use kafka_direct_core::BufferPool;
use parking_lot::Mutex;

use self::{
    budget::Budget,
    lane::{Lane, LaneTask},
    metrics::Metrics,
    slot::Slot,
};
pub use self::{
    metrics::{FetchMetrics, Latency},
    range_fetch::{FetchOptions, RangeFetch},
};
use crate::config::ClusterConfig;

/// All lanes of a cluster, by leader. Dropping it ends their tasks.
#[derive(Debug)]
pub(crate) struct Lanes {
    budget: Arc<Budget>,
    pool: BufferPool,
    metrics: Arc<Metrics>,
    all: Arc<AllSlots>,
    lanes: Mutex<HashMap<(i32, usize), Arc<Lane>>>,
}

/// Every slot of every lane, so that one lane can have another one's evicted.
#[derive(Debug, Default)]
struct AllSlots(Mutex<Vec<Weak<Slot>>>);

impl AllSlots {
    fn add(&self, slot: &Arc<Slot>) {
        let mut all = self.0.lock();
        if all.len() == all.capacity() {
            // Forgetting the finished ones just before the list would grow costs nothing in sum.
            all.retain(|slot| slot.strong_count() > 0);
        }
        all.push(Arc::downgrade(slot));
    }

    /// How many there are.
    fn count(&self) -> usize {
        self.0.lock().iter().filter(|slot| slot.strong_count() > 0).count()
    }

    fn evict_largest(&self) {
        let live: Vec<Arc<Slot>> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        if let Some(largest) = live.iter().max_by_key(|slot| slot.queued_bytes()) {
            tracing::debug!(range = %largest.range(), "evicting queued bytes that nobody reads");
            largest.evict();
        }
    }
}

/// Where a slot is to be served.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) node: i32,
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

impl Lanes {
    pub(crate) fn new(config: &ClusterConfig) -> Self {
        Self {
            budget: Budget::new(config.get_memory_budget_bytes()),
            pool: BufferPool::new(config.get_memory_budget_bytes()),
            metrics: Arc::new(Metrics::default()),
            all: Arc::default(),
            lanes: Mutex::new(HashMap::new()),
        }
    }

    /// Puts `slot` on a lane of the leader; starts the lane if it does not run.
    fn register(&self, config: &ClusterConfig, seat: &Seat, slot: Arc<Slot>) -> Arc<Lane> {
        let lane_count = config.get_lanes_per_leader().max(1);
        let partition = slot.range().topic_partition().partition();
        let number = usize::try_from(partition).unwrap_or(0).checked_rem(lane_count).unwrap_or(0);
        self.all.add(&slot);
        let mut lanes = self.lanes.lock();
        // A lane whose task is gone, with the runtime it ran on, serves nobody.
        lanes.retain(|_, lane| !lane.is_closed());
        let lane = lanes.entry((seat.node, number)).or_insert_with(|| {
            let lane = Lane::new(&seat.host, seat.port);
            let task = LaneTask::new(
                Arc::clone(&lane),
                config.clone(),
                Arc::clone(&self.budget),
                self.pool.clone(),
                Arc::clone(&self.metrics),
                Arc::clone(&self.all),
            );
            config.spawn(task.run());
            lane
        });
        lane.register(slot, &seat.host, seat.port);
        Arc::clone(lane)
    }

    /// Buffers for record sets and for what is made of them.
    pub(crate) const fn pool(&self) -> &BufferPool {
        &self.pool
    }

    fn count_recovery(&self) {
        Metrics::add(&self.metrics.recoveries, 1);
    }

    pub(crate) fn metrics(&self) -> FetchMetrics {
        self.metrics.read(&self.budget, &self.pool)
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        for lane in self.lanes.lock().values() {
            lane.close();
        }
    }
}
