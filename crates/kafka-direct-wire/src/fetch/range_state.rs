//! How far one range was read, and under which topic id and leader epochs.
//!
//! [`RangeState`] is the only owner of the fetch position: bytes handed out move it, a declared loss
//! moves it or shortens the range, and a seek sets it back.

use kafka_direct_core::{
    ErrorKind, Fetched, IsolationLevel, Offset, OffsetRange, PlannedRange, Reset, TopicId,
    TopicPartition,
};

use crate::{error::WireError, topology::Leader};

/// The state of one range between its reader and its recovery.
#[derive(Debug)]
pub(super) struct RangeState {
    planned: PlannedRange,
    /// Where the range ends, exclusive: before its planned end if a truncated log ends first.
    until: Offset,
    /// The next offset to hand out. May be after `until`, inside a batch that reaches past it.
    position: Offset,
    topic_id: Option<TopicId>,
    /// Epoch of the leader that the last cursor was registered with; the planned one before the first.
    leader_epoch: Option<i32>,
    /// Epoch under which the last bytes handed out were appended.
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

    /// Whether nothing of the range is left to read.
    pub(super) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The leader's topic id, if it differs from the one the range was planned or read under.
    pub(super) fn other_topic_id(&self, leader: &Leader) -> Option<TopicId> {
        leader.topic_id.filter(|id| self.topic_id.is_some_and(|own| own != *id))
    }

    /// Whether `leader` leads under another epoch than the leader before it.
    pub(super) fn is_new_epoch(&self, leader: &Leader) -> bool {
        leader.epoch.is_some() && leader.epoch != self.leader_epoch
    }

    /// The error about a batch, or the lack of one, at the position.
    pub(super) fn bad_batch(&self, reason: String, kind: ErrorKind) -> WireError {
        let (range, position) = (self.range().clone(), self.position);
        WireError::BadBatch { range, position, reason, kind }
    }

    /// Goes on under `leader`. Returns the range up to where it ends now.
    pub(super) fn continue_under(&mut self, leader: &Leader) -> PlannedRange {
        self.topic_id = self.topic_id.or(leader.topic_id);
        self.leader_epoch = leader.epoch.or(self.leader_epoch);
        let (tp, from) = (self.topic_partition().clone(), self.range().from());
        match OffsetRange::new(tp, from, self.until) {
            Ok(range) => PlannedRange::new(range, self.isolation()),
            Err(_) => self.planned.clone(),
        }
    }

    /// Moves the position past bytes that were handed out.
    pub(super) fn advance(&mut self, fetched: &Fetched) {
        self.position = fetched.next;
        self.read_epoch = fetched.leader_epoch.or(self.read_epoch);
    }

    /// Goes back, or forward, to `position`.
    pub(super) fn seek(&mut self, position: Offset) {
        self.position = position.max(self.range().from());
        self.read_epoch = None;
        self.has_ended = self.position >= self.until;
    }

    /// Ends the range: all its bytes were handed out.
    pub(super) const fn finish(&mut self) {
        self.has_ended = true;
    }

    /// Ends the range: the rest of it is a hole.
    pub(super) const fn finish_in_hole(&mut self) {
        self.position = self.until;
        self.has_ended = true;
    }

    /// Goes on at the end of `reset`, a part of the log that was trimmed.
    pub(super) fn skip(&mut self, reset: Reset) {
        self.position = reset.to;
        // The epoch of earlier records says nothing about the log here: a leader that still knows that
        // epoch may end it before this position.
        self.read_epoch = None;
        self.has_ended = self.position >= self.until;
        self.resets.push(reset);
    }

    /// Ends the range at `until`, where `reset` begins.
    pub(super) fn shorten(&mut self, until: Offset, reset: Reset) {
        self.until = until;
        self.position = self.position.min(until);
        // The next registration need not ask about the same epoch again.
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
    fn a_skip_goes_on_after_the_reset_and_ends_the_range_at_its_end() {
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
