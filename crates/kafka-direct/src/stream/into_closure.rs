//! Runs the batches of a stream through a closure, with attempts.
//!
//! Contract: an attempt is a task of its own, so that a panic ends the attempt alone; before the next
//! attempt, and before the stream ends, the task has ended and its future is dropped.

use std::future::Future;

use kafka_direct_core::ErrorKind;
use tokio::task::JoinSet;

use super::{
    batch_in_hand::BatchInHand,
    direct::DirectStream,
    into_sink::is_of_sink,
    run::{BatchWork, FIRST_PAUSE, LONGEST_PAUSE},
    streamed_batch::{Ended, StreamedBatch},
};
use crate::{BoxError, Error, runner::panic_message, time_limit::within, write::backoff};

/// Calls a closure with batches.
pub(super) struct IntoClosure<F>(pub(super) F);

impl<F, Fut> BatchWork for IntoClosure<F>
where
    F: Fn(BatchInHand) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    /// A closure keeps no commits that could be asked for.
    async fn catch_up(&self, _: &mut DirectStream) -> Result<(), Error> {
        Ok(())
    }

    async fn run(&self, batch: &mut StreamedBatch<'_>) -> Result<Option<Ended>, Error> {
        let handle = batch.stream.handle();
        let mut pause = FIRST_PAUSE;
        loop {
            if handle.is_stopped_now() {
                return Ok(None);
            }
            let Some(returned) = self.attempt(batch).await? else { return Ok(None) };
            let Err(source) = returned else { return Ok(Some(batch.read_so_far())) };
            let source = match of_engine(source) {
                Ok(error) if error.kind() == ErrorKind::Unavailable => {
                    batch.stream.wait_out(&error, pause, handle.stopped_now()).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                    continue;
                }
                Ok(error) => return Err(error),
                Err(source) => source,
            };
            let (id, attempts) = (batch.id(), batch.attempt());
            if attempts >= batch.stream.selection.attempts {
                return Err(Error::BatchClosure { batch: id, attempts, source });
            }
            tracing::warn!(batch = %id, attempt = attempts, error = %source, "the closure failed; the batch is run again");
            let waited = tokio::time::sleep(backoff(attempts));
            if handle.unless_stopped_now(waited).await.is_none() {
                return Ok(None);
            }
            batch.batch.attempt = attempts.saturating_add(1);
        }
    }
}

impl<F, Fut> IntoClosure<F>
where
    F: Fn(BatchInHand) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    /// What one call of the closure returned; `None` if the stream was stopped at once meanwhile.
    async fn attempt(
        &self,
        batch: &StreamedBatch<'_>,
    ) -> Result<Option<Result<(), BoxError>>, Error> {
        let mut task = JoinSet::new();
        let runtime = batch.stream.selection.cluster.runtime();
        task.spawn_on((self.0)(batch.batch.clone()), &runtime);
        let joined = async {
            match task.join_next().await {
                None => Ok(Ok(())),
                Some(Ok(returned)) => Ok(returned),
                Some(Err(ended)) => Err(ended),
            }
        };
        let handle = batch.stream.handle();
        let limited =
            handle.unless_stopped_now(within(batch.stream.sink_timeout, "closure", async {
                Ok(joined.await)
            }));
        let ended = limited.await;
        // Its future is dropped before another attempt starts.
        task.shutdown().await;
        match ended {
            None => Ok(None),
            Some(Err(timed_out)) => Ok(Some(Err(timed_out))),
            Some(Ok(Ok(returned))) => Ok(Some(returned)),
            Some(Ok(Err(ended))) => {
                let message = panic_message(ended);
                Err(Error::BatchClosurePanicked { batch: batch.id(), message })
            }
        }
    }
}

/// The engine's own error, which another attempt would not change; or the closure's.
fn of_engine(source: BoxError) -> Result<Error, BoxError> {
    match source.downcast::<Error>() {
        Ok(own) if is_of_sink(&own) || matches!(*own, Error::SinkTimeout { .. }) => Err(own),
        Ok(own) => Ok(*own),
        Err(other) => Err(other),
    }
}
