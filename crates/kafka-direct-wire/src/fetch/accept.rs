//! What one partition's answer means for its slot: bytes to queue, a stop, or nothing.
//!
//! The position moves by the batches' headers alone (INV-6), and where a batch begins stands outside
//! its checksum. So a base offset is believed where something else bears it out: see [`Place`].

use std::{cmp::Ordering, sync::Arc};

use bytes::Bytes;
use kafka_direct_core::{BatchHeader, Batches, Fetched, HeaderError, Offset, OffsetRange, walk};

use crate::code;

use super::{
    response::PartitionAnswer,
    slot::{Slot, Stop},
};

/// The outcome of walking an answer's batch headers.
#[derive(Debug)]
pub(super) enum Accepted {
    /// Whole batches that move the position.
    Fetched {
        fetched: Fetched,
        /// Of its batches the largest, in bytes.
        largest_batch: usize,
        /// Where the next batch says that it begins, if nothing else says so.
        claimed: Option<Offset>,
    },
    /// The first batch is not where it was expected, and nothing bears it out: it is asked for again.
    Claimed { base: Offset, largest_batch: usize },
    /// No batch that moves the position.
    Empty,
    /// Something the reader has to look into.
    Stop(Stop),
}

/// Where a batch begins, and what is enough to believe it.
///
/// Whatever the place, a batch behind it, also one that is cut, must not begin below its end: of two
/// that contradict each other neither is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the position, or where the batch before ended: that is enough.
    Follows,
    /// Behind a hole: there must be a batch behind it.
    BehindHole,
    /// Below the position, which it reaches past: the batch behind it must begin at its very end.
    Below,
    /// It ends at or below the position: nothing of it is delivered.
    Past,
    /// Behind a hole that follows one of those, which may have been moved out of it: a second answer
    /// must say the same.
    BehindPast,
}

/// How far an answer is believed.
#[derive(Debug, Clone, Copy)]
struct Extent {
    bytes: usize,
    next: Offset,
    leader_epoch: Option<i32>,
    largest_batch: usize,
}

/// A batch whose place is not settled before what is behind it was looked at.
#[derive(Debug, Clone, Copy)]
struct Last {
    place: Place,
    base: Offset,
    end: Offset,
    /// How far the answer is believed without it.
    before: Extent,
}

/// What is behind a batch says of its place.
enum Verdict {
    Believed,
    /// Nothing; a second answer will tell.
    Open,
    Contradicted {
        behind: Offset,
    },
}

impl Last {
    #[inline]
    fn judge(&self, behind: Option<Offset>) -> Verdict {
        match (behind, self.place) {
            (Some(behind), _) if behind < self.end => Verdict::Contradicted { behind },
            (_, Place::Follows | Place::Past) | (Some(_), Place::BehindHole) => Verdict::Believed,
            (Some(behind), Place::Below) if behind == self.end => Verdict::Believed,
            _ => Verdict::Open,
        }
    }
}

/// The base offset of what is behind a batch, also where that is cut or out of order.
#[inline]
fn base_of(
    item: Option<&Result<(BatchHeader, &[u8]), HeaderError>>,
    batches: &Batches<'_>,
) -> Option<Offset> {
    match item {
        Some(Ok((header, _))) => Some(header.base_offset),
        Some(Err(HeaderError::Order { offset, .. })) => Some(Offset::new(*offset)),
        // It may be no batch.
        Some(Err(_)) => None,
        None => batches.cut_base(),
    }
}

/// Where the walk over an answer ended.
struct Walked {
    extent: Extent,
    claimed: Option<Offset>,
    stop: Option<Stop>,
}

