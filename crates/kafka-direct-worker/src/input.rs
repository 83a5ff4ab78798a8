//! One Fetch answer walked batch by batch: which Kafka batches hold records to look at.
//!
//! Nothing of a batch is believed before its CRC-32C matched. Control batches and batches of
//! aborted transactions end here; so do batches that lie outside the wanted offsets.

use std::ops::Range;

use arrow_buffer::Buffer;
use bytes::Bytes;
use kafka_direct_core::{
    BATCH_HEADER_BYTES, BatchHeader, Codec, Fetched, HeaderError, IsolationLevel, Offset,
    OffsetRange, PlannedRange, walk,
};

use crate::{Counts, WorkerError, abort::AbortState, arena::Arena, codec, record};

/// Where the checksummed part of a batch begins.
const CHECKED_FROM: usize = 21;
/// Views hold offsets that Arrow's format counts in 31 bits.
pub(crate) const MAX_BUFFER_BYTES: usize = 0x7fff_ffff;

/// A Kafka batch that may hold records to deliver.
#[derive(Debug, Clone)]
pub(crate) struct KafkaBatch {
    pub(crate) header: BatchHeader,
    pub(crate) codec: Codec,
    /// Where its records stand in the answer's bytes.
    pub(crate) body: Range<usize>,
    /// Whether every offset it can hold is wanted.
    pub(crate) inside: bool,
}

/// What one answer is read for.
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

    /// Decompresses `source`, the records of the batch with this header, into `arena`.
    pub(crate) fn decompress(
        &self,
        batch: &KafkaBatch,
        source: &[u8],
        arena: &mut Arena,
    ) -> Result<Range<usize>, WorkerError> {
        let limit = self.max_batch_bytes;
        codec::decompress(batch.codec, source, arena, limit).map_err(|fault| match fault {
            codec::CodecFault::TooLarge => WorkerError::BatchTooLarge {
                range: self.range.clone(),
                offset: batch.header.base_offset,
                limit,
            },
            codec::CodecFault::Broken(reason) => WorkerError::Decompress {
                range: self.range.clone(),
                offset: batch.header.base_offset,
                codec: codec::name(batch.codec),
                reason,
            },
        })
    }
}

/// The state of the walk over one answer.
#[derive(Debug)]
pub(crate) struct Input {
    records: Bytes,
    /// `records` as an Arrow buffer, made when the first view needs it.
    buffer: Option<Buffer>,
    at: usize,
    /// First offset to deliver, inclusive.
    lower: Offset,
    /// Lowest base offset the next batch may have.
    expected: Offset,
    /// `None` under read_uncommitted.
    aborts: Option<AbortState>,
}

impl Input {
    /// Reads `fetched` from its fetch offset or from `lower`, whichever comes later.
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

    /// First offset to deliver, inclusive.
    pub(crate) const fn lower(&self) -> Offset {
        self.lower
    }

    /// The position behind the batches walked so far.
    pub(crate) const fn position(&self) -> Offset {
        self.expected
    }

    /// How many bytes have not been walked.
    pub(crate) fn rest_bytes(&self) -> usize {
        self.records.len().saturating_sub(self.at)
    }

    /// The next batch with records to look at; `None` when there is none left.
    #[inline]
    pub(crate) fn next_visible(
        &mut self,
        scope: &Scope,
        counts: &mut Counts,
    ) -> Result<Option<KafkaBatch>, WorkerError> {
        while let Some((header, whole)) = self.next_header(scope)? {
            if header.base_offset >= scope.range.until() {
                self.at = self.records.len();
                break;
            }
            self.check(scope, &header, whole.clone())?;
            counts.kafka_batches += 1;
            let batch = KafkaBatch {
                codec: header.codec().map_err(|source| scope.header_error(source))?,
                body: whole.start.saturating_add(BATCH_HEADER_BYTES)..whole.end,
                inside: header.base_offset >= self.lower
                    && header.last_offset() < scope.range.until(),
                header,
            };
            if let Some(aborts) = &mut self.aborts {
                aborts.advance(header.last_offset());
            }
            if header.is_control() {
                counts.control_batches += 1;
                self.marker(scope, &batch)?;
                continue;
            }
            let aborted = header.is_transactional()
                && self.aborts.as_ref().is_some_and(|state| state.is_aborted(header.producer_id));
            if aborted {
                counts.aborted_batches += 1;
                continue;
            }
            let empty = header.count == 0 && batch.body.is_empty();
            if empty || header.last_offset() < self.lower {
                continue;
            }
            return Ok(Some(batch));
        }
        Ok(None)
    }

    #[inline]
    fn next_header(
        &mut self,
        scope: &Scope,
    ) -> Result<Option<(BatchHeader, Range<usize>)>, WorkerError> {
        let rest = self.records.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let Some(item) = walk(rest).next() else {
            return Err(WorkerError::Truncated {
                range: scope.range.clone(),
                offset: self.expected,
                rest_bytes: rest.len(),
            });
        };
        let (header, _) = item.map_err(|source| scope.header_error(source))?;
        if header.base_offset < self.expected {
            return Err(scope.header_error(HeaderError::Order {
                offset: header.base_offset.get(),
                last_offset_delta: header.last_offset_delta,
                count: header.count,
                expected: self.expected.get(),
            }));
        }
        let start = self.at;
        self.at = start.saturating_add(header.total_bytes);
        Ok(Some((header, start..self.at)))
    }

    /// Compares the checksum; only then does the walk count the batch as passed.
    #[inline]
    fn check(
        &mut self,
        scope: &Scope,
        header: &BatchHeader,
        whole: Range<usize>,
    ) -> Result<(), WorkerError> {
        let checked = self.bytes(whole.start.saturating_add(CHECKED_FROM)..whole.end);
        let computed = crc_fast::crc32_iscsi(checked);
        if computed != header.crc {
            return Err(WorkerError::Checksum {
                range: scope.range.clone(),
                offset: header.base_offset,
                resume_at: header.base_offset.max(self.lower),
                stored: header.crc,
                computed,
            });
        }
        self.expected = header.next_offset();
        Ok(())
    }

    /// Takes note of a transaction marker. A control batch that compaction emptied says nothing.
    fn marker(&mut self, scope: &Scope, batch: &KafkaBatch) -> Result<(), WorkerError> {
        if self.aborts.is_none() || batch.header.count == 0 {
            return Ok(());
        }
        let stored = self.bytes(batch.body.clone());
        let mut arena = Arena::default();
        let plain = match batch.codec {
            Codec::None => stored,
            _ => {
                let range = scope.decompress(batch, stored, &mut arena)?;
                arena.get(range)
            }
        };
        let key = record::marker_key(plain).ok_or_else(|| {
            scope.record_error(batch.header.base_offset, 0, "no transaction marker")
        })?;
        if let Some(aborts) = &mut self.aborts {
            aborts.marker(batch.header.producer_id, key);
        }
        Ok(())
    }
}
