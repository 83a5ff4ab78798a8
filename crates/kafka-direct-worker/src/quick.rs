//! The hot loop: records of the usual shape, for the usual columns.
//!
//! Usual are records without headers whose lengths and deltas take few bytes, and the columns key,
//! value, offset and timestamp. Whatever else comes stops the loop, and is left to the
//! [`record`](crate::record) loop, which knows every shape and names every fault.

use crate::{
    record::{Cursor, Facts},
    rows::{Rows, Source},
    varint::{zigzag, zigzag_long},
};

/// Parses wanted records as long as they are usual and there is room; returns how many.
pub(crate) fn records(
    rows: &mut Rows,
    source: &Source<'_>,
    facts: &Facts,
    cursor: &mut Cursor,
) -> u32 {
    let most = u32::try_from(rows.room()).unwrap_or(u32::MAX).min(cursor.left());
    let mut bytes_left = rows.bytes_room();
    let mut wanted = facts.wanted_after(cursor.last_delta());
    let (mut at, mut passed) = (cursor.at(), 0);
    while passed < most && bytes_left > 0 {
        let Some(record) = record(source.body, at) else { break };
        let Some(time) = facts.time(record.time_delta) else { break };
        if !wanted.contains(&record.delta) {
            break;
        }
        rows.push_timestamp(time);
        rows.offsets.push(facts.offset(record.delta));
        rows.keys.push(source, record.key);
        rows.values.push(source, record.value);
        // More than the key and the value: the caller starts anew if that is too early.
        bytes_left = bytes_left.saturating_sub((record.end - at) as u64);
        at = record.end;
        wanted.start = record.delta + 1;
        passed += 1;
    }
    if passed > 0 {
        rows.end_rows(passed as usize);
        cursor.pass(passed, at, wanted.start - 1);
    }
    passed
}

/// A record; keys and values by where they start and how long they are.
struct Record {
    end: usize,
    time_delta: i64,
    delta: i64,
    key: Option<(usize, usize)>,
    value: Option<(usize, usize)>,
}

/// Parses the record at `at` if it is of the usual shape.
///
/// The numbers stand in the first 16 bytes, which are looked up once. The fields follow each other,
/// so that one comparison at the end proves every length right.
#[inline(always)]
fn record(body: &[u8], at: usize) -> Option<Record> {
    let head = body.get(at..)?.first_chunk::<16>()?;
    let mut read = 0;
    let record_length = length(short(head, &mut read)?)??;
    let end = at + read + record_length;
    // Attributes, which no format version uses.
    read += 1;
    let time_delta = zigzag_long(u64::from(medium(head, &mut read)?));
    let delta = i64::from(zigzag(short(head, &mut read)?));
    let mut key = None;
    let value_length = match length(short(head, &mut read)?)? {
        None => short(head, &mut read)?,
        Some(length) => {
            key = Some((at + read, length));
            read += length;
            short(body.get(at + read..)?.first_chunk::<2>()?, &mut 0).inspect(|raw| {
                read += 1 + usize::from(*raw > 0x7f);
            })?
        }
    };
    let value_start = at + read;
    let value = length(value_length)?.map(|length| (value_start, length));
    let value_end = value_start + value.map_or(0, |(_, length)| length);
    let no_headers = body.get(value_end) == Some(&0) && value_end + 1 == end;
    no_headers.then_some(Record { end, time_delta, delta, key, value })
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
