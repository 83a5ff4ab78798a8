//! The timestamp column that is being filled.

use arrow_array::{PrimitiveArray, TimestampMillisecondArray, types::TimestampMillisecondType};
use arrow_schema::ArrowError;

use super::nulls::null_buffer;

/// The value that Kafka writes for a record without a timestamp.
const NONE: i64 = -1;

/// The timestamps of the rows, in milliseconds since the epoch.
#[derive(Debug, Default)]
pub(crate) struct Times {
    times: Vec<i64>,
    /// The rows without a timestamp.
    nulls: Vec<usize>,
}

impl Times {
    pub(super) fn reserve(&mut self, more: usize) {
        self.times.reserve(more);
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, time: i64) {
        if time == NONE {
            self.nulls.push(self.times.len());
        }
        self.times.push(time);
    }

    #[inline(always)]
    pub(crate) fn extend(&mut self, times: impl ExactSizeIterator<Item = i64>) {
        let before = self.times.len();
        self.times.extend(times);
        let added = self.times.get(before..).unwrap_or_default();
        if added.contains(&NONE) {
            let missing = (before..).zip(added).filter(|(_, time)| **time == NONE);
            self.nulls.extend(missing.map(|(row, _)| row));
        }
    }

    /// Builds the column and removes all rows.
    pub(super) fn take(&mut self) -> Result<TimestampMillisecondArray, ArrowError> {
        let Self { times, nulls } = std::mem::take(self);
        let nulls = null_buffer(0, &nulls, times.len());
        let times = PrimitiveArray::<TimestampMillisecondType>::try_new(times.into(), nulls)?;
        Ok(times.with_timezone("UTC"))
    }
}
