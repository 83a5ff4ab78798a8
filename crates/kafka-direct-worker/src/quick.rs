//! The hot loop: records of the usual shape, for the usual columns.
//!
//! Usual are records without headers whose lengths and deltas take few bytes, and the columns key,
//! value, offset and timestamp. Whatever else comes stops the loop, and is left to the
//! [`record`](crate::record) loop, which knows every shape and names every fault.
//!
//! A few dozen records are parsed before their columns are filled, each by a loop of its own: all
//! at once is more than the processor's registers hold.

use crate::{
    cursor::{Cursor, Facts},
    rows::{CHUNK, Field, Parsed, Rows, Source},
    varint::zigzag,
};

/// A batch of fewer records is done before the loop has begun; they go [`one`] by one.
pub(crate) const FEWEST: u32 = 4;
/// No time delta of a usual record is larger, either way.
const MAX_TIME_DELTA: i64 = 1 << 20;

/// Parses wanted records as long as they are usual and there is room; returns how many.
#[inline(never)]
pub(crate) fn records(
    rows: &mut Rows,
    source: &Source<'_>,
    facts: &Facts,
    cursor: &mut Cursor,
) -> u32 {
    if !facts.has_time(-MAX_TIME_DELTA) || !facts.has_time(MAX_TIME_DELTA) {
        return 0;
    }
    let most = rows.room().min(cursor.left() as usize);
    let mut wanted = facts.wanted_after(cursor.last_delta());
    let (mut at, mut passed) = (cursor.at(), 0);
    while passed < most {
        let limit = CHUNK.min(most - passed);
        let bytes = usize::try_from(rows.bytes_room()).unwrap_or(usize::MAX);
        let begin = at;
        let mut count = 0;
        for slot in rows.chunk.0.iter_mut().take(limit) {
            // More than the keys and the values: the caller starts anew if that is too early.
            if at - begin >= bytes {
                break;
            }
            let Some((parsed, end)) = record(source.body, at) else { break };
            let delta = i64::from(parsed.delta);
            if !wanted.contains(&delta) {
                break;
            }
            *slot = parsed;
            at = end;
            wanted.start = delta + 1;
            count += 1;
        }
        if count == 0 {
            break;
        }
        columns(rows, source, facts, count);
        passed += count;
        if count < limit {
            break;
        }
    }
    if passed > 0 {
        cursor.pass(u32::try_from(passed).unwrap_or(u32::MAX), at, wanted.start - 1);
    }
    u32::try_from(passed).unwrap_or(u32::MAX)
}

/// Parses the next record if it is usual and wanted, and says whether it was. The rows are not full.
#[inline(always)]
pub(crate) fn one(
    rows: &mut Rows,
    source: &Source<'_>,
    facts: &Facts,
    cursor: &mut Cursor,
) -> bool {
    let Some((parsed, end)) = record(source.body, cursor.at()) else { return false };
    let Parsed { time_delta, delta, key, value } = parsed;
    let delta = i64::from(delta);
    if !facts.wanted_after(cursor.last_delta()).contains(&delta) {
        return false;
    }
    let Some(time) = facts.time(i64::from(time_delta)) else { return false };
    rows.keys.push(source, key.place());
    rows.values.push(source, value.place());
    rows.offsets.push(facts.offset(delta));
    rows.times.push(time);
    rows.end_rows(1);
    cursor.pass(1, end, delta);
    true
}

/// Makes rows of the first `count` parsed records.
#[inline(always)]
fn columns(rows: &mut Rows, source: &Source<'_>, facts: &Facts, count: usize) {
    let Rows { chunk, keys, values, offsets, times, .. } = &mut *rows;
    let parsed = chunk.0.get(..count).unwrap_or_default();
    keys.extend(source, parsed.iter().map(|record| record.key));
    values.extend(source, parsed.iter().map(|record| record.value));
    offsets.extend(parsed.iter().map(|record| facts.offset(i64::from(record.delta))));
    times.extend(parsed.iter().map(|record| facts.time_nearby(i64::from(record.time_delta))));
    rows.end_rows(count);
}

/// Parses the record at `at` if it is of the usual shape, and says where it ends.
///
/// The numbers stand in the first 16 bytes, which are looked up once. The fields follow each other,
/// so that one comparison at the end proves every length right.
#[inline(always)]
fn record(body: &[u8], at: usize) -> Option<(Parsed, usize)> {
    let head = body.get(at..)?.first_chunk::<16>()?;
    let mut read = 0;
    let record_length = length(short(head, &mut read)?)??;
    let end = at + read + record_length;
    // Attributes, which no format version uses.
    read += 1;
    let time_delta = zigzag(medium(head, &mut read)?);
    let delta = zigzag(short(head, &mut read)?);
    let mut key = Field::NULL;
    let value_length = match length(short(head, &mut read)?)? {
        None => short(head, &mut read)?,
        Some(length) => {
            key = Field::new(at + read, length);
            read += length;
            let mut taken = 0;
            let raw = short(body.get(at + read..)?.first_chunk::<2>()?, &mut taken)?;
            read += taken;
            raw
        }
    };
    let value_start = at + read;
    let (value, value_end) = match length(value_length)? {
        None => (Field::NULL, value_start),
        Some(length) => (Field::new(value_start, length), value_start + length),
    };
    let no_headers = body.get(value_end) == Some(&0) && value_end + 1 == end;
    no_headers.then_some((Parsed { time_delta, delta, key, value }, end))
}

/// A length: `Some(None)` for null, `None` if it is neither.
#[inline(always)]
fn length(raw: u32) -> Option<Option<usize>> {
    match raw {
        _ if raw & 1 == 0 => Some(Some((raw >> 1) as usize)),
        1 => Some(None),
        _ => None,
    }
}

/// Reads a varint of one or two bytes, still zigzag. `read` stays below `N`, a power of two: the
/// remainder costs nothing and tells the compiler so.
#[inline(always)]
fn short<const N: usize>(head: &[u8; N], read: &mut usize) -> Option<u32> {
    let first = u32::from(head[*read % N]);
    if first < 0x80 {
        *read += 1;
        return Some(first);
    }
    let second = u32::from(head[(*read + 1) % N]);
    *read += 2;
    (second < 0x80).then_some((first & 0x7f) | (second << 7))
}

/// Reads a varint of up to three bytes, still zigzag.
#[inline(always)]
fn medium<const N: usize>(head: &[u8; N], read: &mut usize) -> Option<u32> {
    let start = *read;
    if let Some(raw) = short(head, read) {
        return Some(raw);
    }
    let [first, second, third] = [0, 1, 2].map(|byte| u32::from(head[(start + byte) % N]));
    *read = start + 3;
    (third < 0x80).then_some((first & 0x7f) | ((second & 0x7f) << 7) | (third << 14))
}
