//! A stream whose results and position are in a store of the user, for example a database: its newest
//! entry, and what that means for the checkpoint.
//!
//! Contract: the user's store decides which batches are done. The checkpoint follows it: a batch that
//! the store has is never run again, and a checkpoint that has batches that the store lacks is
//! refused. An empty checkpoint is filled from the entry, so that the store alone is enough.

use std::sync::Arc;

use super::{
    entry::CHECKPOINT_VERSION,
    files::{COMMITS, Files, OFFSETS},
    ids::{BatchId, Generation, StreamId},
    log::StreamLog,
    opening::open_meta,
    positions,
    state::{CheckpointState, CommittedBatch, read_batch},
    store::CheckpointStore,
};
use crate::Error;

/// The highest number of a start that an entry may have: more starts are damage.
const MAX_GENERATION: u64 = 1_000_000;

impl StreamLog {
    /// Opens the checkpoint in `store` as [`StreamLog::open`] does, of a stream whose newest committed
    /// batch in the user's store is `newest`; `None` if that store has no batch.
    ///
    /// # Errors
    /// As [`StreamLog::open`]; [`Error::StoreBehind`] if the checkpoint has a batch that the user's store
    /// lacks; [`Error::ForeignEntry`] for an entry of another stream or cluster.
    pub async fn open_after(
        store: Arc<dyn CheckpointStore>,
        newest: Option<&CommittedBatch>,
        cluster: Option<&str>,
        time_millis: i64,
    ) -> Result<(Self, CheckpointState), Error> {
        if let Some(newest) = newest {
            newest.check(cluster)?;
        }
        let files = Files::new(store);
        let stream = newest.map_or_else(StreamId::random, CommittedBatch::stream);
        let meta = open_meta(&files, cluster, stream).await?;
        if newest.is_some() && meta.stream_id != stream {
            return Err(foreign(format!(
                "it is of stream {stream}, and the checkpoint is of stream {}; use a checkpoint for each stream",
                meta.stream_id
            )));
        }
        // Before the claim, so that an entry that does not fit fences nobody; again after it, because
        // the older driver may have ended a batch in between.
        check_not_behind(&files, meta.stream_id, newest).await?;
        if let Some(newest) = newest {
            newest.store_in(&files).await?;
        }
        let above = newest.map_or(Generation::new(0), |newest| newest.commit.generation);
        let (log, state) = Self::claim(files, meta, above, time_millis).await?;
        check_not_behind(&log.files, log.meta.stream_id, newest).await?;
        Ok((log, state))
    }
}

async fn check_not_behind(
    files: &Files,
    stream: StreamId,
    newest: Option<&CommittedBatch>,
) -> Result<(), Error> {
    let stored = newest.map(CommittedBatch::batch);
    match last_commit(files).await? {
        Some(checkpoint) if stored < Some(checkpoint) => {
            Err(Error::StoreBehind { stream, stored, checkpoint })
        }
        _ => Ok(()),
    }
}

async fn last_commit(files: &Files) -> Result<Option<BatchId>, Error> {
    Ok(files.numbers(COMMITS).await?.last().copied().map(BatchId::new))
}

impl CommittedBatch {
    /// Checks what is not read from a checkpoint's files but comes from the user.
    fn check(&self, cluster: Option<&str>) -> Result<(), Error> {
        let Self { offsets, commit } = self;
        if offsets.version != CHECKPOINT_VERSION || commit.version != CHECKPOINT_VERSION {
            let version = offsets.version.max(commit.version);
            return Err(foreign(format!(
                "it has version {version}, this build reads version {CHECKPOINT_VERSION}; use the version of kafka-direct that wrote it"
            )));
        }
        if let (Some(then), Some(now)) = (offsets.plan.cluster(), cluster)
            && then != now
        {
            return Err(foreign(format!(
                "it is of cluster {then}, this is cluster {now}; connect to the first, or use another table"
            )));
        }
        let plan = (offsets.stream_id, offsets.batch, offsets.nonce);
        if plan != (commit.stream_id, commit.batch, commit.plan_nonce)
            || commit.generation.get() > MAX_GENERATION
        {
            return Err(foreign("it was changed or is damaged; restore it".to_owned()));
        }
        positions::check_achieved(&offsets.plan, &commit.achieved).map_err(foreign)
    }

    /// Makes the checkpoint say that this batch is done.
    async fn store_in(&self, files: &Files) -> Result<(), Error> {
        let (batch, stream) = (self.batch(), self.stream());
        let last = last_commit(files).await?;
        if last == Some(batch) {
            let (_, commit) = read_batch(files, stream, batch).await?;
            let is_same = commit.is_none_or(|commit| commit.plan_nonce == self.offsets.nonce);
            return if is_same { Ok(()) } else { Err(self.of_another_plan()) };
        }
        if last.is_some_and(|last| last.next() != batch) {
            return Err(foreign(format!(
                "it is batch {batch}, and the checkpoint ends at batch {}: the checkpoint is an old copy; use an empty one, which is filled from the entry",
                last.map_or(0, BatchId::get)
            )));
        }
        let planned = files.create(&batch.file_in(OFFSETS), &self.offsets, Some(stream)).await?;
        if planned.is_some_and(|planned| planned.nonce != self.offsets.nonce) {
            return Err(self.of_another_plan());
        }
        files.create(&batch.file_in(COMMITS), &self.commit, Some(stream)).await?;
        Ok(())
    }

    fn of_another_plan(&self) -> Error {
        foreign(format!(
            "the checkpoint has another plan of batch {}: two drivers with two checkpoints have run the stream; use an empty checkpoint, which is filled from the entry",
            self.batch()
        ))
    }
}

const fn foreign(reason: String) -> Error {
    Error::ForeignEntry { reason }
}
