//! Checks the numbers that a caller gives for one partition, before any request to the cluster.

use kafka_direct_core::TopicPartition;

use crate::{DriverError, EndOffset, StartOffset};

/// Checks the numbers of one partition's start and end. Needs no result of a lookup.
///
/// # Errors
/// [`DriverError::BadNumber`] for a negative number.
pub(crate) fn check_numbers(
    topic_partition: &TopicPartition,
    start: Option<&StartOffset>,
    end: Option<&EndOffset>,
) -> Result<(), DriverError> {
    let at_least_zero = |setting, value: i64| {
        if value >= 0 {
            return Ok(());
        }
        Err(DriverError::BadNumber {
            topic_partition: Some(topic_partition.clone()),
            setting,
            value: value.into(),
            problem: "must be at least 0",
        })
    };
    let mut start = start;
    while let Some(StartOffset::GroupCommitted { fallback, .. }) = start {
        start = Some(fallback);
    }
    match start {
        Some(StartOffset::At(offset) | StartOffset::After { offset, .. }) => {
            at_least_zero("start offset", offset.get())?
        }
        Some(StartOffset::FromEnd(back)) => at_least_zero("start from the end", *back)?,
        Some(StartOffset::Timestamp { millis, .. }) => at_least_zero("start timestamp", *millis)?,
        Some(StartOffset::Earliest | StartOffset::Latest | StartOffset::GroupCommitted { .. })
        | None => {}
    }
    match end {
        Some(EndOffset::At(offset)) => at_least_zero("end offset", offset.get()),
        Some(EndOffset::FromEnd(back)) => at_least_zero("end from the end", *back),
        Some(EndOffset::Timestamp { millis }) => at_least_zero("end timestamp", *millis),
        Some(EndOffset::Latest) | None => Ok(()),
    }
}
