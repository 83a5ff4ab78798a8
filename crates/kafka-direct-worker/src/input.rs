//! Walks one Fetch response batch by batch and selects the Kafka batches to decode.
//!
//! No content of a batch is trusted before its CRC-32C is checked. The walk drops control batches,
//! batches of aborted transactions, and batches outside the requested offsets.

use std::ops::Range;

use arrow_buffer::Buffer;
use bytes::Bytes;
use kafka_direct_core::{
    BATCH_HEADER_BYTES, BatchHeader, Codec, Fetched, HeaderError, IsolationLevel, Offset,
    OffsetRange, PlannedRange, walk,
};

use crate::{
    Counts, WorkerError, abort::AbortState, arena::Arena, codec, counts::Codecs, cursor::Facts,
    record,
};

/// Where the part of a batch that its CRC covers begins, in bytes.
const CHECKED_FROM: usize = 21;
/// The size of the largest buffer, in bytes: an offset in an Arrow view has 31 bits.
pub(crate) const MAX_BUFFER_BYTES: usize = 0x7fff_ffff;

/// A Kafka batch that may hold records to deliver.
#[derive(Debug, Clone)]
pub(crate) struct KafkaBatch {
    pub(crate) base: Offset,
    /// The fetch position after the batch.
    pub(crate) next: Offset,
    pub(crate) count: u32,
    pub(crate) codec: Codec,
    /// Where its records are in the response's bytes.
    pub(crate) body: Range<usize>,
    /// Whether all its offsets are inside the range.
    pub(crate) inside: bool,
    pub(crate) facts: Facts,
}

/// The range of a read, its isolation level, and the bound on a decompressed Kafka batch.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) range: OffsetRange,
    pub(crate) isolation: IsolationLevel,
    pub(crate) max_batch_bytes: usize,
}

impl Scope {
    pub(crate) fn new(planned: &PlannedRange, max_batch_bytes: usize) -> Self {
        Self { range: planned.range().clone(), isolation: planned.isolation(), max_batch_bytes }
    }

    pub(crate) fn header_error(&self, source: HeaderError) -> WorkerError {
        WorkerError::Header { range: self.range.clone(), source }
    }

    pub(crate) fn record_error(
        &self,
        offset: Offset,
        record: u64,
        reason: &'static str,
    ) -> WorkerError {
        WorkerError::Record { range: self.range.clone(), offset, record, reason }
    }

    /// Decompresses `source`, the records of the batch at offset `base`, into `arena`.
    pub(crate) fn decompress(
        &self,
        base: Offset,
        codec: Codec,
        source: &[u8],
        arena: &mut Arena,
    ) -> Result<Range<usize>, WorkerError> {
        let limit = self.max_batch_bytes;
        codec::decompress(codec, source, arena, limit).map_err(|fault| match fault {
            codec::CodecFault::TooLarge => {
                WorkerError::BatchTooLarge { range: self.range.clone(), offset: base, limit }
            }
            codec::CodecFault::Broken(reason) => WorkerError::Decompress {
                range: self.range.clone(),
                offset: base,
                codec: codec::name(codec),
                reason,
            },
        })
    }

    fn truncated(&self, offset: Offset, rest_bytes: usize) -> WorkerError {
        WorkerError::Truncated { range: self.range.clone(), offset, rest_bytes }
    }

    fn out_of_order(&self, header: &BatchHeader, expected: Offset) -> WorkerError {
        self.header_error(HeaderError::Order {
            offset: header.base_offset.get(),
            last_offset_delta: header.last_offset_delta,
            count: header.count,
            expected: expected.get(),
        })
    }

    /// Checks the checksum of a batch. If it does not match, the base offset may be corrupt too. So
    /// the error names `next`, where the batch before ended, as the offset from which to read
    /// again.
    #[inline]
    fn check(&self, header: &BatchHeader, whole: &[u8], next: Offset) -> Result<(), WorkerError> {
        let checked = whole.get(CHECKED_FROM..).unwrap_or_default();
        let computed = crc_fast::crc32_iscsi(checked);
        if computed == header.crc {
            return Ok(());
        }
        Err(WorkerError::Checksum {
            range: self.range.clone(),
            offset: header.base_offset,
            resume_at: next,
            stored: header.crc,
            computed,
        })
    }

