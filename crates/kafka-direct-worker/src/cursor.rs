//! What the records of one Kafka batch have in common, and how far they are parsed.

use std::ops::Range;

use kafka_direct_core::BatchHeader;

const TAIL: &str = "bytes follow the last record";

/// What the records of one batch share, and which of them are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    base_offset: i64,
    pub(crate) last_delta: i64,
    base_timestamp: i64,
    /// The timestamp of every record, under log append time.
    append_time: Option<i64>,
    /// First offset delta to deliver, inclusive.
    pub(crate) from_delta: i64,
    /// End of the offset deltas to deliver, exclusive.
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

    /// The timestamp of a record; `None` if it is out of range.
    #[inline(always)]
    pub(crate) const fn time(&self, delta: i64) -> Option<i64> {
        match self.append_time {
            Some(time) => Some(time),
            None => self.base_timestamp.checked_add(delta),
        }
    }

    /// Whether a record with this delta would have a timestamp.
    pub(crate) const fn has_time(&self, delta: i64) -> bool {
        self.base_timestamp.checked_add(delta).is_some()
    }

    /// The timestamp of a record, between two deltas which [have one](Facts::has_time).
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

    /// The deltas to deliver of records that follow delta `last`, and that the batch can have.
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
    /// How many were parsed.
    done: u64,
    /// The offset delta of the last one; −1 before the first.
    last_delta: i64,
}

impl Cursor {
    /// At the first record of a batch of `count`.
    pub(crate) const fn new(count: u32) -> Self {
        Self { at: 0, left: count, done: 0, last_delta: -1 }
    }

    pub(crate) const fn left(&self) -> u32 {
        self.left
    }

    pub(crate) const fn done(&self) -> u64 {
        self.done
    }

    /// The offset delta behind the last record parsed.
    pub(crate) const fn next_delta(&self) -> i64 {
        self.last_delta.saturating_add(1)
    }

    /// Where the next record begins.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// The offset delta of the last record parsed; −1 before the first.
    pub(crate) const fn last_delta(&self) -> i64 {
        self.last_delta
    }

    /// Moves behind `records` records, the last of which ends at `end` and has this offset delta.
    pub(crate) fn pass(&mut self, records: u32, end: usize, delta: i64) {
        self.at = end;
        self.left = self.left.saturating_sub(records);
        self.done += u64::from(records);
        self.last_delta = delta;
    }

    /// Whether nothing wanted is left; errs if bytes are left although no record is.
    pub(crate) fn finish(&mut self, body: &[u8]) -> Result<bool, &'static str> {
        if self.left == 0 && self.at != body.len() {
            return Err(TAIL);
        }
        Ok(self.left == 0)
    }
}
