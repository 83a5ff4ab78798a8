//! Applies a response to the cursors of its request, partition by partition.

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

/// The state of one response while its partitions arrive.
pub(super) struct ResponseHandler<'a> {
    selection: &'a FetchSelection,
    /// The number of the lane's request that belongs to the response.
    number: u64,
    address: &'a Arc<str>,
    metrics: &'a Metrics,
    pub(super) throttled: bool,
    /// When the lane's previous response was complete, or when its throttle ends, whichever is
    /// later.
    pub(super) before: Option<Instant>,
    /// The index in the request at which the next partition of the response is expected.
    pub(super) next: usize,
    /// For each listed cursor, whether the response has named its partition.
    named: Vec<bool>,
    /// The stop of the first cursor if its partition is empty and no other partition has bytes.
    first: Option<Stop>,
    others_brought_bytes: bool,
    /// The largest delivered batch of the response, in bytes.
    pub(super) largest_batch: usize,
}

impl<'a> ResponseHandler<'a> {
    pub(super) fn new(
        selection: &'a FetchSelection,
        number: u64,
        address: &'a Arc<str>,
        metrics: &'a Metrics,
    ) -> Self {
        let named = vec![false; selection.listed.len()];
        Self {
            selection,
            number,
            address,
            metrics,
            throttled: false,
            before: None,
            next: 0,
            named,
            first: None,
            others_brought_bytes: false,
            largest_batch: 0,
        }
    }

    /// Applies the response of the partition at index `at` of the request. Ignores a second
    /// response for the same partition.
    pub(super) fn take(&mut self, at: usize, response: PartitionResponse, grant: &mut Grant) {
        self.next = at.saturating_add(1);
        let Some(listed) = self.selection.listed.get(at) else { return };
        // All bytes that the response keeps in memory, also those that are cut off below.
        let aborted = size_of::<AbortedTransaction>().saturating_mul(response.aborted.len());
        let held = response.records.len().saturating_add(aborted);
        if let Some(named) = self.named.get_mut(at)
            && std::mem::replace(named, true)
        {
            return;
        }
        // Valid or not, these bytes used the room of the response.
        self.others_brought_bytes |= at != 0 && held > aborted;
        let end = if listed.cursor.isolation() == 0 {
            response.high_watermark
        } else {
            response.last_stable.min(response.high_watermark)
        };
        match accept(&listed.cursor, listed.position, self.address, response) {
            Accepted::Fetched { fetched, largest_batch, rest } => {
                let held = match &rest {
                    // The rest has a list of its own.
                    Some(_) => held.saturating_add(aborted),
                    // A hole keeps no bytes.
                    None if fetched.records.is_empty() => aborted,
                    None => held,
                };
                let lease = grant.lease(held);
                listed.cursor.push(fetched, largest_batch, lease, rest, self.number);
                self.largest_batch = self.largest_batch.max(largest_batch);
            }
            Accepted::Stop(stop) => listed.cursor.stop_after(self.before, stop),
            Accepted::Empty => {
                Metrics::add(&self.metrics.empty_responses, 1);
                if at == 0 && held > aborted {
                    let reason =
                        "the first batch is cut short or ends below the fetch position".into();
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

    /// Handles a first partition that stayed empty and the partitions that the response does not
    /// name.
    ///
    /// - Kafka fills responses in request order, but another broker may not. If the first partition
    ///   is empty and others have bytes, it is requested again, alone.
    /// - Under a quota Kafka names no partition. All of them are requested again after the
    ///   throttle.
    /// - Otherwise a partition that is not named stops its cursor.
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
        for (listed, named) in self.selection.listed.iter().zip(&self.named) {
            if *named {
                continue;
            }
            let address = Arc::clone(self.address);
            let stop = if code == 0 {
                Stop::Protocol { address, reason: "the response omits the partition".into() }
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
            PartitionCursor::new(&planned, Offset::new(0), None, None, FetchPriority::Normal, false)
        })
    }

    /// Handles a response that has these bytes for the partitions that it names, by index.
    fn handle(cursors: &[Arc<PartitionCursor>], throttled: bool, bytes: &[(usize, &'static [u8])]) {
        let (selection, metrics) = (FetchSelection::choose(cursors, 9), Metrics::default());
        let address = Arc::from("h:1");
        let mut handler = ResponseHandler::new(&selection, 1, &address, &metrics);
        handler.throttled = throttled;
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
            handler.take(*at, response, &mut grant);
        }
        handler.finish(0);
    }

    fn priority(cursor: &PartitionCursor) -> FetchPriority {
        cursor.wanted().unwrap().priority
    }

    /// Bytes that are not a batch.
    const NOT_A_BATCH: &[u8] = &[7; 100];

    #[test]
    fn an_empty_first_partition_counts_as_empty_only_if_the_others_have_no_bytes() {
        for throttled in [false, true] {
            let cursors = cursors();
            handle(&cursors, throttled, &[(0, b""), (1, NOT_A_BATCH)]);
            assert_eq!(priority(&cursors[0]), FetchPriority::Alone, "throttled: {throttled}");
        }
        let cursors = cursors();
        handle(&cursors, false, &[(0, b""), (1, b"")]);
        assert!(
            matches!(cursors[0].stopped(), Some(Stop::Empty { end }) if end == Offset::new(10))
        );
        assert_eq!(priority(&cursors[1]), FetchPriority::First);
    }

    #[test]
    fn an_empty_response_under_a_throttle_does_not_stop_the_cursor() {
        let cursors = cursors();
        cursors[0].set_priority(FetchPriority::Alone);
        handle(&cursors, true, &[(0, b"")]);
        assert_eq!(
            (priority(&cursors[0]), priority(&cursors[1])),
            (FetchPriority::First, FetchPriority::Normal)
        );
    }

    #[test]
    fn cursors_of_omitted_partitions_are_stopped_unless_the_response_throttles() {
        let cursors = cursors();
        cursors[1].set_priority(FetchPriority::First);
        handle(&cursors, true, &[]);
        assert_eq!(
            (priority(&cursors[0]), priority(&cursors[1])),
            (FetchPriority::Normal, FetchPriority::First)
        );
        handle(&cursors, false, &[]);
        assert!(
            cursors.iter().all(|cursor| matches!(cursor.stopped(), Some(Stop::Protocol { .. })))
        );
    }
}
