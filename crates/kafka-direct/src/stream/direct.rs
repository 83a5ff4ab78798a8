//! [`DirectStream`] plans one batch after the other and logs each before it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    num::NonZeroUsize,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kafka_direct_core::{BatchPlan, ErrorKind, Reset, TopicPartition};
use kafka_direct_driver::{
    NextBatch, Pacing, PartitionState, Position, Positions, StreamSettings, TargetEnds, WaitReason,
    next_batch,
};
use kafka_direct_wire::{CarryOver, Cluster, WireError};
use tokio::time::{Instant, sleep_until};

use super::{
    builder::DirectStreamBuilder,
    control::{StreamHandle, Wanted},
    metadata::Metadata,
    observe::observe,
    progress::{BatchObserver, StreamState},
    publish::GroupPublisher,
    streamed_batch::{Planned, StreamedBatch, Timing},
    trigger::{Schedule, Trigger},
};
use crate::{
    EndPosition, Error, KafkaRddBuilder,
    checkpoint::{CommitDraft, LoggedPlan, OffsetsEntry, PlanDraft, StreamLog},
    plan_check::Leaders,
};

/// The wait after the first failure of a cluster; it doubles with each further one.
const FIRST_OUTAGE_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_OUTAGE_PAUSE: Duration = Duration::from_secs(5);
/// How long the cluster may take to respond before the stream shows that it waits.
const SLOW: Duration = Duration::from_secs(3);
/// How often partitions without a leader are named.
const NAMED_AGAIN: Duration = Duration::from_secs(30);
/// How often a topic that is gone is asked for before it is an error.
const MAX_TRIES: u32 = 10;

/// A stream of micro-batches over a cluster.
///
/// Hand out batches with [`DirectStream::next`], or run them all into a sink with
/// [`DirectStream::run`]. Several streams may share a [`Cluster`], and with it connections and the
/// memory budget.
#[derive(Debug)]
pub struct DirectStream {
    pub(super) selection: KafkaRddBuilder,
    pub(super) settings: StreamSettings,
    pub(super) pacing: Pacing,
    pub(super) schedule: Schedule,
    pub(super) trigger: Trigger,
    /// Where a stream that reads what is available now ends; set when it plans first.
    pub(super) targets: Option<TargetEnds>,
    pub(super) log: StreamLog,
    pub(super) positions: Positions,
    pub(super) retained_batches: u64,
    pub(super) coalesce: Option<NonZeroUsize>,
    pub(super) on_batch: BatchObserver,
    pub(super) sink_name: Option<String>,
    pub(super) metadata: Metadata,
    pub(super) leaders: Leaders,
    pub(super) handle: StreamHandle,
    pub(super) began: Instant,
    /// Since when partitions have no leader, and when they were named last.
    pub(super) leaderless: Option<(Instant, Option<Instant>)>,
    /// What a batch has fetched beyond its end, for the next one.
    pub(super) carry_over: CarryOver,
    /// Gone once the stream has ended.
    pub(super) publisher: Option<GroupPublisher>,
    pub(super) sink_timeout: Option<Duration>,
    /// Whether the position is in a store of the user: it gets the batches without ranges, too.
    pub(super) is_stored_by_user: bool,
}

impl DirectStream {
    /// A builder that selects what to follow.
    pub fn builder(cluster: &Cluster) -> DirectStreamBuilder {
        DirectStreamBuilder::new(cluster)
    }

    /// Controls the stream and shows its progress.
    #[must_use]
    pub fn handle(&self) -> StreamHandle {
        self.handle.clone()
    }

    /// The checkpoint's log: the stream's id, its positions, and the batch in hand.
    #[must_use]
    pub const fn log(&self) -> &StreamLog {
        &self.log
    }

