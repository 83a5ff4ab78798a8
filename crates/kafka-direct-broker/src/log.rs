//! The log of one partition, in memory: whole batches, a cap in bytes, and the three watermarks.
//!
//! Batches are immutable once stored. Reads return reference-counted slices. This module does not
//! depend on leaders, nodes or requests.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use kafka_direct_core::{BatchHeader, Offset, Watermarks};

use crate::{
    batch_reader::{self, Stamped},
    epochs::Epochs,
    settings::TailBatches,
    transactions::Transactions,
};

/// A batch without an assigned offset.
#[derive(Debug)]
pub(crate) struct Unplaced {
    pub(crate) header: BatchHeader,
    pub(crate) bytes: BytesMut,
}

#[derive(Debug)]
struct Stored {
    last: i64,
    /// The maximum timestamp; `i64::MIN` for bytes that were not parsed.
    max_timestamp: i64,
    bytes: Bytes,
}

/// The result of a read.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Whole batches; under [`TailBatches::Cut`] the last one may be cut.
    pub(crate) records: Vec<Bytes>,
    pub(crate) bytes: usize,
    /// The offset after the last whole batch.
    pub(crate) next: i64,
}

/// The log of one partition.
#[derive(Debug)]
pub(crate) struct Log {
    batches: VecDeque<Stored>,
    bytes: usize,
    cap_bytes: usize,
    start: i64,
    end: i64,
    /// The high watermark set by the owner; `None` for the log's end.
    high_override: Option<i64>,
    /// The earliest local offset set by the owner; `None` for the log start offset.
    local_start: Option<i64>,
    pub(crate) transactions: Transactions,
    pub(crate) epochs: Epochs,
}

impl Log {
    pub(crate) fn new(cap_bytes: usize) -> Self {
        let mut epochs = Epochs::default();
        epochs.begin(0, 0);
        Self {
            batches: VecDeque::new(),
            bytes: 0,
            cap_bytes,
            start: 0,
            end: 0,
            high_override: None,
            local_start: None,
            transactions: Transactions::default(),
            epochs,
        }
    }

    pub(crate) const fn start(&self) -> i64 {
        self.start
    }

    pub(crate) const fn end(&self) -> i64 {
        self.end
    }

    pub(crate) fn watermarks(&self) -> Watermarks {
        let high = self.high_override.map_or(self.end, |high| high.clamp(self.start, self.end));
        let last_stable = self.transactions.last_stable(high);
        Watermarks {
            log_start: Offset::new(self.start),
            last_stable: Offset::new(last_stable),
            high: Offset::new(high),
        }
    }

    pub(crate) const fn override_high(&mut self, high: Option<i64>) {
        self.high_override = high;
    }

    /// The earliest local offset, clamped to the log's bounds.
    pub(crate) fn local_start(&self) -> i64 {
        self.local_start.map_or(self.start, |offset| offset.clamp(self.start, self.end))
    }

    pub(crate) const fn set_local_start(&mut self, offset: Option<i64>) {
        self.local_start = offset;
    }

    /// Assigns the next offsets and the leader epoch to `batches`, appends them, and returns the
    /// first offset.
    pub(crate) fn append(&mut self, batches: Vec<Unplaced>, epoch: i32) -> i64 {
        let base = self.end;
        for Unplaced { mut header, mut bytes } in batches {
            header.base_offset = Offset::new(self.end);
            header.leader_epoch = epoch;
            if let Some(field) = bytes.get_mut(..8) {
                field.copy_from_slice(&self.end.to_be_bytes());
            }
            if let Some(field) = bytes.get_mut(12..16) {
                field.copy_from_slice(&epoch.to_be_bytes());
            }
            self.push(&header, bytes.freeze());
        }
        base
    }

    /// Appends a batch with the offsets in its header; its base offset must not be below the log's
    /// end.
    pub(crate) fn push(&mut self, header: &BatchHeader, bytes: Bytes) {
        self.transactions.observe(header, &bytes);
        self.store(Stored {
            last: header.last_offset().get(),
            max_timestamp: header.max_timestamp,
            bytes,
        });
    }

