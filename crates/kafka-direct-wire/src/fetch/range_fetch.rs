//! Reads one range: returns its bytes in order and retries passing faults without the caller.

use std::sync::Arc;

use kafka_direct_core::{
    BufferPool, DataLossPolicy, Fetched, Offset, OffsetRange, PlannedRange, Reset,
};
use tokio::time::Instant;

use super::{
    Lanes,
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
        }
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
    }

    /// Returns bytes that have already arrived, without waiting. Returns `None` if there are none
    /// or the deadline has passed.
    pub fn try_next(&mut self) -> Option<Fetched> {
        if self.is_past_deadline() {
            return None;
        }
        let attached = self.attached.as_ref()?;
        let fetched = attached.cursor.take()?;
        attached.lane.wake();
        self.range.advance(&fetched);
        self.recovery.progressed();
        self.has_taken = true;
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
                let cursor =
                    PartitionCursor::new(&rest, position, leader.topic_id, leader.epoch, priority);
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

    fn is_past_deadline(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn past_deadline(&self) -> WireError {
        WireError::Deadline { range: self.range().clone(), position: self.range.position() }
    }
}
