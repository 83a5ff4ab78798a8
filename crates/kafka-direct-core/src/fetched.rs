//! The seam between wire and worker: bytes of one partition, with what is needed to judge them.

use bytes::Bytes;

use crate::Offset;

/// A transaction that ended in an abort, as one Fetch response lists it.
///
/// It is valid for the bytes of that response only. The list is ordered by abort marker, not by
/// `first_offset`; the same producer may appear more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Who wrote it.
    pub producer_id: i64,
    /// The first offset of the transaction; may lie before the bytes it came with.
    pub first_offset: Offset,
}

/// Whole Kafka batches of one partition from one Fetch response.
///
/// Wire has walked the batch headers: `records` ends on a batch boundary, bases rise, and
/// [`Fetched::next`] lies above [`Fetched::fetch_offset`]. Nothing behind the headers was looked
/// at: the CRC is the worker's to check.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The offset asked for. Records below it, which the broker sends because batches are whole,
    /// are not to be delivered.
    pub fetch_offset: Offset,
    /// The position after these bytes: base offset + last offset delta + 1 of the last batch
    /// (INV-6). Equals `fetch_offset` only if `records` is empty.
    pub next: Offset,
    /// Whole batches, back to back. Its own buffer: it pins no other partition's bytes.
    pub records: Bytes,
    /// Aborted transactions of this response (read_committed only).
    pub aborted: Vec<AbortedTransaction>,
    /// High watermark the broker named, exclusive.
    pub high_watermark: Offset,
    /// Last stable offset the broker named, exclusive.
    pub last_stable: Offset,
    /// Log start the broker named, inclusive.
    pub log_start: Offset,
    /// Leader epoch under which the last of these batches was appended, where known (KIP-320).
    pub leader_epoch: Option<i32>,
}
