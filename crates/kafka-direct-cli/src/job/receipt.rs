//! What a job did, range by range.
//!
//! Contract: nothing in a receipt depends on when, where or in how many attempts the job ran; two
//! runs of one plan over one log write the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::Path,
};

use crc_fast::{CrcAlgorithm, Digest};
use kafka_direct::{BatchPlan, IsolationLevel, Offset, PlannedPartition, Reset, TopicPartition};
use serde::{Deserialize, Serialize};

use super::settings::JobSettings;
use crate::exit::Failure;

/// The version of the receipt's form.
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

    /// What the file at `path` holds.
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

/// What was read of one planned range, and the file it went into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RangeReceipt {
    pub(crate) file: String,
    #[serde(flatten)]
    pub(crate) topic_partition: TopicPartition,
    pub(crate) from: Offset,
    pub(crate) until: Offset,
    /// Where reading ended: `until`, or the end that exists after an unclean election (policy
    /// `resume`).
    pub(crate) reached: Offset,
    pub(crate) records: u64,
    /// Bytes of the values, before they were formatted.
    pub(crate) value_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) crc32: String,
    /// Offsets inside the range that were lost and jumped over (policy `resume`).
    pub(crate) skipped_offsets: i64,
    pub(crate) resets: Vec<Reset>,
}

impl RangeReceipt {
    /// Whether the file at `path` is the one this receipt was written for.
    pub(crate) fn matches(&self, path: &Path) -> bool {
        Content::of(path)
            .is_ok_and(|found| found.bytes() == self.file_bytes && found.crc32() == self.crc32)
    }
}

/// Sums over all ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) ranges: usize,
    pub(crate) records: u64,
    pub(crate) value_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) resets: usize,
    pub(crate) skipped_offsets: i64,
}

/// A finished job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    version: u32,
    cluster: Option<String>,
    isolation: IsolationLevel,
    format: String,
    /// CRC-32 of `plan.json`.
    plan_crc32: String,
    /// What `--from` has to be for a batch that goes on where this one ended. None if the plan does
    /// not tell: a partition has records, no range, and an end that was not `latest`.
    next_from: Option<String>,
    pub(crate) totals: Totals,
    /// In plan order.
    pub(crate) ranges: Vec<RangeReceipt>,
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
            records: sum(|range| range.records),
            value_bytes: sum(|range| range.value_bytes),
            file_bytes: sum(|range| range.file_bytes),
            resets: ranges.iter().map(|range| range.resets.len()).sum(),
            skipped_offsets: ranges
                .iter()
                .fold(0, |sum: i64, range| sum.saturating_add(range.skipped_offsets)),
        };
        Self {
            version: RECEIPT_VERSION,
            cluster: plan.cluster().map(str::to_owned),
            isolation: plan.isolation(),
            format: format.to_owned(),
            plan_crc32: content.crc32(),
            next_from: next_from(plan, &ranges, settings.ends_at_latest()),
            totals,
            ranges,
        }
    }

    pub(crate) fn from_json(text: &str, path: &Path) -> Result<Self, Failure> {
        parse(text, path, "a job's receipt")
    }
}

/// A map for `--from` that names every partition of the plan; new ones start at the earliest offset.
fn next_from(plan: &BatchPlan, ranges: &[RangeReceipt], ended_at_latest: bool) -> Option<String> {
    let mut ends: BTreeMap<TopicPartition, Option<Offset>> = BTreeMap::new();
    for PlannedPartition { topic_partition, watermarks } in plan.partitions() {
        let end = watermarks.end(plan.isolation());
        let known = ended_at_latest || end == watermarks.log_start;
        ends.insert(topic_partition.clone(), known.then_some(end));
    }
    let mut cut_short = BTreeSet::new();
    for range in ranges {
        // Pieces behind one that was cut short hold nothing.
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
    // Serialising plain values into memory has no way to fail.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(
    text: &'a str,
    path: &Path,
    wanted: &'static str,
) -> Result<T, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::usage(format!("{} is not {wanted}: {error}", path.display())))
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
        let receipts = ranges.iter().map(|(index, from, until, reached)| RangeReceipt {
            file: String::new(),
            topic_partition: partition(*index),
            from: (*from).into(),
            until: (*until).into(),
            reached: (*reached).into(),
            records: 0,
            value_bytes: 0,
            file_bytes: 0,
            crc32: String::new(),
            skipped_offsets: 0,
            resets: Vec::new(),
        });
        (plan.unwrap(), receipts.collect())
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