/// Judges `answer` to a request at `position`.
///
/// A batch must also rise above the one before and end at or below the high watermark. Of the batch at
/// the position a base offset that nothing in its answer bears out is believed if the next answer that
/// has one says the same. What lies at and behind the range's end is cut off here.
pub(super) fn accept(
    slot: &Slot,
    position: Offset,
    address: &Arc<str>,
    answer: PartitionAnswer,
) -> Accepted {
    if answer.code != 0 {
        let code = answer.code;
        return Accepted::Stop(Stop::Code { address: Arc::clone(address), code });
    }
    let Walked { extent, claimed, stop } =
        walk_headers(slot.range(), slot.claimed(), position, address, &answer);
    let Extent { bytes, next, leader_epoch, largest_batch } = extent;
    if next <= position {
        return match (stop, claimed) {
            (Some(stop), _) => Accepted::Stop(stop),
            (None, Some(base)) => Accepted::Claimed { base, largest_batch },
            (None, None) => Accepted::Empty,
        };
    }
    // What was sound before a fault is delivered; the fault is met again behind it.
    let PartitionAnswer { high_watermark, last_stable, log_start, aborted, records, .. } = answer;
    // Batches below the position stay in: they may hold the markers that end aborted transactions.
    let records = if bytes == 0 { Bytes::new() } else { records.slice(..bytes) };
    let fetched = Fetched {
        fetch_offset: position,
        next,
        records,
        aborted,
        high_watermark,
        last_stable,
        log_start,
        leader_epoch,
    };
    Accepted::Fetched { fetched, largest_batch, claimed }
}

/// Walks the headers up to the range's end or to what is not to be believed. `claimed` is where the
/// answer before said that the batch at the position begins.
fn walk_headers(
    range: &OffsetRange,
    claimed: Option<Offset>,
    position: Offset,
    address: &Arc<str>,
    answer: &PartitionAnswer,
) -> Walked {
    let mut extent = Extent { bytes: 0, next: position, leader_epoch: None, largest_batch: 0 };
    let ended = |extent, stop| Walked { extent, claimed: None, stop };
    let mut last: Option<Last> = None;
    let mut batches = walk(&answer.records);
    loop {
        let item = batches.next();
        if let Some(last) = &last {
            let Last { place, base, end, before } = *last;
            // What was said before is of the batch at the position.
            let is_at_position = place != Place::Past && before.next <= position;
            let claimed = claimed.filter(|_| is_at_position);
            match (last.judge(base_of(item.as_ref(), &batches)), claimed) {
                (Verdict::Contradicted { behind }, _) => {
                    return ended(before, Some(Stop::Overlap { base, end, behind }));
                }
                (_, Some(claimed)) if claimed != base => {
                    return ended(before, Some(Stop::Moved { bases: [claimed, base] }));
                }
                (Verdict::Open, None) => {
                    // Its size tells how much to ask for.
                    let extent = Extent { largest_batch: extent.largest_batch, ..before };
                    return Walked { extent, claimed: Some(base), stop: None };
                }
                (Verdict::Believed, _) | (Verdict::Open, Some(_)) => {}
            }
        }
        let header = match item {
            None => return ended(extent, None),
            Some(Err(error)) => return ended(extent, Some(Stop::Header(error))),
            Some(Ok((header, _))) => header,
        };
        if extent.next >= range.until() {
            return ended(extent, None);
        }
        let (base, end) = (header.base_offset, header.next_offset());
        // The log was trimmed past the position: what is missing is no hole.
        if base > extent.next && answer.log_start > extent.next {
            let code = code::OFFSET_OUT_OF_RANGE;
            return ended(extent, Some(Stop::Code { address: Arc::clone(address), code }));
        }
        if end > answer.high_watermark {
            let high_watermark = answer.high_watermark;
            return ended(extent, Some(Stop::AboveHighWatermark { next: end, high_watermark }));
        }
        let expected = last.map_or(position, |last| last.end);
        let is_past = last.is_some_and(|last| last.place == Place::Past);
        let place = match base.cmp(&expected) {
            _ if end <= position => Place::Past,
            Ordering::Equal => Place::Follows,
            Ordering::Greater if is_past => Place::BehindPast,
            Ordering::Greater => Place::BehindHole,
            Ordering::Less => Place::Below,
        };
        last = Some(Last { place, base, end, before: extent });
        extent.largest_batch = extent.largest_batch.max(header.total_bytes);
        if base >= range.until() {
            // A hole up to the range's end.
            extent.next = range.until();
            continue;
        }
        extent.bytes = extent.bytes.saturating_add(header.total_bytes);
        if end > position {
            extent.next = end;
            extent.leader_epoch = Some(header.leader_epoch).filter(|epoch| *epoch >= 0);
        }
    }
}
