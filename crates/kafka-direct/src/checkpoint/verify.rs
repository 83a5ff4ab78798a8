//! Verifies that the retained batches of a checkpoint continue each other.

use std::sync::Arc;

use kafka_direct_core::ErrorKind;

use super::{
    files::{COMMITS, Files, OFFSETS},
    positions,
    state::{CheckpointState, CommittedBatch, read_batch},
    store::CheckpointStore,
};
use crate::Error;

impl CheckpointState {
    /// Reads every retained batch in `store`, from which this state was read, and checks that each
    /// starts where the one before ended (INV-2), except at a recorded reset or rewind, and ended inside
    /// its plan. Returns how many are intact.
    ///
    /// A stream that purges meanwhile may make this fail.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with the first file that is damaged, missing or does not continue;
    /// [`ErrorKind::Unavailable`].
    pub async fn verify(&self, store: Arc<dyn CheckpointStore>) -> Result<u64, Error> {
        let files = Files::new(store);
        let mut before = None;
        let mut verified: u64 = 0;
        for batch in &self.batches {
            let plan = batch.file_in(OFFSETS);
            let corrupt = |name: &str, reason| files.error(name, ErrorKind::Corrupt, reason);
            let is_pending = self.pending.as_ref().is_some_and(|entry| entry.batch == *batch);
            let (offsets, commit) = read_batch(&files, self.meta.stream_id, *batch).await?;
            // Before the first batch with both files: what an interrupted purge has left, or a plan that
            // a fenced driver has written late.
            if before.is_none() && !is_pending && (offsets.is_none() || commit.is_none()) {
                continue;
            }
            let missing = || "the file does not exist".to_owned();
            let offsets = offsets.ok_or_else(|| corrupt(&plan, missing()))?;
            if let Some(before) = &before {
                let continued = positions::after_plan(before, &offsets.plan);
                continued.map_err(|reason| corrupt(&plan, reason))?;
            }
            match commit {
                Some(commit) => {
                    let name = batch.file_in(COMMITS);
                    if commit.rewind.is_none() {
                        let ends = positions::check_achieved(&offsets.plan, &commit.achieved);
                        ends.map_err(|reason| corrupt(&name, reason))?;
                    }
                    before = Some(CommittedBatch { offsets, commit }.continues_at());
                }
                None if is_pending => {}
                None => return Err(corrupt(&batch.file_in(COMMITS), missing())),
            }
            verified = verified.saturating_add(1);
        }
        Ok(verified)
    }
}
