//! What a response means for the cursors of its request, partition by partition.

use std::sync::Arc;

use kafka_direct_core::AbortedTransaction;
use tokio::time::Instant;

use super::{
    accept::{Accepted, accept},
    budget::Grant,
    metrics::Metrics,
    partition_cursor::FetchPriority,
    request::FetchSelection,
    response::PartitionResponse,
    stop::Stop,
};

/// The running account of one response.
pub(super) struct ResponseHandler<'a> {
    selection: &'a FetchSelection,
    /// The lane's request that this responses.
    number: u64,
    address: &'a Arc<str>,
    metrics: &'a Metrics,
    pub(super) throttled: bool,
    /// When the response before came.
    pub(super) before: Option<Instant>,
    /// Where the next partition of the response is expected in the request.
    pub(super) next: usize,
    answered: Vec<bool>,
    /// What the first cursor's response says, if the response has bytes for nobody else.
    first: Option<Stop>,
    others_brought_bytes: bool,
    /// Of all its batches the largest, in bytes.
    pub(super) largest_batch: usize,
}

impl<'a> ResponseHandler<'a> {
    pub(super) fn new(
        selection: &'a FetchSelection,
        number: u64,
        address: &'a Arc<str>,
        metrics: &'a Metrics,
    ) -> Self {
        let answered = vec![false; selection.listed.len()];
        Self {
            selection,
            number,
            address,
            metrics,
            throttled: false,
            before: None,
            next: 0,
            answered,
            first: None,
            others_brought_bytes: false,
            largest_batch: 0,
        }
    }

    pub(super) fn take(&mut self, at: usize, response: PartitionResponse, grant: &mut Grant) {
        self.next = at.saturating_add(1);
        let Some(listed) = self.selection.listed.get(at) else { return };
        // All that the response keeps alive, also what is cut off below.
        let aborted = size_of::<AbortedTransaction>().saturating_mul(response.aborted.len());
        let held = response.records.len().saturating_add(aborted);
        if let Some(answered) = self.answered.get_mut(at)
            && std::mem::replace(answered, true)
        {
            return;
        }
        // Sound or not, they took the room.
        self.others_brought_bytes |= at != 0 && held > aborted;
        let end = if listed.cursor.isolation() == 0 {
            response.high_watermark
        } else {
            response.last_stable.min(response.high_watermark)
        };
        match accept(&listed.cursor, listed.position, self.address, response) {
            Accepted::Fetched { fetched, largest_batch } => {
                // A hole keeps no bytes.
                let held = if fetched.records.is_empty() { aborted } else { held };
                let lease = grant.lease(held);
                listed.cursor.push(fetched, largest_batch, lease, self.number);
                self.largest_batch = self.largest_batch.max(largest_batch);
            }
            Accepted::Stop(stop) => listed.cursor.stop_after(self.before, stop),
            Accepted::Empty => {
                Metrics::add(&self.metrics.empty_responses, 1);
                if at == 0 && held > aborted {
                    let reason = "the first batch is cut short, or ends below the position".into();
                    let address = Arc::clone(self.address);
                    self.first = Some(Stop::Protocol { address, reason });
                } else if at == 0 {
                    self.first = Some(Stop::Empty { end });
                } else {
                    listed.cursor.set_priority(FetchPriority::First);
                }
            }
        }
    }

