//! `Settings`: how the ranges of a batch are read and written.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use kafka_direct_core::{PlannedRange, Reset};
use kafka_direct_wire::{CarryOver, Cluster};
use parking_lot::Mutex;

use crate::{Batches, ReadOptions, event::Observer, read_range};

/// How a batch is read.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) read: ReadOptions,
    pub(crate) concurrency: Option<NonZeroUsize>,
    pub(crate) attempts: u32,
    /// How many groups of ranges a sink gets at most; `None` for one per range.
    pub(crate) coalesce: Option<NonZeroUsize>,
    /// Skips over lost offsets that reading the whole batch made.
    pub(crate) resets: Arc<Mutex<Vec<Reset>>>,
    pub(crate) observer: Observer,
    /// How long one call of a sink may take.
    pub(crate) sink_timeout: Option<Duration>,
    /// What the batches of a stream fetch beyond their ends; `None` for a batch of its own.
    pub(crate) carry_over: Option<CarryOver>,
}

/// Releases kept bytes on drop, unless the run has succeeded: a batch that runs again after a fault
/// fetches all its bytes anew.
pub(crate) struct ClearUnlessDone<'a>(pub(crate) Option<&'a CarryOver>);

impl Drop for ClearUnlessDone<'_> {
    fn drop(&mut self) {
        if let Some(store) = self.0 {
            store.clear();
        }
    }
}

impl Settings {
    /// Reads one range of the batch: attempt `attempt`, from 1.
    pub(crate) fn read_range(
        &self,
        cluster: &Cluster,
        planned: PlannedRange,
        attempt: u32,
    ) -> Batches {
        read_range(cluster, planned, &self.read)
            .observed_by(self.observer.clone())
            .carry_over(self.carry_over.as_ref(), attempt)
    }

    pub(crate) fn add_resets(&self, resets: &[Reset]) {
        self.resets.lock().extend_from_slice(resets);
    }
}
