//! Offsets, and the half-open ranges of offsets that a batch consists of.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{CoreError, TopicPartition};

/// The position of a record in its partition's log, from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(i64);

impl Offset {
    /// The first offset a log can have.
    pub const ZERO: Self = Self(0);

    /// An offset of this number.
    ///
    /// Negative numbers are accepted here and rejected where a range is built, so that an error can
    /// name an invalid offset from a broker.
    #[must_use]
    pub const fn new(offset: i64) -> Self {
        Self(offset)
    }

    /// The offset as a number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// This offset plus `delta`, saturating at the bounds of `i64`.
    #[must_use]
    pub const fn saturating_add(self, delta: i64) -> Self {
        Self(self.0.saturating_add(delta))
    }

    /// The distance from `other` to this offset (`self - other`), saturating at the bounds of
    /// `i64`.
    #[must_use]
    pub const fn distance_from(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }
}

impl From<i64> for Offset {
    fn from(offset: i64) -> Self {
        Self(offset)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The offsets `[from, until)` of one partition.
///
/// - `0 <= from <= until`: a range whose end is below its start cannot be built.
/// - Its size is a *span*, never a record count: compaction and transaction markers leave gaps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OffsetRange {
    topic_partition: TopicPartition,
    from: Offset,
    until: Offset,
}

impl OffsetRange {
    /// The range from `from` (inclusive) to `until` (exclusive).
    ///
    /// # Errors
    /// [`CoreError::BackwardsRange`] if `from` is negative or above `until`.
    pub fn new(
        topic_partition: TopicPartition,
        from: impl Into<Offset>,
        until: impl Into<Offset>,
    ) -> Result<Self, CoreError> {
        let (from, until) = (from.into(), until.into());
        if from < Offset::ZERO || until < from {
            return Err(CoreError::BackwardsRange { topic_partition, from, until });
        }
        Ok(Self { topic_partition, from, until })
    }

    /// The partition of the range.
    #[must_use]
    pub const fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// The first offset, inclusive.
    #[must_use]
    pub const fn from(&self) -> Offset {
        self.from
    }

    /// The end offset, exclusive.
    #[must_use]
    pub const fn until(&self) -> Offset {
        self.until
    }

    /// How many offsets the range covers (`until - from`), not how many records it holds.
    #[must_use]
    pub const fn span(&self) -> i64 {
        self.until.distance_from(self.from)
    }

    /// Whether the range covers no offset.
    #[must_use]
    pub const fn is_empty_span(&self) -> bool {
        self.span() == 0
    }

    /// Whether the range contains `offset`.
    #[must_use]
    pub fn contains(&self, offset: Offset) -> bool {
        self.from <= offset && offset < self.until
    }
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}, {})", self.topic_partition, self.from, self.until)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn backwards_ranges_cannot_be_built(from in any::<i64>(), until in any::<i64>()) {
            let range = OffsetRange::new(TopicPartition::new("t", 0), from, until);
            prop_assert_eq!(range.is_ok(), from >= 0 && until >= from);
            if let Ok(range) = range {
                prop_assert!(range.span() >= 0);
                prop_assert!(!range.contains(range.until()));
            }
        }
    }
}