    /// Appends bytes without parsing them, as one batch with last offset `next − 1`.
    pub(crate) fn push_unchecked(&mut self, next: i64, bytes: Bytes) {
        self.store(Stored { last: next.saturating_sub(1), max_timestamp: i64::MIN, bytes });
    }

    fn store(&mut self, batch: Stored) {
        self.bytes = self.bytes.saturating_add(batch.bytes.len());
        self.end = batch.last.saturating_add(1);
        self.batches.push_back(batch);
        while self.bytes > self.cap_bytes && self.batches.len() > 1 {
            let Some(oldest) = self.batches.front() else { break };
            self.trim(oldest.last.saturating_add(1));
        }
    }

    /// Raises the log start offset to `offset`; a batch that contains it stays whole.
    pub(crate) fn trim(&mut self, offset: i64) {
        self.start = self.start.max(offset);
        while let Some(oldest) = self.batches.front()
            && oldest.last < self.start
        {
            self.bytes = self.bytes.saturating_sub(oldest.bytes.len());
            self.batches.pop_front();
        }
        self.transactions.trim(self.start);
    }

    /// Removes all records from `offset` on, like a new leader that never replicated them.
    ///
    /// A batch that contains `offset` is removed whole, which leaves a hole in the offsets.
    pub(crate) fn truncate(&mut self, offset: i64) {
        while let Some(newest) = self.batches.back()
            && newest.last >= offset
        {
            self.bytes = self.bytes.saturating_sub(newest.bytes.len());
            self.batches.pop_back();
        }
        self.end = self.end.min(offset);
        self.start = self.start.min(offset);
        self.transactions = Transactions::default();
        for batch in &self.batches {
            if let Ok(Some(header)) = BatchHeader::parse(&batch.bytes) {
                self.transactions.observe(&header, &batch.bytes);
            }
        }
    }

    /// Reads whole batches of at most `max_bytes`, starting with the batch that contains `from`.
    ///
    /// All offsets are below `until`. If `at_least_one` is set, the first batch is returned
    /// whatever its size.
    pub(crate) fn read(
        &self,
        from: i64,
        until: i64,
        max_bytes: usize,
        at_least_one: bool,
        tail: TailBatches,
    ) -> Found {
        let first = self.batches.partition_point(|batch| batch.last < from);
        let mut found = Found { next: from, ..Found::default() };
        for batch in self.batches.range(first..) {
            if batch.last >= until {
                break;
            }
            let room = max_bytes.saturating_sub(found.bytes);
            let exempt = at_least_one && found.records.is_empty();
            if batch.bytes.len() > room && !exempt {
                if tail == TailBatches::Cut && !found.records.is_empty() && room > 0 {
                    found.bytes = found.bytes.saturating_add(room);
                    found.records.push(batch.bytes.slice(..room));
                }
                break;
            }
            found.bytes = found.bytes.saturating_add(batch.bytes.len());
            found.next = batch.last.saturating_add(1);
            found.records.push(batch.bytes.clone());
        }
        found
    }

    /// The first record, in offset order, with a timestamp of at least `timestamp`.
    pub(crate) fn first_at_or_after(&self, timestamp: i64) -> Option<Stamped> {
        let candidates = self.batches.iter().filter(|batch| batch.max_timestamp >= timestamp);
        candidates.into_iter().find_map(|batch| {
            let header = BatchHeader::parse(&batch.bytes).ok()??;
            batch_reader::first_at_or_after(&header, &batch.bytes, timestamp, self.start)
        })
    }

