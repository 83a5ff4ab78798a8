//! Names of the files of ranges.
//!
//! A job's name is `<topic>-<partition>-<from>-<until>.<extension>`, a stream's the same after
//! `batch-<batch>-<stream>-`. A file of several ranges has `group-<index>` in place of one. Numbers are padded to 20 digits: a job's names sort as the log does, a
//! stream's in the order of its batches. Read from the right, a name is unambiguous although topics may
//! have dashes and dots.

use std::borrow::Cow;

use kafka_direct::{
    PlannedRange, StreamBatch,
    checkpoint::{BatchId, StreamId},
    is_legal_topic_name,
};

use crate::Error;

/// Digits of a number in a name: enough for any.
pub(crate) const DIGITS: usize = 20;

/// Longest topic, in bytes, that is in a job's name as it is: with partition, offsets and extension,
/// and as a temporary name, it stays below the 255 bytes that file systems allow.
const JOB_TOPIC_BYTES: usize = 170;
/// The same for a stream's name, whose temporary names have no topic.
const STREAM_TOPIC_BYTES: usize = 150;
/// A longer topic is cut to this much less, before the checksum of all of it.
const CUT_BYTES: usize = 20;
/// Digits of a group's index.
const GROUP_DIGITS: usize = 5;
/// How much of a stream's id is in the names of its files.
const STREAM_TAG_BYTES: usize = 8;

/// The topic as part of a file name. One of more than `longest` bytes is cut, and the checksum of the
/// whole follows after a `~`, which no topic has: two topics never share a name. Receipts have the
/// whole name.
fn short_topic(topic: &str, longest: usize) -> Cow<'_, str> {
    if topic.len() <= longest {
        return Cow::Borrowed(topic);
    }
    let checksum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, topic.as_bytes());
    // Legal topics are ASCII, so that any byte ends a character.
    let prefix = topic.get(..longest.saturating_sub(CUT_BYTES)).unwrap_or_default();
    Cow::Owned(format!("{prefix}~{checksum:016x}"))
}

/// The part of a name that says which offsets the file holds.
fn range_part(planned: &PlannedRange, longest: usize) -> Result<String, Error> {
    let (tp, range) = (planned.topic_partition(), planned.range());
    // A plan from a file may hold anything, and the name becomes part of a path.
    if !is_legal_topic_name(tp.topic()) {
        let topic = tp.topic();
        return Err(Error::invalid(format!(
            "the plan names a topic that Kafka does not allow: `{topic}`"
        )));
    }
    let (from, until) = (range.from().get(), range.until().get());
    let (topic, partition) = (short_topic(tp.topic(), longest), tp.partition());
    Ok(format!("{topic}-{partition}-{from:0DIGITS$}-{until:0DIGITS$}"))
}

/// The name of a range's file in a job.
///
/// # Errors
/// [`Error::Invalid`] for a topic that Kafka does not allow.
pub(crate) fn range_file(planned: &PlannedRange, extension: &str) -> Result<String, Error> {
    Ok(format!("{}.{extension}", range_part(planned, JOB_TOPIC_BYTES)?))
}

/// The name of a file of a group of ranges in a batch of a stream, without its extension. The batch is in it because a topic that was
/// truncated or re-created gives the same range with other records; the beginning of the stream's id
/// because two streams may share a folder.
///
/// # Errors
/// [`Error::Invalid`] for a topic that Kafka does not allow.
pub(crate) fn batch_file(
    batch: StreamBatch,
    index: usize,
    ranges: &[PlannedRange],
) -> Result<String, Error> {
    let StreamBatch { stream, batch, .. } = batch;
    let ranges = match ranges {
        [planned] => range_part(planned, STREAM_TOPIC_BYTES)?,
        _ => format!("group-{index:0GROUP_DIGITS$}"),
    };
    Ok(format!("batch-{}-{}-{ranges}", number(batch), stream_tag(stream)))
}

/// A batch's number as in names.
pub(crate) fn number(batch: BatchId) -> String {
    format!("{:0DIGITS$}", batch.get())
}

/// The number in a name; `None` if this is none.
pub(crate) fn number_in(digits: &str) -> Option<BatchId> {
    let is_ours = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_ours { digits.parse().ok().map(BatchId::new) } else { None }
}

/// The beginning of a stream's id.
fn stream_tag(stream: StreamId) -> String {
    let mut id = stream.to_string();
    id.truncate(STREAM_TAG_BYTES);
    id
}

/// Whether `name` looks like a file of ranges of some job or stream.
pub(crate) fn is_range_file(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    if !extension.is_empty() && is_of_batch(stem) {
        return true;
    }
    let mut parts = stem.rsplitn(4, '-');
    let mut digits = |wanted: Option<usize>| {
        parts.next().is_some_and(|part| {
            part.bytes().all(|b| b.is_ascii_digit())
                && wanted.map_or(!part.is_empty(), |wanted| part.len() == wanted)
        })
    };
    !extension.is_empty()
        && digits(Some(DIGITS))
        && digits(Some(DIGITS))
        && digits(None)
        && parts.next().is_some_and(|topic| !topic.is_empty())
}

