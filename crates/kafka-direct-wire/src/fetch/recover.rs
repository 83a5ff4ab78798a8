//! Finding out why a slot stopped and where to go on: the rules of reading one range.
//!
//! - A passing fault (connection, leader move, epoch) is retried with fresh metadata and backoff
//!   until the retry time-out passes without progress.
//! - **An empty answer is never the end.** Several in a row end the range only if the log's readable
//!   end, asked for anew, reaches the range's end: the rest is then a hole. Otherwise the log was truncated, or
//!   a new leader does not know its high watermark yet (KIP-207).
//! - Offsets that are gone fall under the data-loss policy: nothing is reset silently.
//!
//! # References
//! - KIP-207 (offsets after an election), KIP-320 (truncation by leader epoch), KIP-516 (topic ids)

use std::{io, sync::Arc};

use kafka_direct_core::{
    DataLossPolicy, ErrorKind, HeaderError, IsolationLevel, Offset, Reset, ResetCause,
};
use tokio::time::Instant;

use super::{
    Seat,
    range_fetch::{Attached, RangeFetch},
    slot::{Slot, Stop},
};
use crate::{
    cluster::{Leader, ListOffset, Refresh},
    code,
    error::WireError,
    retry::Retry,
};

/// Answers that make no sense, in a row, before they are believed.
const NONSENSE_LIMIT: u32 = 3;
/// Empty answers in a row, each to a request that asked for the range first, before the rest of the
/// range is believed to be a hole.
const HOLE_ANSWERS: u32 = 3;
/// Times a topic is looked for after it vanished: metadata of a fresh topic may lag.
const VANISHED_LIMIT: u32 = 5;
/// Faults in a row, without a byte of progress between them.
#[derive(Debug, Default)]
pub(super) struct Streak {
    retry: Option<Retry>,
    nonsense: u32,
    vanished: u32,
    empty: u32,
}

impl Streak {
    pub(super) fn clear(&mut self) {
        if self.retry.is_some() || self.nonsense > 0 || self.vanished > 0 || self.empty > 0 {
            *self = Self::default();
        }
    }
}

impl RangeFetch {
    /// Mends what stopped the last slot and registers a new one at the position, or ends the range.
    ///
    /// State is kept in `self`, so that a dropped future starts the mending over.
    pub(super) async fn recover(&mut self) -> Result<(), WireError> {
        let seen = Instant::now();
        let mut refresh = Refresh::IfUnknown;
        if let Some(stop) = self.pending.clone() {
            self.cluster.inner().fetch.count_recovery();
            refresh = self.judge(stop, seen).await?;
        }
        while !self.ended {
            let leader = match self.cluster.leader_of(self.planned.topic_partition(), refresh).await
            {
                Ok(leader) => leader,
                Err(error) => {
                    self.no_leader(error).await?;
                    refresh = Refresh::NewerThan(Instant::now());
                    continue;
                }
            };
            if self.is_recreated(&leader)? || self.is_diverged(&leader).await? {
                break;
            }
            self.attach(&leader);
            break;
        }
        self.pending = None;
        Ok(())
    }

    fn attach(&mut self, leader: &Leader) {
        self.topic_id = self.topic_id.or(leader.topic_id);
        self.leader_epoch = leader.epoch.or(self.leader_epoch);
        let suspect = self.streak.empty > 0;
        let slot =
            Slot::new(&self.planned, self.position, leader.topic_id, leader.epoch, suspect);
        let seat = Seat { node: leader.node, host: Arc::clone(&leader.host), port: leader.port };
        let inner = self.cluster.inner();
        let lane = inner.fetch.register(&inner.config, &seat, Arc::clone(&slot));
        self.attached = Some(Attached { slot, lane });
    }

