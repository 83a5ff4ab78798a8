//! Names of the files of a job.
//!
//! A name is `<topic>-<partition>-<from>-<until>.<extension>`. Offsets are padded to 20 digits, so that
//! names sort as the log does. Read from the right, a name is unambiguous although topics may have
//! dashes and dots.

use std::borrow::Cow;

use kafka_direct::PlannedRange;

/// Digits of an offset in a name: enough for any.
const OFFSET_DIGITS: usize = 20;

/// Longest topic, in bytes, that is in a name as it is: with partition, offsets and extension, and as a
/// temporary name, it stays below the 255 bytes that file systems allow.
const MAX_TOPIC_BYTES: usize = 170;
/// How much of a longer topic is in the name, before the checksum of all of it.
const TOPIC_PREFIX_BYTES: usize = 150;

/// The topic as part of a file name. A long one is cut, and the checksum of the whole follows after a
/// `~`, which no topic has: two topics never share a name. The receipt has the whole name.
fn short_topic(topic: &str) -> Cow<'_, str> {
    if topic.len() <= MAX_TOPIC_BYTES {
        return Cow::Borrowed(topic);
    }
    let checksum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, topic.as_bytes());
    // Legal topics are ASCII, so that any byte ends a character.
    let prefix = topic.get(..TOPIC_PREFIX_BYTES).unwrap_or_default();
    Cow::Owned(format!("{prefix}~{checksum:016x}"))
}

/// The name of a range's file.
pub(crate) fn range_file(planned: &PlannedRange, extension: &str) -> String {
    let (tp, range) = (planned.topic_partition(), planned.range());
    let (from, until) = (range.from().get(), range.until().get());
    let (topic, partition) = (short_topic(tp.topic()), tp.partition());
    format!("{topic}-{partition}-{from:0OFFSET_DIGITS$}-{until:0OFFSET_DIGITS$}.{extension}")
}

/// Whether `name` looks like a range's file of some job.
pub(crate) fn is_range_file(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    let mut parts = stem.rsplitn(4, '-');
    let mut digits = |wanted: Option<usize>| {
        parts.next().is_some_and(|part| {
            part.bytes().all(|b| b.is_ascii_digit())
                && wanted.map_or(!part.is_empty(), |wanted| part.len() == wanted)
        })
    };
    !extension.is_empty()
        && digits(Some(OFFSET_DIGITS))
        && digits(Some(OFFSET_DIGITS))
        && digits(None)
        && parts.next().is_some_and(|topic| !topic.is_empty())
}

#[cfg(test)]
mod tests {
    use kafka_direct::{IsolationLevel, OffsetRange, TopicPartition};

    use super::*;

    fn name(topic: &str, partition: i32, from: i64, until: i64) -> String {
        let range = OffsetRange::new(TopicPartition::new(topic, partition), from, until).unwrap();
        range_file(&PlannedRange::new(range, IsolationLevel::ReadCommitted), "jsonl")
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
}
