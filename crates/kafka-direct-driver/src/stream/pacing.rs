//! [`Pacing`]: the state of a stream's limits from batch to batch.

use std::time::Duration;

use kafka_direct_core::TopicPartition;

use crate::{
    CompletedBatch, DriverError, LearntRate, PidEstimator, StreamLimits,
    stream::{
        limits::MAX_RECORDS_WITHOUT_RATE,
        share::{Rates, share_by_lag},
        tokens::TokenBuckets,
        trigger_gate::TriggerGate,
    },
};

/// The limits of a stream and their state: the estimated rate, the token buckets, and the time of the
/// last batch.
///
/// Only [`LearntRate`] needs to survive a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Pacing {
    limits: StreamLimits,
    estimator: Option<PidEstimator>,
    buckets: TokenBuckets,
    gate: TriggerGate,
}

impl Pacing {
    /// Creates the state for a stream with these limits. `learnt` is what the stream has learnt before a
    /// restart, if anything; it is ignored without back-pressure.
    ///
    /// # Errors
    /// `Invalid`, as [`StreamLimits::validate`].
    pub fn new(limits: StreamLimits, learnt: Option<LearntRate>) -> Result<Self, DriverError> {
        limits.validate()?;
        let interval = limits.batch_interval;
        let estimator = match limits.backpressure {
            Some(backpressure) => Some(PidEstimator::new(backpressure.pid, interval, learnt)?),
            None => None,
        };
        let (buckets, gate) = (TokenBuckets::new(interval), TriggerGate::default());
        Ok(Self { limits, estimator, buckets, gate })
    }

    /// The limits of the stream.
    #[must_use]
    pub const fn limits(&self) -> &StreamLimits {
        &self.limits
    }

    /// Adds a completed batch, as [`PidEstimator::update`]. Without back-pressure, returns `None`.
    pub fn batch_completed(&mut self, batch: &CompletedBatch) -> Option<f64> {
        self.estimator.as_mut()?.update(batch)
    }

    /// What the stream has learnt about its rate; `None` before the first estimate, and without
    /// back-pressure.
    #[must_use]
    pub fn learnt(&self) -> Option<LearntRate> {
        self.estimator.as_ref()?.learnt()
    }

    /// How long a batch of `backlog` offsets has to wait at most; `None` if it can run now.
    pub(crate) fn delay(&self, backlog: u128, now: Duration) -> Option<Duration> {
        self.gate.wait(&self.limits, backlog, now)
    }

    /// How many offsets of each partition the next batch takes, in the order of `lags`.
    ///
    /// First limits each partition by its rate, then shares the limit of the batch.
    pub(crate) fn spans(&mut self, now: Duration, lags: &[(&TopicPartition, u64)]) -> Vec<u64> {
        let rates = self.rates();
        let total = lags.iter().fold(0_u128, |sum, (_, lag)| sum.saturating_add((*lag).into()));
        self.buckets.fill(
            now,
            lags.iter().filter_map(|(tp, lag)| Some(((*tp).clone(), rates.of(*lag, total)?))),
        );
        let unlearnt = self.estimator.is_some() && rates.stream.is_none();
        let most = if unlearnt { MAX_RECORDS_WITHOUT_RATE } else { u64::MAX };
        let allowed = |(tp, lag): &(&TopicPartition, u64)| {
            (*lag).min(most).min(self.buckets.available(tp).unwrap_or(u64::MAX))
        };
        let allowed: Vec<u64> = lags.iter().map(allowed).collect();
        match self.limits.max_records_per_batch {
            Some(limit) => share_by_lag(limit, &allowed),
            None => allowed,
        }
    }

    /// How long until the first of these partitions may take an offset by its rate.
    pub(crate) fn time_to_next<'a>(
        &self,
        partitions: impl Iterator<Item = &'a TopicPartition>,
    ) -> Duration {
        partitions.filter_map(|tp| self.buckets.time_to_next(tp)).min().unwrap_or_default()
    }

    /// Records that a batch with these spans was planned.
    pub(crate) fn planned<'a>(
        &mut self,
        now: Duration,
        spans: impl Iterator<Item = (&'a TopicPartition, u64)>,
    ) {
        self.gate.planned(now);
        for (topic_partition, span) in spans {
            self.buckets.take(topic_partition, span);
        }
    }

    fn rates(&self) -> Rates {
        let limits = &self.limits;
        let initial = limits.backpressure.and_then(|backpressure| backpressure.initial_rate);
        let learnt = self.learnt().map(|learnt| learnt.records_per_second());
        Rates {
            stream: learnt.or(initial),
            min_per_partition: self.buckets.per_second(limits.min_records_per_partition),
            max_per_partition: limits.max_records_per_second_per_partition.map(|rate| rate as f64),
        }
    }
}
