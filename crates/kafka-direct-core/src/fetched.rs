//! The interface between wire and worker: the bytes of one partition, with what decoding needs.

use bytes::Bytes;

use crate::Offset;

/// An aborted transaction, as one Fetch response lists it.
///
/// It is valid for the bytes of that response only. The list is ordered by abort marker, not by
/// `first_offset`. The same producer may appear more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer that wrote the transaction.
    pub producer_id: i64,
    /// The first offset of the transaction; may be below the offsets of the response's bytes.
    pub first_offset: Offset,
}

/// Whole Kafka batches of one partition from one Fetch response.
///
/// Wire has walked the batch headers: `records` ends on a batch boundary, base offsets rise, and
/// [`Fetched::next`] is above [`Fetched::fetch_offset`]. Wire reads nothing after the headers: the
/// worker checks the CRC.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The offset that the Fetch requested. Records below it, which the broker sends because it
    /// sends whole batches, must not be delivered.
    pub fetch_offset: Offset,
    /// The fetch position after these bytes: base offset + last offset delta + 1 of the last batch
    /// (INV-6). Equals `fetch_offset` only if `records` is empty.
    pub next: Offset,
    /// Whole batches, back to back, in a buffer of their own: it keeps no other partition's bytes
    /// alive.
    pub records: Bytes,
    /// The aborted transactions that this response lists (read_committed only).
    pub aborted: Vec<AbortedTransaction>,
    /// The high watermark that the broker reported, exclusive.
    pub high_watermark: Offset,
    /// The last stable offset that the broker reported, exclusive.
    pub last_stable: Offset,
    /// The log start offset that the broker reported, inclusive.
    pub log_start: Offset,
    /// The leader epoch under which the last of these batches was appended, if known (KIP-320).
    pub leader_epoch: Option<i32>,
}
