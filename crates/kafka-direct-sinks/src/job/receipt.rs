//! Receipts: what a job wrote, range by range.
//!
//! Contract: a receipt does not depend on when, where or in how many attempts the job ran. For text
//! formats, two runs of one plan over one log write the same receipt.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::Path,
};

use crc_fast::{CrcAlgorithm, Digest};
use kafka_direct::{
    BatchPlan, IsolationLevel, Offset, PlannedPartition, RangeSummary, TopicPartition,
};
use serde::{Deserialize, Serialize};

use super::settings::JobSettings;
use crate::Error;

/// The version of the receipt's JSON.
const RECEIPT_VERSION: u32 = 1;
/// Bytes read at once while a file is checked.
const CHUNK_BYTES: usize = 256 * 1024;

/// The running CRC-32 (ISO-HDLC: the one of gzip, zlib and PNG) and size of a file's content.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    digest: Digest,
    bytes: u64,
}

impl Content {
    pub(crate) fn new() -> Self {
        Self { digest: Digest::new(CrcAlgorithm::Crc32IsoHdlc), bytes: 0 }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Eight hexadecimal digits.
    pub(crate) fn crc32(&self) -> String {
        format!("{:08x}", self.digest.finalize())
    }

    /// Size and checksum of the file at `path`.
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut content = Self::new();
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(content),
                read => content.update(chunk.get(..read).unwrap_or_default()),
            }
        }
    }
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileReceipt {
    /// Its name in the folder.
    #[serde(rename = "file")]
    pub name: String,
    /// Its size.
    #[serde(rename = "file_bytes")]
    pub bytes: u64,
    /// CRC-32 of its content as eight hexadecimal digits: the one of gzip and zlib.
    pub crc32: String,
}

impl FileReceipt {
    /// Whether the file at `path` is the one this receipt was written for. This decides that a
    /// range's file is complete.
    pub(crate) fn matches(&self, path: &Path) -> bool {
        Content::of(path)
            .is_ok_and(|found| found.bytes() == self.bytes && found.crc32() == self.crc32)
    }
}

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

/// A finished job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Receipt {
    version: u32,
    cluster: Option<String>,
    isolation: IsolationLevel,
    format: String,
    /// CRC-32 of `plan.json`.
    plan_crc32: String,
    /// The value of `--from` for a batch that continues where this one ended. `None` if the plan does
    /// not say: a partition has records, no range, and an end that was not `latest`.
    next_from: Option<String>,
    /// Sums over all ranges.
    pub totals: Totals,
    /// One entry per planned range, in plan order.
    pub ranges: Vec<RangeReceipt>,
}

impl Receipt {
    /// The receipt of a job that was begun with `settings`; `plan_text` is the content of
    /// `plan.json`.
    pub(crate) fn new(
        plan: &BatchPlan,
        plan_text: &str,
        format: &str,
        settings: &JobSettings,
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
            resets: ranges.iter().map(|range| range.range.resets.len()).sum(),
            skipped_offsets: ranges
                .iter()
                .fold(0, |sum: i64, range| sum.saturating_add(range.range.skipped_offsets)),
        };
        Self {
            version: RECEIPT_VERSION,
            cluster: plan.cluster().map(str::to_owned),
            isolation: plan.isolation(),
            format: format.to_owned(),
            plan_crc32: content.crc32(),
            next_from: next_from(plan, &ranges, settings.ends_at_latest),
            totals,
            ranges,
        }
    }

    pub(crate) fn from_json(text: &str, path: &Path) -> Result<Self, Error> {
        parse(text, path, "a job's receipt")
    }
}

