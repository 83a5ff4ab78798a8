//! Resolves the start and the end of one partition to offsets inside its log.
//!
//! The data-loss policy applies to offsets that a caller gives or a group committed. Offsets that
//! come from the log itself (earliest, latest, from the end, by timestamp) are clamped to it, since
//! their lookups ran at different times.

use kafka_direct_core::{
    DataLossPolicy, IsolationLevel, Offset, OffsetRange, Reset, ResetCause, TopicId, TopicPartition,
};

use crate::{
    DriverError, EndOffset, Lookups, NoMatch, PartitionState, Selection, Side, StartOffset,
    numbers::check_numbers,
};

/// The readable part of a log; `log_start <= end <= high`.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) log_start: Offset,
    pub(crate) end: Offset,
    /// Under read_committed, open transactions withhold the offsets from `end` to here.
    pub(crate) high: Offset,
}

impl Bounds {
    pub(crate) fn of(
        state: &PartitionState,
        isolation: IsolationLevel,
    ) -> Result<Self, DriverError> {
        let (log_start, end) = (state.watermarks.log_start, state.watermarks.end(isolation));
        if log_start < Offset::ZERO {
            return Err(DriverError::BadNumber {
                topic_partition: Some(state.topic_partition.clone()),
                setting: "log start",
                value: log_start.get().into(),
                problem: "is not an offset; request the partition's offsets from the broker again",
            });
        }
        Ok(Self { log_start, end, high: state.watermarks.high.max(end) })
    }

    fn clamp(self, offset: Offset) -> Offset {
        offset.clamp(self.log_start, self.end)
    }

    /// Whether open transactions withhold records below `offset`. One above the log falls under the
    /// policy first: it is an error under `fail`, and the end of the log under `resume`.
    fn withholds(self, offset: Offset, policy: DataLossPolicy) -> bool {
        let reached = match policy {
            DataLossPolicy::Fail => offset,
            DataLossPolicy::Resume => offset.min(self.high),
        };
        reached > self.end && reached <= self.high
    }

    fn before_end(self, back: i64) -> Offset {
        self.clamp(Offset::new(self.end.get().saturating_sub(back)))
    }
}

/// A resolved start, and whether an end before it is an error.
struct Start {
    offset: Offset,
    /// The same offset if it is an explicit bound, before it was clamped to the readable bounds.
    explicit: Option<Offset>,
    /// Whether nothing may be left to read, so that an end before the start is not an error.
    nothing_left: bool,
}

/// A resolved end.
struct End {
    offset: Offset,
    /// The same offset if it is an explicit bound, and not relative to the readable end.
    explicit: Option<Offset>,
}

/// Resolves `start` and `end` to the range of one partition.
///
/// Adds the offsets that policy `resume` skips to `resets`.
pub(crate) fn resolve(
    selection: &Selection,
    state: &PartitionState,
    (start, end): (&StartOffset, &EndOffset),
    lookups: &Lookups,
    resets: &mut Vec<Reset>,
) -> Result<OffsetRange, DriverError> {
    let topic_partition = &state.topic_partition;
    check_numbers(topic_partition, Some(start), Some(end))?;
    let bounds = Bounds::of(state, selection.isolation)?;
    let resets_before = resets.len();
    let from = start_offset(selection, state, start, bounds, lookups, resets)?;
    let until = end_offset(topic_partition, end, bounds, lookups)?;
    // A start after an explicit end that is readable has nothing to wait for.
    let start_bound = from.explicit.filter(|_| until.explicit.is_none());
    let withheld = [(Side::Start, start_bound), (Side::End, until.explicit)];
    let until = until.offset;
    let backwards = || DriverError::Backwards {
        topic_partition: topic_partition.clone(),
        start: start.clone(),
        from: from.offset,
        end: end.clone(),
        until,
    };
    if let (StartOffset::At(from), EndOffset::At(until)) = (start, end)
        && from > until
    {
        return Err(backwards());
    }
    if let (StartOffset::Timestamp { millis: from, .. }, EndOffset::Timestamp { millis: until }) =
        (start, end)
        && from > until
    {
        return Err(backwards());
    }
    for bound in withheld {
        check_not_withheld(selection, state, bounds, bound)?;
    }
    let (low, high) = fit(selection, state, bounds, (from.offset, until), resets)?;
    let clamped = resets.len() != resets_before;
    if low > high && !clamped && !from.nothing_left && !is_forward_in_time(start, end) {
        return Err(backwards());
    }
    Ok(OffsetRange::new(topic_partition.clone(), low.min(high), high)?)
}

