//! Builds a batch plan from a selection, the results of lookups and the state of partitions.

use kafka_direct_core::{BatchPlan, Offset, OffsetRange, PlannedPartition, PlannedRange, Reset};

use crate::{
    DriverError, Lookups, PartitionState, Selection, Side,
    resolve::{fit_range, resolve},
    split::try_split,
};

/// Plans one batch: every selected partition from its start to its end, split by the limits of the
/// selection.
///
/// Keeps INV-1: a plan is a pure function of its inputs. The order of `partitions`, in which
/// metadata arrived, never changes it.
///
/// - `cluster` is the id of the cluster, if it has one. A reader of another cluster refuses the
///   plan.
/// - `lookups` must have the results of all [`lookups_needed`](crate::lookups_needed).
/// - Offsets outside the log fail, or are clamped and recorded in [`BatchPlan::resets`], as the
///   data-loss policy says.
/// - Partitions with nothing to read have no range, but are in [`BatchPlan::partitions`].
///
/// A start after the end is an error, except if it only means that nothing is left to read:
///
/// - The start is a timestamp after all records, or a committed offset.
/// - Both are timestamps, and the start's is not after the end's.
/// - Clamping put the start after the end.
///
/// # Errors
/// - `OffsetLost`: a requested or committed offset is outside the log (policy `fail`).
/// - `Invalid`: a start after an end, a map that does not fit the partitions, a timestamp without a
///   record, a number out of range, or a split into more than
///   [`MAX_PLANNED_RANGES`](crate::MAX_PLANNED_RANGES).
/// - `Internal`: the result of a lookup is missing.
pub fn plan(
    selection: &Selection,
    cluster: Option<String>,
    partitions: Vec<PartitionState>,
    lookups: &Lookups,
) -> Result<BatchPlan, DriverError> {
    let states = selection.select(partitions)?;
    selection.check_maps(&states)?;
    let mut ranges = Vec::with_capacity(states.len());
    let mut resets = Vec::new();
    for state in &states {
        let ends = (
            selection.starts.of(&state.topic_partition),
            selection.ends.of(&state.topic_partition),
        );
        // Both exist, since `check_maps` succeeded.
        if let (Some(start), Some(end)) = ends {
            let range = resolve(selection, state, (start, end), lookups, &mut resets)?;
            ranges.push(state.planned(range, selection.isolation));
        }
    }
    finish(selection, cluster, states, ranges, resets)
}

/// Plans one batch of explicit ranges, which may be several disjoint ones per partition.
///
/// Range `i` in the order of topic, partition and offset is partition `i` of the batch, unless the
/// selection has limits that split it. Empty ranges are checked and then dropped.
///
/// The starts and ends of the selection are ignored; its isolation, data-loss policy, limits and
/// partition indices apply. Everything else is as for [`plan`].
///
/// # Errors
/// - `OffsetLost`: a range is not inside the log (policy `fail`).
/// - `Invalid`: two ranges overlap, a range names a partition that is not selected or does not
///   exist, or a limit as for [`plan`].
pub fn plan_ranges(
    mut ranges: Vec<OffsetRange>,
    selection: &Selection,
    cluster: Option<String>,
    partitions: Vec<PartitionState>,
) -> Result<BatchPlan, DriverError> {
    let states = selection.select(partitions)?;
    ranges.sort();
    let mut planned: Vec<PlannedRange> = Vec::with_capacity(ranges.len());
    let mut unknown = Vec::new();
    let mut resets = Vec::new();
    let mut previous: Option<&OffsetRange> = None;
    for range in &ranges {
        let tp = range.topic_partition();
        let found = states.binary_search_by(|state| state.topic_partition.cmp(tp));
        let Some(state) = found.ok().and_then(|index| states.get(index)) else {
            unknown.push(tp.clone());
            continue;
        };
        if !unknown.is_empty() {
            continue;
        }
        if let Some(first) =
            previous.filter(|p| p.topic_partition() == tp && p.until() > range.from())
            && !range.is_empty_span()
        {
            return Err(DriverError::Overlap { first: first.clone(), second: range.clone() });
        }
        if !range.is_empty_span() {
            previous = Some(range);
        }
        let fitted = fit_range(selection, state, range, &mut resets)?;
        planned.push(state.planned(fitted, selection.isolation));
    }
    if !unknown.is_empty() {
        unknown.dedup();
        return Err(DriverError::NotSelected { side: Side::Range, partitions: unknown });
    }
    finish(selection, cluster, states, planned, resets)
}

fn finish(
    selection: &Selection,
    cluster: Option<String>,
    states: Vec<PartitionState>,
    ranges: Vec<PlannedRange>,
    resets: Vec<Reset>,
) -> Result<BatchPlan, DriverError> {
    let ends = ends(&states, &ranges);
    let (min, max) = (selection.min_partitions, selection.max_records_per_partition);
    let ranges = try_split(ranges, min, max)?;
    let partitions = states
        .into_iter()
        .zip(ends)
        .map(|(state, until)| PlannedPartition {
            until,
            topic_partition: state.topic_partition,
            watermarks: state.watermarks,
            topic_id: state.topic_id,
        })
        .collect();
    Ok(BatchPlan::new(cluster, selection.isolation, ranges, partitions, resets)?)
}

/// The planned end of each partition: the end of its last range. Both are in the order of partitions.
fn ends(states: &[PartitionState], ranges: &[PlannedRange]) -> Vec<Option<Offset>> {
    let mut rest = ranges.iter().peekable();
    let end = |state: &PartitionState| {
        let mut end: Option<Offset> = None;
        while let Some(planned) =
            rest.next_if(|planned| planned.topic_partition() == &state.topic_partition)
        {
            end = end.max(Some(planned.range().until()));
        }
        end
    };
    states.iter().map(end).collect()
}
