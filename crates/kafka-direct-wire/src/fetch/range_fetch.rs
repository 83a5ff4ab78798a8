//! Reads one range: returns its bytes in order and retries passing faults without the caller.

use std::sync::Arc;

use kafka_direct_core::{
    BufferPool, DataLossPolicy, Fetched, Offset, OffsetRange, PlannedRange, Reset,
};
use tokio::time::Instant;

use super::{
    Lanes,
    accept::{Accepted, accept},
    carry_over::{Carried, CarryOver},
    lane::{Lane, reschedule},
    partition_cursor::PartitionCursor,
    range_state::RangeState,
    recover::Recovery,
    stop::Stop,
};
use crate::{error::WireError, queries::PartitionQueries};

/// Options for fetching one range: data-loss policy and deadline.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct FetchOptions {
    /// The policy for offsets of the range that no longer exist. Default: fail.
    pub on_data_loss: DataLossPolicy,
    /// The deadline for the whole range. It also applies if bytes have arrived that were not taken.
    /// Default: none.
    pub deadline: Option<Instant>,
}

impl FetchOptions {
    /// Creates the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the policy for lost offsets.
    #[must_use]
    pub const fn on_data_loss(mut self, policy: DataLossPolicy) -> Self {
        self.on_data_loss = policy;
        self
    }

    /// Sets the deadline for the whole range; `None` for none.
    #[must_use]
    pub const fn deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }
}

/// A registered cursor and its lane. Dropping it closes the cursor.
#[derive(Debug)]
struct Attached {
    cursor: Arc<PartitionCursor>,
    lane: Arc<Lane>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.cursor.close();
        self.lane.wake();
    }
}

/// Marks a cursor's reader as blocked on the budget until it is dropped.
struct BlockedOnBudget<'a>(&'a PartitionCursor);

impl<'a> BlockedOnBudget<'a> {
    fn new(cursor: &'a PartitionCursor, lane: &Lane) -> Self {
        if cursor.set_blocked_on_budget(true) {
            lane.wake();
        }
        Self(cursor)
    }
}

impl Drop for BlockedOnBudget<'_> {
    fn drop(&mut self) {
        self.0.set_blocked_on_budget(false);
    }
}

/// Reads the bytes of one planned range once, from its start to its end.
///
/// It sends nothing to the cluster before the first call. After a transport fault it resumes at the
/// fetch position without the caller. Only a fault that retries cannot fix is an error. After an
/// error the next call tries again from the position.
#[derive(Debug)]
pub struct RangeFetch {
    queries: Arc<dyn PartitionQueries>,
    lanes: Arc<Lanes>,
    deadline: Option<Instant>,
    range: RangeState,
    recovery: Recovery,
    attached: Option<Attached>,
    /// Bytes were taken since the last yield to the lane.
    has_taken: bool,
    /// Where bytes beyond the range's end are kept; `None` if no range continues there.
    carry_over: Option<CarryOver>,
    /// Whether the first cursor may begin with kept bytes.
    may_continue: bool,
}

impl RangeFetch {
    pub(crate) fn new(
        queries: Arc<dyn PartitionQueries>,
        lanes: Arc<Lanes>,
        planned: PlannedRange,
        options: FetchOptions,
    ) -> Self {
        let policy = lanes.config.get_retry_policy();
        let metrics = Arc::clone(&lanes.metrics);
        Self {
            queries,
            lanes,
            deadline: options.deadline,
            range: RangeState::new(planned),
            recovery: Recovery::new(policy, options.on_data_loss, metrics),
            attached: None,
            has_taken: false,
            carry_over: None,
            may_continue: false,
        }
    }

    /// Begins with the bytes that `store` has for this range, and keeps in it what is fetched beyond
    /// the range's end.
    ///
    /// The bytes are used if a range that ended where this one starts has fetched them under the
    /// isolation level, the topic id and the leader epoch of this plan, and the leader still has
    /// that epoch. If an id or an epoch is unknown, they are not used.
    #[must_use]
    pub fn continue_from(mut self, store: &CarryOver) -> Self {
        self.carry_over = Some(store.clone());
        self.may_continue = true;
        self
    }

    /// Fetches the whole range, also if `store` has bytes of it: those are released. Keeps in it what
    /// is fetched beyond the range's end.
    #[must_use]
    pub fn start_anew(mut self, store: &CarryOver) -> Self {
        store.forget(self.range.topic_partition());
        self.carry_over = Some(store.clone());
        self.may_continue = false;
        self
    }

    /// The planned range.
    #[must_use]
    pub const fn range(&self) -> &OffsetRange {
        self.range.range()
    }

    /// The buffer pool for the bytes of this fetch. All reads of the cluster share it.
    #[must_use]
    pub fn buffer_pool(&self) -> &BufferPool {
        self.lanes.pool()
    }

