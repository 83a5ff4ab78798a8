//! A lane: one connection to one leader with one Fetch in flight, for all cursors that have room.
//!
//! The lane's task never waits for a reader. It leaves a cursor with a full queue out of the next
//! request. It sends the next request when the last response is in the queues, before any of it is
//! decoded.
//!
//! Lock order: a cursor's state, then the budget. The inbox lock is never held together with
//! either.

use std::{sync::Arc, task::Poll, time::Duration};

use kafka_direct_core::BufferPool;
use kafka_protocol::messages::ApiKey;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    AllCursors,
    budget::{Budget, Grant},
    carry_over::AllCarried,
    frame::FrameError,
    limits::{FetchLimits, GrantLimits, PartitionLimits},
    metrics::Metrics,
    partition_cursor::PartitionCursor,
    quota::Quota,
    request::FetchSelection,
    response::{BY_ID, Expected, FetchResponse},
    response_handler::ResponseHandler,
    stop::Stop,
};
use crate::{address::address, config::ClusterConfig, connection::Connection, error::WireError};

/// A lane without cursors closes its connection after this.
const IDLE_CLOSE: Duration = Duration::from_secs(60);
/// How long a reader may be blocked on the budget, without a release, before a queue is evicted.
const STALL: Duration = Duration::from_secs(1);
/// After this many responses a lane that requests fewer partitions requests more again.
const RESPONSES_BEFORE_MORE: u32 = 64;
/// A lane that may request more partitions than this is not reduced any more.
const MOST_REDUCED: usize = 1 << 10;
/// The lane yields after this many queued bytes, see [`reschedule`].
const YIELD_AFTER_BYTES: usize = 256 << 10;
/// The first Fetch version in which the client waits out a throttle. In earlier versions the broker
/// waits before it responds (KIP-219).
const CLIENT_WAITS: i16 = 8;

/// The part of a lane that readers use: they register cursors and wake its task.
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

    /// Adds a cursor and sets the leader's current address. Stops the cursor if the lane is closed.
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

    /// Wakes the lane's task after a change: a queue has room, or a reader is blocked on the budget
    /// or was dropped.
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

