//! The batch plan: which offsets of which partitions one batch reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    CoreError, IsolationLevel, Offset, PlannedRange, Reset, TopicId, TopicPartition, Watermarks,
};

/// The version of the plan's JSON that this build writes, and the newest that it reads.
pub const PLAN_VERSION: u32 = 1;

/// A partition that planning examined, with the bounds of its log at that time.
///
/// A plan also lists the partitions that have no offsets to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPartition {
    /// The partition (flattened into `topic` and `partition` in JSON).
    #[serde(flatten)]
    pub topic_partition: TopicPartition,
    /// The bounds of the log when the plan was made.
    #[serde(flatten)]
    pub watermarks: Watermarks,
    /// The topic's id, where the broker gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<TopicId>,
    /// The planned end, exclusive, also of a partition without a range: the next batch continues here.
    /// `None` only in plans of builds that did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Offset>,
}

/// The offset ranges of one batch: planned range `i` is partition `i` of the batch.
///
/// - Ranges are ordered by topic, partition and offset; none is empty; pieces of one partition
///   are contiguous ([`pieces_are_contiguous`]).
/// - A plan is self-contained and versioned: another process needs only the plan and a cluster
///   connection to read the batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BatchPlanText")]
pub struct BatchPlan {
    version: u32,
    cluster: Option<String>,
    isolation: IsolationLevel,
    ranges: Vec<PlannedRange>,
    partitions: Vec<PlannedPartition>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resets: Vec<Reset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selected_by: Option<BTreeMap<String, String>>,
}

/// Other fields are refused: a document with ranges and more, such as a receipt, is no plan.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchPlanText {
    version: u32,
    cluster: Option<String>,
    isolation: IsolationLevel,
    ranges: Vec<PlannedRange>,
    #[serde(default)]
    partitions: Vec<PlannedPartition>,
    #[serde(default)]
    resets: Vec<Reset>,
    #[serde(default)]
    selected_by: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl TryFrom<BatchPlanText> for BatchPlan {
    type Error = CoreError;

    fn try_from(plan: BatchPlanText) -> Result<Self, CoreError> {
        check_version(plan.version)?;
        let words = plan.selected_by;
        let plan =
            Self::new(plan.cluster, plan.isolation, plan.ranges, plan.partitions, plan.resets)?;
        Ok(Self { selected_by: words, ..plan })
    }
}

const fn check_version(found: u32) -> Result<(), CoreError> {
    if found == PLAN_VERSION {
        Ok(())
    } else {
        Err(CoreError::PlanVersion { found, known: PLAN_VERSION })
    }
}

impl BatchPlan {
    /// Builds a plan of `ranges`: sorts them into plan order and drops empty ones.
    ///
    /// `partitions` are all partitions that planning examined. `resets` are the offsets that
    /// clamping skipped.
    ///
    /// # Errors
    /// [`CoreError::PlanInconsistent`] if pieces of one partition have a gap or overlap, or if the
    /// isolation level of a range is not that of the plan.
    pub fn new(
        cluster: Option<String>,
        isolation: IsolationLevel,
        mut ranges: Vec<PlannedRange>,
        mut partitions: Vec<PlannedPartition>,
        resets: Vec<Reset>,
    ) -> Result<Self, CoreError> {
        ranges.retain(|planned| !planned.range().is_empty_span());
        ranges.sort_by(|a, b| a.range().cmp(b.range()));
        partitions.sort_by(|a, b| a.topic_partition.cmp(&b.topic_partition));
        if let Some(other) = ranges.iter().find(|planned| planned.isolation() != isolation) {
            return Err(CoreError::PlanInconsistent {
                topic_partition: other.topic_partition().clone(),
                reason: "the isolation level of a range is not that of the plan",
            });
        }
        pieces_are_contiguous(&ranges).map_err(|(topic_partition, reason)| {
            CoreError::PlanInconsistent { topic_partition, reason }
        })?;
        let (version, selected_by) = (PLAN_VERSION, None);
        Ok(Self { version, cluster, isolation, ranges, partitions, resets, selected_by })
    }

    /// Keeps in the plan by which settings it was selected, as names and values in the caller's words.
    /// They change nothing that is read.
    #[must_use]
    pub fn with_selected_by(mut self, words: BTreeMap<String, String>) -> Self {
        self.selected_by = Some(words);
        self
    }

    /// Reads a plan from its JSON.
    ///
    /// # Errors
    /// [`CoreError::PlanVersion`] for a plan of another version, [`CoreError::PlanText`] for text
    /// that is not a plan, [`CoreError::PlanInconsistent`] for a plan whose parts contradict each
    /// other.
    pub fn from_json(text: &str) -> Result<Self, CoreError> {
        let not_a_plan =
            |error: serde_json::Error| CoreError::PlanText { reason: error.to_string() };
        let VersionOnly { version } = serde_json::from_str(text).map_err(not_a_plan)?;
        check_version(version)?;
        serde_json::from_str::<BatchPlanText>(text).map_err(not_a_plan)?.try_into()
    }

    /// The plan as one JSON object, indented, ending in a line feed.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Serialising plain values into memory cannot fail.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The version of the plan's JSON.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The id of the cluster that the plan was made for, if it has one.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// The isolation level of every range.
    #[must_use]
    pub const fn isolation(&self) -> IsolationLevel {
        self.isolation
    }

    /// The non-empty ranges in plan order.
    #[must_use]
    pub fn ranges(&self) -> &[PlannedRange] {
        &self.ranges
    }

    /// Every partition that planning examined, also those without offsets to read.
    #[must_use]
    pub fn partitions(&self) -> &[PlannedPartition] {
        &self.partitions
    }

    /// The offsets that planning skipped under the data-loss policy `resume`.
    #[must_use]
    pub fn resets(&self) -> &[Reset] {
        &self.resets
    }

