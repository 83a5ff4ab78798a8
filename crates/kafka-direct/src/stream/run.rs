//! Runs a stream into a sink: each batch is written, committed once, and marked as done.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kafka_direct_core::{ErrorKind, TopicPartition};
use tokio::time::Instant;

use super::{
    direct::{DirectStream, millis_now},
    progress::{BatchProgress, StreamProgress},
    streamed_batch::{InRanges, StreamedBatch},
};
use crate::{
    Error, RangeSummary, Sink, TaskReceipt, WriteTask,
    checkpoint::CommitDraft,
    write::{Written, WrittenRanges},
};

/// The wait after the first failure of a cluster; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl DirectStream {
    /// Runs every batch into `sink`, until the stream is stopped or has read all that was available.
    ///
    /// A batch whose commit was not logged before a crash is not read again if the sink says that it
    /// has committed it ([`Sink::last_committed`]). While the cluster is unavailable the stream waits,
    /// and runs the batch in hand again with identical ranges.
    ///
    /// # Errors
    /// [`Error::Sink`], [`Error::ClosurePanicked`] or [`Error::Commit`] if the sink fails for good:
    /// nothing of the batch is committed; [`Error::SinkAhead`]; or as [`DirectStream::next`].
    ///
    /// # Cancel safety
    /// Dropping the future stops at once, as a crash would: the batch in hand runs again.
    pub async fn run<S: Sink>(mut self, sink: Arc<S>) -> Result<StreamProgress, Error> {
        self.catch_up_with(&sink).await?;
        while let Some(batch) = self.next().await? {
            if batch.is_repeated() {
                // The driver that planned it may have committed it since.
                batch.stream.catch_up_with(&sink).await?;
                if batch.stream.log.pending().is_none() {
                    continue;
                }
            }
            write_batch(batch, &sink).await?;
        }
        Ok(self.handle().progress().borrow().clone())
    }

    /// Logs the commit of the batch in hand if the sink has committed it.
    async fn catch_up_with<S: Sink>(&mut self, sink: &Arc<S>) -> Result<(), Error> {
        let stream = self.log.stream_id();
        let committed = sink.last_committed(stream).await;
        let Some(commit) = committed.map_err(|source| Error::Commit { source })? else {
            return Ok(());
        };
        let pending = self.log.pending().filter(|pending| pending.batch == commit.batch);
        if let Some(pending) = pending {
            let draft = CommitDraft::new(&pending.plan, &commit.ranges, millis_now());
            return self.log_commit(draft).await;
        }
        match self.log.last_committed() {
            Some(last) if commit.batch <= last => Ok(()),
            last => {
                // A newer driver's batches in the sink are the same sight from an older one.
                self.log.check_generation().await?;
                Err(Error::SinkAhead { stream, sink: commit.batch, checkpoint: last })
            }
        }
    }
}

/// Writes one batch and commits it. While the cluster is unavailable it is written again.
async fn write_batch<S: Sink>(
    batch: StreamedBatch<'_>,
    sink: &Arc<S>,
) -> Result<BatchProgress, Error> {
    let began = Instant::now();
    let context = batch.context();
    let mut pause = FIRST_PAUSE;
    let WrittenRanges { written, in_sink, poison } = loop {
        match batch.rdd().write_ranges(sink, &context).await {
            Err(error) if error.kind() == ErrorKind::Unavailable && !is_of_sink(&error) => {
                batch.stream.wait_out(&error, pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
            written => break written?,
        }
    };
    let receipts: Vec<_> = written.into_iter().map(|(receipt, _): Written<_>| receipt).collect();
    let summaries: Vec<RangeSummary> =
        receipts.iter().map(|receipt| receipt.range.clone()).collect();
    let in_ranges = InRanges { reading: began.elapsed(), writing: in_sink, poison };
    let (receipts, late) = without_pieces_after_a_short_one(receipts);
    for index in late {
        if let Some(range) = context.plan.ranges().get(index) {
            let task =
                WriteTask { batch: context.clone(), index, range: range.clone(), attempt: 1 };
            let aborted = sink.abort(&task).await;
            aborted.map_err(|source| Error::Commit { source })?;
        }
    }
    batch.stream.log.check_generation().await?;
    let committed = sink.commit(&context, &receipts).await;
    committed.map_err(|source| Error::Commit { source })?;
    let summaries = committed_by_another(&batch, sink).await?.unwrap_or(summaries);
    batch.finish(&summaries, in_ranges).await
}

/// What was read of the batch if an older driver may have committed it first: its ends are those of the
/// records in the sink.
async fn committed_by_another<S: Sink>(
    batch: &StreamedBatch<'_>,
    sink: &Arc<S>,
) -> Result<Option<Vec<RangeSummary>>, Error> {
    let log = &batch.stream.log;
    if log.generation().get() == 1 {
        return Ok(None);
    }
    let committed = sink.last_committed(log.stream_id()).await;
    let committed = committed.map_err(|source| Error::Commit { source })?;
    Ok(committed.filter(|commit| commit.batch == batch.id()).map(|commit| commit.ranges))
}

const fn is_of_sink(error: &Error) -> bool {
    matches!(error, Error::Sink { .. } | Error::Closure { .. })
}

/// The receipts to commit, and the indices of the others: after a piece that ended early, the next
/// batch continues at its end, so that later pieces of the partition would be doubled.
fn without_pieces_after_a_short_one<R>(
    receipts: Vec<TaskReceipt<R>>,
) -> (Vec<TaskReceipt<R>>, Vec<usize>) {
    let mut ended: BTreeSet<TopicPartition> = BTreeSet::new();
    let (mut kept, mut late) = (Vec::with_capacity(receipts.len()), Vec::new());
    for (index, receipt) in receipts.into_iter().enumerate() {
        let range = &receipt.range;
        if ended.contains(&range.topic_partition) {
            late.push(index);
            continue;
        }
        if range.reached < range.until {
            ended.insert(range.topic_partition.clone());
        }
        kept.push(receipt);
    }
    (kept, late)
}