/// The task of a lane. Its end, for any reason, stops all its cursors.
#[derive(Debug)]
pub(super) struct LaneTask {
    lane: Arc<Lane>,
    config: ClusterConfig,
    budget: Arc<Budget>,
    pool: BufferPool,
    metrics: Arc<Metrics>,
    /// The cursors of every lane of the cluster.
    all: Arc<AllCursors>,
    /// The bytes that are kept for later ranges.
    carried: Arc<AllCarried>,
    cursors: Vec<Arc<PartitionCursor>>,
    /// The number of requests so far.
    number: u64,
    /// The largest batch of the last response that had a batch, in bytes.
    largest_batch: usize,
    /// When the last response was complete, or when its throttle ends, whichever is later.
    responded_at: Option<Instant>,
    quota: Quota,
    /// The most partitions of a request: fewer after a response that was too large.
    most_partitions: usize,
    /// How many responses there were since then.
    responses_since: u32,
    /// Since when a reader is blocked on the budget and nothing was released.
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
        carried: Arc<AllCarried>,
    ) -> Self {
        Self {
            lane,
            config,
            budget,
            pool,
            metrics,
            all,
            carried,
            cursors: Vec::new(),
            number: 0,
            largest_batch: 0,
            responded_at: None,
            quota: Quota::default(),
            most_partitions: usize::MAX,
            responses_since: 0,
            stalled: None,
            connection: None,
            buffer: Vec::new(),
        }
    }

    /// Fetches for the lane's cursors until the lane is closed.
    pub(super) async fn run(mut self) {
        while self.take_inbox() {
            let limits = FetchLimits::new(&self.config, self.quota.refusals());
            let max_partitions = limits.max_partitions().min(self.most_partitions);
            let selection = FetchSelection::choose(&self.cursors, max_partitions);
            let selection = selection.assuming(self.largest_batch);
            if selection.listed.is_empty() {
                self.idle().await;
                continue;
            }
            // Before budget is taken, so that a broker that is down or throttles holds none.
            if let Err(error) = self.connection().await {
                self.connection = None;
                self.stop_cursors(&selection, &Stop::from(error));
                continue;
            }
            if self.waited_out_throttle().await {
                continue;
            }
            let partition = limits.partition(self.all.count());
            let wanted = limits.grant(partition, selection.largest_batches());
            let Some(grant) = self.take_budget(&selection, wanted).await else { continue };
            if let Err(stop) = self.fetch(&selection, grant, limits, partition).await {
                self.connection = None;
                if !self.takes_fewer(&stop, selection.listed.len()) {
                    self.stop_cursors(&selection, &stop);
                }
            } else {
                self.takes_more();
            }
        }
    }

    /// Doubles the number of partitions of later requests after [`RESPONSES_BEFORE_MORE`] responses, up
    /// to the usual number: one response that was too large may have been an exception.
    fn takes_more(&mut self) {
        self.responses_since = self.responses_since.saturating_add(1);
        if self.most_partitions < usize::MAX && self.responses_since >= RESPONSES_BEFORE_MORE {
            self.responses_since = 0;
            let doubled = self.most_partitions.saturating_mul(2);
            self.most_partitions = if doubled > MOST_REDUCED { usize::MAX } else { doubled };
        }
    }

    /// Halves the number of partitions of later requests after a response of several partitions that
    /// was too large; returns whether it did.
    ///
    /// Some brokers exceed the limits of a request many times over, for example with records in remote
    /// storage.
    fn takes_fewer(&mut self, stop: &Stop, listed: usize) -> bool {
        let Stop::TooLarge { bytes } = stop else { return false };
        if listed > 1 {
            self.most_partitions = listed / 2;
            self.responses_since = 0;
            tracing::debug!(bytes, listed, "a response was too large; requesting fewer partitions");
        }
        listed > 1
    }

    /// Adds new cursors and removes finished ones. Returns `false` if the lane was closed.
    fn take_inbox(&mut self) -> bool {
        let mut inbox = self.lane.inbox.lock();
        let closed = inbox.closed;
        let new = std::mem::take(&mut inbox.cursors);
        drop(inbox);
        self.cursors.retain(|cursor| !cursor.is_over());
        // After all cursors that wait, and before the cursors of the last request.
        for cursor in &new {
            cursor.set_served(self.number.saturating_sub(1));
        }
        self.cursors.extend(new);
        !closed
    }

    /// Waits until a throttle ends or the lane is woken. Returns whether it waited, because the
    /// selection may have changed meanwhile.
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

    /// Waits until the lane is woken. Closes the connection of a lane that stays without cursors.
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

    /// Takes budget for a selection. Returns `None` after a wait, because the selection may have
    /// changed meanwhile.
    ///
    /// Bytes that are kept for later ranges are evicted first, at once. If a reader is blocked on the
    /// budget and nothing is released for [`STALL`], the queues that hold the budget are not being
    /// read. The largest of them is evicted.
    async fn take_budget(
        &mut self,
        selection: &FetchSelection,
        wanted: GrantLimits,
    ) -> Option<Grant> {
        let Self { lane, budget, all, carried, stalled, .. } = self;
        if budget.is_waited_for() {
            // So that other lanes can take the budget that this lane has just released.
            reschedule().await;
        }
        let freed = budget.freed();
        tokio::pin!(freed);
        freed.as_mut().enable();
        let mut grant = budget.try_grant(wanted.min, wanted.max);
        // Before the eviction, so that no bytes are kept from here to the end of the wait.
        let _waiting = grant.is_none().then(|| budget.wait());
        while grant.is_none() && carried.evict_largest() {
            grant = budget.try_grant(wanted.min, wanted.max);
        }
        if grant.is_some() || !selection.is_blocked_on_budget {
            *stalled = None;
        }
        if grant.is_none() {
            let since = stalled.unwrap_or_else(Instant::now);
            *stalled = selection.is_blocked_on_budget.then_some(since);
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

    /// Returns a connection to the leader's current address. Opens one if there is none.
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

    /// Sends one request and handles its whole response.
    async fn fetch(
        &mut self,
        selection: &FetchSelection,
        mut grant: Grant,
        limits: FetchLimits,
        partition: PartitionLimits,
    ) -> Result<(), Stop> {
        let (idle, requested_bytes) = (self.config.get_request_timeout(), grant.bytes());
        let metrics = Arc::clone(&self.metrics);
        let mut buffer = std::mem::take(&mut self.buffer);
        let pool = self.pool.clone();
        self.number = self.number.wrapping_add(1);
        let (number, responded_at) = (self.number, self.responded_at);
        let connection = self.connection().await?;
        let version = connection.version(ApiKey::Fetch)?;
        let version =
            if selection.knows_ids() { version } else { version.min(BY_ID.wrapping_sub(1)) };
        let partition = partition.sharing(requested_bytes, selection.listed.len());
        let request = selection.request(version, requested_bytes, partition, idle);
        let sent = Instant::now();
        let address = Arc::clone(connection.address());
        let before = connection.sent_bytes();
        let sending = connection.send(ApiKey::Fetch, version, &request);
        let correlation = tokio::time::timeout(idle, sending)
            .await
            .unwrap_or_else(|_| Err(WireError::timeout(&address, "Fetch", idle)))?;
        Metrics::add(&metrics.request_bytes, connection.sent_bytes().saturating_sub(before));
        let limit = limits.max_response_bytes(requested_bytes, selection.listed.len());
        let expected = Expected { correlation, version, limit, idle };
        let opening = FetchResponse::open(&mut *connection.stream, &mut buffer, pool, expected);
        let mut response = opening.await.map_err(|error| Stop::unreadable(&address, error))?;
        Metrics::add(&metrics.requests, 1);
        Metrics::add(&metrics.response_bytes, response.left());
        let throttle = response.throttle;
        let code = response.code;
        let mut handler = ResponseHandler::new(selection, number, &address, &metrics);
        handler.throttled = !throttle.is_zero();
        handler.before = responded_at;
        let mut bytes_since_yield = 0usize;
        while let Some((topic, partition)) =
            response.partition().await.map_err(|error| Stop::unreadable(&address, error))?
        {
            let Some(at) = selection.find(topic, partition.partition, version, handler.next) else {
                let reason = "the response names a partition that was not requested";
                return Err(Stop::unreadable(&address, FrameError::Malformed(reason)));
            };
            bytes_since_yield = bytes_since_yield.saturating_add(partition.records.len());
            handler.take(at, partition, &mut grant);
            // Not near the end of the response: there the next request is sent first.
            if bytes_since_yield >= YIELD_AFTER_BYTES && response.left() >= YIELD_AFTER_BYTES {
                bytes_since_yield = 0;
                reschedule().await;
            }
        }
        response.finish().await.map_err(|error| Stop::unreadable(&address, error))?;
        metrics.record_latency(sent.elapsed());
        let is_refused = handler.throttled && handler.largest_batch == 0;
        // A broker of an earlier version does not wait before it sends a refused response.
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
            tracing::warn!(
                %address,
                requested_bytes,
                "the broker's quota has refused all fetch responses for a minute; raise the quota"
            );
        }
        self.responded_at = quiet_until.max(Some(Instant::now()));
        self.buffer = buffer;
        Ok(())
    }

    /// Stops all cursors of the lane after a fault of the connection, because all of them use it.
    ///
    /// After a response that is too large, only the cursors of its request are stopped.
    fn stop_cursors(&mut self, selection: &FetchSelection, stop: &Stop) {
        if let Stop::TooLarge { .. } = stop {
            selection.listed.iter().for_each(|listed| listed.cursor.stop(stop.clone()));
            return;
        }
        for cursor in self.cursors.drain(..) {
            cursor.stop_after(self.responded_at, stop.clone());
        }
    }
}

/// Yields so that another worker thread can run the current task.
///
/// A tokio worker thread runs the task that it woke last next, and no other thread can take that
/// task. So the reader of the bytes that were just queued decodes on this thread. Meanwhile the
/// other threads sleep and the socket is not read. A task that wakes itself enters the queue that
/// other threads take from, and tokio wakes one of them. `tokio::task::yield_now` does not help: it
/// waits until this thread has no other task to run.
pub(super) async fn reschedule() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