    /// Settles what the response left out.
    ///
    /// Kafka fills responses in request order. Of a broker that does not, a first cursor that stayed
    /// empty while others were served says nothing yet: it is asked again, alone. Under a quota Kafka
    /// names no partition at all: nothing is known of any, and they are asked again once the throttle
    /// is over.
    pub(super) fn finish(self, code: i16) {
        if let (Some(stop), Some(first)) = (self.first, self.selection.listed.first()) {
            if self.others_brought_bytes {
                first.cursor.set_priority(FetchPriority::Alone);
            } else if self.throttled && matches!(stop, Stop::Empty { .. }) {
                first.cursor.set_priority(FetchPriority::First);
            } else {
                first.cursor.stop_after(self.before, stop);
            }
        }
        if code == 0 && self.throttled {
            return;
        }
        for (listed, answered) in self.selection.listed.iter().zip(&self.answered) {
            if *answered {
                continue;
            }
            let address = Arc::clone(self.address);
            let stop = if code == 0 {
                Stop::Protocol { address, reason: "the response leaves the partition out".into() }
            } else {
                Stop::Code { address, code }
            };
            listed.cursor.stop_after(self.before, stop);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_direct_core::{IsolationLevel, Offset, OffsetRange, PlannedRange, TopicPartition};

    use super::*;
    use crate::fetch::{budget::Budget, partition_cursor::PartitionCursor};

    fn cursors() -> [Arc<PartitionCursor>; 2] {
        [0, 1].map(|partition| {
            let range = OffsetRange::new(TopicPartition::new("t", partition), 0, 10).unwrap();
            let planned = PlannedRange::new(range, IsolationLevel::ReadCommitted);
            PartitionCursor::new(&planned, Offset::new(0), None, None, FetchPriority::Normal)
        })
    }

    /// Settles a response that has these bytes for the partitions it names.
    fn answered(
        cursors: &[Arc<PartitionCursor>],
        throttled: bool,
        bytes: &[(usize, &'static [u8])],
    ) {
        let (selection, metrics) = (FetchSelection::choose(cursors, 9), Metrics::default());
        let address = Arc::from("h:1");
        let mut responses = ResponseHandler::new(&selection, 1, &address, &metrics);
        responses.throttled = throttled;
        let mut grant = Arc::new(Budget::new(1 << 20)).try_grant(1, 1 << 20).unwrap();
        for (at, records) in bytes {
            let response = PartitionResponse {
                partition: i32::try_from(*at).unwrap(),
                code: 0,
                high_watermark: Offset::new(10),
                last_stable: Offset::new(10),
                log_start: Offset::new(0),
                aborted: Vec::new(),
                records: Bytes::from_static(records),
            };
            responses.take(*at, response, &mut grant);
        }
        responses.finish(0);
    }

    fn priority(cursor: &PartitionCursor) -> FetchPriority {
        cursor.wanted().unwrap().priority
    }

    /// No batch: refused, but there.
    const REFUSED: &[u8] = &[7; 100];

    #[test]
    fn a_first_partition_that_stays_empty_counts_as_empty_only_if_no_byte_came_for_others() {
        for throttled in [false, true] {
            let cursors = cursors();
            answered(&cursors, throttled, &[(0, b""), (1, REFUSED)]);
            assert_eq!(priority(&cursors[0]), FetchPriority::Alone, "throttled: {throttled}");
        }
        let cursors = cursors();
        answered(&cursors, false, &[(0, b""), (1, b"")]);
        assert!(
            matches!(cursors[0].stopped(), Some(Stop::Empty { end }) if end == Offset::new(10))
        );
        assert_eq!(priority(&cursors[1]), FetchPriority::First);
    }

    #[test]
    fn an_empty_response_under_a_throttle_says_nothing() {
        let cursors = cursors();
        cursors[0].set_priority(FetchPriority::Alone);
        answered(&cursors, true, &[(0, b"")]);
        assert_eq!(
            (priority(&cursors[0]), priority(&cursors[1])),
            (FetchPriority::First, FetchPriority::Normal)
        );
    }

    #[test]
    fn partitions_that_a_response_leaves_out_are_stopped_unless_it_throttles() {
        let cursors = cursors();
        cursors[1].set_priority(FetchPriority::First);
        answered(&cursors, true, &[]);
        assert_eq!(
            (priority(&cursors[0]), priority(&cursors[1])),
            (FetchPriority::Normal, FetchPriority::First)
        );
        answered(&cursors, false, &[]);
        assert!(
            cursors.iter().all(|cursor| matches!(cursor.stopped(), Some(Stop::Protocol { .. })))
        );
    }
}
