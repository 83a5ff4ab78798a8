//! Prints remarks on a plan to stderr: withheld and skipped offsets, and ranges that are very small.

use kafka_direct::{BatchPlan, IsolationLevel, Reset, ResetCause};

use crate::output;

/// Prints which offsets open transactions withhold, and which offsets the plan skips.
pub(crate) fn note_plan(plan: &BatchPlan) {
    note_small_ranges(plan);
    if plan.isolation() == IsolationLevel::ReadCommitted {
        for partition in plan.partitions() {
            let marks = partition.watermarks;
            if marks.withheld() > 0 {
                output::note(&format!(
                    "{}: open transactions withhold {} offsets, [{}, {})",
                    partition.topic_partition,
                    marks.withheld(),
                    marks.end(IsolationLevel::ReadCommitted),
                    marks.high,
                ));
            }
        }
    }
    note_resets(plan.resets());
}

/// Pieces of a partition that span fewer offsets than this are likely smaller than a Kafka batch.
const SMALL_RANGE: i64 = 1000;
/// With fewer ranges than this, the size of each costs little.
const MANY_RANGES: usize = 100;

/// Prints a remark if a partition is split into pieces that are likely smaller than a batch.
pub(crate) fn note_small_ranges(plan: &BatchPlan) {
    let pieces = plan.ranges().iter().filter(|planned| planned.piece() > 0).count();
    let ranges = plan.ranges().len();
    let average = i64::try_from(ranges).ok().and_then(|count| plan.span().checked_div(count));
    let is_small = |average: &i64| pieces > 0 && ranges >= MANY_RANGES && *average < SMALL_RANGE;
    if let Some(average) = average.filter(is_small) {
        output::note(&format!(
            "{ranges} ranges of {average} offsets on average: a Kafka batch often has more records, and each range fetches its batches whole; split less to fetch less"
        ));
    }
}

/// Prints which offsets are skipped and why.
pub(crate) fn note_resets(resets: &[Reset]) {
    for reset in resets {
        let why = match reset.cause {
            ResetCause::Trimmed => "were trimmed from the log",
            ResetCause::Truncated => "were lost to an unclean leader election",
            ResetCause::Recreated => "belong to a topic that was re-created",
            ResetCause::Deleted => "belong to a topic that was deleted",
            _ => "do not exist",
        };
        let Reset { topic_partition, from, to, .. } = reset;
        if reset.cause == ResetCause::Recreated && from == to {
            output::note(&format!(
                "{topic_partition}: the topic was re-created and is read from offset {from}"
            ));
            continue;
        }
        output::note(&format!("{topic_partition}: offsets [{from}, {to}) {why} and are skipped"));
    }
}
