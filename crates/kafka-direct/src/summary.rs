//! What was read of one planned range.

use kafka_direct_core::{Offset, PlannedRange, Reset, TopicPartition};
use serde::{Deserialize, Serialize};

/// What was read of one planned range: where reading ended, how much it was, what was skipped.
///
/// It depends on the plan and the log alone, not on time, place or the number of attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RangeSummary {
    /// Topic and partition.
    #[serde(flatten)]
    pub topic_partition: TopicPartition,
    /// First planned offset, inclusive.
    pub from: Offset,
    /// Planned end, exclusive.
    pub until: Offset,
    /// The achieved end, exclusive: `until`, or less where the log ended early under the data-loss
    /// policy `resume`.
    pub reached: Offset,
    /// Records delivered.
    pub records: u64,
    /// Bytes of the values of those records; 0 if the value column was not read.
    pub value_bytes: u64,
    /// Offsets inside the range that were lost and skipped (policy `resume`).
    pub skipped_offsets: i64,
    /// Every skip, with its cause.
    pub resets: Vec<Reset>,
}

impl RangeSummary {
    /// The summary of a range that was read to its planned end and had no records.
    #[must_use]
    pub fn new(planned: &PlannedRange) -> Self {
        let range = planned.range();
        Self {
            topic_partition: planned.topic_partition().clone(),
            from: range.from(),
            until: range.until(),
            reached: range.until(),
            records: 0,
            value_bytes: 0,
            skipped_offsets: 0,
            resets: Vec::new(),
        }
    }
}
