//! The 61-byte header of a Kafka record batch (format v2), and the walk from one to the next.
//!
//! Wire walks to know the position after a response, the worker to decode, the broker to store. Base
//! offset, length and leader epoch are not under the batch's CRC, so the walk trusts none of them:
//! a length must fit what is there, the base must rise, and deltas must not run backwards.
//!
//! Layout (offsets in bytes): base offset 0..8, length 8..12 (of what follows it), leader epoch
//! 12..16, magic 16, CRC-32C 17..21 (over everything after it), attributes 21..23, last offset
//! delta 23..27, base timestamp 27..35, max timestamp 35..43, producer id 43..51, producer epoch
//! 51..53, base sequence 53..57, record count 57..61.
//!
//! Source: Kafka's `DefaultRecordBatch` and KIP-98.

use crate::Offset;

/// Size of the header before the records.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Bytes before the part that the length field counts: base offset and the length itself.
const PREFIX_BYTES: usize = 12;
/// Enough bytes to know length and magic.
const MAGIC_END: usize = 17;

/// How the records behind a header are compressed.
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

/// A batch header, every field as it stands on the wire except where said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the batch's first record, also where compaction removed that record.
    pub base_offset: Offset,
    /// Size of the whole batch in bytes, header included.
    pub total_bytes: usize,
    /// Epoch of the leader that appended the batch; −1 if not set.
    pub leader_epoch: i32,
    /// CRC-32C of everything behind the CRC field.
    pub crc: u32,
    /// Codec (bits 0-2), log append time (3), transactional (4), control (5), delete horizon (6).
    pub attributes: i16,
    /// Distance from the base offset to the last offset; kept by compaction.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas count from (a horizon if bit 6 is set).
    pub base_timestamp: i64,
    /// Largest timestamp; every record's timestamp under log append time.
    pub max_timestamp: i64,
    /// Idempotent or transactional producer; −1 for none.
    pub producer_id: i64,
    /// Epoch of that producer.
    pub producer_epoch: i16,
    /// Sequence number of the first record; −1 for none.
    pub base_sequence: i32,
    /// How many records follow; may be lower than the deltas suggest, even 0.
    pub count: i32,
}

/// Why bytes are no sound sequence of batches.
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
    /// A magic byte no Kafka has.
    #[error("unknown message format {magic} at offset {offset}")]
    UnknownFormat {
        /// The magic byte.
        magic: i8,
        /// Base offset of the batch.
        offset: i64,
    },
    /// A length that cannot hold a header.
    #[error("batch at offset {offset} claims a length of {length} bytes")]
    Length {
        /// The length field.
        length: i32,
        /// Base offset of the batch.
        offset: i64,
    },
    /// Offsets or counts that run backwards.
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
        /// Lowest base offset that was possible.
        expected: i64,
    },
    /// A codec number no Kafka has.
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
    /// Reads the header at the start of `records`. `Ok(None)` means that the bytes end before the
    /// batch does: a broker may cut the last batch of a response.
    ///
    /// # Errors
    /// [`HeaderError`] if the batch is no v2 batch or its length cannot be true.
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

    /// The header's length is known to the compiler, so that none of these reads is checked: with
    /// batches of one record that shows.
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

    /// Offset of the batch's last record, inclusive, also where compaction removed that record.
    #[must_use]
    #[inline]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The position after this batch: base offset + last offset delta + 1.
    ///
    /// Keeps INV-6: reading stops on this position, not on the last record, which compaction may
    /// have removed.
    #[must_use]
    #[inline]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().saturating_add(1)
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`HeaderError::UnknownCodec`].
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

    /// Whether the batch holds a transaction marker, never shown to readers.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Whether the base timestamp is a delete horizon (KIP-534); deltas may then be negative.
    #[must_use]
    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes & 0x40 != 0
    }

    /// Whether offsets and counts can be true for a batch that follows `expected`.
    #[inline]
    fn check_order(&self, expected: Offset) -> Result<(), HeaderError> {
        let sound = self.base_offset >= expected
            && self.last_offset_delta >= 0
            && self.count >= 0
            && i64::from(self.count) <= i64::from(self.last_offset_delta).saturating_add(1)
            && self.base_offset.get().checked_add(i64::from(self.last_offset_delta)).is_some();
        if sound {
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

/// The batches in a record set, header and whole bytes each. Ends after the last complete batch or
/// after the first error.
#[derive(Debug, Clone)]
pub struct BatchWalker<'a> {
    rest: &'a [u8],
    expected: Offset,
}

/// Walks `records` from their first byte. Bases must rise, from 0 for the first: a broker sends
/// whole batches, so the first may start below the offset that was asked for.
#[must_use]
pub const fn walk(records: &[u8]) -> BatchWalker<'_> {
    BatchWalker { rest: records, expected: Offset::ZERO }
}

impl BatchWalker<'_> {
    /// How many bytes are left behind the last complete batch.
    #[must_use]
    pub const fn rest_bytes(&self) -> usize {
        self.rest.len()
    }

    /// The base offset of a batch that is cut, once the walk is over; `None` if there is none, or
    /// less of it than that.
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

    /// A batch with `body` behind its header and no valid CRC.
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
    fn walk_yields_whole_batches_and_ignores_a_cut_tail() {
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
    fn a_base_offset_that_goes_back_is_an_error() {
        let mut set = batch(5, 2, 3, 10);
        set.extend(batch(7, 0, 1, 10));
        let found: Vec<_> = walk(&set).collect();
        assert!(matches!(found[1], Err(HeaderError::Order { offset: 7, expected: 8, .. })));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn impossible_counts_deltas_and_ends_are_errors() {
        for (base, delta, count) in
            [(0, -1, 0), (0, 0, -1), (0, 0, 2), (-3, 0, 1), (i64::MAX, 1, 1)]
        {
            let set = batch(base, delta, count, 0);
            let first = walk(&set).next().unwrap();
            assert!(matches!(first, Err(HeaderError::Order { .. })), "{base} {delta} {count}");
        }
    }

    #[test]
    fn old_and_unknown_formats_and_lying_lengths_are_named() {
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