    /// Decides what a stop means; returns how fresh the metadata must be to go on.
    async fn judge(&mut self, stop: Stop, seen: Instant) -> Result<Refresh, WireError> {
        let fresh = Refresh::NewerThan(seen);
        match stop {
            Stop::Done => self.ended = true,
            Stop::Evicted => return Ok(Refresh::IfUnknown),
            Stop::Connection { address, kind, reason } => {
                let source = io::Error::new(kind, reason.to_string());
                let error = WireError::Connection { address, action: "Fetch", source };
                self.retry(error).await?;
            }
            Stop::Protocol { address, reason } => {
                let reason = reason.to_string().into();
                let error = WireError::Protocol { address, api: "Fetch", reason };
                self.retry_nonsense(error).await?;
            }
            Stop::Header(source @ HeaderError::OldFormat { .. }) => {
                return Err(self.corrupt(source.to_string(), ErrorKind::Invalid));
            }
            Stop::Header(source) => {
                let error = self.corrupt(source.to_string(), ErrorKind::Corrupt);
                self.retry_nonsense(error).await?;
            }
            Stop::AboveHighWatermark { next, high_watermark } => {
                let reason =
                    format!("the batch ends at {next}, above the high watermark {high_watermark}");
                let error = self.corrupt(reason, ErrorKind::Corrupt);
                self.retry_nonsense(error).await?;
            }
            Stop::TooLarge { bytes } => {
                return Err(WireError::Config {
                    setting: "max_batch_bytes",
                    reason: format!(
                        "{} at offset {}: the answer has {bytes} bytes; raise the setting to read the batch",
                        self.range(),
                        self.position
                    ),
                });
            }
            Stop::Code { code: code::OFFSET_OUT_OF_RANGE, address } => {
                let (log_start, end) = self.bounds().await?;
                if self.position >= log_start && self.position <= end {
                    let reason =
                        format!("{address} says out of range, the log has [{log_start}, {end})");
                    self.retry(self.corrupt(reason, ErrorKind::Unavailable)).await?;
                } else {
                    self.lost(log_start, end)?;
                }
            }
            Stop::Code { code, address } => {
                let error = self.broker_error(address, code);
                if code == code::CORRUPT_MESSAGE {
                    self.retry_nonsense(error).await?;
                } else if error.is_retriable() {
                    self.retry(error).await?;
                } else {
                    return Err(error);
                }
            }
            Stop::Empty { end } => self.judge_empty(end).await?,
        }
        Ok(fresh)
    }

    /// First in the request and not throttled, and yet no batch came at the position.
    async fn judge_empty(&mut self, answered_end: Offset) -> Result<(), WireError> {
        let until = self.range().until();
        let (log_start, end) = self.bounds().await?;
        if self.position < log_start {
            return self.lost(log_start, end);
        }
        if end >= until && answered_end >= until {
            self.streak.empty = self.streak.empty.saturating_add(1);
            if self.streak.empty >= HOLE_ANSWERS {
                self.position = until;
                self.ended = true;
            } else {
                self.pause().await;
            }
            return Ok(());
        }
        if end < until {
            // A new leader may lag behind for a moment; a truncated log stays short.
            let refresh = Refresh::NewerThan(Instant::now());
            self.cluster.leader_of(self.planned.topic_partition(), refresh).await?;
            let (log_start, end) = self.bounds().await?;
            if end < until {
                return self.lost(log_start, end);
            }
        }
        let error = self.corrupt(
            format!("an empty answer although the log reaches {end}"),
            ErrorKind::Unavailable,
        );
        self.retry(error).await
    }

    /// Log start and readable end, asked for now.
    async fn bounds(&self) -> Result<(Offset, Offset), WireError> {
        let tp = self.planned.topic_partition();
        let which = match self.planned.isolation() {
            IsolationLevel::ReadCommitted => ListOffset::LatestCommitted,
            IsolationLevel::ReadUncommitted => ListOffset::LatestUncommitted,
        };
        let log_start = self.cluster.list_offset(tp, ListOffset::Earliest, None).await?;
        let end = self.cluster.list_offset(tp, which, None).await?;
        Ok((log_start, end.max(log_start)))
    }

    /// Applies the data-loss policy: the position lies outside `[log_start, end]`, or the range
    /// reaches behind `end`.
    fn lost(&mut self, log_start: Offset, end: Offset) -> Result<(), WireError> {
        let until = self.range().until();
        let trimmed = self.position < log_start;
        let cause = if trimmed { ResetCause::Trimmed } else { ResetCause::Truncated };
        if self.options.on_data_loss == DataLossPolicy::Fail {
            return Err(self.offset_lost(cause, Some((log_start, end))));
        }
        let to = if trimmed { log_start.min(until) } else { until };
        self.reset(cause, to, None, None);
        Ok(())
    }

    fn offset_lost(&self, cause: ResetCause, bounds: Option<(Offset, Offset)>) -> WireError {
        WireError::OffsetLost {
            range: self.range().clone(),
            position: self.position,
            cause,
            bounds,
        }
    }

