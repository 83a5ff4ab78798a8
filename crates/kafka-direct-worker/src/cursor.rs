//! What the records of one Kafka batch have in common, and how far they are parsed.

use std::ops::Range;

use kafka_direct_core::BatchHeader;

const TAIL: &str = "bytes follow the last record";

/// What the records of one batch have in common, and which of them are inside the range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    base_offset: i64,
    pub(crate) last_delta: i64,
    base_timestamp: i64,
    /// The timestamp of every record, if the broker set it (log append time).
    append_time: Option<i64>,
    /// The first offset delta to deliver, inclusive.
    pub(crate) from_delta: i64,
    /// The end of the offset deltas to deliver, exclusive.
    pub(crate) until_delta: i64,
}

impl Facts {
    #[inline]
    pub(crate) fn new(header: &BatchHeader, lower: i64, until: i64) -> Self {
        let base = header.base_offset.get();
        Self {
            base_offset: base,
            last_delta: i64::from(header.last_offset_delta),
            base_timestamp: header.base_timestamp,
            append_time: header.is_log_append_time().then_some(header.max_timestamp),
            from_delta: lower.saturating_sub(base),
            until_delta: until.saturating_sub(base),
        }
    }

    /// The timestamp of a record with this time delta; `None` if it overflows `i64`.
    #[inline(always)]
    pub(crate) const fn time(&self, delta: i64) -> Option<i64> {
        match self.append_time {
            Some(time) => Some(time),
            None => self.base_timestamp.checked_add(delta),
        }
    }

    /// Whether the base timestamp plus this delta fits `i64`.
    pub(crate) const fn has_time(&self, delta: i64) -> bool {
        self.base_timestamp.checked_add(delta).is_some()
    }

    /// The timestamp of a record whose delta is between two deltas that
    /// [do not overflow](Facts::has_time).
    #[inline(always)]
    pub(crate) const fn time_nearby(&self, delta: i64) -> i64 {
        match self.append_time {
            Some(time) => time,
            None => self.base_timestamp.wrapping_add(delta),
        }
    }

    /// The offset of a record whose delta was checked.
    #[inline(always)]
    pub(crate) const fn offset(&self, delta: i64) -> i64 {
        self.base_offset.wrapping_add(delta)
    }

    /// The offset deltas to deliver that are above `last` and that the batch may have.
    pub(crate) fn wanted_after(&self, last: i64) -> Range<i64> {
        let from = last.saturating_add(1).max(self.from_delta);
        from..self.until_delta.min(self.last_delta.saturating_add(1))
    }

    /// Whether the broker set the timestamps.
    pub(crate) const fn is_log_append_time(&self) -> bool {
        self.append_time.is_some()
    }
}

/// How far the records of a batch have been parsed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    /// Where the next record begins.
    at: usize,
    /// How many records are left.
    left: u32,
    /// How many records were parsed.
    done: u64,
    /// The offset delta of the last parsed record; −1 before the first.
    last_delta: i64,
}

impl Cursor {
    /// A cursor at the first record of a batch of `count` records.
    pub(crate) const fn new(count: u32) -> Self {
        Self { at: 0, left: count, done: 0, last_delta: -1 }
    }

    pub(crate) const fn left(&self) -> u32 {
        self.left
    }

    pub(crate) const fn done(&self) -> u64 {
        self.done
    }

    /// The offset delta after the last parsed record.
    pub(crate) const fn next_delta(&self) -> i64 {
        self.last_delta.saturating_add(1)
    }

    /// Where the next record begins.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// The offset delta of the last parsed record; −1 before the first.
    pub(crate) const fn last_delta(&self) -> i64 {
        self.last_delta
    }

    /// Moves after `records` records. The last of them ends at `end` and has this offset delta.
    pub(crate) fn pass(&mut self, records: u32, end: usize, delta: i64) {
        self.at = end;
        self.left = self.left.saturating_sub(records);
        self.done += u64::from(records);
        self.last_delta = delta;
    }

    /// Whether no record is left. Returns an error if bytes follow the last record.
    pub(crate) fn finish(&mut self, body: &[u8]) -> Result<bool, &'static str> {
        if self.left == 0 && self.at != body.len() {
            return Err(TAIL);
        }
        Ok(self.left == 0)
    }
}