    /// The next batch, planned durably; `None` once the stream was stopped, or has read all that was
    /// available.
    ///
    /// A batch that was handed out and not ended with [`StreamedBatch::done`] is handed out again. While
    /// the cluster is unavailable this waits. With
    /// [`DirectStreamBuilder::resume_from`] there are batches without ranges: they record positions.
    ///
    /// # Errors
    /// [`Error::Fenced`] if another driver has started on the checkpoint;
    /// [`OffsetLost`](ErrorKind::OffsetLost) under the policy `fail`; [`Invalid`](ErrorKind::Invalid)
    /// for a topic that does not exist or a start that cannot be resolved;
    /// [`Unauthorized`](ErrorKind::Unauthorized); errors of the checkpoint.
    ///
    /// # Cancel safety
    /// Safe: a plan that is logged meanwhile is handed out by the next call.
    pub async fn next(&mut self) -> Result<Option<StreamedBatch<'_>>, Error> {
        let handle = self.handle();
        let planned = handle.unless_stopped_now(self.plan_next()).await;
        let Some(planned) = planned.transpose()?.flatten() else {
            let publisher = self.publisher.take();
            if let Some(publisher) = publisher.filter(|_| !handle.is_stopped_now()) {
                publisher.finish().await;
            }
            self.carry_over.clear();
            self.handle.set_state(StreamState::Ended);
            return Ok(None);
        };
        self.handle.set_state(StreamState::Running);
        Ok(Some(StreamedBatch::new(self, planned)))
    }

    async fn plan_next(&mut self) -> Result<Option<Planned>, Error> {
        if let Some(pending) = self.log.pending().cloned() {
            let began = Instant::now();
            if self.only_records_positions(&pending) {
                self.log_commit(CommitDraft::restored(vec![], vec![], millis_now())).await?;
            } else {
                return Ok(Some(Planned {
                    entry: pending,
                    is_repeated: true,
                    timing: Timing {
                        lag: 0,
                        planning: Duration::ZERO,
                        began,
                        scheduling_delay: Duration::ZERO,
                    },
                }));
            }
        }
        loop {
            if !self.wait_until_due().await {
                return Ok(None);
            }
            let began = Instant::now();
            let scheduling_delay = began.saturating_duration_since(self.schedule.due());
            let planned = |entry, is_repeated, lag| {
                let planning = began.elapsed();
                let timing = Timing { lag, planning, began, scheduling_delay };
                Planned { entry, is_repeated, timing }
            };
            let Some(next) = self.observe_and_plan().await? else { return Ok(None) };
            let NextBatch { plan, positions, must_be_stored, wait, backlog, .. } = next;
            if wait.is_some() && must_be_stored {
                // The positions of new partitions, and resets, are durable before data is waited for.
                let LoggedPlan { entry, is_adopted, .. } = self.log_plan(plan, &positions).await?;
                self.positions = positions;
                if self.only_records_positions(&entry) {
                    self.log_commit(CommitDraft::restored(vec![], vec![], millis_now())).await?;
                    continue;
                }
                // The user's store gets it, or an older driver has planned this batch meanwhile.
                return Ok(Some(planned(entry, is_adopted, backlog)));
            }
            match wait {
                None => {
                    self.schedule.planned();
                    let span = u64::try_from(plan.span()).unwrap_or(0);
                    let LoggedPlan { entry, is_adopted, .. } =
                        self.log_plan(plan, &positions).await?;
                    self.positions = positions;
                    return Ok(Some(planned(entry, is_adopted, backlog.saturating_sub(span))));
                }
                Some(_) if self.has_reached_targets() => return Ok(None),
                Some(reason) => {
                    // The same offsets, under the epochs of the leaders that have them.
                    self.positions = positions;
                    self.schedule.idle(match reason {
                        WaitReason::BelowMinimum { max_wait: wait }
                        | WaitReason::RateLimited { wait } => Some(wait),
                        _ => None,
                    });
                }
            }
        }
    }

    /// Whether the batch ends at once: it has nothing to run, and nobody stores it.
    fn only_records_positions(&self, entry: &OffsetsEntry) -> bool {
        entry.plan.is_empty_span() && !self.is_stored_by_user
    }

    /// Waits until the next batch is due and the stream is not paused; `false` if it was stopped.
    async fn wait_until_due(&self) -> bool {
        let mut wanted = self.handle.wanted();
        loop {
            let now = *wanted.borrow_and_update();
            let paused = match now {
                Wanted::Stop | Wanted::StopNow => return false,
                Wanted::Pause => true,
                Wanted::Run => false,
            };
            self.handle.set_state(if paused { StreamState::Paused } else { StreamState::Waiting });
            tokio::select! {
                // The handle is not dropped: this stream has it.
                _ = wanted.changed() => {}
                () = sleep_until(self.schedule.due()), if !paused => return true,
            }
        }
    }

    /// Asks the cluster and plans. Waits while the cluster is unavailable; `None` if the stream is stopped
    /// meanwhile.
    async fn observe_and_plan(&mut self) -> Result<Option<NextBatch>, Error> {
        let (mut pause, mut tries) = (FIRST_OUTAGE_PAUSE, 0_u32);
        loop {
            let handle = self.handle();
            let observing = observe(&self.selection, &mut self.metadata, &self.positions);
            let observing = Box::pin(observing);
            let observed = tokio::select! {
                biased;
                () = handle.stopped() => return Ok(None),
                observed = reported_if_slow(&handle, observing) => observed,
            };
            match observed {
                Ok((observed, leaders)) => {
                    if !self.may_plan_without(&observed.leaderless)? {
                        self.metadata.forget();
                        tokio::time::sleep(FIRST_OUTAGE_PAUSE).await;
                        continue;
                    }
                    if self.trigger == Trigger::AvailableNow && self.targets.is_none() {
                        let isolation = self.settings.isolation;
                        self.targets = Some(TargetEnds::snapshot(&observed.states, isolation));
                    }
                    self.leaders = leaders;
                    self.release_stale_bytes(&observed.states);
                    let next = next_batch(
                        &self.settings,
                        &self.positions,
                        observed,
                        self.targets.as_mut(),
                        &mut self.pacing,
                        self.began.elapsed(),
                    )?;
                    warn_of(&next);
                    return Ok(Some(next));
                }
                // Deleted since it was described, or re-created with fewer partitions: described again,
                // it is missing, as the policy says.
                Err(Error::Wire(WireError::UnknownTopic { topic, partition, .. }))
                    if (partition.is_some() || self.positions.follows_topic(&topic))
                        && tries < MAX_TRIES =>
                {
                    tries = tries.saturating_add(1);
                    self.metadata.forget();
                    tokio::time::sleep(FIRST_OUTAGE_PAUSE).await;
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    let stopped = self.handle.stopped();
                    self.wait_out(&error, pause, stopped).await;
                    if self.handle.is_stopped() {
                        return Ok(None);
                    }
                    pause = pause.saturating_mul(2).min(LONGEST_OUTAGE_PAUSE);
                }
                Err(error) => {
                    // What an older driver knows of the stream may be out of date.
                    self.log.check_generation().await?;
                    return Err(error);
                }
            }
        }
    }

    /// Releases the kept bytes of partitions that the next batch cannot continue: they are not followed
    /// any more, or their topic, leader epoch or position has changed.
    fn release_stale_bytes(&self, states: &[PartitionState]) {
        let states: BTreeMap<_, _> =
            states.iter().map(|state| (&state.topic_partition, state)).collect();
        self.carry_over.retain(|tp, from, topic_id, leader_epoch| {
            let is_position = self.positions.get(tp).is_some_and(|known| known.offset == from);
            let is_log = states.get(tp).is_some_and(|state| {
                (state.topic_id, state.leader_epoch) == (Some(topic_id), Some(leader_epoch))
            });
            is_position && is_log
        });
    }

    /// Reports that the cluster is unavailable, and waits before the next attempt, or until `stopped`.
    pub(super) async fn wait_out(
        &mut self,
        error: &Error,
        pause: Duration,
        stopped: impl Future<Output = ()>,
    ) {
        tracing::warn!(%error, "the cluster is unavailable; the stream goes on when it is back");
        self.handle.set_state(StreamState::Unavailable(error.to_string().into()));
        self.metadata.forget();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopped => {}
        }
    }

    /// Whether a batch may be planned without these partitions, which have no leader. They are named, and
    /// again now and then.
    ///
    /// A stream of what is available waits for them before it takes its snapshot.
    ///
    /// # Errors
    /// [`Error::NoLeader`] if such a stream has waited for the retry timeout.
    fn may_plan_without(&mut self, leaderless: &BTreeSet<TopicPartition>) -> Result<bool, Error> {
        let targets = self.targets.as_ref().filter(|_| self.trigger == Trigger::AvailableNow);
        let open = targets.map(|targets| targets.unreached(&self.positions));
        let is_needed = |tp: &&TopicPartition| open.as_ref().is_none_or(|open| open.contains(tp));
        let Some(first) = leaderless.iter().find(is_needed) else {
            self.leaderless = None;
            return Ok(true);
        };
        let now = Instant::now();
        let (since, named) = self.leaderless.unwrap_or((now, None));
        let is_due = named.is_none_or(|at: Instant| now.duration_since(at) >= NAMED_AGAIN);
        if is_due {
            let count = leaderless.len();
            tracing::warn!(partition = %first, count, "partitions have no leader, and are left out until they have one");
        }
        self.leaderless = Some((since, if is_due { Some(now) } else { named }));
        if self.trigger != Trigger::AvailableNow {
            return Ok(true);
        }
        let waited = now.duration_since(since);
        if waited >= self.selection.cluster.retry_timeout() {
            return Err(Error::NoLeader { partition: first.clone(), waited });
        }
        Ok(self.targets.is_some())
    }

    fn has_reached_targets(&self) -> bool {
        let unreached = self.targets.as_ref().map(|targets| targets.unreached(&self.positions));
        unreached.is_some_and(|unreached| unreached.is_empty())
    }

    async fn log_plan(
        &mut self,
        plan: BatchPlan,
        positions: &Positions,
    ) -> Result<LoggedPlan, Error> {
        let rate = self.pacing.learnt().and_then(|rate| serde_json::to_value(rate).ok());
        let sink = self.sink_name.clone();
        let draft = PlanDraft::new(plan, millis_now())
            .with_pending(positions.pending().cloned().collect())
            .with_rate(rate)
            .with_sink(sink);
        self.log.log_plan(draft).await
    }

    /// Logs the end of the batch in hand, and continues there.
    pub(super) async fn log_commit(&mut self, draft: CommitDraft) -> Result<(), Error> {
        self.log.log_commit(draft).await?;
        self.positions = positions_of(&self.log)?;
        self.publish();
        if let Err(error) = self.log.purge(self.retained_batches).await {
            tracing::warn!(%error, "old entries of the checkpoint could not be removed");
        }
        Ok(())
    }

    /// Hands the durable positions to the publisher.
    pub(super) fn publish(&self) {
        if let Some(publisher) = &self.publisher {
            let positions = self.log.positions();
            publisher.publish(positions.map(|p| (p.topic_partition.clone(), p.offset)).collect());
        }
    }
}

