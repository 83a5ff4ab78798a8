//! The fetch path: takes planned ranges and returns the bytes of each range.
//!
//! - A [`RangeFetch`] reads one range. It registers a cursor ([`partition_cursor`]) with a lane of
//!   the partition's leader and takes bytes from the cursor's queue.
//! - A [`lane`] is one connection with one Fetch in flight for all its cursors that have room.
//! - The [`budget`] bounds the bytes that are in flight and in queues.
//! - [`carry_over`] keeps what a stream's range has fetched beyond its end for the next range.
//! - An error or an unusual response stops the cursor ([`stop`]). The cursor's reader handles the
//!   stop ([`recover`]), and the lane continues with the other cursors.
//!
//! This module does not use the cluster connection. It queries the cluster through
//! [`PartitionQueries`](crate::queries::PartitionQueries).

mod accept;
#[cfg(test)]
mod accept_tests;
mod budget;
mod carry_over;
#[cfg(test)]
mod carry_over_tests;
mod examine;
mod fault_counters;
mod frame;
#[cfg(test)]
mod frame_tests;
mod lane;
mod limits;
mod loss;
mod metrics;
mod partition_cursor;
mod quota;
mod range_fetch;
mod range_state;
mod recover;
#[cfg(test)]
mod recover_tests;
mod request;
mod response;
mod response_handler;
#[cfg(test)]
mod scripted;
mod stop;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use kafka_direct_core::BufferPool;
use parking_lot::Mutex;

use self::{
    budget::Budget,
    carry_over::AllCarried,
    lane::{Lane, LaneTask},
    metrics::Metrics,
    partition_cursor::PartitionCursor,
};
pub use self::{
    carry_over::CarryOver,
    metrics::{FetchMetrics, Latency},
    range_fetch::{FetchOptions, RangeFetch},
};
use crate::{config::ClusterConfig, topology::Leader};

/// All lanes of a cluster, by leader and lane number. Dropping it ends their tasks.
#[derive(Debug)]
pub(crate) struct Lanes {
    config: ClusterConfig,
    budget: Arc<Budget>,
    pool: BufferPool,
    metrics: Arc<Metrics>,
    all: Arc<AllCursors>,
    carried: Arc<AllCarried>,
    lanes: Mutex<HashMap<(i32, usize), Arc<Lane>>>,
}

/// The cursors of all lanes. A lane uses it to evict the queue of another lane's cursor.
#[derive(Debug, Default)]
struct AllCursors(Mutex<Vec<Weak<PartitionCursor>>>);

impl AllCursors {
    fn add(&self, cursor: &Arc<PartitionCursor>) {
        let mut all = self.0.lock();
        if all.len() == all.capacity() {
            // Finished cursors are removed only before the list would grow: amortized O(1).
            all.retain(|cursor| cursor.strong_count() > 0);
        }
        all.push(Arc::downgrade(cursor));
    }

    /// The number of cursors that still exist.
    fn count(&self) -> usize {
        self.0.lock().iter().filter(|cursor| cursor.strong_count() > 0).count()
    }

    fn evict_largest(&self) {
        let live: Vec<Arc<PartitionCursor>> =
            self.0.lock().iter().filter_map(Weak::upgrade).collect();
        if let Some(largest) = live.iter().max_by_key(|cursor| cursor.queued_bytes()) {
            tracing::debug!(range = %largest.range(), "evicting queued bytes that are not being read");
            largest.evict();
        }
    }
}

impl Lanes {
    pub(crate) fn new(config: ClusterConfig) -> Self {
        let budget_bytes = config.get_memory_budget_bytes();
        let budget = Budget::new(budget_bytes);
        Self {
            carried: AllCarried::new(Arc::clone(&budget), budget_bytes),
            budget,
            pool: BufferPool::new(budget_bytes),
            metrics: Arc::new(Metrics::default()),
            all: Arc::default(),
            lanes: Mutex::new(HashMap::new()),
            config,
        }
    }

    /// Registers `cursor` with a lane of `leader`. Starts the lane if it does not run.
    fn register(&self, leader: &Leader, cursor: Arc<PartitionCursor>) -> Arc<Lane> {
        let lane_count = self.config.get_fetch_connections_per_broker().max(1);
        let partition = cursor.range().topic_partition().partition();
        let number = usize::try_from(partition).unwrap_or(0).checked_rem(lane_count).unwrap_or(0);
        self.all.add(&cursor);
        let mut lanes = self.lanes.lock();
        // A lane is closed when the runtime that ran its task was shut down.
        lanes.retain(|_, lane| !lane.is_closed());
        let lane = lanes.entry((leader.node, number)).or_insert_with(|| {
            let lane = Lane::new(&leader.host, leader.port);
            let task = LaneTask::new(
                Arc::clone(&lane),
                self.config.clone(),
                Arc::clone(&self.budget),
                self.pool.clone(),
                Arc::clone(&self.metrics),
                Arc::clone(&self.all),
                Arc::clone(&self.carried),
            );
            self.config.spawn(task.run());
            lane
        });
        lane.register(cursor, &leader.host, leader.port);
        Arc::clone(lane)
    }

    /// The buffer pool for record sets and for the data that is decoded from them.
    pub(crate) const fn pool(&self) -> &BufferPool {
        &self.pool
    }

    pub(crate) fn metrics(&self) -> FetchMetrics {
        let carried_bytes = u64::try_from(self.carried.bytes()).unwrap_or(u64::MAX);
        FetchMetrics { carried_bytes, ..self.metrics.read(&self.budget, &self.pool) }
    }

    pub(crate) fn carry_over(&self) -> CarryOver {
        CarryOver::new(&self.carried)
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        for lane in self.lanes.lock().values() {
            lane.close();
        }
    }
}
