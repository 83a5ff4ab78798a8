//! What one partition's answer means for its slot: bytes to queue, a stop, or nothing.

use std::sync::Arc;

use bytes::Bytes;
use kafka_direct_core::{Fetched, HeaderError, Offset, invariants, walk};

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
    },
    /// No batch that moves the position.
    Empty,
    /// Something the reader has to look into.
    Stop(Stop),
}

/// Judges `answer` to a request at `position`.
///
/// The position moves by the batches' headers alone (INV-6); since these lie outside the batch's
/// checksum, a batch must rise above the one before and end at or below the high watermark. Of two
/// whole batches of one answer that contradict each other neither is delivered; one that no whole
/// batch follows is believed. What lies at and behind the range's end is cut off here.
pub(super) fn accept(
    slot: &Slot,
    position: Offset,
    address: &Arc<str>,
    answer: PartitionAnswer,
) -> Accepted {
    let PartitionAnswer { code, high_watermark, last_stable, log_start, aborted, records, .. } =
        answer;
    if code != 0 {
        return Accepted::Stop(Stop::Code { address: Arc::clone(address), code });
    }
    let (mut end, mut largest_batch) = (0usize, 0);
    let mut next = position;
    let mut leader_epoch = None;
    let mut before = (end, next, leader_epoch);
    let mut batches = walk(&records);
    while let Some(batch) = batches.next() {
        let header = match batch {
            // The log was trimmed past the position: what is missing is no hole.
            Ok((header, _)) if header.base_offset > next && log_start > next => {
                if invariants::moves_forward(position, next) {
                    break;
                }
                let code = code::OFFSET_OUT_OF_RANGE;
                return Accepted::Stop(Stop::Code { address: Arc::clone(address), code });
            }
            Ok((header, _)) => header,
            // One of two is not where it says it is, and no checksum tells which.
            Err(error) if goes_back(&error) => {
                (end, next, leader_epoch) = before;
                if invariants::moves_forward(position, next) {
                    break;
                }
                return Accepted::Stop(Stop::Header(error));
            }
            // What was sound before the fault is delivered; the fault is met again behind it.
            Err(_) if invariants::moves_forward(position, next) => break,
            Err(error) => return Accepted::Stop(Stop::Header(error)),
        };
        if header.next_offset() > high_watermark {
            if invariants::moves_forward(position, next) {
                break;
            }
            let next = header.next_offset();
            return Accepted::Stop(Stop::AboveHighWatermark { next, high_watermark });
        }
        if header.base_offset >= slot.range().until() {
            // A hole up to the range's end: the position is past it, unless this one is not where
            // it says it is.
            match batches.next() {
                Some(Err(error)) if goes_back(&error) => {
                    if !invariants::moves_forward(position, next) {
                        return Accepted::Stop(Stop::Header(error));
                    }
                }
                _ => next = next.max(slot.range().until()),
            }
            break;
        }
        before = (end, next, leader_epoch);
        end = end.saturating_add(header.total_bytes);
        largest_batch = largest_batch.max(header.total_bytes);
        if invariants::moves_forward(position, header.next_offset()) {
            next = header.next_offset();
            leader_epoch = Some(header.leader_epoch).filter(|epoch| *epoch >= 0);
        }
    }
    if !invariants::moves_forward(position, next) {
        return Accepted::Empty;
    }
    // Batches below the position stay in: they may hold the markers that end aborted transactions.
    let records = if end == 0 { Bytes::new() } else { records.slice(..end) };
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
    Accepted::Fetched { fetched, largest_batch }
}

/// Whether a batch begins below the end of the one before it.
fn goes_back(error: &HeaderError) -> bool {
    matches!(error, HeaderError::Order { offset, expected, .. } if offset < expected)
}
