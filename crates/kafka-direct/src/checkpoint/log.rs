//! The durable log of a stream: [`StreamLog`].
//!
//! Contract, for batch N: `log_plan` before a record of it reaches a sink (INV-4), `check_generation`
//! before the sink commits, `log_commit` after it has (INV-5), `purge` now and then. Each returns when its
//! file is durable. A batch number never names two plans: a plan found under the number is adopted,
//! whatever the caller has planned. Of two drivers the one that started later continues, the other
//! gets [`Error::Fenced`] (INV-9).
//!
//! Cancel safety, of every method: after a dropped future or an error the outcome is unknown, and the
//! same call again finds out. It need not have the same arguments.

use std::collections::BTreeSet;

use kafka_direct_core::{BatchPlan, ErrorKind, IsolationLevel, TopicPartition};

use super::{
    draft::{CommitDraft, LoggedPlan, PlanDraft},
    entry::{CHECKPOINT_VERSION, CommitEntry, OffsetsEntry, Rewind, StreamMeta},
    files::{COMMITS, Files, GENERATIONS, OFFSETS},
    ids::{BatchId, Generation, StreamId, WriterNonce},
    positions::{self, Positions},
};
use crate::{EndPosition, Error};

/// How many committed batches a checkpoint retains by default.
pub const DEFAULT_RETAINED_BATCHES: u64 = 100;

/// The durable log of a stream, held by one driver.
#[derive(Debug)]
pub struct StreamLog {
    pub(super) files: Files,
    pub(super) meta: StreamMeta,
    pub(super) generation: Generation,
    pub(super) nonce: WriterNonce,
    pub(super) last: Option<BatchId>,
    pub(super) positions: Positions,
    pub(super) pending: Option<OffsetsEntry>,
    pub(super) batches: BTreeSet<BatchId>,
    /// Of the newest entry.
    pub(super) pending_starts: Vec<TopicPartition>,
}

impl StreamLog {
    /// The stream's id.
    #[must_use]
    pub const fn stream_id(&self) -> StreamId {
        self.meta.stream_id
    }

    /// The number of this driver's start.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// This driver, as its entries name it.
    pub(crate) const fn writer(&self) -> (Generation, WriterNonce) {
        (self.generation, self.nonce)
    }

    /// The number of the batch in hand, or of the next one.
    #[must_use]
    pub fn next_batch(&self) -> BatchId {
        self.last.map_or(BatchId::new(0), BatchId::next)
    }

    /// The last batch that is done; `None` before the first.
    #[must_use]
    pub const fn last_committed(&self) -> Option<BatchId> {
        self.last
    }

    /// The batch in hand: it is planned durably and not done.
    #[must_use]
    pub const fn pending(&self) -> Option<&OffsetsEntry> {
        self.pending.as_ref()
    }

    /// Where every partition that the stream ever followed continues after the last committed batch,
    /// ordered by partition.
    pub fn positions(&self) -> impl Iterator<Item = &EndPosition> {
        self.positions.values()
    }

    /// Partitions that have no position and follow the stream's own start once they have a leader.
    #[must_use]
    pub fn pending_starts(&self) -> &[TopicPartition] {
        &self.pending_starts
    }

    /// Makes a plan durable under the next batch number, and checks the generation. The caller runs the
    /// batch that is returned.
    ///
    /// A partition that is not in the plan keeps its position.
    ///
    /// # Errors
    /// [`Error::Fenced`]; [`Error::Checkpoint`]: [`ErrorKind::Invalid`] for a plan that does not
    /// continue at the stream's positions, or while a batch is pending; [`ErrorKind::Unavailable`];
    /// [`ErrorKind::Corrupt`] if the write may not be durable.
    pub async fn log_plan(&mut self, draft: PlanDraft) -> Result<LoggedPlan, Error> {
        let name = self.next_batch().file_in(OFFSETS);
        let invalid = |reason: String| self.files.error(&name, ErrorKind::Invalid, reason);
        if let (Some(planned), Some(own)) = (draft.plan.cluster(), self.meta.cluster.as_deref())
            && planned != own
        {
            return Err(invalid(format!("the plan is for cluster {planned}, not {own}")));
        }
        let positions = positions::after_plan(&self.positions, &draft.plan).map_err(invalid)?;
        self.log_offsets(draft, positions).await
    }

    pub(super) async fn log_offsets(
        &mut self,
        draft: PlanDraft,
        positions: Positions,
    ) -> Result<LoggedPlan, Error> {
        let batch = self.next_batch();
        let name = batch.file_in(OFFSETS);
        if self.pending.is_some() {
            let reason = "the batch is planned and not done; run it and log its commit first";
            return Err(self.files.error(&name, ErrorKind::Invalid, reason));
        }
        let entry = OffsetsEntry {
            version: CHECKPOINT_VERSION,
            stream_id: self.meta.stream_id,
            batch,
            generation: self.generation,
            nonce: self.nonce,
            time_millis: draft.time_millis,
            plan: draft.plan,
            positions: positions.into_values().collect(),
            pending: draft.pending,
            rate: draft.rate,
            sink: draft.sink,
        };
        let stored = self.files.create(&name, &entry, Some(self.meta.stream_id)).await?;
        if let Some(stored) = &stored {
            self.check_writer(&name, stored.generation, stored.nonce)?;
            self.check_continues(&name, stored)?;
        }
        self.check_generation().await?;
        let is_adopted = stored.is_some();
        let entry = stored.unwrap_or(entry);
        self.batches.insert(batch);
        self.pending_starts.clone_from(&entry.pending);
        self.pending = Some(entry.clone());
        Ok(LoggedPlan { entry, is_adopted })
    }

