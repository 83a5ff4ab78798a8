//! Names of the files of a job.
//!
//! A name is `<topic>-<partition>-<from>-<until>.<extension>`. Offsets are padded to 20 digits, so that
//! names sort as the log does. Read from the right, a name is unambiguous although topics may have
//! dashes and dots.

use kafka_direct::PlannedRange;

/// Digits of an offset in a name: enough for any.
const OFFSET_DIGITS: usize = 20;

/// The name of a range's file.
pub(crate) fn range_file(planned: &PlannedRange, extension: &str) -> String {
    let (tp, range) = (planned.topic_partition(), planned.range());
    let (from, until) = (range.from().get(), range.until().get());
    format!("{tp}-{from:0OFFSET_DIGITS$}-{until:0OFFSET_DIGITS$}.{extension}")
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
