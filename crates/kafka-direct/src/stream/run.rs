//! The loop that runs every batch of a stream: [`DirectStream::run`] and
//! [`DirectStream::for_each_batch`] differ in what they do with a batch, and in nothing else.

use std::{future::Future, sync::Arc, time::Duration};

use super::{
    batch_in_hand::BatchInHand,
    direct::DirectStream,
    into_closure::IntoClosure,
    into_sink::IntoSink,
    progress::StreamProgress,
    streamed_batch::{Ended, StreamedBatch},
};
use crate::{BoxError, Error, Sink};

/// The wait after the first failure of a cluster; it doubles with each further one.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(200);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is done with the batches of a stream.
pub(super) trait BatchWork: Send + Sync {
    /// Logs the commit of the batch in hand if it is committed where its results go.
    fn catch_up(&self, stream: &mut DirectStream)
    -> impl Future<Output = Result<(), Error>> + Send;

    /// Stores the results of one batch. While the cluster is unavailable it is run again. `None` if the
    /// stream was stopped at once: then nothing of it is committed.
    fn run(
        &self,
        batch: &mut StreamedBatch<'_>,
    ) -> impl Future<Output = Result<Option<Ended>, Error>> + Send;
}

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
    pub async fn run<S: Sink>(self, sink: Arc<S>) -> Result<StreamProgress, Error> {
        self.run_all(IntoSink(sink)).await
    }

    /// Calls `closure` with every batch, until the stream is stopped or has read all that was available.
    /// A batch is done once the closure returned `Ok`.
    ///
    /// The closure reads with [`BatchInHand::rdd`]. What it does not read is its decision: the next batch
    /// starts after it. A closure that fails gets the identical ranges again, up to
    /// [`attempts`](super::DirectStreamBuilder::attempts) times, after 100 ms at first and at most 10 s.
    /// An error of reading, returned as it is, is no failure of the closure: while the cluster is
    /// unavailable the batch is run again, and other such errors end the stream.
    ///
    /// After a crash the batch in hand runs again, also if the closure had returned: it must be
    /// idempotent, by the number of the batch, or keep
    /// [its position with its results](super#a-store-of-your-own).
    ///
    /// # Errors
    /// [`Error::BatchClosure`] or [`Error::BatchClosurePanicked`] if the closure fails for good: the
    /// batch is not done; or as [`DirectStream::next`].
    ///
    /// # Cancel safety
    /// As [`DirectStream::run`]; the closure's future is dropped.
    pub async fn for_each_batch<F, Fut>(self, closure: F) -> Result<StreamProgress, Error>
    where
        F: Fn(BatchInHand) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.run_all(IntoClosure(closure)).await
    }

    async fn run_all(mut self, work: impl BatchWork) -> Result<StreamProgress, Error> {
        let handle = self.handle();
        handle.unless_stopped_now(work.catch_up(&mut self)).await.transpose()?;
        while let Some(mut batch) = self.next().await? {
            if batch.is_repeated() {
                // The driver that planned it may have committed it since.
                let caught_up = work.catch_up(batch.stream);
                handle.unless_stopped_now(caught_up).await.transpose()?;
                if batch.stream.log.pending().is_none() {
                    continue;
                }
            }
            if let Some(ended) = work.run(&mut batch).await? {
                batch.finish(ended).await?;
            }
        }
        Ok(handle.progress().borrow().clone())
    }
}
