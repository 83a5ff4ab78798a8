//! A lane: one connection to one leader with one Fetch in flight, for every slot that has room.
//!
//! The lane's task never waits for a reader: a slot whose queue is full is left out of the next
//! request. The next request goes out as soon as the last answer is in the queues, before any of it
//! is decoded.
//!
//! Lock order: a slot's state, then the budget. The inbox is never held together with either.

use std::{sync::Arc, task::Poll, time::Duration};

use kafka_direct_core::BufferPool;
use kafka_protocol::messages::ApiKey;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    AllSlots,
    answers::Answers,
    budget::{Budget, Grant},
    frame::FrameError,
    limits::{FetchLimits, GrantLimits, PartitionLimits},
    metrics::Metrics,
    quota::Quota,
    request::Turn,
    response::{BY_ID, Expected, FetchResponse},
    slot::{Doubt, Slot},
    stop::Stop,
};
use crate::{address::address, config::ClusterConfig, connection::Connection, error::WireError};

/// An idle lane closes its connection after this.
const IDLE_CLOSE: Duration = Duration::from_secs(60);
/// How long nothing may be given back to the budget while a reader starves.
const STALL: Duration = Duration::from_secs(1);
/// After so many queued bytes the lane gives way, see [`give_way`].
const SHARE_BYTES: usize = 256 << 10;
/// The first version whose throttle the client waits out: before, the broker has (KIP-219).
const CLIENT_WAITS: i16 = 8;
/// What readers see of a lane.
#[derive(Debug)]
pub(super) struct Lane {
    inbox: Mutex<Inbox>,
    wake: Notify,
}

#[derive(Debug)]
struct Inbox {
    slots: Vec<Arc<Slot>>,
    host: Arc<str>,
    port: u16,
    closed: bool,
}

impl Lane {
    pub(super) fn new(host: &Arc<str>, port: u16) -> Arc<Self> {
        let inbox = Inbox { slots: Vec::new(), host: Arc::clone(host), port, closed: false };
        Arc::new(Self { inbox: Mutex::new(inbox), wake: Notify::new() })
    }

    /// Gives the lane another slot, and the leader's address as it is known now.
    pub(super) fn register(&self, slot: Arc<Slot>, host: &Arc<str>, port: u16) {
        let mut inbox = self.inbox.lock();
        if inbox.closed {
            drop(inbox);
            slot.stop(Stop::lane_ended());
            return;
        }
        inbox.slots.push(slot);
        inbox.host = Arc::clone(host);
        inbox.port = port;
        drop(inbox);
        self.wake();
    }

    /// Tells the lane that something changed: room in a queue, a starving or a gone reader.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.inbox.lock().closed
    }

    /// Ends the lane's task.
    pub(super) fn close(&self) {
        self.inbox.lock().closed = true;
        self.wake();
    }
}

/// The task behind a lane. However it ends, its readers are told.
#[derive(Debug)]
pub(super) struct LaneTask {
    lane: Arc<Lane>,
    config: ClusterConfig,
    budget: Arc<Budget>,
    pool: BufferPool,
    metrics: Arc<Metrics>,
    /// The slots of every lane of the cluster.
    all: Arc<AllSlots>,
    slots: Vec<Arc<Slot>>,
    /// Requests so far.
    number: u64,
    /// The largest batch of the last answer that brought any, in bytes.
    largest_batch: usize,
    /// When the last answer came, or the throttle that it named is over.
    answered: Option<Instant>,
    quota: Quota,
    /// Since when a reader starves and nothing was given back to the budget.
    stalled: Option<Instant>,
    connection: Option<Connection>,
    buffer: Vec<u8>,
}

impl Drop for LaneTask {
    fn drop(&mut self) {
        let mut inbox = self.lane.inbox.lock();
        inbox.closed = true;
        let waiting = std::mem::take(&mut inbox.slots);
        drop(inbox);
        for slot in waiting.iter().chain(&self.slots) {
            slot.stop(Stop::lane_ended());
        }
    }
}

impl LaneTask {
    pub(super) fn new(
        lane: Arc<Lane>,
        config: ClusterConfig,
        budget: Arc<Budget>,
        pool: BufferPool,
        metrics: Arc<Metrics>,
        all: Arc<AllSlots>,
    ) -> Self {
        Self {
            lane,
            config,
            budget,
            pool,
            metrics,
            all,
            slots: Vec::new(),
            number: 0,
            largest_batch: 0,
            answered: None,
            quota: Quota::default(),
            stalled: None,
            connection: None,
            buffer: Vec::new(),
        }
    }