    /// Records a jump to `to`; the range ends where a jump leads to its end.
    fn reset(
        &mut self,
        cause: ResetCause,
        to: Offset,
        new_epoch: Option<i32>,
        new_topic_id: Option<kafka_direct_core::TopicId>,
    ) {
        let tp = self.planned.topic_partition().clone();
        let mut reset = Reset::new(tp, cause, self.position, to);
        reset.old_epoch = new_epoch.and(self.leader_epoch);
        reset.new_epoch = new_epoch;
        reset.old_topic_id = new_topic_id.and(self.topic_id);
        reset.new_topic_id = new_topic_id;
        tracing::warn!(range = %self.range(), ?cause, from = %reset.from, %to, "offsets were lost");
        self.resets.push(reset);
        self.position = to;
        self.ended = to >= self.range().until();
        self.streak.clear();
    }

    /// Another topic id under the same name. Its offsets mean other records, so the range ends at
    /// the position under `resume`.
    fn is_recreated(&mut self, leader: &Leader) -> Result<bool, WireError> {
        let (Some(own), Some(new)) = (self.topic_id, leader.topic_id) else { return Ok(false) };
        if own == new {
            return Ok(false);
        }
        if self.options.on_data_loss == DataLossPolicy::Fail {
            return Err(self.offset_lost(ResetCause::Recreated, None));
        }
        self.reset(ResetCause::Recreated, self.range().until(), None, Some(new));
        Ok(true)
    }

    /// After a change of leader: whether the log still holds what was read from it (KIP-320): the
    /// end of the epoch that the last bytes were appended under lies at or behind the position.
    async fn is_diverged(&mut self, leader: &Leader) -> Result<bool, WireError> {
        let (Some(read), Some(new)) = (self.read_epoch, leader.epoch) else { return Ok(false) };
        if self.leader_epoch == Some(new) {
            return Ok(false);
        }
        let tp = self.planned.topic_partition();
        let Some((_, end)) = self.cluster.end_offset_for_epoch(tp, read).await? else {
            return Ok(false);
        };
        if end >= self.position {
            return Ok(false);
        }
        if self.options.on_data_loss == DataLossPolicy::Fail {
            let log_start = self.cluster.list_offset(tp, ListOffset::Earliest, None).await?;
            return Err(self.offset_lost(ResetCause::Truncated, Some((log_start, end))));
        }
        self.reset(ResetCause::Truncated, self.range().until(), Some(new), None);
        Ok(true)
    }

    /// No leader could be named: it may be elected soon, or the topic may be gone.
    async fn no_leader(&mut self, error: WireError) -> Result<(), WireError> {
        if matches!(error, WireError::UnknownTopic { .. }) {
            self.streak.vanished = self.streak.vanished.saturating_add(1);
            if self.streak.vanished < VANISHED_LIMIT {
                self.pause().await;
                return Ok(());
            }
            if self.pending.is_none() {
                return Err(error);
            }
            if self.options.on_data_loss == DataLossPolicy::Fail {
                return Err(self.offset_lost(ResetCause::Deleted, None));
            }
            self.reset(ResetCause::Deleted, self.range().until(), None, None);
            return Ok(());
        }
        self.retry(error).await
    }

    /// Notes a passing fault and waits; an error once the retry time-out has passed.
    async fn retry(&mut self, error: WireError) -> Result<(), WireError> {
        let config = &self.cluster.inner().config;
        let operation = || format!("reading {} at offset {}", self.planned.range(), self.position);
        self.streak.retry.get_or_insert_with(|| Retry::new(config, operation())).pause(error).await
    }

    /// The same for answers that make no sense: asked again once or twice, then believed.
    async fn retry_nonsense(&mut self, error: WireError) -> Result<(), WireError> {
        self.streak.nonsense = self.streak.nonsense.saturating_add(1);
        if self.streak.nonsense >= NONSENSE_LIMIT {
            return Err(error);
        }
        tracing::debug!(range = %self.range(), %error, "asking again");
        self.pause().await;
        Ok(())
    }

    async fn pause(&self) {
        tokio::time::sleep(self.cluster.inner().config.get_retry_backoff().0).await;
    }

    fn broker_error(&self, address: Arc<str>, code: i16) -> WireError {
        let topic_partition = Some(self.planned.topic_partition().clone());
        WireError::Broker { address, api: "Fetch", code, topic_partition }
    }

    fn corrupt(&self, reason: String, kind: ErrorKind) -> WireError {
        WireError::BadBatch { range: self.range().clone(), position: self.position, reason, kind }
    }
}
