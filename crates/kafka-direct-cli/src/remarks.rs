//! Prints remarks on a plan to stderr: withheld and skipped offsets.

use kafka_direct::{BatchPlan, IsolationLevel, Reset, ResetCause};

use crate::output;

/// Prints which offsets open transactions withhold, and which offsets the plan skips.
pub(crate) fn note_plan(plan: &BatchPlan) {
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
        output::note(&format!("{topic_partition}: offsets [{from}, {to}) {why} and are skipped"));
    }
}