/// Resolves the `start` of a partition that a stream begins to follow.
///
/// A start that open transactions withhold is not an error, since a stream waits for it. Adds the
/// offsets that policy `resume` skips to `resets`.
pub(crate) fn resolve_start(
    selection: &Selection,
    state: &PartitionState,
    start: &StartOffset,
    lookups: &Lookups,
    resets: &mut Vec<Reset>,
) -> Result<Offset, DriverError> {
    check_numbers(&state.topic_partition, Some(start), None)?;
    let bounds = Bounds::of(state, selection.isolation)?;
    let start = start_offset(selection, state, start, bounds, lookups, resets)?;
    let wanted = start.explicit.unwrap_or(start.offset);
    let to_high = Bounds { end: bounds.high, ..bounds };
    Ok(fit(selection, state, to_high, (wanted, wanted), resets)?.0)
}

/// Refuses an explicit bound that open transactions withhold: the batch would be incomplete, and a
/// later one would not read the records that are missing.
fn check_not_withheld(
    selection: &Selection,
    state: &PartitionState,
    bounds: Bounds,
    (side, wanted): (Side, Option<Offset>),
) -> Result<(), DriverError> {
    match wanted.filter(|wanted| bounds.withholds(*wanted, selection.on_data_loss)) {
        None => Ok(()),
        Some(wanted) => Err(DriverError::Withheld {
            topic_partition: state.topic_partition.clone(),
            side,
            wanted,
            watermarks: state.watermarks,
        }),
    }
}

/// Fits one explicit range into the log by the data-loss policy.
pub(crate) fn fit_range(
    selection: &Selection,
    state: &PartitionState,
    range: &OffsetRange,
    resets: &mut Vec<Reset>,
) -> Result<OffsetRange, DriverError> {
    let bounds = Bounds::of(state, selection.isolation)?;
    check_not_withheld(selection, state, bounds, (Side::End, Some(range.until())))?;
    let (from, until) = fit(selection, state, bounds, (range.from(), range.until()), resets)?;
    Ok(OffsetRange::new(range.topic_partition().clone(), from, until)?)
}

fn start_offset(
    selection: &Selection,
    state: &PartitionState,
    mut start: &StartOffset,
    bounds: Bounds,
    lookups: &Lookups,
    resets: &mut Vec<Reset>,
) -> Result<Start, DriverError> {
    let topic_partition = &state.topic_partition;
    let offset = loop {
        break match start {
            StartOffset::Earliest => bounds.log_start,
            StartOffset::Latest => bounds.end,
            StartOffset::At(offset) => *offset,
            StartOffset::FromEnd(back) => bounds.before_end(*back),
            StartOffset::Timestamp { millis, no_match } => {
                match (lookups.timestamp(topic_partition, *millis)?, no_match) {
                    (Some(offset), _) => {
                        let explicit = Some(offset.clamp(bounds.log_start, bounds.high));
                        let offset = bounds.clamp(offset);
                        return Ok(Start { offset, explicit, nothing_left: false });
                    }
                    (None, NoMatch::Latest) => {
                        // Open transactions may withhold records that are older than the start.
                        let (offset, explicit) = (bounds.end, Some(bounds.high));
                        return Ok(Start { offset, explicit, nothing_left: true });
                    }
                    (None, NoMatch::Error) => {
                        return Err(DriverError::NoRecordSince {
                            topic_partition: topic_partition.clone(),
                            millis: *millis,
                        });
                    }
                }
            }
            StartOffset::After { offset, topic_id } => {
                match topic_id.zip(state.topic_id).filter(|(then, now)| then != now) {
                    None => *offset,
                    Some((old, new)) => {
                        resets.push(recreated(
                            selection.on_data_loss,
                            state,
                            bounds.log_start,
                            (old, new),
                        )?);
                        bounds.log_start
                    }
                }
            }
            StartOffset::GroupCommitted { group, fallback } => {
                // A group that committed an offset after the end has read the range already.
                if let Some(offset) = lookups.committed(group, topic_partition)? {
                    return Ok(Start { offset, explicit: Some(offset), nothing_left: true });
                }
                start = fallback;
                continue;
            }
        };
    };
    let is_explicit = matches!(start, StartOffset::At(_) | StartOffset::After { .. });
    Ok(Start { offset, explicit: Some(offset).filter(|_| is_explicit), nothing_left: false })
}

