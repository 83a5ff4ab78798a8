//! Receipts: what a job wrote, range by range.
//!
//! Contract: a receipt does not depend on when, where or in how many attempts the job ran. For text
//! formats, two runs of one plan over one log write the same receipt.

use std::{fmt, path::Path};

use kafka_direct::{BatchEnd, BatchPlan, EndPosition, IsolationLevel, RangeSummary, Reset};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    files::{Content, FileReceipt, Output, parse},
};

/// The version of the receipt's JSON.
const RECEIPT_VERSION: u32 = 1;

/// What was read of one planned range, and the file it was written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RangeReceipt {
    /// The file.
    #[serde(flatten)]
    pub file: FileReceipt,
    /// What was read.
    #[serde(flatten)]
    pub range: RangeSummary,
}

/// Sums over all ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Totals {
    /// Planned ranges.
    pub ranges: usize,
    /// Records delivered.
    pub records: u64,
    /// Bytes of their values, before they were formatted.
    pub value_bytes: u64,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Skips over lost offsets.
    pub resets: usize,
    /// Lost offsets that were skipped.
    pub skipped_offsets: i64,
}

/// The records and the files: `10 records in 2 files`.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64| if count == 1 { "" } else { "s" };
        let files = u64::try_from(self.ranges).unwrap_or(u64::MAX);
        let records = self.records;
        write!(f, "{records} record{} in {files} file{}", plural(records), plural(files))
    }
}

/// A finished job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Receipt {
    version: u32,
    cluster: Option<String>,
    isolation: IsolationLevel,
    format: String,
    /// The types of text and bytes, in formats that have Arrow's types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arrow_types: Option<String>,
    /// CRC-32 of `plan.json`.
    plan_crc32: String,
    /// Where every partition ended: the next batch continues there.
    #[serde(default)]
    positions: Vec<EndPosition>,
    /// Skips that were made while planning, before the ranges.
    #[serde(default)]
    pub plan_resets: Vec<Reset>,
    /// Sums over all ranges, and the skips of the plan.
    pub totals: Totals,
    /// One entry per planned range, in plan order.
    pub ranges: Vec<RangeReceipt>,
}

impl Receipt {
    /// The receipt of a job that was done; `plan_text` is the content of
    /// `plan.json`.
    pub(crate) fn new(
        plan: &BatchPlan,
        plan_text: &str,
        output: &Output,
        ranges: Vec<RangeReceipt>,
    ) -> Self {
        let mut content = Content::new();
        content.update(plan_text.as_bytes());
        let sum = |of: fn(&RangeReceipt) -> u64| ranges.iter().map(of).fold(0, u64::saturating_add);
        let totals = Totals {
            ranges: ranges.len(),
            records: sum(|range| range.range.records),
            value_bytes: sum(|range| range.range.value_bytes),
            file_bytes: sum(|range| range.file.bytes),
            resets: ranges
                .iter()
                .map(|range| range.range.resets.len())
                .fold(plan.resets().len(), usize::saturating_add),
            skipped_offsets: ranges
                .iter()
                .map(|range| range.range.skipped_offsets)
                .chain(plan.resets().iter().map(Reset::skipped))
                .fold(0, i64::saturating_add),
        };
        Self {
            version: RECEIPT_VERSION,
            cluster: plan.cluster().map(str::to_owned),
            isolation: plan.isolation(),
            format: output.format.extension().to_owned(),
            arrow_types: output.format.has_arrow_types().then(|| output.arrow_types.to_string()),
            plan_crc32: content.crc32(),
            positions: BatchEnd::new(plan, ranges.iter().map(|range| &range.range)).positions,
            plan_resets: plan.resets().to_vec(),
            totals,
            ranges,
        }
    }

    /// Reads the text of the receipt in `path`, which errors name.
    ///
    /// # Errors
    /// [`Error::Invalid`] for text that is not a receipt, or one of a newer version.
    pub fn from_json(text: &str, path: &Path) -> Result<Self, Error> {
        let receipt: Self = parse(text, path, "a job's receipt")?;
        if receipt.version > RECEIPT_VERSION {
            return Err(Error::invalid(format!(
                "{} has version {}, newer than {RECEIPT_VERSION}; read it with a newer kafka-direct",
                path.display(),
                receipt.version
            )));
        }
        Ok(receipt)
    }

    /// The CRC-32 of `plan.json`.
    pub(crate) fn plan_crc32(&self) -> &str {
        &self.plan_crc32
    }

    /// Where the job's batch ended: what the next one continues from.
    #[must_use]
    pub fn end(&self) -> BatchEnd {
        BatchEnd::restored(self.cluster.clone(), self.isolation, self.positions.clone())
    }
}
