//! The 61-byte header of a Kafka record batch (format v2), and the walk from one to the next.
//!
//! Wire walks a response to compute the next fetch position, the worker to decode it, the broker to
//! store it. The batch's CRC does not cover base offset, length and leader epoch, so the walk
//! trusts none of them. It checks that a length fits the bytes, that base offsets rise, and that
//! deltas are not negative.
//!
//! Layout (offsets in bytes): base offset 0..8, length 8..12 (of what follows it), leader epoch
//! 12..16, magic 16, CRC-32C 17..21 (over everything after it), attributes 21..23, last offset
//! delta 23..27, base timestamp 27..35, max timestamp 35..43, producer id 43..51, producer epoch
//! 51..53, base sequence 53..57, record count 57..61.
//!
//! Source: Kafka's `DefaultRecordBatch` and KIP-98.

use crate::Offset;

/// The size of a batch header, in bytes; the records follow it.
pub const BATCH_HEADER_BYTES: usize = 61;
/// The bytes that the length field does not count: base offset and the length itself.
const PREFIX_BYTES: usize = 12;
/// The end of the magic byte: this many bytes include length and magic.
const MAGIC_END: usize = 17;

/// The compression codec of a batch's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not compressed.
    None,
    /// gzip.
    Gzip,
    /// Snappy: xerial framing or one raw block.
    Snappy,
    /// An LZ4 frame.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// A batch header. Every field has its value on the wire, unless its text says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the batch's first record, also if compaction removed that record.
    pub base_offset: Offset,
    /// Size of the whole batch in bytes, header included.
    pub total_bytes: usize,
    /// Epoch of the leader that appended the batch; −1 if not set.
    pub leader_epoch: i32,
    /// CRC-32C of everything after the CRC field.
    pub crc: u32,
    /// Codec (bits 0-2), log append time (3), transactional (4), control (5), delete horizon (6).
    pub attributes: i16,
    /// Distance from the base offset to the last offset; kept by compaction.
    pub last_offset_delta: i32,
    /// The timestamp to which each record's delta is added, in milliseconds (a delete horizon if
    /// attribute bit 6 is set).
    pub base_timestamp: i64,
    /// The largest timestamp, in milliseconds; every record's timestamp under log append time.
    pub max_timestamp: i64,
    /// Id of the idempotent or transactional producer; −1 for none.
    pub producer_id: i64,
    /// Epoch of that producer.
    pub producer_epoch: i16,
    /// Sequence number of the first record; −1 for none.
    pub base_sequence: i32,
    /// How many records follow. After compaction, it may be below `last_offset_delta + 1`, even 0.
    pub count: i32,
}

/// A fault in a sequence of batch headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// A message format older than v2 (Kafka before 0.11).
    #[error("message format v{magic} at offset {offset} is not supported; only v2 is")]
    OldFormat {
        /// The magic byte: 0 or 1.
        magic: i8,
        /// Base offset of the batch.
        offset: i64,
    },
    /// A magic byte that no version of Kafka writes.
    #[error("unknown message format {magic} at offset {offset}")]
    UnknownFormat {
        /// The magic byte.
        magic: i8,
        /// Base offset of the batch.
        offset: i64,
    },
    /// A length that is too short for a header.
    #[error("batch at offset {offset} has an invalid length of {length} bytes")]
    Length {
        /// The length field.
        length: i32,
        /// Base offset of the batch.
        offset: i64,
    },
    /// Offsets or counts that are negative, too large, or below those of the batch before.
    #[error(
        "batch at offset {offset} is out of order: last offset delta {last_offset_delta}, {count} records, expected an offset of at least {expected}"
    )]
    Order {
        /// Base offset of the batch.
        offset: i64,
        /// Its last offset delta.
        last_offset_delta: i32,
        /// Its record count.
        count: i32,
        /// The lowest valid base offset.
        expected: i64,
    },
    /// A codec number that no version of Kafka writes.
    #[error("batch at offset {offset} has unknown compression codec {codec}")]
    UnknownCodec {
        /// The codec bits.
        codec: i16,
        /// Base offset of the batch.
        offset: i64,
    },
}

#[inline(always)]
fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk::<N>().copied()
}

