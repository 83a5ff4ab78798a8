//! Finding out why a slot stopped and where to go on: the rules of reading one range.
//!
//! - A passing fault (connection, leader move, epoch) is retried with fresh metadata and growing
//!   pauses until the retry time-out passes without progress.
//! - **An empty answer is never the end.** Several in a row end the range only if the log's readable
//!   end, asked for anew, reaches the range's end: the rest is then a hole. Otherwise the log was
//!   truncated, or a new leader does not know its high watermark yet (KIP-207). Nor is it a hole
//!   where records lie in remote storage, which may be late (KIP-405).
//! - Offsets that are gone fall under the data-loss policy: see [`loss`](super::loss).
//!
//! Cancel safety: a stop is looked into (`examine`, which changes nothing), then decided on without
//! waiting (`decide`), and a pause is a moment kept in the reader. A future dropped at any point
//! counts nothing twice and starts no pause over.
//!
//! # References
//! - KIP-207 (offsets after an election), KIP-405 (remote storage), KIP-516 (topic ids)

use std::{io, sync::Arc};

use kafka_direct_core::{ErrorKind, HeaderError, IsolationLevel, Offset, ResetCause, TopicId};
use tokio::time::Instant;

use super::{
    Seat,
    loss::Loss,
    range_fetch::{Attached, RangeFetch},
    slot::{Doubt, Slot, Stop},
    streak::{HOLE_ANSWERS, NONSENSE_LIMIT, SHORT_LIMIT, VANISHED_LIMIT},
};
use crate::{
    code,
    error::WireError,
    offsets::ListOffset,
    retry::Retry,
    topology::{Leader, Refresh},
};

/// What was found out about a stop.
enum Finding {
    /// Nothing had to be asked.
    Plain,
    Bounds(Bounds),
    /// The topic's name has another id.
    Recreated(TopicId),
    /// The topic cannot be found, for this reason.
    NoTopic(WireError),
}

/// The bounds of a log.
struct Bounds {
    log_start: Offset,
    /// Below it records lie in remote storage only.
    local_start: Offset,
    /// The readable end.
    end: Offset,
}

impl RangeFetch {
    /// Takes one step of mending: waits, looks into the pending stop, or registers a new slot.
    pub(super) async fn recover(&mut self) -> Result<(), WireError> {
        let step = self.step().await;
        if step.is_err() {
            // A caller that tries again means it: nothing old is held against the next try.
            self.pending = None;
            self.streak.clear();
        }
        step
    }

    async fn step(&mut self) -> Result<(), WireError> {
        if let Some(moment) = self.not_before {
            tokio::time::sleep_until(moment).await;
            self.not_before = None;
            // A reader that nobody polls loses no patience.
            let late = Instant::now().saturating_duration_since(moment);
            self.waited = self.waited.saturating_add(late);
        }
        if let Some(stop) = self.pending.clone() {
            let finding = self.examine(&stop).await?;
            self.cluster.inner().fetch.count_recovery();
            self.pending = None;
            return self.decide(stop, finding);
        }
        match self.cluster.leader_of(self.planned.topic_partition(), self.refresh).await {
            Err(error) => self.no_leader(error),
            Ok(leader) => {
                let loss = match self.loss_under(&leader).await {
                    Err(error @ WireError::UnknownTopic { .. }) => return self.no_leader(error),
                    loss => loss?,
                };
                self.refresh = Refresh::IfUnknown;
                match loss {
                    Some(loss) => self.lost(loss),
                    None => {
                        self.attach(&leader);
                        Ok(())
                    }
                }
            }
        }
    }

    fn attach(&mut self, leader: &Leader) {
        self.topic_id = self.topic_id.or(leader.topic_id);
        self.leader_epoch = leader.epoch.or(self.leader_epoch);
        let doubt = if self.streak.empty > 0 { Doubt::Suspect } else { Doubt::No };
        let wanted = self.wanted();
        let slot = Slot::new(&wanted, self.position, leader.topic_id, leader.epoch, doubt);
        let seat = Seat { node: leader.node, host: Arc::clone(&leader.host), port: leader.port };
        let inner = self.cluster.inner();
        let lane = inner.fetch.register(&inner.config, &seat, Arc::clone(&slot));
        self.attached = Some(Attached { slot, lane });
    }

