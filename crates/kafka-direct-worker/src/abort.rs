//! Finds the transactional batches of one Fetch response that were aborted.
//!
//! The response lists the aborted transactions. The list is ordered by abort marker, not by first
//! offset, and may name a producer more than once. It may hold transactions that began before these
//! bytes or begin after them. An entry is active from its first offset to that producer's abort
//! marker. Commit markers end no entry.

use std::collections::HashSet;

use kafka_direct_core::{AbortedTransaction, Offset};

/// The control record type of an abort marker; 1 is a commit, and readers ignore other types.
const ABORT: i16 = 0;

/// The aborted transactions of one Fetch response, updated batch by batch.
///
/// Keeps INV-7: under read_committed no aborted record is delivered.
#[derive(Debug, Default)]
pub(crate) struct AbortState {
    /// Entries that are not active yet, the one with the lowest first offset last.
    upcoming: Vec<AbortedTransaction>,
    /// Producers inside an aborted transaction.
    active: HashSet<i64>,
}

impl AbortState {
    pub(crate) fn new(mut listed: Vec<AbortedTransaction>) -> Self {
        listed.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.first_offset));
        Self { upcoming: listed, active: HashSet::new() }
    }

    /// Activates the entries that begin at or below `last_offset`, the last offset of the next
    /// batch.
    pub(crate) fn advance(&mut self, last_offset: Offset) {
        while let Some(entry) = self.upcoming.pop_if(|entry| entry.first_offset <= last_offset) {
            self.active.insert(entry.producer_id);
        }
    }

    /// Whether a transactional batch of this producer belongs to an aborted transaction.
    pub(crate) fn is_aborted(&self, producer_id: i64) -> bool {
        self.active.contains(&producer_id)
    }

    /// Applies a marker, given the key of its control record (version, type).
    pub(crate) fn marker(&mut self, producer_id: i64, key: [u8; 4]) {
        let [_, _, high, low] = key;
        if i16::from_be_bytes([high, low]) == ABORT {
            self.active.remove(&producer_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(entries: &[(i64, i64)]) -> AbortState {
        AbortState::new(
            entries
                .iter()
                .map(|(producer_id, first)| AbortedTransaction {
                    producer_id: *producer_id,
                    first_offset: Offset::new(*first),
                })
                .collect(),
        )
    }

    const COMMIT_KEY: [u8; 4] = [0, 0, 0, 1];
    const ABORT_KEY: [u8; 4] = [0, 0, 0, 0];

    #[test]
    fn a_list_ordered_by_marker_is_read_by_first_offset() {
        let mut state = listed(&[(1, 50), (2, 10)]);
        state.advance(Offset::new(10));
        assert!(state.is_aborted(2) && !state.is_aborted(1));
        state.advance(Offset::new(50));
        assert!(state.is_aborted(2) && state.is_aborted(1));
    }

    #[test]
    fn a_commit_between_two_aborts_of_one_producer_ends_neither() {
        let mut state = listed(&[(1, 10), (1, 30)]);
        state.advance(Offset::new(12));
        state.marker(1, ABORT_KEY);
        state.advance(Offset::new(20));
        assert!(!state.is_aborted(1));
        state.marker(1, COMMIT_KEY);
        state.advance(Offset::new(31));
        assert!(state.is_aborted(1));
        state.marker(1, COMMIT_KEY);
        assert!(state.is_aborted(1));
    }

    #[test]
    fn a_marker_ends_only_its_own_producers_transaction() {
        let mut state = listed(&[(1, 0), (2, 0)]);
        state.advance(Offset::new(5));
        state.marker(2, ABORT_KEY);
        assert!(state.is_aborted(1) && !state.is_aborted(2));
    }
}
