//! The reader's end of one range: bytes in order, faults mended out of sight.

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

/// How one range is fetched.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct FetchOptions {
    /// What to do about offsets of the range that no longer exist. Default: fail.
    pub on_data_loss: DataLossPolicy,
    /// When to give up, whatever the reason: also where bytes have arrived that were not taken.
    /// Default: never.
    pub deadline: Option<Instant>,
}

impl FetchOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what to do about lost offsets.
    #[must_use]
    pub const fn with_on_data_loss(mut self, policy: DataLossPolicy) -> Self {
        self.on_data_loss = policy;
        self
    }

    /// Sets the total deadline.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }
}

/// A cursor at work and the lane that serves it.
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

/// Marks a cursor's reader as waiting with nothing in hand, for as long as it waits.
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

/// Reads one planned range's bytes, from its start to its end, once.
///
/// Nothing is asked of the cluster before the first call. A fault of the transport resumes at the
/// position, unseen by the caller; only what retrying cannot mend is an error. After an error the
/// next call tries again from the position.
#[derive(Debug)]
pub struct RangeFetch {
    queries: Arc<dyn PartitionQueries>,
    lanes: Arc<Lanes>,
    deadline: Option<Instant>,
    range: RangeState,
    recovery: Recovery,
    attached: Option<Attached>,
    /// Bytes were taken, and the lane has not been let by since.
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

    /// The range this fetch reads.
    #[must_use]
    pub const fn range(&self) -> &OffsetRange {
        self.range.range()
    }

    /// The buffers its bytes stand in, and those of all reads of the cluster.
    #[must_use]
    pub fn buffer_pool(&self) -> &BufferPool {
        self.lanes.pool()
    }

    /// The next offset that would be handed out; the range's achieved end once it has ended.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.range.position().min(self.range.until())
    }

    /// The jumps made so far under [`DataLossPolicy::Resume`].
    #[must_use]
    pub fn resets(&self) -> &[Reset] {
        self.range.resets()
    }

    /// Starts over at `position` inside the range; what is queued is dropped.
    ///
    /// For a reader that found handed-out bytes to be corrupt and wants them from the broker once
    /// more.
    pub fn seek(&mut self, position: Offset) {
        self.attached = None;
        self.recovery.seek();
        self.range.seek(position);
    }

    /// Bytes that have already arrived, without waiting; none once the deadline has passed.
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

    /// Lets the fetching task run before this one goes on, if bytes were taken since the last call.
    ///
    /// For a reader that decodes for long without waiting for anything: with as many readers as
    /// threads, nobody would fetch meanwhile.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn let_fetch(&mut self) {
        if std::mem::take(&mut self.has_taken) {
            reschedule().await;
        }
    }

    /// Waits until [`RangeFetch::try_next`] has something (`true`) or the range has ended
    /// (`false`).
    ///
    /// # Errors
    /// [`kafka_direct_core::ErrorKind::Unavailable`] if faults did not pass within the retry time-out or the deadline
    /// passed; [`kafka_direct_core::ErrorKind::OffsetLost`] if offsets are gone and the policy is `fail`;
    /// [`kafka_direct_core::ErrorKind::Corrupt`] for batch headers that make no sense three times in a row; [`kafka_direct_core::ErrorKind::Invalid`] for
    /// an old message format or a batch over `max_batch_bytes`; [`kafka_direct_core::ErrorKind::Unauthorized`].
    ///
    /// # Cancel safety
    /// Safe: no bytes are lost when the future is dropped.
    pub async fn ready(&mut self) -> Result<bool, WireError> {
        let Some(deadline) = self.deadline else { return self.ready_at_last().await };
        match tokio::time::timeout_at(deadline, self.ready_at_last()).await {
            Ok(result) => result,
            Err(_) => Err(self.past_deadline()),
        }
    }

    async fn ready_at_last(&mut self) -> Result<bool, WireError> {
        loop {
            if let Some(attached) = &self.attached {
                if let Some(stop) = attached.cursor.stopped() {
                    let waited = attached.cursor.waited();
                    self.attached = None;
                    match stop {
                        Stop::Done => self.range.finish(),
                        stop => self.recovery.stopped(stop, waited),
                    }
                } else if attached.cursor.has_news() {
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

    /// Bytes in order; `None` at the end of the range. The same errors and cancel safety as
    /// [`RangeFetch::ready`].
    ///
    /// # Errors
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
