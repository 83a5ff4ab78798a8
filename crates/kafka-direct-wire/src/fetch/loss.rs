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

use super::range_state::RangeState;
use crate::{
    error::WireError,
    queries::{ListOffset, PartitionQueries},
    topology::Leader,
};

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

    /// What `leader` has lost of the range, if it is not the leader that was asked before.
    pub(super) async fn under(
        leader: &Leader,
        range: &RangeState,
        queries: &dyn PartitionQueries,
    ) -> Result<Option<Self>, WireError> {
        if let Some(id) = range.other_topic_id(leader) {
            return Ok(Some(Self::recreated(id)));
        }
        if !range.is_new_epoch(leader) {
            return Ok(None);
        }
        let Some(end) = parted_at(range, queries).await? else { return Ok(None) };
        let log_start = queries.find_offset(range.topic_partition(), ListOffset::Earliest).await?;
        let loss = Self::new(ResetCause::Truncated, Some((log_start, end.max(log_start))));
        Ok(Some(Self { new_epoch: leader.epoch, ..loss }))
    }

    /// Applies the data-loss policy.
    ///
    /// Under `resume` a trimmed log is read on from its start. In all other cases the range ends at
    /// what is left of it, once that is read, and the next plan begins there: what comes behind are
    /// other records.
    ///
    /// # Errors
    /// [`WireError::OffsetLost`] under `fail`.
    pub(super) fn apply(
        self,
        range: &mut RangeState,
        policy: DataLossPolicy,
    ) -> Result<(), WireError> {
        let Self { cause, bounds, new_epoch, new_topic_id } = self;
        let left = match (cause, bounds) {
            (ResetCause::Truncated, Some((_, end))) => {
                end.clamp(range.range().from(), range.until())
            }
            _ => range.position(),
        };
        let from = range.position().max(left);
        if policy == DataLossPolicy::Fail {
            let range = range.range().clone();
            return Err(WireError::OffsetLost { range, position: from, cause, bounds });
        }
        let to = match (cause, bounds) {
            (ResetCause::Trimmed, Some((log_start, _))) => log_start.min(range.until()),
            _ => range.range().until(),
        };
        let mut reset = Reset::new(range.topic_partition().clone(), cause, from, to);
        reset.old_epoch = range.read_epoch().or_else(|| range.planned_epoch());
        reset.new_epoch = new_epoch;
        reset.old_topic_id = new_topic_id.and_then(|_| range.topic_id());
        reset.new_topic_id = new_topic_id;
        tracing::warn!(range = %range.range(), ?cause, %from, %to, "offsets were lost");
        if cause == ResetCause::Trimmed {
            range.skip(reset);
        } else {
            range.shorten(left, reset);
        }
        Ok(())
    }
}

/// After a change of leader: where the log parted from what was read or planned of it.
async fn parted_at(
    range: &RangeState,
    queries: &dyn PartitionQueries,
) -> Result<Option<Offset>, WireError> {
    let tp = range.topic_partition();
    if let Some(read) = range.read_epoch()
        && let Some((epoch, end)) = queries.find_epoch_end(tp, read).await?
        && (end < range.position() || epoch < read)
    {
        return Ok(Some(end.min(range.position())));
    }
    if let Some(planned) = range.planned_epoch()
        && let Some((_, end)) = queries.find_epoch_end(tp, planned).await?
        && end < range.until()
    {
        return Ok(Some(end));
    }
    Ok(None)
}
