//! Finding out why a cursor stopped and where to go on: the rules of reading one range.
//!
//! - A passing fault (connection, leader move, epoch) is retried with fresh metadata and growing
//!   pauses until the retry time-out passes without progress.
//! - **An empty response is never the end.** Several in a row end the range only if the log's readable
//!   end, asked for anew, reaches the range's end: the rest is then a hole. Otherwise the log was
//!   truncated, or a new leader does not know its high watermark yet (KIP-207). Nor is it a hole
//!   where records lie in remote storage, which may be late (KIP-405).
//! - Offsets that are gone fall under the data-loss policy: see [`loss`](super::loss).
//!
//! [`Recovery`] asks the cluster through [`PartitionQueries`] and registers no cursor itself, so that
//! these rules are tested without a cluster (`recover_tests.rs`).
//!
//! Cancel safety: a stop is looked into ([`examine`], which changes nothing), then decided on without
//! waiting (`decide`), and a pause is a moment kept in [`Recovery`]. A future dropped at any point
//! counts nothing twice and starts no pause over.
//!
//! # References
//! - KIP-207 (offsets after an election), KIP-405 (remote storage), KIP-516 (topic ids)

use std::{sync::Arc, time::Duration};

use kafka_direct_core::{DataLossPolicy, ErrorKind, Offset, ResetCause};
use tokio::time::Instant;

use super::{
    examine::{Bounds, Finding, examine},
    fault_counters::{FaultCounters, Repeatable},
    loss::Loss,
    metrics::Metrics,
    partition_cursor::FetchPriority,
    range_state::RangeState,
    stop::{Stop, Verdict},
};
use crate::{
    error::WireError,
    queries::PartitionQueries,
    retry::RetryPolicy,
    topology::{Leader, Refresh},
};

/// What made the last cursor of a range stop, what was counted since, and when to go on.
#[derive(Debug)]
pub(super) struct Recovery {
    on_data_loss: DataLossPolicy,
    metrics: Arc<Metrics>,
    /// The stop that is not decided on yet.
    pending: Option<Stop>,
    /// When it was found.
    stopped_at: Instant,
    /// Time that does not count towards the retry timeout: cursors waited for their turn, or nobody
    /// polled the reader.
    uncounted: Duration,
    /// How fresh metadata must be for the next registration.
    refresh: Refresh,
    /// The end of a pause that is not over yet.
    not_before: Option<Instant>,
    faults: FaultCounters,
}

