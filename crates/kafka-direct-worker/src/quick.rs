//! The hot loop, which parses records of the usual shape for the usual columns.
//!
//! The usual shape is a record without headers whose lengths and deltas take few bytes. The usual
//! columns are key, value, offset and timestamp. At any other record the loop ends. The
//! [`record`](crate::record) loop then parses that record: it handles every shape and names every
//! fault.
//!
//! The loop parses up to [`CHUNK`] records, then fills each column in a loop of its own. Filling
//! all columns in one loop needs more registers than the processor has.

use crate::{
    cursor::{Cursor, Facts},
    rows::{CHUNK, Field, Parsed, Rows, Source},
    varint::zigzag,
};

/// The fewest records for which the loop is worth its setup; [`one`] parses fewer records singly.
pub(crate) const FEWEST: u32 = 4;
/// The largest absolute time delta of a usual record, in milliseconds: a varint of up to three
/// bytes.
const MAX_TIME_DELTA: i64 = 1 << 20;

/// Parses records of the range until one is unusual, or the rows are full. Returns how many it
/// parsed.
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
        for entry in rows.chunk.0.iter_mut().take(limit) {
            // Counts all bytes of the records, not only keys and values, so the loop may end before
            // the rows are full. The caller then calls it again.
            if at - begin >= bytes {
                break;
            }
            let Some((parsed, end)) = record(source.body, at) else { break };
            let delta = i64::from(parsed.delta);
            if !wanted.contains(&delta) {
                break;
            }
            *entry = parsed;
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

/// Parses the next record if it is usual and inside the range. Returns whether it did. The rows
/// must not be full.
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
    rows.keys.push(source, key.extent());
    rows.values.push(source, value.extent());
    rows.offsets.push(facts.offset(delta));
    rows.times.push(time);
    rows.end_rows(1);
    cursor.pass(1, end, delta);
    true
}

/// Fills the columns with the first `count` parsed records.
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

/// Parses the record at `at` if it has the usual shape. Returns the record and its end, exclusive.
///
/// The numbers before the key are in the first 16 bytes, whose bounds are checked once. The fields
/// follow each other, so one comparison at the end checks every length.
#[inline(always)]
fn record(body: &[u8], at: usize) -> Option<(Parsed, usize)> {
    let head = body.get(at..)?.first_chunk::<16>()?;
    let mut read = 0;
    let record_length = length(short(head, &mut read)?)??;
    let end = at + read + record_length;
    // The attributes byte, which Kafka does not use.
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

/// Decodes a zigzag length: `Some(None)` for null, `None` for any other negative length.
#[inline(always)]
fn length(raw: u32) -> Option<Option<usize>> {
    match raw {
        _ if raw & 1 == 0 => Some(Some((raw >> 1) as usize)),
        1 => Some(None),
        _ => None,
    }
}

/// Reads a varint of one or two bytes, without decoding its zigzag.
///
/// `read` stays below `N`, a power of two. The remainder costs nothing and removes the bounds
/// check.
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

/// Reads a varint of up to three bytes, without decoding its zigzag.
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
