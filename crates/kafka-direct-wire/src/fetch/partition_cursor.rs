//! The fetch state of one range, shared by its reader and the lane that serves it.
//!
//! The lane fills the queue and moves the fetch position. The reader empties the queue. After an
//! error or an unusual response the lane *stops* the cursor and removes it. The reader gets the
//! stop after the last queued bytes and decides what to do (see [`recover`](super::recover)). Then
//! it registers a new cursor at its position.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use kafka_direct_core::{Fetched, Offset, OffsetRange, PlannedRange, TopicId};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use super::{budget::Lease, carry_over::Carried, response::PartitionResponse, stop::Stop};

/// The most record sets that a cursor queues. While one is decoded, one is ready and one is in
/// flight.
pub(super) const QUEUE_LENGTH: usize = 2;

/// The priority of a cursor in the next request, by the result of its last requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchPriority {
    /// The usual order: the cursor that was served longest ago is first.
    Normal,
    /// Before the other cursors. Its last response was empty, perhaps because of the request's
    /// limits.
    First,
    /// Alone in a request. It was first, and the response had bytes for other partitions only, or
    /// more bytes than allowed.
    ///
    /// Ends when a response names it. An empty response under a throttle makes it
    /// [`First`](Self::First) again.
    Alone,
}

#[derive(Debug)]
struct Queued {
    fetched: Fetched,
    lease: Lease,
    /// The response from the range's end on, for the range that continues there.
    rest: Option<Box<PartitionResponse>>,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Queued>,
    position: Offset,
    stop: Option<Stop>,
    /// How long the cursor waited, up to the last response of its lane before the stop.
    waited: Duration,
    /// When the lane stopped the cursor.
    stopped: Option<Instant>,
    /// The reader waits with an empty queue. Other cursors may be evicted for it.
    blocked_on_budget: bool,
    /// The reader was dropped.
    closed: bool,
    priority: FetchPriority,
    /// The number of the lane's request that served the cursor last.
    served: u64,
    /// The largest batch of the last response, in bytes; 0 before the first.
    largest_batch: usize,
}

/// The fetch state of one range: queue, fetch position and stop. See the module documentation.
#[derive(Debug)]
pub(crate) struct PartitionCursor {
    range: OffsetRange,
    isolation: i8,
    topic_id: Option<TopicId>,
    leader_epoch: Option<i32>,
    /// Whether responses are kept that reach beyond the range's end.
    keeps_rest: bool,
    registered: Instant,
    state: Mutex<State>,
    arrived: Notify,
}

/// The state of a cursor that has room, as a lane needs it to build a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) position: Offset,
    pub(crate) blocked_on_budget: bool,
    pub(crate) priority: FetchPriority,
    /// The number of the lane's request that served the cursor last, or of the last request before
    /// it was registered.
    pub(crate) served: u64,
    /// The largest batch of the last response, in bytes; 0 before the first.
    pub(crate) largest_batch: usize,
}