    /// Serves slots until the lane is closed.
    pub(super) async fn run(mut self) {
        while self.take_inbox() {
            let limits = FetchLimits::new(&self.config, self.quota.refusals());
            let turn = Turn::choose(&self.slots, limits.max_partitions());
            let turn = turn.assuming(self.largest_batch);
            if turn.listed.is_empty() {
                self.idle().await;
                continue;
            }
            // Before budget is taken: a broker that is down or throttles holds none.
            if let Err(error) = self.connection().await {
                self.connection = None;
                self.hand_back(&turn, &Stop::from(error));
                continue;
            }
            if self.waited_out_throttle().await {
                continue;
            }
            let partition = limits.partition(self.all.count());
            let wanted = limits.grant(partition, turn.largest_batches());
            let Self { lane, budget, all, stalled, .. } = &mut self;
            let afforded = Self::afford(lane, budget, all, stalled, &turn, wanted).await;
            let Some(grant) = afforded else { continue };
            if let Err(stop) = self.fetch(&turn, grant, limits, partition).await {
                self.connection = None;
                self.hand_back(&turn, &stop);
            }
        }
    }

    /// Takes in new slots and forgets finished ones; `false` when the lane was closed.
    fn take_inbox(&mut self) -> bool {
        let mut inbox = self.lane.inbox.lock();
        let closed = inbox.closed;
        let new = std::mem::take(&mut inbox.slots);
        drop(inbox);
        self.slots.retain(|slot| !slot.is_over());
        // Behind all who wait, and ahead of whoever was served just now.
        for slot in &new {
            slot.stand_in_line(self.number.saturating_sub(1));
        }
        self.slots.extend(new);
        !closed
    }

    /// Waits out a throttle; `true` if it waited, for what there is to ask may be another then.
    async fn waited_out_throttle(&mut self) -> bool {
        let Some(connection) = self.connection.as_mut().filter(|open| open.is_throttled()) else {
            return false;
        };
        tokio::select! {
            () = connection.wait_out_throttle() => {}
            () = self.lane.wake.notified() => {}
        }
        true
    }

    async fn idle(&mut self) {
        let woken = self.lane.wake.notified();
        if self.slots.is_empty() && self.connection.is_some() {
            if tokio::time::timeout(IDLE_CLOSE, woken).await.is_err() {
                self.connection = None;
            }
        } else {
            woken.await;
        }
    }

    /// Takes budget for a turn; `None` after a wait that may have changed what there is to ask.
    ///
    /// When a reader starves and nothing is given back for a while, whoever holds the budget is not
    /// being read: the largest such queue is evicted.
    async fn afford(
        lane: &Lane,
        budget: &Arc<Budget>,
        all: &AllSlots,
        stalled: &mut Option<Instant>,
        turn: &Turn,
        wanted: GrantLimits,
    ) -> Option<Grant> {
        if budget.is_waited_for() {
            // What this lane has just given back is not taken again before others could have it.
            give_way().await;
        }
        let freed = budget.freed();
        tokio::pin!(freed);
        freed.as_mut().enable();
        let grant = budget.try_grant(wanted.min, wanted.max);
        if grant.is_some() || !turn.is_starving {
            *stalled = None;
        }
        if grant.is_none() {
            let since = stalled.unwrap_or_else(Instant::now);
            *stalled = turn.is_starving.then_some(since);
            let _waiting = budget.wait();
            tokio::select! {
                () = freed => *stalled = None,
                () = lane.wake.notified() => {}
                () = tokio::time::sleep_until(since + STALL), if turn.is_starving => {
                    all.evict_largest();
                    *stalled = None;
                }
            }
        }
        grant
    }

    /// Opens the connection if there is none to the leader's address as it is known now.
    async fn connection(&mut self) -> Result<&mut Connection, WireError> {
        let (host, port) = {
            let inbox = self.lane.inbox.lock();
            (Arc::clone(&inbox.host), inbox.port)
        };
        let wanted = address(&host, port);
        let kept = self.connection.take().filter(|kept| *kept.address() == wanted);
        let opened = match kept {
            Some(kept) => kept,
            None => Connection::open(&self.config, &host, port).await?,
        };
        let connection = self.connection.insert(opened);
        Ok(connection)
    }

