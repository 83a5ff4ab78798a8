//! Changes of a checkpoint's past: old entries are removed, and a stream is rewound.

use kafka_direct_core::ErrorKind;

use super::{
    draft::{CommitDraft, PlanDraft},
    entry::{CommitEntry, Rewind},
    files::{COMMITS, OFFSETS},
    ids::BatchId,
    log::StreamLog,
    state::{CommittedBatch, read_batch},
};
use crate::Error;

impl StreamLog {
    /// Removes the files of all but the newest `retained` committed batches, at least 1; see
    /// [`DEFAULT_RETAINED_BATCHES`](super::DEFAULT_RETAINED_BATCHES). Of each batch the plan is removed
    /// before the commit: a plan without a commit would look like a batch that is to be run again.
    ///
    /// A stream continues without this: after an error the next call removes what is left.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`], [`ErrorKind::Invalid`] for a missing permission.
    pub async fn purge(&mut self, retained: u64) -> Result<(), Error> {
        let Some(last) = self.last else { return Ok(()) };
        let first_kept = last.next().get().saturating_sub(retained.max(1));
        while let Some(batch) = self.batches.first().copied()
            && batch.get() < first_kept
        {
            self.files.remove(&batch.file_in(OFFSETS)).await?;
            self.files.remove(&batch.file_in(COMMITS)).await?;
            self.batches.remove(&batch);
        }
        Ok(())
    }

    /// Lets the stream continue where batch `to_batch` ended, and records that. Partitions that were
    /// first followed later are new to the stream again.
    ///
    /// It uses the next batch number: numbers are not used again, since a sink ignores a number that it
    /// has committed. A pending batch is ended by the rewind and never run again. The caller removes
    /// from the sink what batches after `to_batch` wrote, or accepts that their records appear twice. It
    /// stops the stream first: a sink commit that has started is not stopped by a rewind.
    ///
    /// # Errors
    /// [`Error::Fenced`]; [`Error::Checkpoint`]: [`ErrorKind::Invalid`] if `to_batch` is not committed or
    /// no longer retained, or if an older driver has ended the batch meanwhile;
    /// [`ErrorKind::Unavailable`]; [`ErrorKind::Corrupt`] if the write may not be durable.
    pub async fn rewind(
        &mut self,
        to_batch: BatchId,
        time_millis: i64,
    ) -> Result<CommitEntry, Error> {
        let name = to_batch.file_in(COMMITS);
        let invalid = |reason: String| self.files.error(&name, ErrorKind::Invalid, reason);
        if self.last.is_none_or(|last| last < to_batch) {
            return Err(invalid(format!("batch {to_batch} is not committed; name an earlier one")));
        }
        let files = read_batch(&self.files, self.meta.stream_id, to_batch).await?;
        let (Some(offsets), Some(commit)) = files else {
            let reason = format!("batch {to_batch} is no longer retained; name a later one");
            return Err(invalid(reason));
        };
        let isolation = offsets.plan.isolation();
        let (sink, rate) = (offsets.sink.clone(), offsets.rate.clone());
        let positions = CommittedBatch { offsets, commit }.continues_at();
        if self.pending.is_none() {
            let draft = PlanDraft::new(self.empty_plan(isolation)?, time_millis)
                .with_pending(self.pending_starts.clone())
                .with_sink(sink)
                .with_rate(rate);
            // It keeps the positions: until the commit is there, nothing is rewound.
            self.log_offsets(draft, self.positions.clone()).await?;
        }
        let positions = positions.into_values().collect();
        let rewind = Rewind { to_batch, positions };
        let draft = CommitDraft::restored(vec![], vec![], time_millis);
        let stored = self.log_end(draft, Some(rewind.clone())).await?;
        if stored.rewind.as_ref() == Some(&rewind) {
            return Ok(stored);
        }
        let reason = "an older driver has ended this batch meanwhile; stop it, and rewind again";
        let name = stored.batch.file_in(COMMITS);
        Err(self.files.error(&name, ErrorKind::Invalid, reason))
    }
}
