//! A lane: one connection to one leader with one Fetch in flight, for every cursor that has room.
//!
//! The lane's task never waits for a reader: a cursor whose queue is full is left out of the next
//! request. The next request goes out as soon as the last response is in the queues, before any of it
//! is decoded.
//!
//! Lock order: a cursor's state, then the budget. The inbox is never held together with either.

use std::{sync::Arc, task::Poll, time::Duration};

use kafka_direct_core::BufferPool;
use kafka_protocol::messages::ApiKey;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    AllCursors,
    budget::{Budget, Grant},
    frame::FrameError,
    limits::{FetchLimits, GrantLimits, PartitionLimits},
    metrics::Metrics,
    partition_cursor::{FetchPriority, PartitionCursor},
    quota::Quota,
    request::FetchSelection,
    response::{BY_ID, Expected, FetchResponse},
    response_handler::ResponseHandler,
    stop::Stop,
};
use crate::{address::address, config::ClusterConfig, connection::Connection, error::WireError};

/// An idle lane closes its connection after this.
const IDLE_CLOSE: Duration = Duration::from_secs(60);
/// How long nothing may be given back to the budget while a reader starves.
const STALL: Duration = Duration::from_secs(1);
/// After so many queued bytes the lane gives way, see [`reschedule`].
const YIELD_AFTER_BYTES: usize = 256 << 10;
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
    cursors: Vec<Arc<PartitionCursor>>,
    host: Arc<str>,
    port: u16,
    closed: bool,
}

impl Lane {
    pub(super) fn new(host: &Arc<str>, port: u16) -> Arc<Self> {
        let inbox = Inbox { cursors: Vec::new(), host: Arc::clone(host), port, closed: false };
        Arc::new(Self { inbox: Mutex::new(inbox), wake: Notify::new() })
    }

    /// Gives the lane another cursor, and the leader's address as it is known now.
    pub(super) fn register(&self, cursor: Arc<PartitionCursor>, host: &Arc<str>, port: u16) {
        let mut inbox = self.inbox.lock();
        if inbox.closed {
            drop(inbox);
            cursor.stop(Stop::lane_ended());
            return;
        }
        inbox.cursors.push(cursor);
        inbox.host = Arc::clone(host);
        inbox.port = port;
        drop(inbox);
        self.wake();
    }

    /// Tells the lane that something changed: room in a queue, a blocked_on_budget or a gone reader.
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
    /// The cursors of every lane of the cluster.
    all: Arc<AllCursors>,
    cursors: Vec<Arc<PartitionCursor>>,
    /// Requests so far.
    number: u64,
    /// The largest batch of the last response that brought any, in bytes.
    largest_batch: usize,
    /// When the last response came, or the throttle that it named is over.
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
        let waiting = std::mem::take(&mut inbox.cursors);
        drop(inbox);
        for cursor in waiting.iter().chain(&self.cursors) {
            cursor.stop(Stop::lane_ended());
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
        all: Arc<AllCursors>,
    ) -> Self {
        Self {
            lane,
            config,
            budget,
            pool,
            metrics,
            all,
            cursors: Vec::new(),
            number: 0,
            largest_batch: 0,
            answered: None,
            quota: Quota::default(),
            stalled: None,
            connection: None,
            buffer: Vec::new(),
        }
    }

    /// Serves cursors until the lane is closed.
    pub(super) async fn run(mut self) {
        while self.take_inbox() {
            let limits = FetchLimits::new(&self.config, self.quota.refusals());
            let selection = FetchSelection::choose(&self.cursors, limits.max_partitions());
            let selection = selection.assuming(self.largest_batch);
            if selection.listed.is_empty() {
                self.idle().await;
                continue;
            }
            // Before budget is taken: a broker that is down or throttles holds none.
            if let Err(error) = self.connection().await {
                self.connection = None;
                self.hand_back(&selection, &Stop::from(error));
                continue;
            }
            if self.waited_out_throttle().await {
                continue;
            }
            let partition = limits.partition(self.all.count());
            let wanted = limits.grant(partition, selection.largest_batches());
            let Self { lane, budget, all, stalled, .. } = &mut self;
            let afforded = Self::afford(lane, budget, all, stalled, &selection, wanted).await;
            let Some(grant) = afforded else { continue };
            if let Err(stop) = self.fetch(&selection, grant, limits, partition).await {
                self.connection = None;
                self.hand_back(&selection, &stop);
            }
        }
    }

    /// Takes in new cursors and forgets finished ones; `false` when the lane was closed.
    fn take_inbox(&mut self) -> bool {
        let mut inbox = self.lane.inbox.lock();
        let closed = inbox.closed;
        let new = std::mem::take(&mut inbox.cursors);
        drop(inbox);
        self.cursors.retain(|cursor| !cursor.is_over());
        // Behind all who wait, and ahead of whoever was served just now.
        for cursor in &new {
            cursor.stand_in_line(self.number.saturating_sub(1));
        }
        self.cursors.extend(new);
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
        if self.cursors.is_empty() && self.connection.is_some() {
            if tokio::time::timeout(IDLE_CLOSE, woken).await.is_err() {
                self.connection = None;
            }
        } else {
            woken.await;
        }
    }