/// The reset of a topic that was re-created, if the policy allows it. Nothing of the new topic is
/// skipped: what the old one still had cannot be counted.
pub(crate) fn recreated(
    policy: DataLossPolicy,
    state: &PartitionState,
    at: Offset,
    (old, new): (TopicId, TopicId),
) -> Result<Reset, DriverError> {
    let topic_partition = state.topic_partition.clone();
    match policy {
        DataLossPolicy::Fail => {
            Err(DriverError::Recreated { topic_partition, old, new, log_start: at })
        }
        DataLossPolicy::Resume => {
            let mut reset = Reset::new(topic_partition, ResetCause::Recreated, at, at);
            reset.new_epoch = state.leader_epoch;
            (reset.old_topic_id, reset.new_topic_id) = (Some(old), Some(new));
            Ok(reset)
        }
    }
}

fn end_offset(
    topic_partition: &TopicPartition,
    end: &EndOffset,
    bounds: Bounds,
    lookups: &Lookups,
) -> Result<End, DriverError> {
    let relative = |offset| Ok(End { offset, explicit: None });
    match end {
        EndOffset::Latest => relative(bounds.end),
        EndOffset::FromEnd(back) => relative(bounds.before_end(*back)),
        EndOffset::At(offset) => Ok(End { offset: *offset, explicit: Some(*offset) }),
        EndOffset::Timestamp { millis } => {
            // Without a match the end is the end of the log, withheld records included.
            let found = lookups.timestamp(topic_partition, *millis)?.unwrap_or(bounds.high);
            let explicit = Some(found.clamp(bounds.log_start, bounds.high));
            Ok(End { offset: bounds.clamp(found), explicit })
        }
    }
}

/// Whether both are timestamps, and the start is not after the end.
///
/// Their offsets can then be in reverse order only because their lookups ran at different times.
fn is_forward_in_time(start: &StartOffset, end: &EndOffset) -> bool {
    matches!(
        (start, end),
        (StartOffset::Timestamp { millis: from, .. }, EndOffset::Timestamp { millis: until })
            if from <= until
    )
}

/// Clamps the range `wanted` to the bounds, or fails, as the data-loss policy says.
fn fit(
    selection: &Selection,
    state: &PartitionState,
    bounds: Bounds,
    wanted: (Offset, Offset),
    resets: &mut Vec<Reset>,
) -> Result<(Offset, Offset), DriverError> {
    let (from, until) = wanted;
    let fitted = (bounds.clamp(from), bounds.clamp(until));
    if fitted == wanted {
        return Ok(fitted);
    }
    match selection.on_data_loss {
        DataLossPolicy::Fail => {
            let (side, asked) =
                if fitted.0 == from { (Side::End, until) } else { (Side::Start, from) };
            Err(DriverError::OutOfBounds {
                topic_partition: state.topic_partition.clone(),
                side,
                asked,
                watermarks: state.watermarks,
                isolation: selection.isolation,
            })
        }
        DataLossPolicy::Resume => {
            let below = below_log_start(bounds.log_start, from, until);
            let above = above_end(bounds.end, from, until);
            for (from, to) in below.into_iter().chain(above) {
                let tp = state.topic_partition.clone();
                let mut reset = Reset::new(tp, ResetCause::Clamped, from, to);
                reset.new_epoch = state.leader_epoch;
                resets.push(reset);
            }
            Ok(fitted)
        }
    }
}

/// The part of `[from, until)` below the log start offset, to record as clamped.
///
/// If the range is empty but `until` is below the log start offset, the part from `until` to the
/// log start offset, so that every clamp is recorded.
fn below_log_start(log_start: Offset, from: Offset, until: Offset) -> Option<(Offset, Offset)> {
    if from < until {
        (from < log_start).then(|| (from, until.min(log_start)))
    } else {
        (until < log_start).then_some((until, log_start))
    }
}

/// The part of `[from, until)` above the readable end, to record as clamped.
///
/// If the range is empty but `from` is above the end, the part from the end to `from`.
fn above_end(end: Offset, from: Offset, until: Offset) -> Option<(Offset, Offset)> {
    if from < until {
        (until > end).then(|| (from.max(end), until))
    } else {
        (from > end).then_some((end, from))
    }
}
