//! Checks one partition's response and decides: bytes to queue, a stop, or nothing.
//!
//! The batch headers move the fetch position (INV-6). A header's base offset is outside the
//! checksum of its batch, so each response is checked against itself:
//!
//! - Base offsets increase.
//! - A batch ends at or below the base offset of the next batch.
//! - A batch ends at or below the high watermark.
//!
//! A base offset that passes these checks is trusted, as in Kafka's own clients; see
//! docs/adr/0016-trusted-base-offsets.md.

use std::sync::Arc;

use bytes::Bytes;
use kafka_direct_core::{
    BatchHeader, BatchWalker, Fetched, HeaderError, Offset, OffsetRange, walk,
};

use crate::code;

use super::{partition_cursor::PartitionCursor, response::PartitionResponse, stop::Stop};

/// The outcome of walking the batch headers of a response.
#[derive(Debug)]
pub(super) enum Accepted {
    /// Whole batches that move the fetch position.
    Fetched {
        fetched: Fetched,
        /// The size of its largest batch, in bytes.
        largest_batch: usize,
        /// The response from the range's end on, if the cursor keeps it and it has a whole batch.
        rest: Option<Box<PartitionResponse>>,
    },
    /// No batch moves the fetch position.
    Empty,
    /// A fault that the reader has to handle.
    Stop(Stop),
}

/// The part of a response that passed the checks.
#[derive(Debug, Clone, Copy)]
struct Extent {
    bytes: usize,
    next: Offset,
    leader_epoch: Option<i32>,
    largest_batch: usize,
}

/// The last whole batch. The next batch of the response may overlap it.
#[derive(Debug, Clone, Copy)]
struct Last {
    base: Offset,
    end: Offset,
    /// The part of the response that passed the checks before this batch.
    before: Extent,
}

/// Returns the base offset of a batch, also if the batch is cut or out of order.
#[inline]
fn base_of(
    item: Option<&Result<(BatchHeader, &[u8]), HeaderError>>,
    batches: &BatchWalker<'_>,
) -> Option<Offset> {
    match item {
        Some(Ok((header, _))) => Some(header.base_offset),
        Some(Err(HeaderError::Order { offset, .. })) => Some(Offset::new(*offset)),
        // These bytes may not be a batch.
        Some(Err(_)) => None,
        None => batches.cut_base(),
    }
}

/// Checks `response`, the response to a request at `position`.
///
/// Batches before the first fault are delivered. The next request then gets the fault again. If two
/// batches overlap, neither is delivered. Batches at or after the range's end are cut off.
///
/// Keeps INV-6: the position is base offset + last offset delta + 1 of the last delivered batch.
pub(super) fn accept(
    cursor: &PartitionCursor,
    position: Offset,
    address: &Arc<str>,
    response: PartitionResponse,
) -> Accepted {
    if response.code != 0 {
        let code = response.code;
        return Accepted::Stop(Stop::Code { address: Arc::clone(address), code });
    }
    let (extent, stop) = walk_headers(cursor.range(), position, address, &response);
    let Extent { bytes, next, leader_epoch, largest_batch } = extent;
    if next <= position {
        return stop.map_or(Accepted::Empty, Accepted::Stop);
    }
    let until = cursor.range().until();
    let rest = if cursor.keeps_rest() && next >= until { rest_of(&response, until) } else { None };
    let PartitionResponse { high_watermark, last_stable, log_start, aborted, records, .. } =
        response;
    // Batches below the position are kept: they may hold the markers of aborted transactions.
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
    Accepted::Fetched { fetched, largest_batch, rest }
}

/// Returns `response` without the batches that end at or below `until`; `None` if no whole batch is
/// left. Copies no records.
///
/// All batches are kept if transactions were aborted: they may hold the markers.
fn rest_of(response: &PartitionResponse, until: Offset) -> Option<Box<PartitionResponse>> {
    let mut skipped_bytes = 0usize;
    for item in walk(&response.records) {
        let (header, _) = item.ok()?;
        if header.next_offset() > until {
            let first = if response.aborted.is_empty() { skipped_bytes } else { 0 };
            let (records, aborted) = (response.records.slice(first..), response.aborted.clone());
            return Some(Box::new(PartitionResponse { records, aborted, ..*response }));
        }
        skipped_bytes = skipped_bytes.saturating_add(header.total_bytes);
    }
    None
}

/// Walks the batch headers up to the range's end or to the first fault.
fn walk_headers(
    range: &OffsetRange,
    position: Offset,
    address: &Arc<str>,
    response: &PartitionResponse,
) -> (Extent, Option<Stop>) {
    let mut extent = Extent { bytes: 0, next: position, leader_epoch: None, largest_batch: 0 };
    let mut last: Option<Last> = None;
    let mut batches = walk(&response.records);
    loop {
        let item = batches.next();
        if let Some(Last { base, end, before }) = last
            && let Some(next_base) = base_of(item.as_ref(), &batches)
            && next_base < end
        {
            return (before, Some(Stop::Overlap { base, end, next_base }));
        }
        let header = match item {
            None => return (extent, None),
            Some(Err(error)) => return (extent, Some(Stop::Header(error))),
            Some(Ok((header, _))) => header,
        };
        if extent.next >= range.until() {
            return (extent, None);
        }
        let (base, end) = (header.base_offset, header.next_offset());
        // The log was trimmed above the position: the missing offsets are not a hole.
        if base > extent.next && response.log_start > extent.next {
            let code = code::OFFSET_OUT_OF_RANGE;
            return (extent, Some(Stop::Code { address: Arc::clone(address), code }));
        }
        if end > response.high_watermark {
            let high_watermark = response.high_watermark;
            return (extent, Some(Stop::AboveHighWatermark { next: end, high_watermark }));
        }
        last = Some(Last { base, end, before: extent });
        extent.largest_batch = extent.largest_batch.max(header.total_bytes);
        if base >= range.until() {
            // A hole up to the range's end, unless the next batch overlaps this one.
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