    /// Makes the positions of partitions durable that the stream starts to follow, before it waits for
    /// their data: an empty batch with these positions. Partitions that have a position keep it.
    ///
    /// It returns a batch that an older driver has planned meanwhile: the caller runs it, and calls
    /// again. Otherwise [`StreamLog::positions`] has all of `starts`, some possibly as the older
    /// driver resolved them.
    ///
    /// # Errors
    /// As [`StreamLog::log_plan`].
    pub async fn log_starts(
        &mut self,
        starts: Vec<EndPosition>,
        isolation: IsolationLevel,
        time_millis: i64,
    ) -> Result<Option<OffsetsEntry>, Error> {
        let starts = positions::by_partition(starts);
        loop {
            if let Some(pending) = &self.pending {
                if !pending.plan.is_empty_span() {
                    return Ok(Some(pending.clone()));
                }
                self.log_commit(CommitDraft::restored(vec![], vec![], time_millis)).await?;
            }
            if starts.keys().all(|tp| self.positions.contains_key(tp)) {
                return Ok(None);
            }
            let mut positions = starts.clone();
            positions.extend(self.positions.clone());
            let plan = self.empty_plan(isolation)?;
            let draft = PlanDraft::new(plan, time_millis).with_pending(self.pending_starts.clone());
            self.log_offsets(draft, positions).await?;
        }
    }

    pub(super) fn empty_plan(&self, isolation: IsolationLevel) -> Result<BatchPlan, Error> {
        let cluster = self.meta.cluster.clone();
        Ok(BatchPlan::new(cluster, isolation, vec![], vec![], vec![])?)
    }

    /// Checks that no other driver has started since. It is called before the sink commits and before
    /// the group's offsets are published; the other methods call it themselves.
    ///
    /// # Errors
    /// [`Error::Fenced`]; [`ErrorKind::Unavailable`] if the store cannot say.
    pub async fn check_generation(&self) -> Result<(), Error> {
        // Generations have no gap: a driver claims the first number that is free.
        let newer = self.generation.next();
        let name = newer.file_in(GENERATIONS);
        if self.files.exists(&name).await? { Err(self.fenced(&name, newer)) } else { Ok(()) }
    }

    fn fenced(&self, name: &str, newer: Generation) -> Error {
        let location = self.files.location(name);
        Error::Fenced { location, generation: self.generation, newer }
    }

    /// Whether an entry by this writer may be adopted.
    fn check_writer(
        &self,
        name: &str,
        generation: Generation,
        nonce: WriterNonce,
    ) -> Result<(), Error> {
        if generation > self.generation {
            return Err(self.fenced(name, generation));
        }
        if generation == self.generation && nonce != self.nonce {
            let reason = format!(
                "two drivers have generation {generation}: files of `generations` were removed; stop both, and start one"
            );
            return Err(self.files.error(name, ErrorKind::Corrupt, reason));
        }
        Ok(())
    }

    /// An entry that was planned from other positions than the stream's is damaged.
    pub(super) fn check_continues(&self, name: &str, stored: &OffsetsEntry) -> Result<(), Error> {
        let continued = positions::after_plan(&self.positions, &stored.plan);
        continued.map(drop).map_err(|reason| self.files.error(name, ErrorKind::Corrupt, reason))
    }

    /// Marks the pending batch as done, after the sink has committed it, and checks the generation
    /// first. It returns the commit that is stored: that of an older driver if it was earlier.
    ///
    /// # Errors
    /// [`Error::Fenced`]; [`Error::Checkpoint`]: [`ErrorKind::Invalid`] without a pending batch, or for
    /// ends that do not belong to its plan; [`ErrorKind::Unavailable`]; [`ErrorKind::Corrupt`] if the
    /// write may not be durable.
    pub async fn log_commit(&mut self, draft: CommitDraft) -> Result<CommitEntry, Error> {
        if let Some(pending) = &self.pending {
            positions::check_achieved(&pending.plan, &draft.achieved).map_err(|reason| {
                self.files.error(&pending.batch.file_in(COMMITS), ErrorKind::Invalid, reason)
            })?;
        }
        self.log_end(draft, None).await
    }

    pub(super) async fn log_end(
        &mut self,
        draft: CommitDraft,
        rewind: Option<Rewind>,
    ) -> Result<CommitEntry, Error> {
        let name = self.next_batch().file_in(COMMITS);
        let Some(pending) = &self.pending else {
            let reason = "no batch is planned; log its plan first";
            return Err(self.files.error(&name, ErrorKind::Invalid, reason));
        };
        self.check_generation().await?;
        let entry = CommitEntry { rewind, ..CommitEntry::of(pending, self.writer(), draft) };
        let stored = self.files.create(&name, &entry, Some(self.meta.stream_id)).await?;
        if let Some(stored) = &stored {
            self.check_writer(&name, stored.generation, stored.nonce)?;
        }
        let entry = stored.unwrap_or(entry);
        self.positions = positions::after(pending, &entry);
        self.last = Some(entry.batch);
        self.pending = None;
        Ok(entry)
    }
}
