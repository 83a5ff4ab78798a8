//! [`BatchInHand`]: what a batch of a stream reads, and the entry that says that it is done.

use std::sync::Arc;

use kafka_direct_core::PlannedRange;
use parking_lot::Mutex;

use super::direct::{DirectStream, millis_now};
use crate::{
    BatchContext, KafkaRdd, RangeSummary, RunEvent, StreamBatch,
    checkpoint::{
        BatchId, CommitDraft, CommitEntry, CommittedBatch, Generation, OffsetsEntry, WriterNonce,
    },
    event::Observer,
};

/// A batch of a stream while it runs. Clones are the same batch.
#[derive(Debug, Clone)]
pub struct BatchInHand {
    pub(super) planned: Arc<OffsetsEntry>,
    is_repeated: bool,
    pub(super) attempt: u32,
    writer: (Generation, WriterNonce),
    rdd: KafkaRdd,
    /// What was read of the ranges so far.
    summaries: Arc<Mutex<Vec<RangeSummary>>>,
}

impl BatchInHand {
    pub(super) fn new(stream: &DirectStream, planned: OffsetsEntry, is_repeated: bool) -> Self {
        let mut settings = stream.selection.settings(None);
        settings.sink_timeout = stream.sink_timeout;
        settings.coalesce = stream.coalesce;
        if is_repeated {
            stream.carry_over.clear();
        }
        settings.carry_over = Some(stream.carry_over.clone());
        let summaries = Arc::<Mutex<Vec<RangeSummary>>>::default();
        let (seen, outer) = (Arc::clone(&summaries), settings.observer);
        settings.observer = Observer::new(move |event| {
            if let RunEvent::Read { summary, .. } = event {
                seen.lock().push((*summary).clone());
            }
            outer.report(event);
        });
        let plan = planned.plan.clone();
        let cluster = stream.selection.cluster.clone();
        let rdd = KafkaRdd::new(cluster, plan, stream.leaders.clone(), settings);
        let (planned, writer) = (Arc::new(planned), stream.log.writer());
        Self { planned, is_repeated, attempt: 1, writer, rdd, summaries }
    }

    /// The batch's number.
    #[must_use]
    pub fn id(&self) -> BatchId {
        self.planned.batch
    }

    /// The stream, the batch's number, and the start of the driver that runs it.
    #[must_use]
    pub fn stream_batch(&self) -> StreamBatch {
        StreamBatch::new(self.planned.stream_id, self.planned.batch, self.writer.0)
    }

    /// What the log says of the batch: its plan, the positions after it, and who planned it.
    #[must_use]
    pub fn entry(&self) -> &OffsetsEntry {
        &self.planned
    }

    /// The ranges of the batch and the ways to read them.
    #[must_use]
    pub const fn rdd(&self) -> &KafkaRdd {
        &self.rdd
    }

    /// Whether it was planned before: by an earlier run that was cut short, or by an older driver.
    #[must_use]
    pub const fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// The number of this attempt, from 1. Above 1, the closure of
    /// [`DirectStream::for_each_batch`] failed at the batch before.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The entry of the batch for a store of your own: what the log will say once the batch is done. Call
    /// it after the ranges were read: a range that was not read counts as read to its planned end.
    ///
    /// Store it in the same transaction as the results, and give the newest to
    /// [`DirectStreamBuilder::resume_from`](super::DirectStreamBuilder::resume_from) at the next start.
    #[must_use]
    pub fn to_committed(&self) -> CommittedBatch {
        let draft = CommitDraft::new(&self.planned.plan, &self.in_plan_order(), millis_now());
        let offsets = (*self.planned).clone();
        let commit = CommitEntry::of(&offsets, self.writer, draft);
        CommittedBatch { offsets, commit }
    }

    pub(super) fn context(&self) -> BatchContext {
        BatchContext {
            plan: Arc::new(self.planned.plan.clone()),
            stream: Some(self.stream_batch()),
        }
    }

    /// The newest summary of every range, in plan order.
    pub(super) fn in_plan_order(&self) -> Vec<RangeSummary> {
        let seen = self.summaries.lock();
        let of = |planned: &PlannedRange| {
            let newest = seen.iter().rev().find(|summary| {
                summary.topic_partition == *planned.topic_partition()
                    && summary.from == planned.range().from()
            });
            newest.cloned().unwrap_or_else(|| RangeSummary::new(planned))
        };
        self.planned.plan.ranges().iter().map(of).collect()
    }
}