    /// By which settings the plan was selected, in the words of who made it; `None` if they were not
    /// kept.
    #[must_use]
    pub const fn selected_by(&self) -> Option<&BTreeMap<String, String>> {
        self.selected_by.as_ref()
    }

    /// How many offsets the plan covers, not how many records they hold.
    #[must_use]
    pub fn span(&self) -> i64 {
        self.ranges.iter().fold(0, |sum: i64, planned| sum.saturating_add(planned.range().span()))
    }

    /// Whether the plan covers no offset.
    #[must_use]
    pub fn is_empty_span(&self) -> bool {
        self.ranges.is_empty()
    }
}

/// Checks the order of `ranges` within one plan.
///
/// Keeps INV-2: the ranges of one partition have no gap and no overlap, except at a recorded reset.
///
/// - Ranges are ordered by topic, partition and offset, and none overlaps the range before it.
/// - Piece `n + 1` of a partition starts at the offset where piece `n` ends.
/// - Piece 0 starts a separate range. Ranges from the caller may have gaps between them.
///
/// # Errors
/// The first partition that breaks a rule, and the rule.
pub fn pieces_are_contiguous(
    ranges: &[PlannedRange],
) -> Result<(), (TopicPartition, &'static str)> {
    let mut before: Option<&PlannedRange> = None;
    for this in ranges {
        let fail = |reason| Err((this.topic_partition().clone(), reason));
        let same = before.filter(|b| b.topic_partition() == this.topic_partition());
        if before.is_some_and(|b| b.topic_partition() > this.topic_partition()) {
            return fail("ranges are not ordered by topic and partition");
        }
        if same.is_some_and(|b| b.range().until() > this.range().from()) {
            return fail("ranges of one partition overlap or are out of order");
        }
        match same {
            _ if this.piece() == 0 => {}
            Some(b) if b.piece().checked_add(1) != Some(this.piece()) => {
                return fail("pieces of one partition are not numbered in order");
            }
            Some(b) if b.range().until() != this.range().from() => {
                return fail("pieces of one partition have a gap between them");
            }
            Some(_) => {}
            None => return fail("the first piece of a partition is not number 0"),
        }
        before = Some(this);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OffsetRange;

    fn planned(partition: i32, from: i64, until: i64, piece: u32) -> PlannedRange {
        let range = OffsetRange::new(TopicPartition::new("t", partition), from, until).unwrap();
        PlannedRange::new(range, IsolationLevel::ReadCommitted).with_piece(piece)
    }

    fn plan(ranges: Vec<PlannedRange>) -> Result<BatchPlan, CoreError> {
        BatchPlan::new(Some("c".into()), IsolationLevel::ReadCommitted, ranges, vec![], vec![])
    }

    #[test]
    fn a_plan_reads_back_from_its_json() {
        let id = TopicId::from_bytes([9; 16]);
        let ranges = vec![
            planned(1, 4, 9, 1).with_topic_id(id).with_leader_epoch(Some(3)),
            planned(0, 0, i64::MAX, 0),
            planned(1, 0, 4, 0),
            planned(2, 5, 5, 0),
        ];
        let words = BTreeMap::from([("--from".to_owned(), "-10".to_owned())]);
        let plan = plan(ranges).unwrap().with_selected_by(words);
        assert_eq!(plan.ranges().len(), 3);
        assert_eq!(BatchPlan::from_json(&plan.to_json()).unwrap(), plan);
    }

    #[test]
    fn a_plan_inside_another_document_is_checked_as_one_of_its_own_file() {
        let text = plan(vec![planned(1, 0, 4, 0)]).unwrap().to_json();
        let inside = |text: &str| serde_json::from_str::<Vec<BatchPlan>>(&format!("[{text}]"));
        assert_eq!(inside(&text).unwrap(), [BatchPlan::from_json(&text).unwrap()]);
        let newer = inside(&text.replace("\"version\": 1", "\"version\": 2")).unwrap_err();
        assert!(newer.to_string().contains("version 2"), "{newer}");
        let backwards = inside(&text.replace("\"from\": 0", "\"from\": 5")).unwrap_err();
        assert!(backwards.to_string().contains("from 5 to 4"), "{backwards}");
    }

    #[test]
    fn pieces_with_a_gap_or_an_overlap_are_rejected() {
        for (until, from) in [(4, 5), (5, 4)] {
            let error = plan(vec![planned(0, 0, until, 0), planned(0, from, 9, 1)]).unwrap_err();
            assert!(matches!(error, CoreError::PlanInconsistent { .. }), "{error}");
        }
    }

    #[test]
    fn another_document_with_ranges_is_no_plan() {
        let text = r#"{"version":1,"cluster":null,"isolation":"read_committed","totals":{},
            "ranges":[{"topic":"t","partition":0,"from":0,"until":4}]}"#;
        let error = BatchPlan::from_json(text).unwrap_err();
        assert!(matches!(&error, CoreError::PlanText { reason } if reason.contains("totals")));
    }

    #[test]
    fn a_newer_plan_is_rejected_by_its_version_not_by_its_fields() {
        let error = BatchPlan::from_json(r#"{"version":2,"shape":"unknown"}"#).unwrap_err();
        assert_eq!(error, CoreError::PlanVersion { found: 2, known: PLAN_VERSION });
    }

    #[test]
    fn a_backwards_range_in_a_file_is_rejected() {
        let text = r#"{"version":1,"cluster":null,"isolation":"read_committed",
            "ranges":[{"topic":"t","partition":0,"from":5,"until":4}]}"#;
        let error = BatchPlan::from_json(text).unwrap_err().to_string();
        assert!(error.contains("from 5 to 4"), "{error}");
    }
}