impl BatchHeader {
    /// Reads the header at the start of `records`.
    ///
    /// `Ok(None)` means that the bytes end before the batch does: a broker may truncate the last
    /// batch of a response.
    ///
    /// # Errors
    /// [`HeaderError`] if the batch is not a v2 batch or its length is invalid.
    #[inline]
    pub fn parse(records: &[u8]) -> Result<Option<Self>, HeaderError> {
        let (Some(base), Some(length), Some([magic])) =
            (bytes(records, 0), bytes(records, 8), bytes::<1>(records, MAGIC_END.wrapping_sub(1)))
        else {
            return Ok(None);
        };
        let offset = i64::from_be_bytes(base);
        let magic = i8::from_be_bytes([magic]);
        match magic {
            2 => {}
            0 | 1 => return Err(HeaderError::OldFormat { magic, offset }),
            _ => return Err(HeaderError::UnknownFormat { magic, offset }),
        }
        let length = i32::from_be_bytes(length);
        let total_bytes = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(PREFIX_BYTES))
            .filter(|total| *total >= BATCH_HEADER_BYTES)
            .ok_or(HeaderError::Length { length, offset })?;
        if records.len() < total_bytes {
            return Ok(None);
        }
        let header = records.first_chunk::<BATCH_HEADER_BYTES>();
        Ok(header.and_then(|header| Self::fields(header, offset, total_bytes)))
    }

    /// Reads the fields after the length. The array's size is a constant, so the compiler removes
    /// all bounds checks: this is measurable with batches of one record.
    #[inline(always)]
    fn fields(records: &[u8; BATCH_HEADER_BYTES], offset: i64, total_bytes: usize) -> Option<Self> {
        Some(Self {
            base_offset: Offset::new(offset),
            total_bytes,
            leader_epoch: i32::from_be_bytes(bytes(records, 12)?),
            crc: u32::from_be_bytes(bytes(records, 17)?),
            attributes: i16::from_be_bytes(bytes(records, 21)?),
            last_offset_delta: i32::from_be_bytes(bytes(records, 23)?),
            base_timestamp: i64::from_be_bytes(bytes(records, 27)?),
            max_timestamp: i64::from_be_bytes(bytes(records, 35)?),
            producer_id: i64::from_be_bytes(bytes(records, 43)?),
            producer_epoch: i16::from_be_bytes(bytes(records, 51)?),
            base_sequence: i32::from_be_bytes(bytes(records, 53)?),
            count: i32::from_be_bytes(bytes(records, 57)?),
        })
    }

    /// Offset of the batch's last record, inclusive, also if compaction removed that record.
    #[must_use]
    #[inline]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The fetch position after this batch: base offset + last offset delta + 1.
    ///
    /// Keeps INV-6: reading ends at this position, not at the last record, which compaction may
    /// have removed.
    #[must_use]
    #[inline]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().saturating_add(1)
    }

    /// The codec that compressed the records.
    ///
    /// # Errors
    /// [`HeaderError::UnknownCodec`] for a number from 5 to 7.
    pub const fn codec(&self) -> Result<Codec, HeaderError> {
        match self.attributes & 0x07 {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            codec => Err(HeaderError::UnknownCodec { codec, offset: self.base_offset.get() }),
        }
    }

    /// Whether every record carries [`BatchHeader::max_timestamp`] instead of its own.
    #[must_use]
    pub const fn is_log_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether this is a control batch, which is never delivered: it holds a transaction marker.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Whether the base timestamp is a delete horizon (KIP-534); deltas may then be negative.
    #[must_use]
    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes & 0x40 != 0
    }

    /// Checks that offsets and counts are valid, and that the base offset is at least `expected`.
    #[inline]
    fn check_order(&self, expected: Offset) -> Result<(), HeaderError> {
        let is_valid = self.base_offset >= expected
            && self.last_offset_delta >= 0
            && self.count >= 0
            && i64::from(self.count) <= i64::from(self.last_offset_delta).saturating_add(1)
            && self.base_offset.get().checked_add(i64::from(self.last_offset_delta)).is_some();
        if is_valid {
            return Ok(());
        }
        Err(HeaderError::Order {
            offset: self.base_offset.get(),
            last_offset_delta: self.last_offset_delta,
            count: self.count,
            expected: expected.get(),
        })
    }
}

/// An iterator over the batches in a record set, made by [`walk`].
///
/// Each item is a header and the bytes of the whole batch. The iterator ends after the last
/// complete batch or after the first error.
#[derive(Debug, Clone)]
pub struct BatchWalker<'a> {
    rest: &'a [u8],
    expected: Offset,
}

/// Iterates over the batches in `records`.
///
/// Base offsets must rise. The first may be any from 0: a broker sends whole batches, so the first
/// batch may start below the requested offset.
#[must_use]
pub const fn walk(records: &[u8]) -> BatchWalker<'_> {
    BatchWalker { rest: records, expected: Offset::ZERO }
}