    /// One request and its whole answer.
    async fn fetch(
        &mut self,
        turn: &Turn,
        mut grant: Grant,
        limits: FetchLimits,
        partition: PartitionLimits,
    ) -> Result<(), Stop> {
        let (idle, asked_bytes) = (self.config.get_request_timeout(), grant.bytes());
        let metrics = Arc::clone(&self.metrics);
        let mut buffer = std::mem::take(&mut self.buffer);
        let pool = self.pool.clone();
        self.number = self.number.wrapping_add(1);
        let (number, answered) = (self.number, self.answered);
        let connection = self.connection().await?;
        let version = connection.version(ApiKey::Fetch)?;
        let version = if turn.knows_ids() { version } else { version.min(BY_ID.wrapping_sub(1)) };
        let partition = partition.sharing(asked_bytes, turn.listed.len());
        let request = turn.request(version, asked_bytes, partition, idle);
        let sent = Instant::now();
        let address = Arc::clone(connection.address());
        let before = connection.sent_bytes();
        let sending = connection.send(ApiKey::Fetch, version, &request);
        let correlation = tokio::time::timeout(idle, sending)
            .await
            .unwrap_or_else(|_| Err(WireError::timeout(&address, "Fetch", idle)))?;
        Metrics::add(&metrics.request_bytes, connection.sent_bytes().saturating_sub(before));
        let limit = limits.max_response_bytes(asked_bytes, turn.listed.len());
        let expected = Expected { correlation, version, limit, idle };
        let opening = FetchResponse::open(&mut *connection.stream, &mut buffer, pool, expected);
        let mut response = opening.await.map_err(|error| Stop::unreadable(&address, error))?;
        Metrics::add(&metrics.requests, 1);
        Metrics::add(&metrics.response_bytes, response.left());
        let throttle = response.throttle;
        let code = response.code;
        let mut answers = Answers::new(turn, number, &address, &metrics);
        answers.throttled = !throttle.is_zero();
        answers.before = answered;
        let mut unshared = 0usize;
        while let Some((topic, answer)) =
            response.partition().await.map_err(|error| Stop::unreadable(&address, error))?
        {
            let Some(at) = turn.find(topic, answer.partition, version, answers.cursor) else {
                let reason = "the answer names a partition that was not asked for";
                return Err(Stop::unreadable(&address, FrameError::Malformed(reason)));
            };
            unshared = unshared.saturating_add(answer.records.len());
            answers.take(at, answer, &mut grant);
            // Behind the last partition the next request goes out first.
            if unshared >= SHARE_BYTES && response.left() >= SHARE_BYTES {
                unshared = 0;
                give_way().await;
            }
        }
        response.finish().await.map_err(|error| Stop::unreadable(&address, error))?;
        metrics.answered_after(sent.elapsed());
        let is_refused = answers.throttled && answers.largest_batch == 0;
        // Nothing, and at once: that broker did not wait.
        if version >= CLIENT_WAITS || is_refused {
            connection.throttle(i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX));
        }
        let quiet_until = connection.throttled_until();
        Metrics::add(&metrics.throttled_ms, usize::try_from(throttle.as_millis()).unwrap_or(0));
        if answers.largest_batch > 0 {
            self.largest_batch = answers.largest_batch;
        }
        answers.finish(code);
        if self.quota.count(is_refused) {
            tracing::warn!(%address, asked_bytes, "a quota has let nothing through for a minute");
        }
        self.answered = quiet_until.max(Some(Instant::now()));
        self.buffer = buffer;
        Ok(())
    }

    /// Gives slots back to their readers after a fault of the connection: those of the request, and
    /// the rest of the lane too, since all of them depend on it.
    fn hand_back(&mut self, turn: &Turn, stop: &Stop) {
        if let Stop::TooLarge { bytes } = stop {
            // Only the first partition of a request can bring more than was asked for, unless the
            // broker fills in another order.
            match turn.listed.as_slice() {
                [only] => only.slot.stop(Stop::TooLarge { bytes: *bytes }),
                [first, ..] => first.slot.doubt(Doubt::Unserved),
                [] => {}
            }
            return;
        }
        for slot in self.slots.drain(..) {
            slot.stop_after(self.answered, stop.clone());
        }
    }
}

/// Lets another worker thread take over the lane.
///
/// A worker keeps the task that it woke last to itself, so the reader of the bytes that were just
/// queued decodes next on this thread while others sleep and nobody reads the socket. A task that
/// wakes itself stands in the queue that others take from, and one of them is woken;
/// `tokio::task::yield_now` instead waits until this thread has nothing else to do.
pub(super) async fn give_way() {
    let mut has_given = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