/// Whether this is the name of a stream's file, without its extension.
fn is_of_batch(stem: &str) -> bool {
    let mut parts = stem.split('-');
    parts.next() == Some("batch")
        && parts.next().and_then(number_in).is_some()
        && parts.next().is_some_and(|tag| tag.len() == STREAM_TAG_BYTES)
        && parts.next().is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use kafka_direct::{IsolationLevel, OffsetRange, TopicPartition, checkpoint::Generation};

    use super::*;

    fn name(topic: &str, partition: i32, from: i64, until: i64) -> String {
        let range = OffsetRange::new(TopicPartition::new(topic, partition), from, until).unwrap();
        range_file(&PlannedRange::new(range, IsolationLevel::ReadCommitted), "jsonl").unwrap()
    }

    #[test]
    fn names_sort_as_the_log_and_are_recognised() {
        let names =
            [name("a.b-1", 2, 0, 9), name("a.b-1", 2, 9, 100), name("a.b-1", 2, 100, i64::MAX)];
        assert_eq!(names[0], "a.b-1-2-00000000000000000000-00000000000000000009.jsonl");
        assert!(names.is_sorted());
        assert!(names.iter().all(|name| is_range_file(name)));
    }

    #[test]
    fn any_legal_topic_gives_a_name_of_its_own_that_file_systems_allow() {
        let longest = |end: &str| format!("{}{end}", "t".repeat(249 - end.len()));
        let names = [longest("a"), longest("b"), "t".repeat(170), "t".repeat(171), "t".repeat(150)]
            .map(|topic| name(&topic, i32::MAX, 0, i64::MAX));
        for name in &names {
            let temporary = format!(".{name}.kafka-direct-tmp");
            assert!(temporary.len() <= 255 && is_range_file(name), "{temporary}");
        }
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names[2].starts_with(&format!("{}-2147483647-", "t".repeat(170))));
    }

    #[test]
    fn other_names_are_not_taken_for_ranges() {
        for name in [
            "plan.json",
            "orders-0-1-2.jsonl",
            "lost+found",
            ".x",
            "a-0-00000000000000000000.jsonl",
        ] {
            assert!(!is_range_file(name), "{name}");
        }
    }

    fn stream_name(stream: StreamId, batch: u64, topic: &str, until: i64) -> String {
        let batch = StreamBatch::new(stream, BatchId::new(batch), Generation::new(1));
        let range = OffsetRange::new(TopicPartition::new(topic, i32::MAX), 0, until).unwrap();
        let range = PlannedRange::new(range, IsolationLevel::ReadCommitted);
        batch_file(batch, 0, &[range]).unwrap() + ".parquet"
    }

    #[test]
    fn names_of_a_stream_sort_by_batch_and_have_room_for_any_topic() {
        let stream = "0123abcd-0000-4000-8000-000000000000".parse().unwrap();
        let names: Vec<_> =
            [0, 9, 10, u64::MAX].map(|batch| stream_name(stream, batch, "b-1.a", 5)).into();
        let first = "batch-00000000000000000000-0123abcd-b-1.a-2147483647-00000000000000000000-00000000000000000005.parquet";
        assert_eq!(names[0], first);
        assert!(names.is_sorted() && names.iter().all(|name| is_range_file(name)));
        let longest = |end: &str| format!("{}{end}", "t".repeat(249 - end.len()));
        let long = [longest("a"), longest("b")]
            .map(|topic| stream_name(stream, u64::MAX, &topic, i64::MAX));
        assert!(long[0] != long[1] && long[0].len() <= 255, "{}", long[0].len());
        assert_ne!(stream_name(StreamId::random(), 0, "b-1.a", 5), names[0]);
    }

    #[test]
    fn a_file_of_several_ranges_is_named_by_its_group_and_recognised() {
        let stream = "0123abcd-0000-4000-8000-000000000000".parse().unwrap();
        let batch = StreamBatch::new(stream, BatchId::new(7), Generation::new(1));
        let ranges = [0, 1].map(|partition| {
            let range = OffsetRange::new(TopicPartition::new("t", partition), 0, 5).unwrap();
            PlannedRange::new(range, IsolationLevel::ReadCommitted)
        });
        let name = batch_file(batch, 3, &ranges).unwrap();
        assert_eq!(name, "batch-00000000000000000007-0123abcd-group-00003");
        assert!(is_range_file(&format!("{name}.jsonl")) && !is_range_file(&name));
    }

    #[test]
    fn a_topic_that_would_leave_the_folder_is_refused() {
        let range = OffsetRange::new(TopicPartition::new("../x", 0), 0, 1).unwrap();
        let range = PlannedRange::new(range, IsolationLevel::ReadCommitted);
        assert!(matches!(range_file(&range, "csv"), Err(Error::Invalid { .. })));
    }
}
