//! Records how far one range was read, and under which topic id and leader epochs.
//!
//! [`RangeState`] is the only owner of the fetch position. Bytes that are returned to the caller
//! move it. A declared loss moves it or shortens the range. A seek sets it.

use kafka_direct_core::{
    ErrorKind, Fetched, IsolationLevel, Offset, OffsetRange, PlannedRange, Reset, TopicId,
    TopicPartition,
};

use crate::{error::WireError, topology::Leader};

/// The progress of one range, shared by its reader and its recovery.
#[derive(Debug)]
pub(super) struct RangeState {
    planned: PlannedRange,
    /// The end of the range, exclusive. It is before the planned end if a loss shortened the range.
    until: Offset,
    /// The next offset to return. It is after `until` if the last batch ends after `until`.
    position: Offset,
    topic_id: Option<TopicId>,
    /// The leader epoch at the last registration of a cursor; the planned epoch before the first.
    leader_epoch: Option<i32>,
    /// The epoch under which the last returned bytes were appended.
    read_epoch: Option<i32>,
    resets: Vec<Reset>,
    has_ended: bool,
}

impl RangeState {
    pub(super) fn new(planned: PlannedRange) -> Self {
        Self {
            until: planned.range().until(),
            position: planned.range().from(),
            topic_id: planned.topic_id(),
            leader_epoch: planned.leader_epoch(),
            read_epoch: None,
            resets: Vec::new(),
            has_ended: planned.range().is_empty_span(),
            planned,
        }
    }

    /// The planned range.
    pub(super) const fn range(&self) -> &OffsetRange {
        self.planned.range()
    }

    pub(super) const fn planned(&self) -> &PlannedRange {
        &self.planned
    }

    pub(super) const fn topic_partition(&self) -> &TopicPartition {
        self.planned.topic_partition()
    }

    pub(super) const fn isolation(&self) -> IsolationLevel {
        self.planned.isolation()
    }

    pub(super) const fn until(&self) -> Offset {
        self.until
    }

    pub(super) const fn position(&self) -> Offset {
        self.position
    }

    pub(super) const fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    pub(super) const fn planned_epoch(&self) -> Option<i32> {
        self.planned.leader_epoch()
    }

    pub(super) const fn read_epoch(&self) -> Option<i32> {
        self.read_epoch
    }

    pub(super) fn resets(&self) -> &[Reset] {
        &self.resets
    }

    /// Whether the range was read to its end.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns the leader's topic id if it differs from the id under which the range was planned or
    /// read.
    pub(super) fn other_topic_id(&self, leader: &Leader) -> Option<TopicId> {
        leader.topic_id.filter(|id| self.topic_id.is_some_and(|own| own != *id))
    }

    /// Whether the epoch of `leader` differs from the epoch at the last registration.
    pub(super) fn is_new_epoch(&self, leader: &Leader) -> bool {
        leader.epoch.is_some() && leader.epoch != self.leader_epoch
    }

    /// Creates an error about an invalid or missing batch at the fetch position.
    pub(super) fn bad_batch(&self, reason: String, kind: ErrorKind) -> WireError {
        let (range, position) = (self.range().clone(), self.position);
        WireError::BadBatch { range, position, reason, kind }
    }

    /// Takes over the topic id and epoch of `leader`. Returns the range up to its current end.
    pub(super) fn continue_under(&mut self, leader: &Leader) -> PlannedRange {
        self.topic_id = self.topic_id.or(leader.topic_id);
        self.leader_epoch = leader.epoch.or(self.leader_epoch);
        let (tp, from) = (self.topic_partition().clone(), self.range().from());
        match OffsetRange::new(tp, from, self.until) {
            Ok(range) => PlannedRange::new(range, self.isolation()),
            Err(_) => self.planned.clone(),
        }
    }

    /// Moves the position to the end of bytes that are returned to the caller.
    pub(super) fn advance(&mut self, fetched: &Fetched) {
        self.position = fetched.next;
        self.read_epoch = fetched.leader_epoch.or(self.read_epoch);
    }

    /// Sets the position, back or forward, but not before the range's start.
    pub(super) fn seek(&mut self, position: Offset) {
        self.position = position.max(self.range().from());
        self.read_epoch = None;
        self.has_ended = self.position >= self.until;
    }

    /// Ends the range after all its bytes were returned.
    pub(super) const fn finish(&mut self) {
        self.has_ended = true;
    }

    /// Ends the range if the rest of it is a hole. Moves the position to the end.
    pub(super) const fn finish_in_hole(&mut self) {
        self.position = self.until;
        self.has_ended = true;
    }

    /// Skips `reset`, a trimmed part of the log. The range continues at its end.
    pub(super) fn skip(&mut self, reset: Reset) {
        self.position = reset.to;
        // The epoch of earlier records does not apply here. A leader that still has that epoch may
        // end it before this position.
        self.read_epoch = None;
        self.has_ended = self.position >= self.until;
        self.resets.push(reset);
    }

    /// Shortens the range to `until`, exclusive, and records `reset` for the rest.
    pub(super) fn shorten(&mut self, until: Offset, reset: Reset) {
        self.until = until;
        self.position = self.position.min(until);
        // So that the next registration does not query the same epoch again.
        self.leader_epoch = reset.new_epoch.or(self.leader_epoch);
        self.has_ended = self.position >= self.until;
        self.resets.push(reset);
    }
}

#[cfg(test)]
mod tests {
    use kafka_direct_core::ResetCause;

    use super::*;

    fn state() -> RangeState {
        let range = OffsetRange::new(TopicPartition::new("t", 0), 10, 20).unwrap();
        RangeState::new(PlannedRange::new(range, IsolationLevel::ReadCommitted))
    }

    fn reset(state: &RangeState, from: i64, to: i64) -> Reset {
        let tp = state.topic_partition().clone();
        Reset::new(tp, ResetCause::Trimmed, Offset::new(from), Offset::new(to))
    }

    #[test]
    fn a_skip_continues_after_the_reset_and_ends_the_range_at_its_end() {
        let mut state = state();
        state.skip(reset(&state, 10, 15));
        assert_eq!((state.position(), state.has_ended()), (Offset::new(15), false));
        state.skip(reset(&state, 15, 20));
        assert_eq!((state.position(), state.has_ended()), (Offset::new(20), true));
        assert_eq!(state.resets().len(), 2);
    }

    #[test]
    fn a_shortened_range_is_read_up_to_its_new_end() {
        let mut state = state();
        state.shorten(Offset::new(15), reset(&state, 15, 20));
        assert_eq!((state.position(), state.until()), (Offset::new(10), Offset::new(15)));
        assert!(!state.has_ended());
        state.seek(Offset::new(12));
        state.shorten(Offset::new(11), reset(&state, 12, 20));
        assert_eq!((state.position(), state.has_ended()), (Offset::new(11), true));
    }

    #[test]
    fn a_seek_stays_inside_the_range() {
        let mut state = state();
        for (to, position, has_ended) in [(0, 10, false), (13, 13, false), (20, 20, true)] {
            state.seek(Offset::new(to));
            assert_eq!((state.position(), state.has_ended()), (Offset::new(position), has_ended));
        }
    }
}
