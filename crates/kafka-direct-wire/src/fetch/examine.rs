//! Queries the cluster about a stop: the log's bounds, or whether the topic was recreated or is
//! missing.

use kafka_direct_core::{IsolationLevel, Offset, TopicId};

use super::{range_state::RangeState, stop::Stop};
use crate::{
    code,
    error::WireError,
    queries::{ListOffset, PartitionQueries},
    topology::Refresh,
};

/// What the cluster reported about a stop.
#[derive(Debug)]
pub(super) enum Finding {
    /// No query was necessary.
    Plain,
    /// The log's bounds now.
    Bounds(Bounds),
    /// The topic has another id now, which means that it was recreated.
    Recreated(TopicId),
    /// The leader lookup failed with this error, or the topic is unknown.
    NoTopic(WireError),
}

/// The bounds of a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) log_start: Offset,
    /// Records below this offset are in remote storage only.
    pub(super) local_start: Offset,
    /// The readable end, exclusive.
    pub(super) end: Offset,
}

/// Queries the cluster for the facts that a decision on `stop` needs. Changes nothing.
///
/// `refresh` is how fresh the leader's metadata must be. `is_last_empty` is whether this empty
/// response is the last one before the rest of the range counts as a hole.
pub(super) async fn examine(
    stop: &Stop,
    range: &RangeState,
    queries: &dyn PartitionQueries,
    refresh: Refresh,
    is_last_empty: bool,
) -> Result<Finding, WireError> {
    if !matches!(stop, Stop::Empty { .. } | Stop::Code { code: code::OFFSET_OUT_OF_RANGE, .. }) {
        return Ok(Finding::Plain);
    }
    match queries.find_leader(range.topic_partition(), refresh).await {
        Ok(leader) => {
            if let Some(id) = range.other_topic_id(&leader) {
                return Ok(Finding::Recreated(id));
            }
        }
        Err(error) => return Ok(Finding::NoTopic(error)),
    }
    match find_bounds(stop, range, queries, is_last_empty).await {
        Ok(bounds) => Ok(Finding::Bounds(bounds)),
        Err(error @ WireError::UnknownTopic { .. }) => Ok(Finding::NoTopic(error)),
        Err(error) => Err(error),
    }
}

async fn find_bounds(
    stop: &Stop,
    range: &RangeState,
    queries: &dyn PartitionQueries,
    is_last_empty: bool,
) -> Result<Bounds, WireError> {
    let tp = range.topic_partition();
    let which = match range.isolation() {
        IsolationLevel::ReadCommitted => ListOffset::LatestCommitted,
        IsolationLevel::ReadUncommitted => ListOffset::LatestUncommitted,
    };
    let log_start = queries.find_offset(tp, ListOffset::Earliest).await?;
    let end = queries.find_offset(tp, which).await?.max(log_start);
    let is_hole = is_last_empty
        && matches!(stop, Stop::Empty { end: stop_end } if (*stop_end).min(end) >= range.until());
    let local_start =
        if is_hole { find_local_start(range, queries, log_start).await? } else { log_start };
    Ok(Bounds { log_start, local_start, end })
}

/// Returns the first offset that is not only in remote storage (KIP-405).
async fn find_local_start(
    range: &RangeState,
    queries: &dyn PartitionQueries,
    log_start: Offset,
) -> Result<Offset, WireError> {
    match queries.find_offset(range.topic_partition(), ListOffset::EarliestLocal).await {
        Ok(local_start) => Ok(local_start.max(log_start)),
        // The broker supports the request version but not this special timestamp.
        Err(WireError::Broker { code: code::UNSUPPORTED_VERSION, .. }) => Ok(log_start),
        Err(error) => Err(error),
    }
}
