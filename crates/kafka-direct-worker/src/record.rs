//! Parses the records of one Kafka batch into rows.
//!
//! The fields of a record, in order:
//!
//! - length (varint)
//! - attributes (1 byte, unused)
//! - timestamp delta (varlong)
//! - offset delta (varint)
//! - key and value (each a varint length, −1 for null, and the bytes)
//! - number of headers (varint), and the headers
//!
//! Every length is checked against the size of its container. A row is added only after its record
//! was checked, so a corrupt record leaves the rows before it complete.
//!
//! This loop parses records of every shape, for every set of columns. [`quick`] parses the usual
//! ones.

use crate::{
    cursor::{Cursor, Facts},
    quick,
    rows::{Rows, Source},
    varint::{CUT, field, varint, varlong},
};

/// The size of the smallest record, in bytes: seven one-byte fields.
pub(crate) const MIN_RECORD_BYTES: usize = 7;

const LENGTH: &str = "its length exceeds the batch";
const KEY: &str = "the key's length exceeds the record";
const VALUE: &str = "the value's length exceeds the record";
const ORDER: &str = "its offset is not between the previous record's and the batch's last";
const TIME: &str = "its timestamp is out of range";
const REST: &str = "bytes follow where the record should end";

/// The first fields of a record, up to the offset delta.
struct Front {
    /// The position after the offset delta.
    at: usize,
    /// The end of the record, exclusive.
    end: usize,
    time_delta: i64,
    delta: i64,
}

/// Parses the first fields of the record at `at`, and checks that its offset delta is above `last`.
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

/// Parses records into `rows` until the batch ends, the range ends, or `rows` is full. Returns
/// `true` if no record of the range is left in the batch.
pub(crate) fn parse(
    rows: &mut Rows,
    source: &Source<'_>,
    facts: &Facts,
    cursor: &mut Cursor,
) -> Result<bool, &'static str> {
    while cursor.left() > 0 && !rows.is_full() {
        if rows.wants.usual {
            let passed = if cursor.left() < quick::FEWEST {
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

/// Parses one record of any shape. Returns `false` if its offset is at or after the range's end.
fn any_record(
    rows: &mut Rows,
    source: &Source<'_>,
    facts: &Facts,
    cursor: &mut Cursor,
) -> Result<bool, &'static str> {
    let body = source.body;
    let wants = rows.wants;
    let front = front(body, cursor.at(), cursor.last_delta(), facts)?;
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

/// Counts the records of a batch that are inside the range, by their offset deltas.
///
/// An error names the index of the record in its batch, from 0, and the fault.
pub(crate) fn count(body: &[u8], facts: &Facts, count: u32) -> Result<u64, (u64, &'static str)> {
    let mut cursor = Cursor::new(count);
    let mut wanted = 0;
    while cursor.left() > 0 {
        let front = front(body, cursor.at(), cursor.last_delta(), facts)
            .map_err(|reason| (cursor.done(), reason))?;
        if front.delta >= facts.until_delta {
            return Ok(wanted);
        }
        wanted += u64::from(front.delta >= facts.from_delta);
        cursor.pass(1, front.end, front.delta);
    }
    cursor.finish(body).map_err(|reason| (cursor.done(), reason))?;
    Ok(wanted)
}

/// Reads the first four bytes of the first record's key: version and type of a transaction marker.
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
