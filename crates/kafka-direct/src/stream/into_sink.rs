//! Runs the batches of a stream into a sink: each is written and committed once.

use std::{collections::BTreeSet, sync::Arc};

use kafka_direct_core::{ErrorKind, TopicPartition};
use tokio::time::Instant;

use super::{
    direct::{DirectStream, millis_now},
    run::{BatchWork, FIRST_PAUSE, LONGEST_PAUSE},
    streamed_batch::{Ended, InRanges, StreamedBatch},
};
use crate::{
    BoxError, Error, RangeSummary, Sink, SinkCommit, TaskReceipt, WriteTask,
    checkpoint::CommitDraft,
    time_limit::within,
    write::{Written, WrittenRanges},
};

/// Writes batches into a sink.
pub(super) struct IntoSink<S>(pub(super) Arc<S>);

impl<S: Sink> BatchWork for IntoSink<S> {
    async fn catch_up(&self, stream: &mut DirectStream) -> Result<(), Error> {
        let Some(commit) = self.last_committed(stream).await? else { return Ok(()) };
        let pending = stream.log.pending().filter(|pending| pending.batch == commit.batch);
        if let Some(pending) = pending {
            let draft = CommitDraft::new(&pending.plan, &commit.ranges, millis_now());
            return stream.log_commit(draft).await;
        }
        match stream.log.last_committed() {
            Some(last) if commit.batch <= last => Ok(()),
            last => {
                // A newer driver's batches in the sink are the same sight from an older one.
                stream.log.check_generation().await?;
                let (stream, sink) = (stream.log.stream_id(), commit.batch);
                Err(Error::SinkAhead { stream, sink, checkpoint: last })
            }
        }
    }

    async fn run(&self, batch: &mut StreamedBatch<'_>) -> Result<Option<Ended>, Error> {
        let began = Instant::now();
        let (context, handle) = (batch.context(), batch.stream.handle());
        let mut pause = FIRST_PAUSE;
        let WrittenRanges { written, in_sink, poison } = loop {
            let stopped = handle.stopped_now();
            match batch.rdd().write_ranges(&self.0, &context, stopped).await {
                Err(error) if error.kind() == ErrorKind::Unavailable && !is_of_sink(&error) => {
                    batch.stream.wait_out(&error, pause, handle.stopped_now()).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
                Err(error) if is_of_sink(&error) => {
                    // A newer driver removes what older ones were writing.
                    batch.stream.log.check_generation().await?;
                    return Err(error);
                }
                written => match written? {
                    Some(written) => break written,
                    None => return Ok(None),
                },
            }
        };
        let receipts: Vec<_> =
            written.into_iter().map(|(receipt, _): Written<_>| receipt).collect();
        let in_ranges = InRanges { reading: began.elapsed(), writing: in_sink, poison };
        let limit = batch.stream.sink_timeout;
        let (receipts, late) = without_pieces_after_a_short_one(receipts);
        for index in late {
            // A late piece is a group of its own: with fewer groups the pieces of a partition are in one.
            if let Some(task) = WriteTask::new(context.clone(), index, 1) {
                let aborted = within(limit, "abort", self.0.abort(&task)).await;
                aborted.map_err(|source| Error::Commit { source })?;
            }
        }
        let summaries: Vec<RangeSummary> =
            receipts.iter().flat_map(|receipt| receipt.ranges.clone()).collect();
        batch.stream.log.check_generation().await?;
        let committed = within(limit, "commit", self.0.commit(&context, &receipts)).await;
        if let Err(source) = committed {
            batch.stream.log.check_generation().await?;
            return Err(Error::Commit { source });
        }
        let committed = self.committed_by_another(batch).await?;
        Ok(Some(Ended { summaries: committed.unwrap_or(summaries), draft: None, in_ranges }))
    }
}

impl<S: Sink> IntoSink<S> {
    async fn last_committed(&self, stream: &DirectStream) -> Result<Option<SinkCommit>, Error> {
        let asked = self.0.last_committed(stream.log.stream_id());
        let committed: Result<_, BoxError> =
            within(stream.sink_timeout, "last_committed", asked).await;
        committed.map_err(|source| Error::Commit { source })
    }

    /// What was read of the batch if an older driver may have committed it first: its ends are those of
    /// the records in the sink.
    async fn committed_by_another(
        &self,
        batch: &StreamedBatch<'_>,
    ) -> Result<Option<Vec<RangeSummary>>, Error> {
        if batch.stream.log.generation().get() == 1 {
            return Ok(None);
        }
        let committed = self.last_committed(batch.stream).await?;
        Ok(committed.filter(|commit| commit.batch == batch.id()).map(|commit| commit.ranges))
    }
}

pub(super) const fn is_of_sink(error: &Error) -> bool {
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
        if receipt.ranges.iter().any(|range| ended.contains(&range.topic_partition)) {
            late.push(index);
            continue;
        }
        let short = receipt.ranges.iter().filter(|range| range.reached < range.until);
        ended.extend(short.map(|range| range.topic_partition.clone()));
        kept.push(receipt);
    }
    (kept, late)
}
