//! Lookups that only the cluster can do, and their results.
//!
//! Planning does no I/O. It names the lookups that it needs besides watermarks, and the caller
//! sends them to the cluster. One batched request per leader or coordinator is enough.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kafka_direct_core::{Offset, TopicPartition};

use crate::{
    DriverError, EndOffset, PartitionState, Selection, StartOffset, numbers::check_numbers,
};

/// One lookup in the cluster about one partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lookup {
    /// The first offset whose record has this timestamp or a later one (`ListOffsets` by time).
    Timestamp {
        /// The partition.
        topic_partition: TopicPartition,
        /// Milliseconds since 1970-01-01 UTC, at least 0.
        millis: i64,
    },
    /// The committed offset of a group (`OffsetFetch`).
    Committed {
        /// The id of the group.
        group: String,
        /// The partition.
        topic_partition: TopicPartition,
    },
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timestamp { topic_partition, millis } => {
                write!(f, "{topic_partition}: the offset at timestamp {millis} ms")
            }
            Self::Committed { group, topic_partition } => {
                write!(f, "{topic_partition}: the offset committed by group `{group}`")
            }
        }
    }
}

/// The results of lookups. A result that planning does not need is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lookups {
    by_time: BTreeMap<i64, BTreeMap<TopicPartition, Option<Offset>>>,
    by_group: BTreeMap<String, BTreeMap<TopicPartition, Option<Offset>>>,
}

impl Lookups {
    /// Creates a map without results.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the result of a [`Lookup::Timestamp`]: the first offset at or after `millis`, `None` if
    /// the partition has none.
    ///
    /// A negative offset counts as `None`, since Kafka returns one if there is no such offset.
    pub fn insert_timestamp(
        &mut self,
        topic_partition: TopicPartition,
        millis: i64,
        offset: Option<Offset>,
    ) {
        let results = self.by_time.entry(millis).or_default();
        results.insert(topic_partition, offset.filter(|offset| *offset >= Offset::ZERO));
    }

    /// Adds the result of a [`Lookup::Committed`]: the committed offset of `group`, `None` if it
    /// has committed none.
    ///
    /// A negative offset counts as `None`, since Kafka returns one if there is no committed offset.
    pub fn insert_committed(
        &mut self,
        group: impl Into<String>,
        topic_partition: TopicPartition,
        offset: Option<Offset>,
    ) {
        let results = self.by_group.entry(group.into()).or_default();
        results.insert(topic_partition, offset.filter(|offset| *offset >= Offset::ZERO));
    }

    pub(crate) fn timestamp(
        &self,
        topic_partition: &TopicPartition,
        millis: i64,
    ) -> Result<Option<Offset>, DriverError> {
        let result = self.by_time.get(&millis).and_then(|results| results.get(topic_partition));
        result.copied().ok_or_else(|| DriverError::MissingResponse {
            lookup: Lookup::Timestamp { topic_partition: topic_partition.clone(), millis },
        })
    }

    pub(crate) fn committed(
        &self,
        group: &str,
        topic_partition: &TopicPartition,
    ) -> Result<Option<Offset>, DriverError> {
        let result = self.by_group.get(group).and_then(|results| results.get(topic_partition));
        result.copied().ok_or_else(|| DriverError::MissingResponse {
            lookup: Lookup::Committed {
                group: group.to_owned(),
                topic_partition: topic_partition.clone(),
            },
        })
    }
}

/// Returns the lookups that [`plan`](crate::plan) needs for the same selection and partitions.
///
/// Includes the fallbacks of [`StartOffset::GroupCommitted`], so that one round is enough.
///
/// # Errors
/// `Invalid`, as [`plan`](crate::plan): everything that is wrong without knowing any result, so
/// that invalid input is refused before a request is sent.
pub fn lookups_needed(
    selection: &Selection,
    partitions: &[PartitionState],
) -> Result<BTreeSet<Lookup>, DriverError> {
    let selected = selection.select(partitions.iter().collect())?;
    selection.check_maps(&selected)?;
    let mut needed = Vec::new();
    for PartitionState { topic_partition, .. } in selected {
        let by_time =
            |millis| Lookup::Timestamp { topic_partition: topic_partition.clone(), millis };
        let (start, end) =
            (selection.starts.of(topic_partition), selection.ends.of(topic_partition));
        check_numbers(topic_partition, start, end)?;
        if let Some(EndOffset::Timestamp { millis }) = end {
            needed.push(by_time(*millis));
        }
        let mut start = start;
        while let Some(StartOffset::GroupCommitted { group, fallback }) = start {
            needed.push(Lookup::Committed {
                group: group.clone(),
                topic_partition: topic_partition.clone(),
            });
            start = Some(fallback);
        }
        if let Some(StartOffset::Timestamp { millis, .. }) = start {
            needed.push(by_time(*millis));
        }
    }
    Ok(needed.into_iter().collect())
}
