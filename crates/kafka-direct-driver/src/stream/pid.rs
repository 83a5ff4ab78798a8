//! [`PidEstimator`] estimates how many records per second a stream can process.
//!
//! The formula, its defaults and its checks are those of Spark's `PIDRateEstimator`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::DriverError;

/// The batch interval in the formula if a stream has none.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);

/// The factors of a [`PidEstimator`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PidSettings {
    /// How much the rate follows the difference between the last rate and the measured one. At least 0.
    /// Default: 1.
    pub proportional: f64,
    /// How much the rate follows the backlog of batches, measured by the scheduling delay. At least 0.
    /// Default: 0.2.
    pub integral: f64,
    /// How much the rate follows the change of the difference. At least 0. Default: 0.
    pub derivative: f64,
    /// The lowest estimate, in records per second for the whole stream, above 0. Default: 100.
    pub min_rate: f64,
}

impl Default for PidSettings {
    fn default() -> Self {
        Self { proportional: 1.0, integral: 0.2, derivative: 0.0, min_rate: 100.0 }
    }
}

impl PidSettings {
    /// Sets the three factors, each at least 0.
    #[must_use]
    pub const fn factors(mut self, proportional: f64, integral: f64, derivative: f64) -> Self {
        (self.proportional, self.integral, self.derivative) = (proportional, integral, derivative);
        self
    }

    /// Sets the lowest estimate, in records per second for the whole stream, above 0.
    #[must_use]
    pub const fn min_rate(mut self, records_per_second: f64) -> Self {
        self.min_rate = records_per_second;
        self
    }

    /// Checks every factor.
    ///
    /// # Errors
    /// `Invalid`: [`DriverError::BadSetting`] for a factor that is negative or not finite, or a lowest
    /// estimate that is not above 0 and finite.
    pub fn validate(&self) -> Result<(), DriverError> {
        let factors = [
            ("the proportional factor of back-pressure", self.proportional),
            ("the integral factor of back-pressure", self.integral),
            ("the derivative factor of back-pressure", self.derivative),
        ];
        let is_factor = |factor: f64| factor.is_finite() && factor >= 0.0;
        if let Some((setting, factor)) = factors.into_iter().find(|(_, factor)| !is_factor(*factor))
        {
            let value = factor.to_string();
            let problem = "must be a number of at least 0";
            return Err(DriverError::BadSetting { setting, value, problem });
        }
        check_rate("the minimum rate of back-pressure", self.min_rate)
    }
}

/// Checks that a rate is finite and above 0.
pub(crate) fn check_rate(setting: &'static str, rate: f64) -> Result<(), DriverError> {
    if rate.is_finite() && rate > 0.0 {
        return Ok(());
    }
    let value = rate.to_string();
    Err(DriverError::BadSetting { setting, value, problem: "must be a number above 0" })
}

/// The measurements of a completed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedBatch {
    /// When the batch completed, on a clock that does not go backwards: time since any fixed moment.
    pub completed_at: Duration,
    /// How many offsets the batch covered.
    pub span: u64,
    /// How long reading, writing and committing the batch took.
    pub processing: Duration,
    /// How long the batch waited for the batches before it.
    pub scheduling_delay: Duration,
}

/// What an estimator has learnt. A checkpoint stores it, so that the rate survives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LearntRateText", into = "LearntRateText")]
pub struct LearntRate {
    records_per_second: f64,
    error: f64,
}

impl LearntRate {
    /// The estimate, in records per second for the whole stream.
    #[must_use]
    pub const fn records_per_second(&self) -> f64 {
        self.records_per_second
    }
}

/// The JSON form of a [`LearntRate`].
#[derive(Serialize, Deserialize)]
struct LearntRateText {
    records_per_second: f64,
    error: f64,
}

impl TryFrom<LearntRateText> for LearntRate {
    type Error = DriverError;