    /// Asks the cluster what must be known to decide on a stop. Changes nothing.
    async fn examine(&self, stop: &Stop) -> Result<Finding, WireError> {
        if !matches!(stop, Stop::Empty { .. } | Stop::Code { code: code::OFFSET_OUT_OF_RANGE, .. })
        {
            return Ok(Finding::Plain);
        }
        let tp = self.planned.topic_partition();
        let fresh = Refresh::NewerThan(self.stopped_at);
        match self.cluster.leader_of(tp, fresh).await {
            Ok(leader) => {
                if let Some(id) = self.other_id(&leader) {
                    return Ok(Finding::Recreated(id));
                }
            }
            Err(error) => return Ok(Finding::NoTopic(error)),
        }
        let which = match self.planned.isolation() {
            IsolationLevel::ReadCommitted => ListOffset::LatestCommitted,
            IsolationLevel::ReadUncommitted => ListOffset::LatestUncommitted,
        };
        let bounds = async {
            let log_start = self.cluster.list_offset(tp, ListOffset::Earliest).await?;
            let end = self.cluster.list_offset(tp, which).await?.max(log_start);
            let local_start = if self.is_last_look(stop, end) {
                self.local_start(log_start).await?
            } else {
                log_start
            };
            Ok(Bounds { log_start, local_start, end })
        };
        match bounds.await {
            Ok(bounds) => Ok(Finding::Bounds(bounds)),
            Err(error @ WireError::UnknownTopic { .. }) => Ok(Finding::NoTopic(error)),
            Err(error) => Err(error),
        }
    }

    /// Whether `stop` is the empty answer that makes the rest of the range a hole.
    fn is_last_look(&self, stop: &Stop, end: Offset) -> bool {
        let complete = |answered: Offset| answered.min(end) >= self.until;
        matches!(stop, Stop::Empty { end: answered } if complete(*answered))
            && self.streak.empty.saturating_add(1) >= HOLE_ANSWERS
    }

    /// Where the part of the log begins that is not in remote storage alone (KIP-405).
    async fn local_start(&self, log_start: Offset) -> Result<Offset, WireError> {
        let tp = self.planned.topic_partition();
        match self.cluster.list_offset(tp, ListOffset::EarliestLocal).await {
            Ok(local_start) => Ok(local_start.max(log_start)),
            // A broker that counts the version and does not know the question.
            Err(WireError::Broker { code: code::UNSUPPORTED_VERSION, .. }) => Ok(log_start),
            Err(error) => Err(error),
        }
    }

    /// Decides what a stop means. Waits for nothing.
    fn decide(&mut self, stop: Stop, finding: Finding) -> Result<(), WireError> {
        if !matches!(stop, Stop::Done | Stop::Evicted) {
            self.refresh = Refresh::NewerThan(self.stopped_at);
        }
        match finding {
            Finding::Plain => self.decide_plain(stop),
            Finding::Recreated(id) => self.lost(Loss::recreated(id)),
            Finding::NoTopic(error) => self.no_leader(error),
            Finding::Bounds(bounds) => match stop {
                Stop::Empty { end: answered } => self.decide_empty(&bounds, answered),
                _ => self.decide_out_of_range(&bounds),
            },
        }
    }

    fn decide_plain(&mut self, stop: Stop) -> Result<(), WireError> {
        match stop {
            Stop::Done => self.ended = true,
            Stop::Evicted => {}
            Stop::Connection { address, kind, reason } => {
                let source = io::Error::new(kind, reason.to_string());
                self.retry(WireError::Connection { address, action: "Fetch", source })?;
            }
            Stop::Protocol { address, reason } => {
                let reason = reason.to_string().into();
                self.ask_again(WireError::Protocol { address, api: "Fetch", reason })?;
            }
            Stop::Version { address, api, broker, ours } => {
                return Err(WireError::UnsupportedVersion { address, api, broker, ours });
            }
            Stop::Header(source @ HeaderError::OldFormat { .. }) => {
                return Err(self.bad_batch(source.to_string(), ErrorKind::Invalid));
            }
            Stop::Header(source) => {
                self.ask_again(self.bad_batch(source.to_string(), ErrorKind::Corrupt))?;
            }
            Stop::AboveHighWatermark { next, high_watermark } => {
                let reason =
                    format!("the batch ends at {next}, above the high watermark {high_watermark}");
                self.ask_again(self.bad_batch(reason, ErrorKind::Corrupt))?;
            }
            Stop::Overlap { base, end, behind } => {
                let reason = format!(
                    "the batch at offset {base} ends at {end}, the one behind it begins at {behind}"
                );
                self.ask_again(self.bad_batch(reason, ErrorKind::Corrupt))?;
            }
            Stop::TooLarge { bytes } => {
                let reason = format!(
                    "{} at offset {}: the answer has {bytes} bytes; raise the setting to read the batch",
                    self.range(),
                    self.position
                );
                return Err(WireError::Config { setting: "max_batch_bytes", reason });
            }
            Stop::Code { code, address } => {
                let topic_partition = Some(self.planned.topic_partition().clone());
                let error = WireError::Broker { address, api: "Fetch", code, topic_partition };
                if code == code::CORRUPT_MESSAGE {
                    self.ask_again(error)?;
                } else {
                    self.retry(error)?;
                }
            }
            Stop::Empty { .. } => {}
        }
        Ok(())
    }

