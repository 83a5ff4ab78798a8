//! What the cluster says about a stop: the log's bounds, or that the topic is another or missing.

use kafka_direct_core::{IsolationLevel, Offset, TopicId};

use super::{range_state::RangeState, stop::Stop};
use crate::{
    code,
    error::WireError,
    queries::{ListOffset, PartitionQueries},
    topology::Refresh,
};

/// What was found out about a stop.
#[derive(Debug)]
pub(super) enum Finding {
    /// Nothing had to be asked.
    Plain,
    /// The log's bounds.
    Bounds(Bounds),
    /// The topic's name has another id.
    Recreated(TopicId),
    /// The topic cannot be found, for this reason.
    NoTopic(WireError),
}

/// The bounds of a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) log_start: Offset,
    /// Below it records are in remote storage only.
    pub(super) local_start: Offset,
    /// The readable end, exclusive.
    pub(super) end: Offset,
}

/// Asks the cluster what must be known to decide on `stop`. Changes nothing.
///
/// The leader is looked up as fresh as `refresh`. `is_last_empty` says whether this empty response is
/// the one after which a rest without records counts as a hole.
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
        && matches!(stop, Stop::Empty { end: answered } if (*answered).min(end) >= range.until());
    let local_start =
        if is_hole { find_local_start(range, queries, log_start).await? } else { log_start };
    Ok(Bounds { log_start, local_start, end })
}

/// Where the part of the log begins that is not in remote storage only (KIP-405).
async fn find_local_start(
    range: &RangeState,
    queries: &dyn PartitionQueries,
    log_start: Offset,
) -> Result<Offset, WireError> {
    match queries.find_offset(range.topic_partition(), ListOffset::EarliestLocal).await {
        Ok(local_start) => Ok(local_start.max(log_start)),
        // A broker that supports the version and does not know this timestamp.
        Err(WireError::Broker { code: code::UNSUPPORTED_VERSION, .. }) => Ok(log_start),
        Err(error) => Err(error),
    }
}