    fn try_from(text: LearntRateText) -> Result<Self, DriverError> {
        check_rate("the learnt rate", text.records_per_second)?;
        if !text.error.is_finite() {
            return Err(DriverError::BadSetting {
                setting: "the error of the learnt rate",
                value: text.error.to_string(),
                problem: "must be a number",
            });
        }
        Ok(Self { records_per_second: text.records_per_second, error: text.error })
    }
}

impl From<LearntRate> for LearntRateText {
    fn from(learnt: LearntRate) -> Self {
        Self { records_per_second: learnt.records_per_second, error: learnt.error }
    }
}

/// Estimates the rate that a stream can process, from the batches that it has completed.
///
/// The first measured batch only sets the starting point. Every later one gives an estimate.
#[derive(Debug, Clone, PartialEq)]
pub struct PidEstimator {
    settings: PidSettings,
    interval: Duration,
    latest: Option<LearntRate>,
    latest_at: Option<Duration>,
    is_estimate: bool,
}

impl PidEstimator {
    /// Creates an estimator for batches of `interval`; `None` counts as 1 s.
    ///
    /// `learnt` is what an earlier estimator of the same stream has learnt, if any.
    ///
    /// # Errors
    /// `Invalid`: an interval of 0, or as [`PidSettings::validate`].
    pub fn new(
        settings: PidSettings,
        interval: Option<Duration>,
        learnt: Option<LearntRate>,
    ) -> Result<Self, DriverError> {
        settings.validate()?;
        let interval = interval.unwrap_or(DEFAULT_INTERVAL);
        check_interval(interval)?;
        let is_estimate = learnt.is_some();
        Ok(Self { settings, interval, latest: learnt, latest_at: None, is_estimate })
    }

    /// Adds a completed batch and returns the new estimate, in records per second.
    ///
    /// Returns `None` and changes nothing for a batch without offsets or processing time, or one that
    /// did not complete after the batch before it. Returns `None` also for the first measured batch.
    pub fn update(&mut self, batch: &CompletedBatch) -> Option<f64> {
        let since = match self.latest_at {
            Some(before) => batch.completed_at.checked_sub(before).filter(|dt| !dt.is_zero())?,
            None => batch.completed_at,
        };
        if batch.span == 0 || batch.processing.is_zero() {
            return None;
        }
        let rate = batch.span as f64 / millis(batch.processing) * 1000.0;
        let learnt_before = self.latest.zip(Some(self.latest_at.is_some()));
        self.latest_at = Some(batch.completed_at);
        let Some((before, has_time)) = learnt_before else {
            self.latest = Some(LearntRate { records_per_second: rate, error: 0.0 });
            return None;
        };
        let error = before.records_per_second - rate;
        let backlog = millis(batch.scheduling_delay) * rate / millis(self.interval);
        // After a restart, the time of the last error is not known.
        let change = if has_time { (error - before.error) / (millis(since) / 1000.0) } else { 0.0 };
        let PidSettings { proportional, integral, derivative, min_rate } = self.settings;
        let estimate = before.records_per_second
            - proportional * error
            - integral * backlog
            - derivative * change;
        // `max` also replaces a result that is not a number.
        let estimate = estimate.max(min_rate).min(f64::MAX);
        self.latest = Some(LearntRate { records_per_second: estimate, error });
        self.is_estimate = true;
        Some(estimate)
    }

    /// What the estimator has learnt; `None` before the first estimate.
    #[must_use]
    pub fn learnt(&self) -> Option<LearntRate> {
        self.latest.filter(|_| self.is_estimate)
    }
}

/// Checks that a batch interval is above 0.
pub(crate) fn check_interval(interval: Duration) -> Result<(), DriverError> {
    if !interval.is_zero() {
        return Ok(());
    }
    let value = format!("{interval:?}");
    Err(DriverError::BadSetting { setting: "batch_interval", value, problem: "must be above 0" })
}

fn millis(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e6
}
