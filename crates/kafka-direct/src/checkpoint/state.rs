//! What a checkpoint says about its stream: the last committed batch, and the batch that is to be run
//! again.

use std::{collections::BTreeSet, sync::Arc};

use kafka_direct_core::ErrorKind;
use serde::{Deserialize, Serialize};

use super::{
    entry::{CommitEntry, OffsetsEntry, StreamMeta},
    files::{COMMITS, Files, META, OFFSETS},
    ids::{BatchId, StreamId},
    positions::{self, Positions},
    store::CheckpointStore,
};
use crate::{EndPosition, Error};

/// A batch that is done, with all that a stream needs to continue after it.
///
/// In a store of the user it is kept with the results of the batch, see
/// [`stream`](crate::stream#a-store-of-your-own). It serialises to one JSON object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CommittedBatch {
    /// What it read.
    pub offsets: OffsetsEntry,
    /// Where it ended.
    pub commit: CommitEntry,
}

impl CommittedBatch {
    /// The batch's number.
    #[must_use]
    pub const fn batch(&self) -> BatchId {
        self.offsets.batch
    }

    /// The stream's id.
    #[must_use]
    pub const fn stream(&self) -> StreamId {
        self.offsets.stream_id
    }

    /// Where every partition that the stream ever followed continues, ordered by partition.
    #[must_use]
    pub fn positions(&self) -> Vec<EndPosition> {
        self.continues_at().into_values().collect()
    }

    pub(crate) fn continues_at(&self) -> Positions {
        positions::after(&self.offsets, &self.commit)
    }
}

/// A stream's checkpoint, as it was read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CheckpointState {
    /// To which stream and cluster it belongs.
    pub meta: StreamMeta,
    /// The last batch that is done; `None` before the first.
    pub last: Option<CommittedBatch>,
    /// A batch that was planned and is not done: it runs again with exactly these ranges.
    pub pending: Option<OffsetsEntry>,
    /// The numbers of the batches whose files are retained.
    pub batches: BTreeSet<BatchId>,
}

impl CheckpointState {
    /// Reads a checkpoint and changes nothing, also while a driver uses it; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Checkpoint`]: [`ErrorKind::Invalid`] for a newer version or mixed streams,
    /// [`ErrorKind::Corrupt`] for damaged or missing files, [`ErrorKind::Unavailable`].
    pub async fn read(store: Arc<dyn CheckpointStore>) -> Result<Option<Self>, Error> {
        let files = Files::new(store);
        match files.read::<StreamMeta>(META, None).await? {
            Some(meta) => Self::of(&files, meta).await.map(Some),
            None => Ok(None),
        }
    }

    /// The files of one batch; each is `None` if it does not exist.
    ///
    /// # Errors
    /// As [`CheckpointState::read`].
    pub async fn read_batch(
        &self,
        store: Arc<dyn CheckpointStore>,
        batch: BatchId,
    ) -> Result<(Option<OffsetsEntry>, Option<CommitEntry>), Error> {
        read_batch(&Files::new(store), self.meta.stream_id, batch).await
    }

    pub(crate) async fn of(files: &Files, meta: StreamMeta) -> Result<Self, Error> {
        let mut earlier = None;
        loop {
            // In this order, a commit that is written in between is of a batch that is listed.
            let offsets = files.numbers(OFFSETS).await?;
            let commits = files.numbers(COMMITS).await?;
            let listed = Some((offsets.clone(), commits.clone()));
            match Self::of_listed(files, &meta, &offsets, &commits).await {
                // A driver that writes meanwhile may have purged a file after it was listed.
                Err(error) if error.kind() == ErrorKind::Corrupt && earlier != listed => {
                    earlier = listed;
                }
                state => return state,
            }
        }
    }

    async fn of_listed(
        files: &Files,
        meta: &StreamMeta,
        offsets: &BTreeSet<u64>,
        commits: &BTreeSet<u64>,
    ) -> Result<Self, Error> {
        let corrupt = |folder, number, reason: &str| {
            files.error(&BatchId::new(number).file_in(folder), ErrorKind::Corrupt, reason)
        };
        let last = match commits.last().copied() {
            None => None,
            Some(last) => match read_batch(files, meta.stream_id, BatchId::new(last)).await? {
                (Some(offsets), Some(commit)) => Some(CommittedBatch { offsets, commit }),
                (offsets, _) => {
                    let folder = if offsets.is_some() { COMMITS } else { OFFSETS };
                    let reason = "the last batch has no such file; restore it from a copy";
                    return Err(corrupt(folder, last, reason));
                }
            },
        };
        let next = commits.last().map_or(0, |last| last.saturating_add(1));
        let mut above = offsets.range(next..).copied();
        let pending = match (above.next(), above.next()) {
            (None, _) => None,
            (Some(batch), None) if batch == next => {
                let batch = BatchId::new(batch);
                let entry = files.read(&batch.file_in(OFFSETS), Some(meta.stream_id)).await?;
                let reason = "the file was removed while it was read; start again";
                Some(entry.ok_or_else(|| corrupt(OFFSETS, batch.get(), reason))?)
            }
            (Some(batch), more) => {
                let reason = "the batch before this one has no commit; restore it from a copy";
                return Err(corrupt(OFFSETS, more.unwrap_or(batch), reason));
            }
        };
        let batches = offsets.union(commits).copied().map(BatchId::new).collect();
        Ok(Self { meta: meta.clone(), last, pending, batches })
    }

    /// Where every partition that the stream ever followed continues after the last committed batch,
    /// ordered by partition.
    #[must_use]
    pub fn positions(&self) -> Vec<EndPosition> {
        self.last.as_ref().map(CommittedBatch::positions).unwrap_or_default()
    }
}

/// The files of a batch. A plan that is not the one its commit names does not belong to it: a fenced
/// driver has written it late, after the batch's own plan was purged.
pub(crate) async fn read_batch(
    files: &Files,
    stream: StreamId,
    batch: BatchId,
) -> Result<(Option<OffsetsEntry>, Option<CommitEntry>), Error> {
    let offsets: Option<OffsetsEntry> = files.read(&batch.file_in(OFFSETS), Some(stream)).await?;
    let commit: Option<CommitEntry> = files.read(&batch.file_in(COMMITS), Some(stream)).await?;
    let belongs = |offsets: &OffsetsEntry| {
        commit.as_ref().is_none_or(|commit| commit.plan_nonce == offsets.nonce)
    };
    Ok((offsets.filter(belongs), commit))
}
