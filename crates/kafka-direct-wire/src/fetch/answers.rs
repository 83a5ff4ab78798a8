//! What an answer means for the slots of its request, partition by partition.

use std::sync::Arc;

use kafka_direct_core::AbortedTransaction;

use super::{
    accept::{Accepted, accept},
    budget::Grant,
    metrics::Metrics,
    request::Turn,
    response::PartitionAnswer,
    slot::Stop,
};

/// The running account of one answer.
pub(super) struct Answers<'a> {
    turn: &'a Turn,
    address: &'a Arc<str>,
    metrics: &'a Metrics,
    pub(super) throttled: bool,
    /// Where the next partition of the answer is expected in the request.
    pub(super) cursor: usize,
    answered: Vec<bool>,
    last_served: Option<usize>,
    /// Of all its batches the largest, in bytes.
    pub(super) largest_batch: usize,
}

impl<'a> Answers<'a> {
    pub(super) fn new(turn: &'a Turn, address: &'a Arc<str>, metrics: &'a Metrics) -> Self {
        let answered = vec![false; turn.listed.len()];
        Self {
            turn,
            address,
            metrics,
            throttled: false,
            cursor: 0,
            answered,
            last_served: None,
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
        let end = if listed.slot.isolation() == 0 {
            answer.high_watermark
        } else {
            answer.last_stable.min(answer.high_watermark)
        };
        match accept(&listed.slot, listed.position, self.address, answer) {
            Accepted::Fetched { fetched, largest_batch } => {
                let lease = grant.lease(held);
                listed.slot.push(fetched, largest_batch, lease);
                self.last_served = Some(listed.index);
                self.largest_batch = self.largest_batch.max(largest_batch);
            }
            Accepted::Stop(stop) => listed.slot.stop(stop),
            Accepted::Empty => {
                Metrics::add(&self.metrics.empty_answers, 1);
                if at == 0 && held > aborted {
                    let reason = "the first batch is cut short".into();
                    let address = Arc::clone(self.address);
                    listed.slot.stop(Stop::Protocol { address, reason });
                } else if at == 0 && !self.throttled {
                    listed.slot.stop(Stop::Empty { end });
                } else {
                    listed.slot.suspect();
                }
            }
        }
    }

    /// Settles what the answer left out; returns the index of the last slot that was served.
    pub(super) fn finish(self, code: i16) -> Option<usize> {
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
        self.last_served
    }
}