    /// Applies the transaction marker in a control batch. A control batch that compaction emptied
    /// has none.
    fn marker(
        &self,
        aborts: &mut AbortState,
        header: &BatchHeader,
        codec: Codec,
        stored: &[u8],
    ) -> Result<(), WorkerError> {
        if header.count == 0 {
            return Ok(());
        }
        let mut arena = Arena::default();
        let plain = match codec {
            Codec::None => stored,
            _ => {
                let range = self.decompress(header.base_offset, codec, stored, &mut arena)?;
                arena.get(range)
            }
        };
        let key = record::marker_key(plain).ok_or_else(|| {
            self.record_error(header.base_offset, 0, "it is not a transaction marker")
        })?;
        aborts.marker(header.producer_id, key);
        Ok(())
    }
}

/// The state of the walk over one response.
#[derive(Debug)]
pub(crate) struct Input {
    records: Bytes,
    /// `records` as an Arrow buffer, made when the first view needs it.
    buffer: Option<Buffer>,
    at: usize,
    /// The first offset to deliver, inclusive.
    lower: Offset,
    /// The lowest base offset that the next batch may have.
    expected: Offset,
    /// The aborted transactions; `None` under read_uncommitted.
    aborts: Option<AbortState>,
}

impl Input {
    /// Reads `fetched` from its fetch offset, `lower` or the start of the range, whichever is
    /// highest.
    pub(crate) fn new(scope: &Scope, fetched: Fetched, lower: Offset) -> Result<Self, WorkerError> {
        let Fetched { fetch_offset, records, aborted, .. } = fetched;
        if records.len() > MAX_BUFFER_BYTES {
            return Err(WorkerError::FetchTooLarge {
                range: scope.range.clone(),
                offset: fetch_offset,
                bytes: records.len(),
            });
        }
        Ok(Self {
            records,
            buffer: None,
            at: 0,
            lower: lower.max(fetch_offset).max(scope.range.from()),
            expected: Offset::ZERO,
            aborts: match scope.isolation {
                IsolationLevel::ReadCommitted => Some(AbortState::new(aborted)),
                IsolationLevel::ReadUncommitted => None,
            },
        })
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.records.get(range).unwrap_or_default()
    }

    pub(crate) fn buffer(&mut self) -> Buffer {
        self.buffer.get_or_insert_with(|| Buffer::from(self.records.clone())).clone()
    }

    /// How many bytes of the response follow the last batch that was read.
    pub(crate) fn rest_bytes(&self) -> usize {
        self.records.len().saturating_sub(self.at)
    }

    /// The next batch whose records may be visible; `None` if there is none left.
    #[inline]
    pub(crate) fn next_visible(
        &mut self,
        scope: &Scope,
        counts: &mut Counts,
    ) -> Result<Option<KafkaBatch>, WorkerError> {
        loop {
            let rest = self.records.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(None);
            }
            // Headers are read in place: with batches of one record, moving them is measurable.
            let item = walk(rest).next();
            let (header, whole) = match &item {
                Some(Ok((header, whole))) => (header, *whole),
                Some(Err(source)) => return Err(scope.header_error(*source)),
                None => return Err(scope.truncated(self.expected, rest.len())),
            };
            if header.base_offset < self.expected {
                return Err(scope.out_of_order(header, self.expected));
            }
            if header.base_offset >= scope.range.until() {
                self.at = self.records.len();
                return Ok(None);
            }
            scope.check(header, whole, self.expected.max(self.lower))?;
            let codec = header.codec().map_err(|source| scope.header_error(source))?;
            let body = self.at + BATCH_HEADER_BYTES..self.at + whole.len();
            self.at += whole.len();
            self.expected = header.next_offset();
            counts.kafka_batches += 1;
            if header.is_control() {
                counts.control_batches += 1;
            }
            if let Some(aborts) = &mut self.aborts {
                aborts.advance(header.last_offset());
                if header.is_control() {
                    let stored = self.records.get(body.clone()).unwrap_or_default();
                    scope.marker(aborts, header, codec, stored)?;
                } else if header.is_transactional() && aborts.is_aborted(header.producer_id) {
                    counts.aborted_batches += 1;
                    continue;
                }
            }
            let empty = header.count == 0 && body.is_empty();
            if header.is_control() || empty || header.last_offset() < self.lower {
                continue;
            }
            counts.codecs = counts.codecs.with(Codecs::of(codec));
            let until = scope.range.until();
            return Ok(Some(KafkaBatch {
                base: header.base_offset,
                next: header.next_offset(),
                count: header.count.max(0).cast_unsigned(),
                codec,
                body,
                inside: header.base_offset >= self.lower && header.last_offset() < until,
                facts: Facts::new(header, self.lower.get(), until.get()),
            }));
        }
    }
}