    /// First in the request, with nobody served in its place, not throttled, and yet no batch came at
    /// the position.
    fn decide_empty(&mut self, bounds: &Bounds, answered_end: Offset) -> Result<(), WireError> {
        let Bounds { log_start, local_start, end } = *bounds;
        let until = self.until;
        if self.position < log_start {
            return self.lost(Loss::new(ResetCause::Trimmed, Some((log_start, end))));
        }
        if end >= until && answered_end >= until {
            if self.position < local_start {
                let reason = format!(
                    "an empty answer although the log reaches {end}: up to {local_start} it lies in \
                     remote storage, which is late or out of reach of the broker"
                );
                return self.retry(self.bad_batch(reason, ErrorKind::Unavailable));
            }
            self.streak.empty = self.streak.empty.saturating_add(1);
            if self.streak.empty < HOLE_ANSWERS {
                self.pause(self.streak.empty);
            } else {
                self.position = until;
                self.ended = true;
            }
            return Ok(());
        }
        if self.position >= end {
            // A new leader may lag behind for a moment; a truncated log stays short.
            self.streak.short = self.streak.short.saturating_add(1);
            if self.streak.short < SHORT_LIMIT {
                self.pause(self.streak.short);
                return Ok(());
            }
            return self.lost(Loss::new(ResetCause::Truncated, Some((log_start, end))));
        }
        let reason = format!("an empty answer although the log reaches {end}");
        self.retry(self.bad_batch(reason, ErrorKind::Unavailable))
    }

    fn decide_out_of_range(&mut self, bounds: &Bounds) -> Result<(), WireError> {
        let Bounds { log_start, end, .. } = *bounds;
        if self.position < log_start {
            return self.lost(Loss::new(ResetCause::Trimmed, Some((log_start, end))));
        }
        if self.position > end {
            return self.lost(Loss::new(ResetCause::Truncated, Some((log_start, end))));
        }
        let reason = format!("the broker says out of range, the log has [{log_start}, {end})");
        self.retry(self.bad_batch(reason, ErrorKind::Unavailable))
    }

    /// No leader could be named: it may be elected soon, or the topic may be gone.
    fn no_leader(&mut self, error: WireError) -> Result<(), WireError> {
        self.refresh = Refresh::NewerThan(Instant::now());
        if !matches!(error, WireError::UnknownTopic { .. }) {
            return self.retry(error);
        }
        self.streak.vanished = self.streak.vanished.saturating_add(1);
        if self.streak.vanished < VANISHED_LIMIT {
            self.pause(self.streak.vanished);
            return Ok(());
        }
        self.lost(Loss::new(ResetCause::Deleted, None))
    }

    /// Notes a passing fault and the moment to go on; an error once the retry time-out has passed.
    fn retry(&mut self, error: WireError) -> Result<(), WireError> {
        let config = &self.cluster.inner().config;
        let operation = || format!("reading {} at offset {}", self.planned.range(), self.position);
        let retry = self.streak.retry.get_or_insert_with(|| Retry::new(config, operation()));
        retry.excuse(std::mem::take(&mut self.waited));
        self.not_before = Some(Instant::now() + retry.note(error)?);
        Ok(())
    }

    /// The same for answers that make no sense: asked again once or twice, then believed.
    fn ask_again(&mut self, error: WireError) -> Result<(), WireError> {
        self.streak.nonsense = self.streak.nonsense.saturating_add(1);
        if self.streak.nonsense >= NONSENSE_LIMIT {
            return Err(error);
        }
        tracing::debug!(range = %self.range(), %error, "asking again");
        self.pause(self.streak.nonsense);
        Ok(())
    }

    /// Keeps the moment to go on after the `count`-th fault of its kind: pauses double.
    fn pause(&mut self, count: u32) {
        let (first, longest) = self.cluster.inner().config.get_retry_backoff();
        let doubled = first.saturating_mul(2u32.saturating_pow(count.saturating_sub(1).min(16)));
        self.not_before = Some(Instant::now() + doubled.min(longest));
    }

    fn bad_batch(&self, reason: String, kind: ErrorKind) -> WireError {
        WireError::BadBatch { range: self.range().clone(), position: self.position, reason, kind }
    }
}
