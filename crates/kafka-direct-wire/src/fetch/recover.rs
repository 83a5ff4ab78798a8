//! Decides after a stop where to continue: the rules of reading one range.
//!
//! - A passing fault (connection, leader change, epoch) is retried with fresh metadata and a
//!   growing backoff, until the retry timeout passes without progress.
//! - **One empty response never ends a range.** Several in a row end it only if the log's readable
//!   end reaches the range's end when queried again. The rest of the range is then a hole.
//! - If the log ends earlier, it was truncated, or a new leader has an old high watermark
//!   (KIP-207).
//! - Records in remote storage are not a hole, because remote storage may be slow (KIP-405).
//! - The data-loss policy applies to lost offsets: see [`loss`](super::loss).
//!
//! [`Recovery`] queries the cluster through [`PartitionQueries`] and registers no cursor itself. So
//! `recover_tests.rs` tests these rules without a cluster.
//!
//! Cancel safety: a future that is dropped at any point counts no fault twice and restarts no
//! pause. A step first queries the cluster ([`examine`], which changes nothing). Then it decides
//! without waiting (`decide`). The end of a pause is a point in time in [`Recovery`].
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

/// The recovery state of a range: the last stop, the faults since progress, and the current pause.
#[derive(Debug)]
pub(super) struct Recovery {
    on_data_loss: DataLossPolicy,
    metrics: Arc<Metrics>,
    /// The stop that was not decided on yet.
    pending: Option<Stop>,
    /// When the reader got the last stop.
    stopped_at: Instant,
    /// Time that does not count towards the retry timeout: a cursor waited for its lane, or the
    /// reader was not polled.
    uncounted: Duration,
    /// How fresh metadata must be for the next registration.
    refresh: Refresh,
    /// The end of the current pause; `None` without one.
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

    /// Records why a cursor stopped. `waited` is how long the cursor waited for its lane before; it
    /// does not count towards the retry timeout.
    pub(super) fn stopped(&mut self, stop: Stop, waited: Duration) {
        tracing::debug!(?stop, "a fetch stopped");
        self.pending = Some(stop);
        self.stopped_at = Instant::now();
        self.uncounted = self.uncounted.saturating_add(waited);
    }

    /// Resets all fault counters, because bytes were returned to the caller.
    pub(super) fn progressed(&mut self) {
        self.faults.clear();
        self.uncounted = Duration::ZERO;
    }

    /// Clears the state that was about another position: stop, pause and empty responses.
    pub(super) fn seek(&mut self) {
        self.pending = None;
        self.not_before = None;
        self.uncounted = Duration::ZERO;
        self.faults.clear_empty();
    }

    /// Returns the priority of the next cursor: first after an empty response.
    pub(super) const fn priority(&self) -> FetchPriority {
        if self.faults.empty() > 0 { FetchPriority::First } else { FetchPriority::Normal }
    }

    /// Takes one step: waits until a pause ends, then decides on the pending stop or looks up the
    /// leader.
    ///
    /// Returns the leader if the range continues there. Returns `None` if another step is necessary
    /// or the range has ended.
    ///
    /// # Errors
    /// Faults that retries cannot fix. An error resets the fault counters, so the next call starts
    /// over.
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
        if let Some(pause_end) = self.not_before {
            tokio::time::sleep_until(pause_end).await;
            self.not_before = None;
            // Time in which this future was not polled does not count.
            let late = Instant::now().saturating_duration_since(pause_end);
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

    /// Decides what to do about a stop, without waiting.
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
                Verdict::Continue => Ok(()),
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

    /// Decides about an empty response: no batch at the position, although the request listed the
    /// range first, no other range got bytes, and there was no throttle. `response_end` is the
    /// readable end in the response, exclusive.
    fn decide_empty(
        &mut self,
        range: &mut RangeState,
        bounds: Bounds,
        response_end: Offset,
    ) -> Result<(), WireError> {
        let Bounds { log_start, local_start, end } = bounds;
        let (position, until) = (range.position(), range.until());
        let seen = self.faults.empty().saturating_add(1);
        tracing::debug!(
            range = %range.range(), %position, %log_start, %end, %response_end, seen,
            "a response without a batch"
        );
        if position < log_start {
            let loss = Loss::new(ResetCause::Trimmed, Some((log_start, end)));
            return self.lost(range, loss);
        }
        if end >= until && response_end >= until {
            if position < local_start {
                let reason = format!(
                    "empty response although the log ends at {end}: offsets below {local_start} are in \
                     remote storage, which is slow or unreachable for the broker"
                );
                return self.retry(range, range.bad_batch(reason, ErrorKind::Unavailable));
            }
            if !self.pause_before_next(Repeatable::Empty) {
                tracing::info!(
                    range = %range.range(), %position, seen,
                    "no record from here to the end of the range: a hole in the log"
                );
                range.finish_in_hole();
            }
            return Ok(());
        }
        if position >= end {
            // A new leader may lag for a moment. A truncated log stays short.
            if self.pause_before_next(Repeatable::ShortLog) {
                return Ok(());
            }
            let loss = Loss::new(ResetCause::Truncated, Some((log_start, end)));
            return self.lost(range, loss);
        }
        let reason = format!("empty response although the log ends at {end}");
        self.retry(range, range.bad_batch(reason, ErrorKind::Unavailable))
    }

    /// Decides about OFFSET_OUT_OF_RANGE: a loss, unless the position is inside the log's bounds.
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
            let reason = format!(
                "the broker reports OFFSET_OUT_OF_RANGE, but its log has [{log_start}, {end})"
            );
            return self.retry(range, range.bad_batch(reason, ErrorKind::Unavailable));
        };
        self.lost(range, Loss::new(cause, Some((log_start, end))))
    }

    /// Decides about a failed leader lookup: a retry, or a deleted topic after several lookups.
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

    /// Applies the data-loss policy. A recorded loss is progress and resets the fault counters.
    fn lost(&mut self, range: &mut RangeState, loss: Loss) -> Result<(), WireError> {
        loss.apply(range, self.on_data_loss)?;
        self.faults.clear();
        Ok(())
    }

    /// Counts a passing fault and starts a pause. Returns an error after the retry timeout.
    fn retry(&mut self, range: &RangeState, error: WireError) -> Result<(), WireError> {
        let operation = || format!("reading {} at offset {}", range.range(), range.position());
        let backoff = self.faults.retry(error, std::mem::take(&mut self.uncounted), operation)?;
        self.not_before = Some(Instant::now() + backoff);
        Ok(())
    }

    /// Counts an invalid response and starts a pause. Returns `error` if there were too many in a
    /// row.
    fn repeat_invalid(&mut self, range: &RangeState, error: WireError) -> Result<(), WireError> {
        if !self.pause_before_next(Repeatable::Invalid) {
            return Err(error);
        }
        tracing::debug!(range = %range.range(), %error, "requesting again after an invalid response");
        Ok(())
    }

    /// Counts `fault` and starts a pause. Returns `false`, without a pause, if its limit is
    /// reached.
    fn pause_before_next(&mut self, fault: Repeatable) -> bool {
        let backoff = self.faults.count(fault);
        if let Some(backoff) = backoff {
            self.not_before = Some(Instant::now() + backoff);
        }
        backoff.is_some()
    }
}