/// A map for `--from` with every partition of the plan; new partitions start at earliest.
fn next_from(plan: &BatchPlan, ranges: &[RangeReceipt], ended_at_latest: bool) -> Option<String> {
    let mut ends: BTreeMap<TopicPartition, Option<Offset>> = BTreeMap::new();
    for PlannedPartition { topic_partition, watermarks } in plan.partitions() {
        let end = watermarks.end(plan.isolation());
        let known = ended_at_latest || end == watermarks.log_start;
        ends.insert(topic_partition.clone(), known.then_some(end));
    }
    let mut cut_short = BTreeSet::new();
    for RangeReceipt { range, .. } in ranges {
        // Pieces after one that ended early have no records.
        if !cut_short.contains(&range.topic_partition) {
            ends.insert(range.topic_partition.clone(), Some(range.reached));
        }
        if range.reached < range.until {
            cut_short.insert(&range.topic_partition);
        }
    }
    let entry = |(partition, end): (TopicPartition, Option<Offset>)| {
        Some(format!("{}:{}:{}", partition.topic(), partition.partition(), end?))
    };
    let mut entries = ends.into_iter().map(entry).collect::<Option<Vec<_>>>()?;
    entries.push("*:earliest".to_owned());
    Some(entries.join(","))
}

/// A value as one JSON object, indented, ending in a line feed.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    // Serialising plain values into memory cannot fail.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(
    text: &'a str,
    path: &Path,
    wanted: &'static str,
) -> Result<T, Error> {
    serde_json::from_str(text)
        .map_err(|error| Error::invalid(format!("{} is not {wanted}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use kafka_direct::{OffsetRange, PlannedRange, Watermarks};

    use super::*;

    const ISOLATION: IsolationLevel = IsolationLevel::ReadCommitted;

    /// A plan over `t` with the readable end 100 everywhere, and receipts of its ranges.
    fn job(ranges: &[(i32, i64, i64, i64)]) -> (BatchPlan, Vec<RangeReceipt>) {
        let partition = |partition| TopicPartition::new("t", partition);
        let planned = ranges.iter().map(|(index, from, until, _)| {
            PlannedRange::new(
                OffsetRange::new(partition(*index), *from, *until).unwrap(),
                ISOLATION,
            )
        });
        let watermarks =
            Watermarks { log_start: 0.into(), last_stable: 100.into(), high: 120.into() };
        let looked_at =
            (0..2).map(|index| PlannedPartition { topic_partition: partition(index), watermarks });
        let plan = BatchPlan::new(None, ISOLATION, planned.collect(), looked_at.collect(), vec![]);
        let plan = plan.unwrap();
        let receipts = plan.ranges().iter().zip(ranges).map(|(planned, (.., reached))| {
            let mut range = RangeSummary::new(planned);
            range.reached = (*reached).into();
            let file = FileReceipt { name: String::new(), bytes: 0, crc32: String::new() };
            RangeReceipt { file, range }
        });
        let receipts = receipts.collect();
        (plan, receipts)
    }

    fn check_next(ranges: &[(i32, i64, i64, i64)], ended_at_latest: bool, expected: Option<&str>) {
        let (plan, receipts) = job(ranges);
        assert_eq!(next_from(&plan, &receipts, ended_at_latest).as_deref(), expected);
    }

    #[test]
    fn next_batch_starts_where_every_partition_ended() {
        check_next(
            &[(0, 5, 9, 9), (0, 9, 50, 50), (1, 0, 7, 7)],
            false,
            Some("t:0:50,t:1:7,*:earliest"),
        );
        check_next(&[(0, 5, 50, 50)], true, Some("t:0:50,t:1:100,*:earliest"));
    }

    #[test]
    fn next_start_is_not_guessed_for_a_partition_that_has_records_and_no_range() {
        check_next(&[(0, 5, 50, 50)], false, None);
    }

    #[test]
    fn next_batch_starts_at_the_end_that_an_election_left() {
        let cut_short = [(0, 5, 50, 30), (0, 50, 90, 50), (1, 0, 100, 100)];
        check_next(&cut_short, true, Some("t:0:30,t:1:100,*:earliest"));
    }

    #[test]
    fn checksum_is_the_one_of_gzip_and_of_pythons_zlib() {
        let mut content = Content::new();
        content.update(b"1234");
        content.update(b"56789");
        assert_eq!((content.crc32().as_str(), content.bytes()), ("cbf43926", 9));
    }
}