/// The output of `work`, a question to the cluster. If it takes long, the stream shows that it waits.
async fn reported_if_slow<T>(handle: &StreamHandle, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if let Ok(output) = tokio::time::timeout(SLOW, &mut work).await {
        return output;
    }
    tracing::warn!("the cluster has not responded for {SLOW:?}; the stream waits for it");
    handle.set_state(StreamState::Unavailable(format!("no response for {SLOW:?}").into()));
    work.await
}

/// Names what a plan skips or leaves out.
fn warn_of(next: &NextBatch) {
    for Reset { topic_partition, cause, from, to, .. } in next.plan.resets() {
        tracing::warn!(partition = %topic_partition, ?cause, %from, %to, "offsets are skipped");
    }
    if let Some(first) = next.missing.first() {
        let count = next.missing.len();
        tracing::warn!(partition = %first, count, "partitions do not exist any more, and are left out");
    }
}

/// The log's positions for the driver.
pub(super) fn positions_of(log: &StreamLog) -> Result<Positions, Error> {
    let mut positions = Positions::new();
    for position in log.positions() {
        let tp = &position.topic_partition;
        let EndPosition { offset, topic_id, leader_epoch, .. } = *position;
        positions.insert(tp.clone(), Position { offset, topic_id, leader_epoch })?;
    }
    log.pending_starts().iter().for_each(|tp| positions.set_pending(tp.clone()));
    Ok(positions)
}

/// The time now, in milliseconds since 1970-01-01 UTC: for people who read the checkpoint. Nothing is
/// decided by it.
#[expect(clippy::disallowed_methods, reason = "the time of an entry is for people")]
pub(super) fn millis_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
