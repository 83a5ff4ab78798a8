//! One range being fetched: the meeting point of its reader and the lane that serves it.
//!
//! The lane fills the queue and moves the position; the reader empties it. When something is out of
//! the ordinary the lane *stops* the cursor and forgets it: the reader finds the stop behind the last
//! queued bytes, finds out what to do (see `recover`), and registers a new cursor at its position.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use kafka_direct_core::{Fetched, Offset, OffsetRange, PlannedRange, TopicId};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use super::{budget::Lease, stop::Stop};

/// Record sets a reader may have waiting; one is being decoded, one is ready, one is on the wire.
pub(super) const QUEUE_LENGTH: usize = 2;

/// How the next request treats a cursor whose last requests brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchPriority {
    /// In the usual order: the cursor served longest ago comes first.
    Normal,
    /// Before the others: its last response was empty, perhaps because of the request's limits.
    First,
    /// In a request of its own: it was first, and the response had bytes for other partitions only,
    /// or more than allowed. Ends when a response names it; an empty one under a throttle makes it
    /// [`First`](Self::First) again.
    Alone,
}

#[derive(Debug)]
struct Queued {
    fetched: Fetched,
    lease: Lease,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Queued>,
    position: Offset,
    stop: Option<Stop>,
    /// How long the lane was seen to work while the cursor waited.
    waited: Duration,
    /// When the lane stopped it.
    stopped: Option<Instant>,
    /// The reader waits and has nothing: others may be evicted for it.
    blocked_on_budget: bool,
    /// The reader is gone.
    closed: bool,
    priority: FetchPriority,
    /// The lane's request that served the cursor last.
    served: u64,
    /// The largest batch of the last response, in bytes.
    largest_batch: usize,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct PartitionCursor {
    range: OffsetRange,
    isolation: i8,
    topic_id: Option<TopicId>,
    leader_epoch: Option<i32>,
    registered: Instant,
    state: Mutex<State>,
    arrived: Notify,
}

/// What a lane needs to put a cursor into a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) position: Offset,
    pub(crate) blocked_on_budget: bool,
    pub(crate) priority: FetchPriority,
    /// The lane's request that served the cursor last, or the last before it came.
    pub(crate) served: u64,
    /// The largest batch of the response before, in bytes; 0 before the first.
    pub(crate) largest_batch: usize,
}

impl PartitionCursor {
    pub(crate) fn new(
        planned: &PlannedRange,
        position: Offset,
        topic_id: Option<TopicId>,
        leader_epoch: Option<i32>,
        priority: FetchPriority,
    ) -> Arc<Self> {
        Arc::new(Self {
            range: planned.range().clone(),
            isolation: planned.isolation().wire(),
            topic_id,
            leader_epoch,
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

    // The reader's side.

    /// The next bytes in order, if any have arrived.
    pub(crate) fn take(&self) -> Option<Fetched> {
        let mut state = self.state.lock();
        let queued = state.queue.pop_front()?;
        state.blocked_on_budget = false;
        drop(state);
        Some(queued.fetched)
    }

    /// Why the lane no longer serves the cursor, once nothing is queued any more.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        let state = self.state.lock();
        if state.queue.is_empty() { state.stop.clone() } else { None }
    }

    /// How long the cursor waited while its lane got responses or waited out a throttle, and since it was
    /// stopped for its reader to look: no fault's time.
    pub(crate) fn waited(&self) -> Duration {
        let state = self.state.lock();
        let unseen = state.stopped.map_or(Duration::ZERO, |at| at.elapsed());
        state.waited.saturating_add(unseen)
    }

    /// Whether there are bytes or a stop.
    pub(crate) fn has_news(&self) -> bool {
        let state = self.state.lock();
        !state.queue.is_empty() || state.stop.is_some()
    }

    /// Records that the reader waits with an empty queue (`true`), or waits no longer; returns
    /// whether it is blocked now.
    pub(crate) fn set_blocked_on_budget(&self, waits: bool) -> bool {
        let mut state = self.state.lock();
        state.blocked_on_budget = waits && state.queue.is_empty();
        state.blocked_on_budget
    }

    /// Resolves when the lane put something in or stopped the cursor.
    pub(crate) fn arrived(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    /// The reader is gone: queued bytes go back to the budget at once.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.queue.clear();
    }

    // The lane's side.

    /// Whether the lane should forget the cursor.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.closed || state.stop.is_some()
    }

    /// Where to fetch from, if there is room in the queue.
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

    /// Puts the cursor behind all that waited before the lane's request `number`.
    pub(crate) fn stand_in_line(&self, number: u64) {
        self.state.lock().served = number;
    }

    /// Queues bytes and moves the position; stops the cursor when that reaches the range's end.
    /// `number` is the lane's request that brought them.
    pub(crate) fn push(&self, fetched: Fetched, largest_batch: usize, lease: Lease, number: u64) {
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
        state.queue.push_back(Queued { fetched, lease });
        drop(state);
        self.arrived.notify_one();
    }

    /// Bytes of the budget that the queue holds.
    pub(crate) fn queued_bytes(&self) -> usize {
        let state = self.state.lock();
        state.queue.iter().map(|queued| queued.lease.bytes()).sum()
    }

    /// Gives up the queued bytes: the reader finds the cursor stopped and registers anew at the first
    /// of them.
    pub(crate) fn evict(&self) {
        let mut state = self.state.lock();
        if !state.queue.is_empty() {
            state.queue.clear();
            state.stop = Some(Stop::Evicted);
            drop(state);
            self.arrived.notify_one();
        }
    }

    /// Marks a response without a batch.
    pub(crate) fn set_priority(&self, priority: FetchPriority) {
        self.state.lock().priority = priority;
    }

    /// Ends the lane's service.
    pub(crate) fn stop(&self, stop: Stop) {
        self.stop_after(None, stop);
    }

    /// Ends the lane's service. `answered` is when the response before came, or the throttle that it
    /// named is over.
    pub(crate) fn stop_after(&self, answered: Option<Instant>, stop: Stop) {
        let mut state = self.state.lock();
        let seen = answered.map(|at| at.min(Instant::now()));
        state.waited = seen.map_or(Duration::ZERO, |at| at.duration_since(self.registered));
        state.stop.get_or_insert(stop);
        state.stopped.get_or_insert_with(Instant::now);
        drop(state);
        self.arrived.notify_one();
    }
}
