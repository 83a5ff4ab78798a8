//! What a running batch reports while it runs.
//!
//! An observer is called on the tasks that read: it must return quickly and must not block.

use std::{fmt, sync::Arc};

use kafka_direct_core::{BatchPlan, Offset, PlannedRange};
use kafka_direct_worker::Counts;

use crate::{BoxError, RangeSummary};

/// One step of a running batch.
///
/// The events of one range arrive in the order of the variants; events of different ranges
/// interleave.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunEvent<'a> {
    /// The plan is fixed and its ranges are about to run. Reported once by each call of
    /// [`map_partitions`](crate::KafkaRdd::map_partitions), [`write_to`](crate::KafkaRdd::write_to) and
    /// what builds on them; [`count`](crate::KafkaRdd::count) reports nothing, and the `Batches` of
    /// [`read_partition`](crate::KafkaRdd::read_partition) report `Advanced` and `Read` only.
    Planned {
        /// The plan.
        plan: &'a BatchPlan,
    },
    /// An attempt at a range starts.
    Started {
        /// The range.
        range: &'a PlannedRange,
        /// The attempt's number, from 1.
        attempt: u32,
    },
    /// Records of a range were decoded and handed to its closure or sink.
    Advanced {
        /// The range.
        range: &'a PlannedRange,
        /// The fetch position: every record below it was fetched.
        position: Offset,
        /// What this attempt has decoded so far.
        counts: Counts,
    },
    /// The last record of a range was handed to its closure or sink.
    Read {
        /// The range.
        range: &'a PlannedRange,
        /// What was read, with the offsets that were skipped.
        summary: &'a RangeSummary,
    },
    /// An attempt failed, and the range is read again from its start.
    Retrying {
        /// The range.
        range: &'a PlannedRange,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// Why it failed.
        error: &'a BoxError,
    },
    /// The closure or the sink has finished a range.
    Finished {
        /// The range.
        range: &'a PlannedRange,
        /// Whether an earlier run had finished it, so that nothing was read.
        resumed: bool,
    },
}

type Callback = dyn Fn(&RunEvent<'_>) + Send + Sync;

/// The embedder's function for [`RunEvent`]s; absent by default.
#[derive(Clone, Default)]
pub(crate) struct Observer(Option<Arc<Callback>>);

impl Observer {
    pub(crate) fn new(observer: impl Fn(&RunEvent<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) const fn is_set(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn report(&self, event: &RunEvent<'_>) {
        if let Some(observer) = &self.0 {
            observer(event);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "Observer(set)" } else { "Observer(none)" })
    }
}