impl BatchWalker<'_> {
    /// How many bytes follow the batches that were returned.
    #[must_use]
    pub const fn rest_bytes(&self) -> usize {
        self.rest.len()
    }

    /// The base offset of the truncated last batch, after the iterator has ended.
    ///
    /// `None` if there is no such batch, or if it has fewer bytes than a base offset.
    #[must_use]
    pub fn cut_base(&self) -> Option<Offset> {
        bytes(self.rest, 0).map(i64::from_be_bytes).map(Offset::new)
    }
}

impl<'a> Iterator for BatchWalker<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), HeaderError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let checked = BatchHeader::parse(self.rest).and_then(|header| match header {
            None => Ok(None),
            Some(header) => header.check_order(self.expected).map(|()| Some(header)),
        });
        match checked {
            Ok(None) => None,
            Ok(Some(header)) => {
                let (batch, rest) = self.rest.split_at_checked(header.total_bytes)?;
                self.rest = rest;
                self.expected = header.next_offset();
                Some(Ok((header, batch)))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A batch with `body` bytes after its header and no valid CRC.
    fn batch(base: i64, last_delta: i32, count: i32, body: usize) -> Vec<u8> {
        let mut b = Vec::new();
        b.extend(base.to_be_bytes());
        b.extend(i32::try_from(BATCH_HEADER_BYTES - 12 + body).unwrap().to_be_bytes());
        b.extend((-1i32).to_be_bytes());
        b.push(2);
        b.extend([0; 4]);
        b.extend([0; 2]);
        b.extend(last_delta.to_be_bytes());
        b.extend([0; 16]);
        b.extend([0xff; 14]);
        b.extend(count.to_be_bytes());
        b.resize(BATCH_HEADER_BYTES + body, 7);
        b
    }

    #[test]
    fn walk_returns_whole_batches_and_ignores_a_truncated_last_one() {
        let mut set = batch(5, 2, 3, 10);
        set.extend(batch(8, 0, 0, 0));
        let whole = set.len();
        set.extend(&batch(20, 0, 1, 40)[..70]);
        let mut batches = walk(&set);
        let found: Vec<_> = batches.by_ref().map(|b| b.unwrap().0.next_offset().get()).collect();
        assert_eq!(found, [8, 9]);
        assert_eq!(batches.rest_bytes(), set.len() - whole);
    }

    #[test]
    fn a_base_offset_below_the_expected_one_is_an_error() {
        let mut set = batch(5, 2, 3, 10);
        set.extend(batch(7, 0, 1, 10));
        let found: Vec<_> = walk(&set).collect();
        assert!(matches!(found[1], Err(HeaderError::Order { offset: 7, expected: 8, .. })));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn invalid_counts_deltas_and_ends_are_errors() {
        for (base, delta, count) in
            [(0, -1, 0), (0, 0, -1), (0, 0, 2), (-3, 0, 1), (i64::MAX, 1, 1)]
        {
            let set = batch(base, delta, count, 0);
            let first = walk(&set).next().unwrap();
            assert!(matches!(first, Err(HeaderError::Order { .. })), "{base} {delta} {count}");
        }
    }

    #[test]
    fn old_formats_unknown_formats_and_invalid_lengths_are_errors() {
        let mut set = batch(3, 0, 1, 0);
        set[16] = 1;
        assert_eq!(walk(&set).next(), Some(Err(HeaderError::OldFormat { magic: 1, offset: 3 })));
        set[16] = 9;
        assert_eq!(
            walk(&set).next(),
            Some(Err(HeaderError::UnknownFormat { magic: 9, offset: 3 }))
        );
        set[16] = 2;
        for length in [-1, 0, 48, i32::MIN] {
            set[8..12].copy_from_slice(&i32::to_be_bytes(length));
            assert_eq!(
                walk(&set).next(),
                Some(Err(HeaderError::Length { length, offset: 3 })),
                "{length}"
            );
        }
    }

    proptest! {
        #[test]
        fn walking_arbitrary_bytes_ends_and_stays_inside(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
            magic in prop_oneof![Just(2u8), any::<u8>()],
        ) {
            if let Some(b) = bytes.get_mut(16) { *b = magic; }
            let mut seen = 0;
            for item in walk(&bytes) {
                match item {
                    Ok((header, whole)) => {
                        prop_assert_eq!(header.total_bytes, whole.len());
                        seen += whole.len();
                    }
                    Err(_) => break,
                }
            }
            prop_assert!(seen <= bytes.len());
        }
    }
}
