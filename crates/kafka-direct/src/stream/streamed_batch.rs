//! [`StreamedBatch`]: one batch of a stream, from its durable plan to its logged end.

use std::{sync::Arc, time::Duration};

use kafka_direct_core::PlannedRange;
use kafka_direct_driver::CompletedBatch;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    direct::{DirectStream, millis_now},
    progress::BatchProgress,
};
use crate::{
    BatchContext, Error, KafkaRdd, RangeSummary, RunEvent, StreamBatch,
    checkpoint::{BatchId, CommitDraft, OffsetsEntry},
    event::Observer,
};

/// What is known of a batch before it runs.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) entry: OffsetsEntry,
    /// Whether an older driver, or an earlier run, has planned it: its sink may have committed it.
    pub(super) is_repeated: bool,
    pub(super) lag: u64,
    pub(super) planning: Duration,
    pub(super) began: Instant,
    pub(super) scheduling_delay: Duration,
}

/// A batch of a stream: its plan is durable. Read its partitions through [`StreamedBatch::rdd`], then
/// call [`StreamedBatch::done`].
#[derive(Debug)]
pub struct StreamedBatch<'a> {
    pub(super) stream: &'a mut DirectStream,
    planned: Planned,
    rdd: KafkaRdd,
    /// What was read of the ranges so far.
    summaries: Arc<Mutex<Vec<RangeSummary>>>,
}

impl<'a> StreamedBatch<'a> {
    pub(super) fn new(stream: &'a mut DirectStream, planned: Planned) -> Self {
        let mut settings = stream.selection.settings(None);
        if planned.is_repeated {
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
        let plan = planned.entry.plan.clone();
        let cluster = stream.selection.cluster.clone();
        let rdd = KafkaRdd::new(cluster, plan, stream.leaders.clone(), settings);
        Self { stream, planned, rdd, summaries }
    }

    /// The batch's number.
    #[must_use]
    pub const fn id(&self) -> BatchId {
        self.planned.entry.batch
    }

    /// What the log says of the batch: its plan, the positions after it, and who planned it.
    #[must_use]
    pub const fn entry(&self) -> &OffsetsEntry {
        &self.planned.entry
    }

    /// The ranges of the batch and the ways to read them.
    #[must_use]
    pub const fn rdd(&self) -> &KafkaRdd {
        &self.rdd
    }

    /// Whether it was planned before: by an earlier run that was cut short, or by an older driver.
    #[must_use]
    pub const fn is_repeated(&self) -> bool {
        self.planned.is_repeated
    }

    pub(super) fn context(&self) -> BatchContext {
        BatchContext {
            plan: Arc::new(self.planned.entry.plan.clone()),
            stream: Some(StreamBatch {
                stream: self.stream.log.stream_id(),
                batch: self.id(),
                generation: self.stream.log.generation(),
            }),
        }
    }

    /// Marks the batch as done: its results are stored. The next batch starts where its ranges ended. A
    /// range that was not read counts as read to its planned end.
    ///
    /// # Errors
    /// [`Error::Fenced`] if another driver has started on the checkpoint; errors of the checkpoint.
    pub async fn done(self) -> Result<BatchProgress, Error> {
        let summaries = self.in_plan_order();
        let reading = self.planned.began.elapsed().saturating_sub(self.planned.planning);
        self.finish(&summaries, Times { reading, writing: Duration::ZERO }).await
    }

    /// The newest summary of every range that was read.
    fn in_plan_order(&self) -> Vec<RangeSummary> {
        let seen = self.summaries.lock();
        let of = |planned: &PlannedRange| {
            let newest = seen.iter().rev().find(|summary| {
                summary.topic_partition == *planned.topic_partition()
                    && summary.from == planned.range().from()
            });
            newest.cloned().unwrap_or_else(|| RangeSummary::new(planned))
        };
        self.planned.entry.plan.ranges().iter().map(of).collect()
    }

    /// Logs the end of the batch, of whose ranges `summaries` say what was read, in plan order.
    pub(super) async fn finish(
        self,
        summaries: &[RangeSummary],
        times: Times,
    ) -> Result<BatchProgress, Error> {
        let Self { stream, planned, .. } = self;
        let Planned { entry, lag, planning, began, scheduling_delay, .. } = planned;
        let plan = &entry.plan;
        stream.log_commit(CommitDraft::new(plan, summaries, millis_now())).await?;
        let total = began.elapsed();
        let span = u64::try_from(plan.span()).unwrap_or(0);
        stream.pacing.batch_completed(&CompletedBatch {
            completed_at: stream.began.elapsed(),
            span,
            processing: total,
            scheduling_delay,
        });
        let resets = summaries.iter().map(|summary| summary.resets.len());
        let progress = BatchProgress {
            batch: entry.batch.get(),
            ranges: plan.ranges().len(),
            span,
            records: summaries.iter().map(|summary| summary.records).sum(),
            bytes: summaries.iter().map(|summary| summary.value_bytes).sum(),
            lag,
            resets: resets.sum::<usize>().saturating_add(plan.resets().len()),
            planning,
            reading: times.reading,
            writing: times.writing,
            commit: total.saturating_sub(planning).saturating_sub(times.reading),
            total,
            scheduling_delay,
        };
        stream.on_batch.report(&progress);
        let last = progress.clone();
        stream.handle.report(|stream| {
            stream.batches = stream.batches.saturating_add(1);
            stream.records = stream.records.saturating_add(last.records);
            stream.last = Some(last);
        });
        Ok(progress)
    }
}

/// How long the parts of a batch took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) reading: Duration,
    pub(super) writing: Duration,
}
