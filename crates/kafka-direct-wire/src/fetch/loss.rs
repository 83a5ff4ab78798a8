//! Detects lost offsets of a range by leader epochs, and applies the data-loss policy.
//!
//! Only an election truncates a log. So no query is necessary while the leader's epoch is the one
//! under which the range was planned or read. After a change, two queries detect a truncation
//! (KIP-320):
//!
//! - For the bytes that were read: does their last epoch still end at or after the position?
//! - For the records that were planned: do the epochs up to the planned one still reach the range's
//!   end? No record of the range has a later epoch. If they end before it, the records after their
//!   end were written later, whatever the log's end is now.
//!
//! No loss is silent: it is an error under `fail` and a recorded [`Reset`] under `resume`.

use kafka_direct_core::{DataLossPolicy, Offset, Reset, ResetCause, TopicId};

use super::range_state::RangeState;
use crate::{
    error::WireError,
    queries::{ListOffset, PartitionQueries},
    topology::Leader,
};

/// A loss of offsets: its cause, and the state of the log and topic after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loss {
    cause: ResetCause,
    /// The log start offset and the end of the remaining log, exclusive; `None` if there is no log.
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

    /// Returns the part of the range that `leader` has lost. Queries only if the leader's epoch is
    /// new.
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
        let Some(end) = find_divergence(range, queries).await? else { return Ok(None) };
        let log_start = queries.find_offset(range.topic_partition(), ListOffset::Earliest).await?;
        let loss = Self::new(ResetCause::Truncated, Some((log_start, end.max(log_start))));
        Ok(Some(Self { new_epoch: leader.epoch, ..loss }))
    }

    /// Applies the data-loss policy.
    ///
    /// Under `resume`, reading continues at the log start offset of a trimmed log. In all other
    /// cases the range is shortened to its remaining offsets. The next plan begins at the new end,
    /// because the offsets after it hold other records.
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

/// Returns the offset from which a new leader's log differs from the records read or planned.
/// `None` if no difference is known.
async fn find_divergence(
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
