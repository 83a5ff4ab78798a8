//! What an answer means for the slots of its request, partition by partition.

use std::sync::Arc;

use kafka_direct_core::AbortedTransaction;
use tokio::time::Instant;

use super::{
    accept::{Accepted, accept},
    budget::Grant,
    metrics::Metrics,
    request::Turn,
    response::PartitionAnswer,
    slot::Doubt,
    stop::Stop,
};

/// The running account of one answer.
pub(super) struct Answers<'a> {
    turn: &'a Turn,
    /// The lane's request that this answers.
    number: u64,
    address: &'a Arc<str>,
    metrics: &'a Metrics,
    pub(super) throttled: bool,
    /// When the answer before came.
    pub(super) before: Option<Instant>,
    /// Where the next partition of the answer is expected in the request.
    pub(super) cursor: usize,
    answered: Vec<bool>,
    /// What the first slot's answer says, if the answer has bytes for nobody else.
    first: Option<Stop>,
    others_brought_bytes: bool,
    /// Of all its batches the largest, in bytes.
    pub(super) largest_batch: usize,
}

impl<'a> Answers<'a> {
    pub(super) fn new(
        turn: &'a Turn,
        number: u64,
        address: &'a Arc<str>,
        metrics: &'a Metrics,
    ) -> Self {
        let answered = vec![false; turn.listed.len()];
        Self {
            turn,
            number,
            address,
            metrics,
            throttled: false,
            before: None,
            cursor: 0,
            answered,
            first: None,
            others_brought_bytes: false,
            largest_batch: 0,
        }
    }

    pub(super) fn take(&mut self, at: usize, answer: PartitionAnswer, grant: &mut Grant) {
        self.cursor = at.saturating_add(1);
        let Some(listed) = self.turn.listed.get(at) else { return };
        // All that the answer keeps alive, also what is cut off below.
        let aborted = size_of::<AbortedTransaction>().saturating_mul(answer.aborted.len());
        let held = answer.records.len().saturating_add(aborted);
        if let Some(answered) = self.answered.get_mut(at)
            && std::mem::replace(answered, true)
        {
            return;
        }
        // Sound or not, they took the room.
        self.others_brought_bytes |= at != 0 && held > aborted;
        let end = if listed.slot.isolation() == 0 {
            answer.high_watermark
        } else {
            answer.last_stable.min(answer.high_watermark)
        };
        match accept(&listed.slot, listed.position, self.address, answer) {
            Accepted::Fetched { fetched, largest_batch } => {
                // A hole keeps no bytes.
                let held = if fetched.records.is_empty() { aborted } else { held };
                let lease = grant.lease(held);
                listed.slot.push(fetched, largest_batch, lease, self.number);
                self.largest_batch = self.largest_batch.max(largest_batch);
            }
            Accepted::Stop(stop) => listed.slot.stop_after(self.before, stop),
            Accepted::Empty => {
                Metrics::add(&self.metrics.empty_answers, 1);
                if at == 0 && held > aborted {
                    let reason = "the first batch is cut short, or ends below the position".into();
                    let address = Arc::clone(self.address);
                    self.first = Some(Stop::Protocol { address, reason });
                } else if at == 0 {
                    self.first = Some(Stop::Empty { end });
                } else {
                    listed.slot.doubt(Doubt::Suspect);
                }
            }
        }
    }

    /// Settles what the answer left out.
    ///
    /// Kafka fills answers in request order. Of a broker that does not, a first slot that stayed
    /// empty while others were served says nothing yet: it is asked again, alone. Under a quota Kafka
    /// names no partition at all: nothing is known of any, and they are asked again once the throttle
    /// is over.
    pub(super) fn finish(self, code: i16) {
        if let (Some(stop), Some(first)) = (self.first, self.turn.listed.first()) {
            if self.others_brought_bytes {
                first.slot.doubt(Doubt::Unserved);
            } else if self.throttled && matches!(stop, Stop::Empty { .. }) {
                first.slot.doubt(Doubt::Suspect);
            } else {
                first.slot.stop_after(self.before, stop);
            }
        }
        if code == 0 && self.throttled {
            return;
        }
        for (listed, answered) in self.turn.listed.iter().zip(&self.answered) {
            if *answered {
                continue;
            }
            let address = Arc::clone(self.address);
            let stop = if code == 0 {
                Stop::Protocol { address, reason: "the answer leaves the partition out".into() }
            } else {
                Stop::Code { address, code }
            };
            listed.slot.stop_after(self.before, stop);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_direct_core::{IsolationLevel, Offset, OffsetRange, PlannedRange, TopicPartition};

    use super::*;
    use crate::fetch::{budget::Budget, slot::Slot};

    fn slots() -> [Arc<Slot>; 2] {
        [0, 1].map(|partition| {
            let range = OffsetRange::new(TopicPartition::new("t", partition), 0, 10).unwrap();
            let planned = PlannedRange::new(range, IsolationLevel::ReadCommitted);
            Slot::new(&planned, Offset::new(0), None, None, Doubt::No)
        })
    }

    /// Settles an answer that has these bytes for the partitions it names.
    fn answered(slots: &[Arc<Slot>], throttled: bool, bytes: &[(usize, &'static [u8])]) {
        let (turn, metrics) = (Turn::choose(slots, 9), Metrics::default());
        let address = Arc::from("h:1");
        let mut answers = Answers::new(&turn, 1, &address, &metrics);
        answers.throttled = throttled;
        let mut grant = Arc::new(Budget::new(1 << 20)).try_grant(1, 1 << 20).unwrap();
        for (at, records) in bytes {
            let answer = PartitionAnswer {
                partition: i32::try_from(*at).unwrap(),
                code: 0,
                high_watermark: Offset::new(10),
                last_stable: Offset::new(10),
                log_start: Offset::new(0),
                aborted: Vec::new(),
                records: Bytes::from_static(records),
            };
            answers.take(*at, answer, &mut grant);
        }
        answers.finish(0);
    }

    fn doubt(slot: &Slot) -> Doubt {
        slot.wanted().unwrap().doubt
    }

    /// No batch: refused, but there.
    const REFUSED: &[u8] = &[7; 100];

    #[test]
    fn a_first_partition_that_stays_empty_is_believed_only_if_no_byte_came_for_others() {
        for throttled in [false, true] {
            let slots = slots();
            answered(&slots, throttled, &[(0, b""), (1, REFUSED)]);
            assert_eq!(doubt(&slots[0]), Doubt::Unserved, "throttled: {throttled}");
        }
        let slots = slots();
        answered(&slots, false, &[(0, b""), (1, b"")]);
        assert!(matches!(slots[0].stopped(), Some(Stop::Empty { end }) if end == Offset::new(10)));
        assert_eq!(doubt(&slots[1]), Doubt::Suspect);
    }

    #[test]
    fn an_empty_answer_under_a_throttle_says_nothing() {
        let slots = slots();
        slots[0].doubt(Doubt::Unserved);
        answered(&slots, true, &[(0, b"")]);
        assert_eq!((doubt(&slots[0]), doubt(&slots[1])), (Doubt::Suspect, Doubt::No));
    }

    #[test]
    fn partitions_that_an_answer_leaves_out_are_stopped_unless_it_throttles() {
        let slots = slots();
        slots[1].doubt(Doubt::Suspect);
        answered(&slots, true, &[]);
        assert_eq!((doubt(&slots[0]), doubt(&slots[1])), (Doubt::No, Doubt::Suspect));
        answered(&slots, false, &[]);
        assert!(slots.iter().all(|slot| matches!(slot.stopped(), Some(Stop::Protocol { .. }))));
    }
}
