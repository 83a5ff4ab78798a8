//! Remarks on stderr about a plan: what open transactions withhold, which offsets are skipped.

use kafka_direct::{BatchPlan, IsolationLevel, Reset, ResetCause};

use crate::output;

/// Says which offsets open transactions withhold, and which the plan skips.
pub(crate) fn note_plan(plan: &BatchPlan) {
    if plan.isolation() == IsolationLevel::ReadCommitted {
        for partition in plan.partitions() {
            let marks = partition.watermarks;
            if marks.withheld() > 0 {
                output::note(&format!(
                    "{}: open transactions withhold {} offsets, [{}, {})",
                    partition.topic_partition,
                    marks.withheld(),
                    marks.last_stable,
                    marks.high,
                ));
            }
        }
    }
    note_resets(plan.resets());
}

/// Says which offsets were skipped and why.
pub(crate) fn note_resets(resets: &[Reset]) {
    for reset in resets {
        let why = match reset.cause {
            ResetCause::Trimmed => "were trimmed off the log",
            ResetCause::Truncated => "were lost to an unclean leader election",
            ResetCause::Recreated => "belong to a topic that was re-created",
            ResetCause::Deleted => "belong to a topic that was deleted",
            _ => "do not exist",
        };
        let Reset { topic_partition, from, to, .. } = reset;
        output::note(&format!("{topic_partition}: offsets [{from}, {to}) {why} and are skipped"));
    }
}
