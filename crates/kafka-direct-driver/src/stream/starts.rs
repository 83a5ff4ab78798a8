//! Where a stream starts in partitions that it does not follow yet.
//!
//! - A topic that newly matches the subscription follows the stream's own start. Only the cluster can
//!   resolve it, so the caller does that before it plans: [`needs_start`], then
//!   [`lookups_needed`](crate::lookups_needed), then [`resolve_starts`].
//! - A new partition of a followed topic starts at earliest, and needs no start.

use std::collections::BTreeMap;

use kafka_direct_core::{Reset, TopicPartition};

use crate::{
    Lookups, PartitionState, Position, Positions, Selection, error::DriverError,
    resolve::resolve_start,
};

/// The resolved starts of partitions that a stream begins to follow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResolvedStarts {
    starts: BTreeMap<TopicPartition, Position>,
    resets: Vec<Reset>,
}

impl ResolvedStarts {
    /// The start of a partition; `None` if none was resolved.
    #[must_use]
    pub fn get(&self, topic_partition: &TopicPartition) -> Option<&Position> {
        self.starts.get(topic_partition)
    }

    /// The offsets that the policy `resume` skipped, since a start was outside the log.
    #[must_use]
    pub fn resets(&self) -> &[Reset] {
        &self.resets
    }
}

/// Returns the states of partitions that follow the stream's own start: those of a topic of which the
/// stream follows no partition yet, and those in [`Positions::pending`].
///
/// The caller resolves their starts with [`resolve_starts`]. `states` must be of subscribed partitions.
#[must_use]
pub fn needs_start<'a>(
    positions: &Positions,
    states: &'a [PartitionState],
) -> Vec<&'a PartitionState> {
    let is_new = |tp: &TopicPartition| {
        positions.get(tp).is_none()
            && (positions.is_pending(tp) || !positions.follows_topic(tp.topic()))
    };
    states.iter().filter(|state| is_new(&state.topic_partition)).collect()
}

/// Resolves the starts of `selection` for partitions that a stream begins to follow. Its ends and
/// limits are ignored.
///
/// - "Latest" is the readable end.
/// - Open transactions may withhold an explicit start. The stream then waits for it.
/// - After the first start of a stream, remove the entries of other partitions from
///   [`Selection::starts`] with [`ByPartition::retain`](crate::ByPartition::retain). They are refused.
///
/// # Errors
/// As for [`plan`](crate::plan):
/// - `OffsetLost`: a start is outside the log (policy `fail`).
/// - `Invalid`: a map that does not fit the partitions, a timestamp without a record, or a negative
///   number.
/// - `Internal`: the result of a lookup is missing.
pub fn resolve_starts(
    selection: &Selection,
    states: Vec<PartitionState>,
    lookups: &Lookups,
) -> Result<ResolvedStarts, DriverError> {
    let states = selection.select(states)?;
    selection.check_maps(&states)?;
    let mut resolved = ResolvedStarts::default();
    for state in &states {
        // It exists, since `check_maps` succeeded.
        if let Some(start) = selection.starts.of(&state.topic_partition) {
            let offset = resolve_start(selection, state, start, lookups, &mut resolved.resets)?;
            resolved.starts.insert(state.topic_partition.clone(), Position::new(state, offset));
        }
    }
    Ok(resolved)
}
