//! The records of one Kafka batch, parsed into rows.
//!
//! A record is a varint length, attributes (1 byte, unused), timestamp delta (varlong), offset
//! delta (varint), key and value (varint length, −1 for null), a varint count of headers and the
//! headers. Every length is checked against what holds it. A row is added only once its record is
//! known to be sound, so that rows stay whole when a later record is not.
//!
//! This is the loop for every shape of record and set of columns; [`quick`] takes the usual ones.

use std::ops::Range;

use kafka_direct_core::BatchHeader;

use crate::{
    quick,
    rows::{Rows, Source},
    varint::{varint, varlong},
};

/// The fewest bytes a record takes: seven one-byte fields.
pub(crate) const MIN_RECORD_BYTES: usize = 7;

const LENGTH: &str = "its length exceeds the batch";
const CUT: &str = "a number is cut off or too long";
const KEY: &str = "the key's length exceeds the record";
const VALUE: &str = "the value's length exceeds the record";
const ORDER: &str = "its offset is not between the one before and the batch's last";
const TIME: &str = "its timestamp is out of range";
const REST: &str = "bytes follow where the record should end";
const TAIL: &str = "bytes follow the last record";

/// What the records of one batch share, and which of them are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    base_offset: i64,
    last_delta: i64,
    base_timestamp: i64,
    /// The timestamp of every record, under log append time.
    append_time: Option<i64>,
    /// First offset delta to deliver, inclusive.
    from_delta: i64,
    /// End of the offset deltas to deliver, exclusive.
    until_delta: i64,
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
    fn finish(&mut self, body: &[u8]) -> Result<bool, &'static str> {
        if self.left == 0 && self.at != body.len() {
            return Err(TAIL);
        }
        Ok(self.left == 0)
    }
}

/// The front of a record: its extent and the deltas.
struct Front {
    /// Behind the offset delta.
    at: usize,
    end: usize,
    time_delta: i64,
    delta: i64,
}

/// Parses the front of the record at `at` and checks that its offset follows `last`.
#[inline(always)]
fn front(body: &[u8], at: usize, last: i64, facts: &Facts) -> Result<Front, &'static str> {
    let mut at = at;
    let length = varint(body, &mut at).ok_or(CUT)?;
    let length = usize::try_from(length).map_err(|_| LENGTH)?;
    let end = at + length;
    if end > body.len() {
        return Err(LENGTH);
    }
    at += 1;
    let time_delta = varlong(body, &mut at).ok_or(CUT)?;
    let delta = i64::from(varint(body, &mut at).ok_or(CUT)?);
    if at > end {
        return Err(LENGTH);
    }
    if delta <= last || delta > facts.last_delta {
        return Err(ORDER);
    }
    Ok(Front { at, end, time_delta, delta })
}

/// Parses records into `rows` until the batch ends, `rows` is full, or `until` is reached; `true`
/// if nothing wanted is left.
pub(crate) fn parse(
    rows: &mut Rows,
    source: &Source<'_>,
    facts: &Facts,
    cursor: &mut Cursor,
) -> Result<bool, &'static str> {
    while cursor.left > 0 && !rows.is_full() {
        if rows.wants.usual {
            let passed = if cursor.left < quick::FEWEST {
                quick::one(rows, source, facts, cursor)
            } else {
                quick::records(rows, source, facts, cursor) > 0
            };
            if passed {
                continue;
            }
        }
        if !any_record(rows, source, facts, cursor)? {
            return Ok(true);
        }
    }
    cursor.finish(source.body)
}

/// Parses one record of any shape; `false` if it lies at or behind `until`.
fn any_record(
    rows: &mut Rows,
    source: &Source<'_>,
    facts: &Facts,
    cursor: &mut Cursor,
) -> Result<bool, &'static str> {
    let body = source.body;
    let wants = rows.wants;
    let front = front(body, cursor.at, cursor.last_delta, facts)?;
    let Front { mut at, end, .. } = front;
    if front.delta >= facts.until_delta {
        return Ok(false);
    }
    if front.delta >= facts.from_delta {
        let time = facts.time(front.time_delta).ok_or(TIME)?;
        let (mut key, mut value) = (None, None);
        if wants.bytes() {
            let record = body.get(..end).ok_or(LENGTH)?;
            key = field(record, &mut at, KEY)?;
            value = field(record, &mut at, VALUE)?;
            let headers = varint(record, &mut at).ok_or(CUT)?;
            if wants.headers {
                rows.headers.parse(source, at..end, headers)?;
            } else if headers < 0 || (headers == 0 && at != end) {
                return Err(REST);
            }
        }
        if wants.timestamp {
            rows.times.push(time);
        }
        if wants.offset {
            rows.offsets.push(facts.offset(front.delta));
        }
        if wants.key {
            rows.keys.push(source, key);
        }
        if wants.value {
            rows.values.push(source, value);
        }
        rows.end_rows(1);
    }
    cursor.pass(1, front.end, front.delta);
    Ok(true)
}

/// Reads a length and steps over the bytes; `None` if it is −1.
#[inline(always)]
pub(crate) fn field(
    record: &[u8],
    at: &mut usize,
    fault: &'static str,
) -> Result<Option<(usize, usize)>, &'static str> {
    let length = varint(record, at).ok_or(CUT)?;
    let Ok(length) = usize::try_from(length) else {
        return if length == -1 { Ok(None) } else { Err(fault) };
    };
    let start = *at;
    let end = start + length;
    if end > record.len() {
        return Err(fault);
    }
    *at = end;
    Ok(Some((start, length)))
}

/// Counts the wanted records of a batch by their offset deltas alone; on a fault, which record.
pub(crate) fn count(body: &[u8], facts: &Facts, count: u32) -> Result<u64, (u64, &'static str)> {
    let mut cursor = Cursor::new(count);
    let mut wanted = 0;
    while cursor.left > 0 {
        let front = front(body, cursor.at, cursor.last_delta, facts)
            .map_err(|reason| (cursor.done, reason))?;
        if front.delta >= facts.until_delta {
            return Ok(wanted);
        }
        wanted += u64::from(front.delta >= facts.from_delta);
        cursor.pass(1, front.end, front.delta);
    }
    cursor.finish(body).map_err(|reason| (cursor.done, reason))?;
    Ok(wanted)
}

/// The first four bytes of the first record's key: version and type of a transaction marker.
pub(crate) fn marker_key(body: &[u8]) -> Option<[u8; 4]> {
    let mut at = 0;
    let length = usize::try_from(varint(body, &mut at)?).ok()?;
    let record = body.get(..at.checked_add(length)?)?;
    at += 1;
    varlong(record, &mut at)?;
    varint(record, &mut at)?;
    let (start, length) = field(record, &mut at, KEY).ok()??;
    record.get(start..start + length)?.first_chunk().copied()
}