impl Recovery {
    pub(super) fn new(
        retry_policy: RetryPolicy,
        on_data_loss: DataLossPolicy,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            on_data_loss,
            metrics,
            pending: None,
            stopped_at: Instant::now(),
            uncounted: Duration::ZERO,
            refresh: Refresh::IfUnknown,
            not_before: None,
            faults: FaultCounters::new(retry_policy),
        }
    }

    /// Takes in why a cursor stopped. `waited` is how long the cursor waited before, for its turn.
    pub(super) fn stopped(&mut self, stop: Stop, waited: Duration) {
        self.pending = Some(stop);
        self.stopped_at = Instant::now();
        self.uncounted = self.uncounted.saturating_add(waited);
    }

    /// Forgets all faults: bytes were handed out.
    pub(super) fn progressed(&mut self) {
        self.faults.clear();
        self.uncounted = Duration::ZERO;
    }

    /// Forgets what was about another position.
    pub(super) fn seek(&mut self) {
        self.pending = None;
        self.not_before = None;
        self.uncounted = Duration::ZERO;
        self.faults.clear_empty();
    }

    /// How the next cursor is treated.
    pub(super) const fn priority(&self) -> FetchPriority {
        if self.faults.empty() > 0 { FetchPriority::First } else { FetchPriority::Normal }
    }

    /// Takes one step: waits out a pause, decides on the pending stop, or looks up the leader to fetch
    /// from. Returns the leader if the range is to go on there, and `None` if there is another step or
    /// the range has ended.
    ///
    /// # Errors
    /// What retrying cannot mend. A call after an error starts over: no fault is counted any more.
    pub(super) async fn step(
        &mut self,
        range: &mut RangeState,
        queries: &dyn PartitionQueries,
    ) -> Result<Option<Leader>, WireError> {
        let step = self.try_step(range, queries).await;
        if step.is_err() {
            self.pending = None;
            self.faults.clear();
        }
        step
    }

    async fn try_step(
        &mut self,
        range: &mut RangeState,
        queries: &dyn PartitionQueries,
    ) -> Result<Option<Leader>, WireError> {
        if let Some(moment) = self.not_before {
            tokio::time::sleep_until(moment).await;
            self.not_before = None;
            // Time in which nobody polled this future does not count.
            let late = Instant::now().saturating_duration_since(moment);
            self.uncounted = self.uncounted.saturating_add(late);
        }
        if let Some(stop) = self.pending.clone() {
            let fresh = Refresh::NewerThan(self.stopped_at);
            let is_last_empty = self.faults.empty().saturating_add(1) >= Repeatable::Empty.limit();
            let finding = examine(&stop, range, queries, fresh, is_last_empty).await?;
            Metrics::add(&self.metrics.recoveries, 1);
            self.pending = None;
            return self.decide(range, stop, finding).map(|()| None);
        }
        match queries.find_leader(range.topic_partition(), self.refresh).await {
            Err(error) => self.no_leader(range, error).map(|()| None),
            Ok(leader) => {
                let loss = match Loss::under(&leader, range, queries).await {
                    Err(error @ WireError::UnknownTopic { .. }) => {
                        return self.no_leader(range, error).map(|()| None);
                    }
                    loss => loss?,
                };
                self.refresh = Refresh::IfUnknown;
                match loss {
                    Some(loss) => self.lost(range, loss).map(|()| None),
                    None => Ok(Some(leader)),
                }
            }
        }
    }

    /// Decides what a stop means. Waits for nothing.
    fn decide(
        &mut self,
        range: &mut RangeState,
        stop: Stop,
        finding: Finding,
    ) -> Result<(), WireError> {
        if !matches!(stop, Stop::Done | Stop::Evicted) {
            self.refresh = Refresh::NewerThan(self.stopped_at);
        }
        match (finding, stop) {
            (Finding::Plain, stop) => match stop.verdict(range) {
                Verdict::GoOn => Ok(()),
                Verdict::Retry(error) => self.retry(range, error),
                Verdict::Invalid(error) => self.repeat_invalid(range, error),
                Verdict::Fail(error) => Err(error),
                Verdict::End => {
                    range.finish();
                    Ok(())
                }
            },
            (Finding::Recreated(id), _) => self.lost(range, Loss::recreated(id)),
            (Finding::NoTopic(error), _) => self.no_leader(range, error),
            (Finding::Bounds(bounds), Stop::Empty { end }) => self.decide_empty(range, bounds, end),
            (Finding::Bounds(bounds), _) => self.decide_out_of_range(range, bounds),
        }
    }

    /// The range was first in the request, no other brought bytes, there was no throttle, and yet no
    /// batch came at the position. `answered_end` is the readable end that the response named.
    fn decide_empty(
        &mut self,
        range: &mut RangeState,
        bounds: Bounds,
        answered_end: Offset,
    ) -> Result<(), WireError> {
        let Bounds { log_start, local_start, end } = bounds;
        let (position, until) = (range.position(), range.until());
        if position < log_start {
            let loss = Loss::new(ResetCause::Trimmed, Some((log_start, end)));
            return self.lost(range, loss);
        }
        if end >= until && answered_end >= until {
            if position < local_start {
                let reason = format!(
                    "an empty response although the log reaches {end}: up to {local_start} it lies in \
                     remote storage, which is late or out of reach of the broker"
                );
                return self.retry(range, range.bad_batch(reason, ErrorKind::Unavailable));
            }
            if !self.pause_before_next(Repeatable::Empty) {
                range.finish_in_hole();
            }
            return Ok(());
        }
        if position >= end {
            // A new leader may lag behind for a moment; a truncated log stays short.
            if self.pause_before_next(Repeatable::ShortLog) {
                return Ok(());
            }
            let loss = Loss::new(ResetCause::Truncated, Some((log_start, end)));
            return self.lost(range, loss);
        }
        let reason = format!("an empty response although the log reaches {end}");
        self.retry(range, range.bad_batch(reason, ErrorKind::Unavailable))
    }

    /// The broker responded OFFSET_OUT_OF_RANGE: a loss, unless the log's bounds contradict it.
    fn decide_out_of_range(
        &mut self,
        range: &mut RangeState,
        bounds: Bounds,
    ) -> Result<(), WireError> {
        let Bounds { log_start, end, .. } = bounds;
        let cause = if range.position() < log_start {
            ResetCause::Trimmed
        } else if range.position() > end {
            ResetCause::Truncated
        } else {
            let reason = format!("the broker says out of range, the log has [{log_start}, {end})");
            return self.retry(range, range.bad_batch(reason, ErrorKind::Unavailable));
        };
        self.lost(range, Loss::new(cause, Some((log_start, end))))
    }

    /// No leader could be named: it may be elected soon, or the topic may be gone.
    fn no_leader(&mut self, range: &mut RangeState, error: WireError) -> Result<(), WireError> {
        self.refresh = Refresh::NewerThan(Instant::now());
        if !matches!(error, WireError::UnknownTopic { .. }) {
            return self.retry(range, error);
        }
        if self.pause_before_next(Repeatable::MissingTopic) {
            return Ok(());
        }
        self.lost(range, Loss::new(ResetCause::Deleted, None))
    }

    /// Applies the data-loss policy. A loss that is recorded is progress.
    fn lost(&mut self, range: &mut RangeState, loss: Loss) -> Result<(), WireError> {
        loss.apply(range, self.on_data_loss)?;
        self.faults.clear();
        Ok(())
    }

    /// Counts a passing fault and pauses; an error after the retry timeout.
    fn retry(&mut self, range: &RangeState, error: WireError) -> Result<(), WireError> {
        let operation = || format!("reading {} at offset {}", range.range(), range.position());
        let backoff = self.faults.retry(error, std::mem::take(&mut self.uncounted), operation)?;
        self.not_before = Some(Instant::now() + backoff);
        Ok(())
    }

    /// Counts a response that makes no sense and pauses; `error` if there were too many in a row.
    fn repeat_invalid(&mut self, range: &RangeState, error: WireError) -> Result<(), WireError> {
        if !self.pause_before_next(Repeatable::Invalid) {
            return Err(error);
        }
        tracing::debug!(range = %range.range(), %error, "asking again");
        Ok(())
    }

    /// Counts `fault` and pauses. Returns `false`, without a pause, if its limit is reached.
    fn pause_before_next(&mut self, fault: Repeatable) -> bool {
        let backoff = self.faults.count(fault);
        if let Some(backoff) = backoff {
            self.not_before = Some(Instant::now() + backoff);
        }
        backoff.is_some()
    }
}