    /// The first record with the largest timestamp; `None` if no record has a timestamp.
    pub(crate) fn max_timestamp(&self) -> Option<Stamped> {
        let largest = self.batches.iter().map(|batch| batch.max_timestamp).max()?;
        (largest >= 0).then(|| self.first_at_or_after(largest)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use kafka_direct_core::walk;

    use super::*;
    use crate::{BatchWriter, Record};

    fn append(log: &mut Log, count: usize) -> i64 {
        let records = vec![Record::new(vec![1; 100]); count];
        let bytes = BatchWriter::new().write(&records).unwrap();
        let header = walk(&bytes).next().unwrap().unwrap().0;
        log.append(vec![Unplaced { header, bytes: BytesMut::from(&bytes[..]) }], 3)
    }

    fn append_fives(log: &mut Log, batches: usize) {
        for _ in 0..batches {
            append(log, 5);
        }
    }

    fn offsets(found: &Found) -> Vec<i64> {
        let all: Vec<u8> = found.records.concat();
        walk(&all).map(|batch| batch.unwrap().0.base_offset.get()).collect()
    }

    #[test]
    fn appended_batches_get_their_offset_and_epoch_and_keep_their_crc() {
        let mut log = Log::new(usize::MAX);
        assert_eq!([append(&mut log, 3), append(&mut log, 2)], [0, 3]);
        let found = log.read(3, 5, 10_000, true, TailBatches::Whole);
        let header = walk(&found.records[0]).next().unwrap().unwrap().0;
        assert_eq!((header.base_offset.get(), header.leader_epoch, found.next), (3, 3, 5));
        assert_eq!(header.crc, crate::batch_writer::crc_of(&found.records[0]));
    }

    #[test]
    fn a_read_gives_whole_batches_within_its_bounds() {
        let mut log = Log::new(usize::MAX);
        append_fives(&mut log, 4);
        let one = log.read(0, 20, 1, true, TailBatches::Whole);
        assert_eq!(offsets(&one), [0]);
        assert_eq!(log.read(0, 20, 1, false, TailBatches::Whole).bytes, 0);
        assert_eq!(offsets(&log.read(7, 20, 10_000, true, TailBatches::Whole)), [5, 10, 15]);
        assert_eq!(offsets(&log.read(0, 14, 10_000, true, TailBatches::Whole)), [0, 5]);
        let cut = log.read(0, 20, one.bytes + 70, true, TailBatches::Cut);
        assert_eq!((offsets(&cut), cut.bytes, cut.next), (vec![0], one.bytes + 70, 5));
        assert!(log.read(20, 20, 10_000, true, TailBatches::Whole).records.is_empty());
    }

    #[test]
    fn the_cap_drops_the_oldest_batches_and_moves_the_start() {
        let mut log = Log::new(1_500);
        append_fives(&mut log, 10);
        assert_eq!((log.start(), log.end()), (40, 50));
        assert!(log.bytes <= 1_500);
        let mut tiny = Log::new(10);
        append(&mut tiny, 5);
        assert_eq!((tiny.start(), tiny.end()), (0, 5));
    }

    #[test]
    fn trim_keeps_the_batch_around_the_new_start() {
        let mut log = Log::new(usize::MAX);
        append_fives(&mut log, 2);
        log.trim(7);
        assert_eq!(log.start(), 7);
        assert_eq!(offsets(&log.read(7, 10, 1, true, TailBatches::Whole)), [5]);
    }

    #[test]
    fn truncation_drops_batches_and_transactions_after_it() {
        let mut log = Log::new(usize::MAX);
        append(&mut log, 5);
        let writer = BatchWriter::new().transaction(9, 0).base_offset(5);
        let bytes = writer.write(&[Record::new("open")]).unwrap();
        log.push(&walk(&bytes).next().unwrap().unwrap().0, bytes.clone());
        assert_eq!(log.watermarks().last_stable.get(), 5);
        log.truncate(3);
        assert_eq!((log.end(), log.watermarks().last_stable.get()), (3, 3));
        assert_eq!(append(&mut log, 5), 3);
        assert_eq!(log.watermarks().last_stable.get(), 8);
    }

    #[test]
    fn an_overridden_high_watermark_stays_inside_the_log() {
        let mut log = Log::new(usize::MAX);
        append(&mut log, 5);
        log.override_high(Some(2));
        assert_eq!(log.watermarks().high.get(), 2);
        log.override_high(Some(99));
        assert_eq!(log.watermarks().high.get(), 5);
    }
}
