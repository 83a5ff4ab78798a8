//! What an answer means for the slots of its request, partition by partition.

use std::sync::Arc;

use kafka_direct_core::AbortedTransaction;

use super::{
    accept::{Accepted, accept},
    budget::Grant,
    metrics::Metrics,
    request::Turn,
    response::PartitionAnswer,
    slot::{Doubt, Stop},
};

/// The running account of one answer.
pub(super) struct Answers<'a> {
    turn: &'a Turn,
    /// The lane's request that this answers.
    number: u64,
    address: &'a Arc<str>,
    metrics: &'a Metrics,
    pub(super) throttled: bool,
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
                let lease = grant.lease(held);
                listed.slot.push(fetched, largest_batch, lease, self.number);
                self.largest_batch = self.largest_batch.max(largest_batch);
            }
            Accepted::Stop(stop) => listed.slot.stop(stop),
            Accepted::Empty => {
                Metrics::add(&self.metrics.empty_answers, 1);
                if at == 0 && held > aborted {
                    let reason = "the first batch is cut short".into();
                    let address = Arc::clone(self.address);
                    self.first = Some(Stop::Protocol { address, reason });
                } else if at == 0 && !self.throttled {
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
            } else {
                first.slot.stop(stop);
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
            listed.slot.stop(if code == 0 {
                Stop::Protocol { address, reason: "the answer leaves the partition out".into() }
            } else {
                Stop::Code { address, code }
            });
        }
    }
}