    /// The fetch position: the next offset to return. After the end of the range, the offset up to
    /// which it was read, exclusive.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.range.position().min(self.range.until())
    }

    /// The resets so far: the offsets that were skipped under [`DataLossPolicy::Resume`].
    #[must_use]
    pub fn resets(&self) -> &[Reset] {
        self.range.resets()
    }

    /// Moves the fetch position to `position` inside the range and drops the queued bytes.
    ///
    /// A reader uses it after it found returned bytes to be corrupt, to fetch them again.
    pub fn seek(&mut self, position: Offset) {
        self.attached = None;
        self.recovery.seek();
        self.range.seek(position);
        self.may_continue = false;
        if let Some(store) = &self.carry_over {
            store.forget(self.range.topic_partition());
        }
    }

    /// Returns bytes that have already arrived, without waiting. Returns `None` if there are none
    /// or the deadline has passed.
    pub fn try_next(&mut self) -> Option<Fetched> {
        if self.is_past_deadline() {
            return None;
        }
        let attached = self.attached.as_ref()?;
        let (fetched, carried) = attached.cursor.take()?;
        attached.lane.wake();
        self.range.advance(&fetched);
        self.recovery.progressed();
        self.has_taken = true;
        if let (Some(store), Some(carried)) = (&self.carry_over, carried)
            && self.range.resets().is_empty()
        {
            store.keep(self.range.topic_partition(), carried);
        }
        Some(fetched)
    }

    /// Yields to the fetching task if bytes were taken since the last call.
    ///
    /// A reader calls it before it decodes for long without waiting. Otherwise, with as many
    /// readers as threads, nothing would be fetched meanwhile.
    ///
    /// # Cancel safety
    /// Safe: dropping the future only skips the yield.
    pub async fn let_fetch(&mut self) {
        if std::mem::take(&mut self.has_taken) {
            reschedule().await;
        }
    }

    /// Waits until [`RangeFetch::try_next`] has something (`true`) or the range has ended
    /// (`false`).
    ///
    /// # Errors
    /// - [`Unavailable`](kafka_direct_core::ErrorKind::Unavailable) if faults did not pass within
    ///   the retry timeout, or if the deadline passed
    /// - [`OffsetLost`](kafka_direct_core::ErrorKind::OffsetLost) if offsets are lost and the
    ///   policy is `fail`
    /// - [`Corrupt`](kafka_direct_core::ErrorKind::Corrupt) for invalid responses or batch headers
    ///   three times in a row
    /// - [`Invalid`](kafka_direct_core::ErrorKind::Invalid) for an old message format or a batch
    ///   over `max_batch_bytes`
    /// - [`Unauthorized`](kafka_direct_core::ErrorKind::Unauthorized) if the broker denies access
    ///
    /// # Cancel safety
    /// Safe: no bytes are lost when the future is dropped.
    pub async fn ready(&mut self) -> Result<bool, WireError> {
        let Some(deadline) = self.deadline else { return self.ready_without_deadline().await };
        match tokio::time::timeout_at(deadline, self.ready_without_deadline()).await {
            Ok(result) => result,
            Err(_) => Err(self.past_deadline()),
        }
    }

    async fn ready_without_deadline(&mut self) -> Result<bool, WireError> {
        loop {
            if let Some(attached) = &self.attached {
                if let Some(stop) = attached.cursor.stopped() {
                    let waited = attached.cursor.waited();
                    self.attached = None;
                    match stop {
                        Stop::Done => self.range.finish(),
                        stop => self.recovery.stopped(stop, waited),
                    }
                } else if attached.cursor.is_ready() {
                    return if self.is_past_deadline() {
                        Err(self.past_deadline())
                    } else {
                        Ok(true)
                    };
                } else {
                    let arrived = attached.cursor.arrived();
                    let _blocked = BlockedOnBudget::new(&attached.cursor, &attached.lane);
                    arrived.await;
                    continue;
                }
            }
            if self.range.has_ended() {
                return Ok(false);
            }
            if let Some(leader) = self.recovery.step(&mut self.range, &*self.queries).await? {
                let rest = self.range.continue_under(&leader);
                let (position, priority) = (self.range.position(), self.recovery.priority());
                let keeps_rest = self.carry_over.is_some();
                let (id, epoch) = (leader.topic_id, leader.epoch);
                let cursor = PartitionCursor::new(&rest, position, id, epoch, priority, keeps_rest);
                if std::mem::take(&mut self.may_continue) {
                    self.push_carried(&cursor);
                }
                let lane = self.lanes.register(&leader, Arc::clone(&cursor));
                self.attached = Some(Attached { cursor, lane });
            }
        }
    }

    /// Returns the next bytes in order; `None` at the end of the range.
    ///
    /// # Errors
    /// See [`RangeFetch::ready`].
    ///
    /// # Cancel safety
    /// See [`RangeFetch::ready`].
    pub async fn next(&mut self) -> Result<Option<Fetched>, WireError> {
        loop {
            if let Some(fetched) = self.try_next() {
                return Ok(Some(fetched));
            }
            if !self.ready().await? {
                return Ok(None);
            }
        }
    }

    /// Queues the kept bytes of the range in `cursor`, its first one.
    fn push_carried(&self, cursor: &PartitionCursor) {
        let Some(store) = &self.carry_over else { return };
        let (planned, position) = (self.range.planned(), self.range.position());
        let carried = store.take(self.range.topic_partition(), |carried| {
            let Carried { until, isolation, topic_id, leader_epoch, .. } = carried;
            (*until, *isolation) == (position, cursor.isolation())
                && [planned.topic_id(), cursor.topic_id()] == [Some(*topic_id); 2]
                && [planned.leader_epoch(), cursor.leader_epoch()] == [Some(*leader_epoch); 2]
        });
        let Some(Carried { response, lease, .. }) = carried else { return };
        // A fault is not decided on: the batch is fetched, and the new response has the fault again.
        if let Accepted::Fetched { fetched, largest_batch, rest } =
            accept(cursor, position, &Arc::from("kept bytes"), *response)
        {
            cursor.push(fetched, largest_batch, lease, rest, 0);
        }
    }

    fn is_past_deadline(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn past_deadline(&self) -> WireError {
        WireError::Deadline { range: self.range().clone(), position: self.range.position() }
    }
}
