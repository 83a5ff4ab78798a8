//! Offsets of a range that are gone: a truncation noticed by leader epochs, and the data-loss policy.
//!
//! A log is only ever truncated by an election, so there is nothing to ask as long as the leader's
//! epoch is the one that was planned or read under. After a change two questions settle it (KIP-320):
//!
//! - Of what was read: does the epoch of the last bytes still end at or behind the position?
//! - Of what was planned: do the records up to the planned epoch still reach the range's end? No
//!   record of the range is of a later epoch, so where they end first, what follows was written
//!   since, whatever the log's end is by now.
//!
//! Nothing is reset silently: a loss is an error under `fail` and a recorded [`Reset`] under `resume`.

use kafka_direct_core::{DataLossPolicy, Offset, Reset, ResetCause, TopicId};

use super::range_fetch::RangeFetch;
use crate::{error::WireError, offsets::ListOffset, topology::Leader};

/// What is known of a loss.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    cause: ResetCause,
    /// Log start and the end of what is left of the log, where there is a log.
    bounds: Option<(Offset, Offset)>,
    new_epoch: Option<i32>,
    new_topic_id: Option<TopicId>,
}

impl Loss {
    pub(super) const fn new(cause: ResetCause, bounds: Option<(Offset, Offset)>) -> Self {
        Self { cause, bounds, new_epoch: None, new_topic_id: None }
    }

    pub(super) const fn recreated(id: TopicId) -> Self {
        let loss = Self::new(ResetCause::Recreated, None);
        Self { new_topic_id: Some(id), ..loss }
    }
}

impl RangeFetch {
    /// The leader's topic id, if it is another than the one this range was planned or read under.
    pub(super) fn other_id(&self, leader: &Leader) -> Option<TopicId> {
        leader.topic_id.filter(|id| self.topic_id.is_some_and(|own| own != *id))
    }

    /// What `leader` has lost of the range, if it is not the leader that was asked before.
    pub(super) async fn loss_under(&self, leader: &Leader) -> Result<Option<Loss>, WireError> {
        if let Some(id) = self.other_id(leader) {
            return Ok(Some(Loss::recreated(id)));
        }
        let Some(end) = self.parted_at(leader).await? else { return Ok(None) };
        let tp = self.planned.topic_partition();
        let log_start = self.cluster.list_offset(tp, ListOffset::Earliest).await?;
        let loss = Loss::new(ResetCause::Truncated, Some((log_start, end.max(log_start))));
        Ok(Some(Loss { new_epoch: leader.epoch, ..loss }))
    }

    /// After a change of leader: where the log parted from what was read or planned of it.
    async fn parted_at(&self, leader: &Leader) -> Result<Option<Offset>, WireError> {
        if leader.epoch.is_none() || leader.epoch == self.leader_epoch {
            return Ok(None);
        }
        let tp = self.planned.topic_partition();
        if let Some(read) = self.read_epoch
            && let Some((epoch, end)) = self.cluster.end_offset_for_epoch(tp, read).await?
            && (end < self.position || epoch < read)
        {
            return Ok(Some(end.min(self.position)));
        }
        if let Some(planned) = self.planned.leader_epoch()
            && let Some((_, end)) = self.cluster.end_offset_for_epoch(tp, planned).await?
            && end < self.until
        {
            return Ok(Some(end));
        }
        Ok(None)
    }

    /// Applies the data-loss policy.
    ///
    /// Under `resume` a trimmed log is read on from its start. In all other cases the range ends at
    /// what is left of it, once that is read, and the next plan begins there: what comes behind are
    /// other records.
    pub(super) fn lost(&mut self, loss: Loss) -> Result<(), WireError> {
        let Loss { cause, bounds, new_epoch, new_topic_id } = loss;
        let left = match (cause, bounds) {
            (ResetCause::Truncated, Some((_, end))) => end.clamp(self.range().from(), self.until),
            _ => self.position,
        };
        let from = self.position.max(left);
        if self.options.on_data_loss == DataLossPolicy::Fail {
            let range = self.range().clone();
            return Err(WireError::OffsetLost { range, position: from, cause, bounds });
        }
        let to = match (cause, bounds) {
            (ResetCause::Trimmed, Some((log_start, _))) => log_start.min(self.until),
            _ => self.range().until(),
        };
        let mut reset = Reset::new(self.planned.topic_partition().clone(), cause, from, to);
        reset.old_epoch = self.read_epoch.or_else(|| self.planned.leader_epoch());
        reset.new_epoch = new_epoch;
        reset.old_topic_id = new_topic_id.and(self.topic_id);
        reset.new_topic_id = new_topic_id;
        tracing::warn!(range = %self.range(), ?cause, %from, %to, "offsets were lost");
        self.resets.push(reset);
        self.streak.clear();
        if cause == ResetCause::Trimmed {
            self.position = to;
            // It says nothing of the log here: a leader that still knows it may end it before.
            self.read_epoch = None;
        } else {
            self.until = left;
            self.position = self.position.min(left);
            // The next registration need not ask the same again.
            self.leader_epoch = new_epoch.or(self.leader_epoch);
        }
        self.ended = self.position >= self.until;
        Ok(())
    }
}