impl PartitionCursor {
    pub(crate) fn new(
        planned: &PlannedRange,
        position: Offset,
        topic_id: Option<TopicId>,
        leader_epoch: Option<i32>,
        priority: FetchPriority,
        keeps_rest: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            range: planned.range().clone(),
            isolation: planned.isolation().wire(),
            topic_id,
            leader_epoch,
            keeps_rest,
            registered: Instant::now(),
            state: Mutex::new(State {
                queue: VecDeque::with_capacity(QUEUE_LENGTH),
                position,
                stop: None,
                waited: Duration::ZERO,
                stopped: None,
                blocked_on_budget: false,
                closed: false,
                priority,
                served: 0,
                largest_batch: 0,
            }),
            arrived: Notify::new(),
        })
    }

    pub(crate) const fn range(&self) -> &OffsetRange {
        &self.range
    }

    pub(crate) const fn isolation(&self) -> i8 {
        self.isolation
    }

    pub(crate) const fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    pub(crate) const fn leader_epoch(&self) -> Option<i32> {
        self.leader_epoch
    }

    pub(super) const fn keeps_rest(&self) -> bool {
        self.keeps_rest
    }

    // Methods for the reader.

    /// Removes the next record set from the queue; `None` if the queue is empty. Also returns the
    /// response if it reaches beyond the range's end, is kept, and topic id and epoch are known.
    pub(super) fn take(&self) -> Option<(Fetched, Option<Carried>)> {
        let mut state = self.state.lock();
        let queued = state.queue.pop_front()?;
        state.blocked_on_budget = false;
        drop(state);
        let Queued { fetched, lease, rest } = queued;
        let carried = match (rest, self.topic_id, self.leader_epoch) {
            (Some(response), Some(topic_id), Some(leader_epoch)) => {
                let (until, isolation) = (self.range.until(), self.isolation);
                Some(Carried { until, isolation, topic_id, leader_epoch, response, lease })
            }
            _ => None,
        };
        Some((fetched, carried))
    }

    /// Returns why the lane stopped the cursor, once the queue is empty.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        let state = self.state.lock();
        if state.queue.is_empty() { state.stop.clone() } else { None }
    }

    /// Returns the time that does not count towards the retry timeout. It has two parts:
    ///
    /// - the time in which the cursor waited while its lane got responses or waited out a throttle
    /// - the time since the stop, until the reader handles it
    pub(crate) fn waited(&self) -> Duration {
        let state = self.state.lock();
        let unseen = state.stopped.map_or(Duration::ZERO, |at| at.elapsed());
        state.waited.saturating_add(unseen)
    }

    /// Whether the cursor has queued bytes or a stop.
    pub(crate) fn is_ready(&self) -> bool {
        let state = self.state.lock();
        !state.queue.is_empty() || state.stop.is_some()
    }

    /// Records whether the reader waits. It is blocked on the budget if it waits and the queue is
    /// empty. Returns whether it is blocked now.
    pub(crate) fn set_blocked_on_budget(&self, waits: bool) -> bool {
        let mut state = self.state.lock();
        state.blocked_on_budget = waits && state.queue.is_empty();
        state.blocked_on_budget
    }

    /// Resolves when the lane queues bytes or stops the cursor.
    pub(crate) fn arrived(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    /// Closes the cursor for its reader. The queued bytes return to the budget at once.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.queue.clear();
    }

    // Methods for the lane.

    /// Whether the lane must remove the cursor: it is closed or stopped.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.closed || state.stop.is_some()
    }

    /// Returns what a request needs, if the queue has room and the cursor is neither closed nor
    /// stopped.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        let state = self.state.lock();
        let open = !state.closed && state.stop.is_none() && state.queue.len() < QUEUE_LENGTH;
        open.then_some(Wanted {
            position: state.position,
            blocked_on_budget: state.blocked_on_budget,
            priority: state.priority,
            served: state.served,
            largest_batch: state.largest_batch,
        })
    }

    /// Orders the cursor as if the lane's request `number` had served it: after all cursors that
    /// were served before.
    pub(crate) fn set_served(&self, number: u64) {
        self.state.lock().served = number;
    }

    /// Queues bytes and moves the fetch position. Stops the cursor if the position reaches the
    /// range's end. `rest` is the response from there on, if it is kept. `number` is the number of
    /// the lane's request that fetched the bytes.
    pub(super) fn push(
        &self,
        fetched: Fetched,
        largest_batch: usize,
        lease: Lease,
        rest: Option<Box<PartitionResponse>>,
        number: u64,
    ) {
        let mut state = self.state.lock();
        state.served = number;
        if state.closed || state.stop.is_some() {
            return;
        }
        state.position = fetched.next;
        state.priority = FetchPriority::Normal;
        state.largest_batch = largest_batch;
        if state.position >= self.range.until() {
            state.stop = Some(Stop::Done);
        }
        state.queue.push_back(Queued { fetched, lease, rest });
        drop(state);
        self.arrived.notify_one();
    }

    /// Returns the bytes of the budget that the queue holds.
    pub(crate) fn queued_bytes(&self) -> usize {
        let state = self.state.lock();
        state.queue.iter().map(|queued| queued.lease.bytes()).sum()
    }

    /// Drops the queued bytes and stops the cursor. The reader then registers a new cursor at the
    /// first dropped offset. Does nothing if the queue is empty.
    pub(crate) fn evict(&self) {
        let mut state = self.state.lock();
        if !state.queue.is_empty() {
            state.queue.clear();
            state.stop = Some(Stop::Evicted);
            drop(state);
            self.arrived.notify_one();
        }
    }

    /// Sets the cursor's priority in the next request.
    pub(crate) fn set_priority(&self, priority: FetchPriority) {
        self.state.lock().priority = priority;
    }

    /// Stops the cursor. No time before it is excluded from the retry timeout.
    pub(crate) fn stop(&self, stop: Stop) {
        self.stop_after(None, stop);
    }

    /// Stops the cursor. `responded_at` is when the lane's last response was complete, or when its
    /// throttle ends. The wait until then does not count towards the retry timeout.
    pub(crate) fn stop_after(&self, responded_at: Option<Instant>, stop: Stop) {
        let mut state = self.state.lock();
        let seen = responded_at.map(|at| at.min(Instant::now()));
        state.waited = seen.map_or(Duration::ZERO, |at| at.duration_since(self.registered));
        state.stop.get_or_insert(stop);
        state.stopped.get_or_insert_with(Instant::now);
        drop(state);
        self.arrived.notify_one();
    }
}
