//! [`StreamedBatch`]: one batch of a stream, from its durable plan to its logged end.

use std::{ops::Deref, time::Duration};

use kafka_direct_driver::CompletedBatch;
use tokio::time::Instant;

use super::{
    batch_in_hand::BatchInHand,
    direct::{DirectStream, millis_now},
    progress::BatchProgress,
};
use crate::{
    Error, RangeSummary,
    checkpoint::{CommitDraft, CommittedBatch, OffsetsEntry},
};

/// What is known of a batch before it runs.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) entry: OffsetsEntry,
    /// Whether an older driver, or an earlier run, has planned it: its sink may have committed it.
    pub(super) is_repeated: bool,
    pub(super) timing: Timing,
}

/// When a batch was planned, and what was left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) lag: u64,
    pub(super) planning: Duration,
    pub(super) began: Instant,
    pub(super) scheduling_delay: Duration,
}

/// A batch of a stream: its plan is durable. Read its partitions through [`BatchInHand::rdd`], then call
/// [`StreamedBatch::done`], or [`StreamedBatch::done_externally`] with a store of your own.
#[derive(Debug)]
pub struct StreamedBatch<'a> {
    pub(super) stream: &'a mut DirectStream,
    pub(super) batch: BatchInHand,
    timing: Timing,
}

impl Deref for StreamedBatch<'_> {
    type Target = BatchInHand;

    fn deref(&self) -> &BatchInHand {
        &self.batch
    }
}

impl<'a> StreamedBatch<'a> {
    pub(super) fn new(stream: &'a mut DirectStream, planned: Planned) -> Self {
        let Planned { entry, is_repeated, timing } = planned;
        let batch = BatchInHand::new(stream, entry, is_repeated);
        Self { stream, batch, timing }
    }

    /// Marks the batch as done: its results are stored. The next batch starts where its ranges ended. A
    /// range that was not read counts as read to its planned end.
    ///
    /// # Errors
    /// [`Error::Fenced`] if another driver has started on the checkpoint; errors of the checkpoint.
    pub async fn done(self) -> Result<BatchProgress, Error> {
        let end = self.read_so_far();
        self.finish(end).await
    }

    /// Marks the batch as done: your store has its results and this entry, which
    /// [`BatchInHand::to_committed`] returned. The next batch starts where the entry says.
    ///
    /// The batch is done from the moment at which your store has the entry. After an error, and after a
    /// crash before this call, start again with
    /// [`DirectStreamBuilder::resume_from`](super::DirectStreamBuilder::resume_from).
    ///
    /// # Errors
    /// [`Error::ForeignEntry`] for an entry of another batch; or as [`StreamedBatch::done`].
    pub async fn done_externally(self, stored: &CommittedBatch) -> Result<BatchProgress, Error> {
        let (own, given) = (&self.batch.planned, &stored.offsets);
        if (own.stream_id, own.batch, own.nonce) != (given.stream_id, given.batch, given.nonce) {
            let reason = format!(
                "it is of batch {} of stream {}, and the batch in hand is {}; give the one that the batch returned",
                given.batch, given.stream_id, own.batch
            );
            return Err(Error::ForeignEntry { reason });
        }
        let CommittedBatch { commit, .. } = stored.clone();
        let draft = CommitDraft::restored(commit.achieved, commit.resets, commit.time_millis);
        let end = Ended { draft: Some(draft), ..self.read_so_far() };
        self.finish(end).await
    }

    /// The end of a batch that the caller has read through [`BatchInHand::rdd`].
    pub(super) fn read_so_far(&self) -> Ended {
        let reading = self.timing.began.elapsed().saturating_sub(self.timing.planning);
        Ended {
            summaries: self.in_plan_order(),
            draft: None,
            in_ranges: InRanges { reading, writing: Duration::ZERO, poison: 0 },
        }
    }

    /// Logs the end of the batch.
    pub(super) async fn finish(self, ended: Ended) -> Result<BatchProgress, Error> {
        let Self { stream, batch, timing } = self;
        let Timing { lag, planning, began, scheduling_delay } = timing;
        let Ended { summaries, draft, in_ranges } = ended;
        let plan = &batch.planned.plan;
        let draft = draft.unwrap_or_else(|| CommitDraft::new(plan, &summaries, millis_now()));
        stream.log_commit(draft).await?;
        let total = began.elapsed();
        let span = u64::try_from(plan.span()).unwrap_or(0);
        stream.pacing.batch_completed(&CompletedBatch {
            completed_at: stream.began.elapsed(),
            span,
            processing: total,
            scheduling_delay,
        });
        if summaries.iter().any(|summary| !summary.resets.is_empty()) {
            // Of a topic that was re-created, the known id would make the next batch end early too.
            stream.metadata.forget();
        }
        let resets = summaries.iter().map(|summary| summary.resets.len());
        let progress = BatchProgress {
            batch: batch.id().get(),
            ranges: plan.ranges().len(),
            span,
            records: summaries.iter().map(|summary| summary.records).sum(),
            bytes: summaries.iter().map(|summary| summary.value_bytes).sum(),
            lag,
            resets: resets.sum::<usize>().saturating_add(plan.resets().len()),
            poison: in_ranges.poison,
            planning,
            reading: in_ranges.reading,
            writing: in_ranges.writing,
            commit: total.saturating_sub(planning).saturating_sub(in_ranges.reading),
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

/// What became of a batch.
#[derive(Debug)]
pub(super) struct Ended {
    /// What was read of every range, in plan order.
    pub(super) summaries: Vec<RangeSummary>,
    /// What the log is to say, if it is not what the summaries say.
    pub(super) draft: Option<CommitDraft>,
    pub(super) in_ranges: InRanges,
}

/// What the ranges of a batch took, and what a sink could not decode of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct InRanges {
    pub(super) reading: Duration,
    pub(super) writing: Duration,
    pub(super) poison: u64,
}
