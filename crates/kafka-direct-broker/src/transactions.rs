//! Tracks the open and ended transactions of one partition, derived from its batches. There is no
//! transaction coordinator.

use std::collections::BTreeMap;

use kafka_direct_core::BatchHeader;

use crate::{batch_reader, batch_writer::Marker};

/// A transaction whose marker is in the log.
#[derive(Debug, Clone, Copy)]
struct Ended {
    producer_id: i64,
    first: i64,
    marker_offset: i64,
    marker: Marker,
}

/// The transactions of one partition.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// The first offset of each producer's open transaction.
    open: BTreeMap<i64, i64>,
    /// In order of the markers' offsets.
    ended: Vec<Ended>,
}

impl Transactions {
    /// Updates the transactions with a batch appended to the log.
    pub(crate) fn observe(&mut self, header: &BatchHeader, batch: &[u8]) {
        if header.is_control() {
            let Some(marker) = batch_reader::marker(batch) else { return };
            if let Some(first) = self.open.remove(&header.producer_id) {
                self.ended.push(Ended {
                    producer_id: header.producer_id,
                    first,
                    marker_offset: header.last_offset().get(),
                    marker,
                });
            }
        } else if header.is_transactional() {
            self.open.entry(header.producer_id).or_insert_with(|| header.base_offset.get());
        }
    }

    /// The last stable offset, for a log whose high watermark is `high`.
    ///
    /// All transactions below it have ended. A marker at or above `high` does not count yet.
    pub(crate) fn last_stable(&self, high: i64) -> i64 {
        let hidden = self.ended.iter().rev().take_while(|ended| ended.marker_offset >= high);
        let undecided = self.open.values().copied().chain(hidden.map(|ended| ended.first));
        undecided.fold(high, i64::min)
    }

    /// The producer id and first offset of each aborted transaction that overlaps `[from, until)`,
    /// in order of the markers' offsets.
    pub(crate) fn aborted(&self, from: i64, until: i64) -> impl Iterator<Item = (i64, i64)> {
        let start = self.ended.partition_point(|ended| ended.marker_offset < from);
        let candidates = self.ended.get(start..).unwrap_or_default();
        candidates
            .iter()
            .filter(move |ended| ended.marker == Marker::Abort && ended.first < until)
            .map(|ended| (ended.producer_id, ended.first))
    }

    /// Removes the transactions that ended before `log_start`.
    pub(crate) fn trim(&mut self, log_start: i64) {
        let expired = self.ended.partition_point(|ended| ended.marker_offset < log_start);
        self.ended.drain(..expired);
    }
}

#[cfg(test)]
mod tests {
    use kafka_direct_core::walk;

    use super::*;
    use crate::{BatchWriter, Record};

    fn observe(transactions: &mut Transactions, bytes: &[u8]) {
        for batch in walk(bytes) {
            let (header, batch) = batch.unwrap();
            transactions.observe(&header, batch);
        }
    }

    fn part(producer: i64, offset: i64) -> bytes::Bytes {
        let writer = BatchWriter::new().transaction(producer, 0).base_offset(offset);
        writer.write(&[Record::new("v")]).unwrap()
    }

    fn end(producer: i64, offset: i64, marker: Marker) -> bytes::Bytes {
        BatchWriter::new().transaction(producer, 0).base_offset(offset).marker(marker).unwrap()
    }

    #[test]
    fn aborted_transactions_are_ordered_by_marker_and_bounded_by_the_range() {
        let mut t = Transactions::default();
        for bytes in [
            part(1, 0),
            part(2, 1),
            part(3, 2),
            end(2, 3, Marker::Abort),
            end(3, 4, Marker::Commit),
            end(1, 5, Marker::Abort),
            part(2, 6),
            end(2, 7, Marker::Abort),
        ] {
            observe(&mut t, &bytes);
        }
        let all = |from, until| t.aborted(from, until).collect::<Vec<_>>();
        assert_eq!(all(0, 8), [(2, 1), (1, 0), (2, 6)]);
        assert_eq!(all(4, 6), [(1, 0)]);
        assert_eq!(all(0, 1), [(1, 0)]);
        assert_eq!(t.last_stable(8), 8);
    }

    #[test]
    fn last_stable_is_limited_by_open_transactions_and_by_markers_above_the_high_watermark() {
        let mut t = Transactions::default();
        observe(&mut t, &part(1, 4));
        assert_eq!(t.last_stable(6), 4);
        observe(&mut t, &end(1, 5, Marker::Commit));
        assert_eq!(t.last_stable(6), 6);
        assert_eq!(t.last_stable(5), 4);
    }

    #[test]
    fn a_marker_without_a_transaction_aborts_nothing() {
        let mut t = Transactions::default();
        observe(&mut t, &end(1, 0, Marker::Abort));
        assert_eq!(t.aborted(0, 9).count(), 0);
    }
}