    /// Takes budget for a selection; `None` after a wait that may have changed what there is to ask.
    ///
    /// When a reader starves and nothing is given back for a while, whoever holds the budget is not
    /// being read: the largest such queue is evicted.
    async fn afford(
        lane: &Lane,
        budget: &Arc<Budget>,
        all: &AllCursors,
        stalled: &mut Option<Instant>,
        selection: &FetchSelection,
        wanted: GrantLimits,
    ) -> Option<Grant> {
        if budget.is_waited_for() {
            // What this lane has just given back is not taken again before others could have it.
            reschedule().await;
        }
        let freed = budget.freed();
        tokio::pin!(freed);
        freed.as_mut().enable();
        let grant = budget.try_grant(wanted.min, wanted.max);
        if grant.is_some() || !selection.is_blocked_on_budget {
            *stalled = None;
        }
        if grant.is_none() {
            let since = stalled.unwrap_or_else(Instant::now);
            *stalled = selection.is_blocked_on_budget.then_some(since);
            let _waiting = budget.wait();
            tokio::select! {
                () = freed => *stalled = None,
                () = lane.wake.notified() => {}
                () = tokio::time::sleep_until(since + STALL), if selection.is_blocked_on_budget => {
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

    /// One request and its whole response.
    async fn fetch(
        &mut self,
        selection: &FetchSelection,
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
        let version =
            if selection.knows_ids() { version } else { version.min(BY_ID.wrapping_sub(1)) };
        let partition = partition.sharing(asked_bytes, selection.listed.len());
        let request = selection.request(version, asked_bytes, partition, idle);
        let sent = Instant::now();
        let address = Arc::clone(connection.address());
        let before = connection.sent_bytes();
        let sending = connection.send(ApiKey::Fetch, version, &request);
        let correlation = tokio::time::timeout(idle, sending)
            .await
            .unwrap_or_else(|_| Err(WireError::timeout(&address, "Fetch", idle)))?;
        Metrics::add(&metrics.request_bytes, connection.sent_bytes().saturating_sub(before));
        let limit = limits.max_response_bytes(asked_bytes, selection.listed.len());
        let expected = Expected { correlation, version, limit, idle };
        let opening = FetchResponse::open(&mut *connection.stream, &mut buffer, pool, expected);
        let mut response = opening.await.map_err(|error| Stop::unreadable(&address, error))?;
        Metrics::add(&metrics.requests, 1);
        Metrics::add(&metrics.response_bytes, response.left());
        let throttle = response.throttle;
        let code = response.code;
        let mut handler = ResponseHandler::new(selection, number, &address, &metrics);
        handler.throttled = !throttle.is_zero();
        handler.before = answered;
        let mut bytes_since_yield = 0usize;
        while let Some((topic, partition)) =
            response.partition().await.map_err(|error| Stop::unreadable(&address, error))?
        {
            let Some(at) = selection.find(topic, partition.partition, version, handler.next) else {
                let reason = "the response names a partition that was not asked for";
                return Err(Stop::unreadable(&address, FrameError::Malformed(reason)));
            };
            bytes_since_yield = bytes_since_yield.saturating_add(partition.records.len());
            handler.take(at, partition, &mut grant);
            // Behind the last partition the next request goes out first.
            if bytes_since_yield >= YIELD_AFTER_BYTES && response.left() >= YIELD_AFTER_BYTES {
                bytes_since_yield = 0;
                reschedule().await;
            }
        }
        response.finish().await.map_err(|error| Stop::unreadable(&address, error))?;
        metrics.answered_after(sent.elapsed());
        let is_refused = handler.throttled && handler.largest_batch == 0;
        // Nothing, and at once: that broker did not wait.
        if version >= CLIENT_WAITS || is_refused {
            connection.throttle(i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX));
        }
        let quiet_until = connection.throttled_until();
        Metrics::add(&metrics.throttled_ms, usize::try_from(throttle.as_millis()).unwrap_or(0));
        if handler.largest_batch > 0 {
            self.largest_batch = handler.largest_batch;
        }
        handler.finish(code);
        if self.quota.count(is_refused) {
            tracing::warn!(%address, asked_bytes, "a quota has let nothing through for a minute");
        }
        self.answered = quiet_until.max(Some(Instant::now()));
        self.buffer = buffer;
        Ok(())
    }

    /// Gives cursors back to their readers after a fault of the connection: those of the request, and
    /// the rest of the lane too, since all of them depend on it.
    fn hand_back(&mut self, selection: &FetchSelection, stop: &Stop) {
        if let Stop::TooLarge { bytes } = stop {
            // Only the first partition of a request can bring more than was asked for, unless the
            // broker fills in another order.
            match selection.listed.as_slice() {
                [only] => only.cursor.stop(Stop::TooLarge { bytes: *bytes }),
                [first, ..] => first.cursor.set_priority(FetchPriority::Alone),
                [] => {}
            }
            return;
        }
        for cursor in self.cursors.drain(..) {
            cursor.stop_after(self.answered, stop.clone());
        }
    }
}

/// Lets another worker thread take over the lane.
///
/// A worker keeps the task that it woke last to itself, so the reader of the bytes that were just
/// queued decodes next on this thread while others sleep and nobody reads the socket. A task that
/// wakes itself stands in the queue that others take from, and one of them is woken;
/// `tokio::task::yield_now` instead waits until this thread has nothing else to do.
pub(super) async fn reschedule() {
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
