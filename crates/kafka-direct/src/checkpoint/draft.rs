//! What a driver gives to the log of its stream, and what it gets back: [`PlanDraft`],
//! [`LoggedPlan`], [`CommitDraft`].

use std::collections::BTreeSet;

use kafka_direct_core::{BatchPlan, Reset, TopicPartition};

use super::entry::OffsetsEntry;
use crate::{BatchEnd, EndPosition, RangeSummary};

/// A plan that is to be logged.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PlanDraft {
    /// What the batch reads. Each of its partitions says where it ends. A partition without a range
    /// whose position stays may be left out, which keeps the entry small.
    pub plan: BatchPlan,
    /// The time now, in milliseconds since 1970-01-01 UTC.
    pub time_millis: i64,
    /// Partitions that have no position and follow the stream's own start once they have a leader.
    pub pending: Vec<TopicPartition>,
    /// What the stream has learnt about the rate of its sink, in its own words.
    pub rate: Option<serde_json::Value>,
    /// Where the records go, in the words of who runs the stream.
    pub sink: Option<String>,
}

impl PlanDraft {
    /// A draft of `plan`, without pending partitions and without a learnt rate.
    #[must_use]
    pub const fn new(plan: BatchPlan, time_millis: i64) -> Self {
        Self { plan, time_millis, pending: Vec::new(), rate: None, sink: None }
    }

    /// Adds the partitions that have no position yet.
    #[must_use]
    pub fn with_pending(mut self, pending: Vec<TopicPartition>) -> Self {
        self.pending = pending;
        self
    }

    /// Adds what the stream has learnt about the rate of its sink.
    #[must_use]
    pub fn with_rate(mut self, rate: Option<serde_json::Value>) -> Self {
        self.rate = rate;
        self
    }

    /// Adds where the records go.
    #[must_use]
    pub fn with_sink(mut self, sink: Option<String>) -> Self {
        self.sink = sink;
        self
    }
}

/// A batch that is planned durably.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoggedPlan {
    /// What the batch reads.
    pub entry: OffsetsEntry,
    /// Whether it is another plan than the caller's, by an older driver or an earlier call. The
    /// caller's plan is dropped.
    pub is_adopted: bool,
}

/// What became of a batch, as the sink has stored it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CommitDraft {
    /// The achieved end of every partition with a planned range.
    pub achieved: Vec<EndPosition>,
    /// The offsets that reading skipped.
    pub resets: Vec<Reset>,
    /// The time now, in milliseconds since 1970-01-01 UTC.
    pub time_millis: i64,
}

impl CommitDraft {
    /// The end of a batch of `plan`, of whose ranges `summaries` says what was read, in plan order.
    #[must_use]
    pub fn new(plan: &BatchPlan, summaries: &[RangeSummary], time_millis: i64) -> Self {
        let planned: BTreeSet<_> = plan.ranges().iter().map(|p| p.topic_partition()).collect();
        let mut achieved = BatchEnd::new(plan, summaries).positions;
        achieved.retain(|position| planned.contains(&position.topic_partition));
        let resets = summaries.iter().flat_map(|summary| summary.resets.iter().cloned()).collect();
        Self { achieved, resets, time_millis }
    }

    /// The achieved ends and resets that a sink has stored.
    #[must_use]
    pub const fn restored(
        achieved: Vec<EndPosition>,
        resets: Vec<Reset>,
        time_millis: i64,
    ) -> Self {
        Self { achieved, resets, time_millis }
    }
}
