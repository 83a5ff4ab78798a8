//! [`StreamLimits`] limits the size of micro-batches and how often they run.

use std::time::Duration;

use crate::{
    DriverError, MAX_PLANNED_RANGES,
    stream::pid::{PidSettings, check_interval, check_rate},
};

/// The most offsets of one micro-batch by default.
const DEFAULT_MAX_RECORDS_PER_BATCH: u64 = 1_000_000;
/// How long a minimum batch size delays a batch at most by default.
const DEFAULT_MAX_DELAY: Duration = Duration::from_secs(15 * 60);

/// The most offsets of a partition in one micro-batch until back-pressure has a rate.
pub(crate) const MAX_RECORDS_WITHOUT_RATE: u64 = 100_000;

/// Limits the rate of a stream to what its batches could process before.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Backpressure {
    /// The factors of the estimate.
    pub pid: PidSettings,
    /// The rate until one is estimated, in records per second for the whole stream, above 0.
    ///
    /// Default: none. A batch then takes at most 100,000 offsets of a partition until a rate is
    /// estimated. (Spark's first batches have no limit then.)
    pub initial_rate: Option<f64>,
}

impl Backpressure {
    /// Creates back-pressure by a PID estimator with default factors.
    #[must_use]
    pub fn pid() -> Self {
        Self::default()
    }

    /// Sets the factors of the estimate.
    #[must_use]
    pub const fn settings(mut self, pid: PidSettings) -> Self {
        self.pid = pid;
        self
    }

    /// Sets the rate until one is estimated, in records per second for the whole stream.
    #[must_use]
    pub fn initial_rate(mut self, records_per_second: impl Into<Option<f64>>) -> Self {
        self.initial_rate = records_per_second.into();
        self
    }
}

/// The limits of a stream's micro-batches. All of them count offsets, not records.
///
/// The limits of [`Self::max_records_per_second_per_partition`], [`Self::backpressure`] and
/// [`Self::max_records_per_batch`] are combined by the smallest. A batch exceeds none of them by more
/// than one offset per partition.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StreamLimits {
    /// The most offsets of a batch, at least 1, shared among partitions in proportion to their lag.
    /// Default: 1,000,000. Spark: `maxOffsetsPerTrigger`.
    pub max_records_per_batch: Option<u64>,
    /// The highest rate of a partition, at least 1. Default: none. Spark:
    /// `spark.streaming.kafka.maxRatePerPartition`.
    pub max_records_per_second_per_partition: Option<u64>,
    /// Back-pressure never limits a partition to less than this many offsets per
    /// [`Self::batch_interval`]. Default: 1. Spark: `spark.streaming.kafka.minRatePerPartition`.
    ///
    /// Unlike Spark's, it counts per interval and not per batch, and
    /// [`Self::max_records_per_second_per_partition`] takes precedence.
    pub min_records_per_partition: u64,
    /// No batch is planned for fewer offsets than this, until [`Self::max_delay`] has passed. At
    /// least 1. Default: none. Spark: `minOffsetsPerTrigger`.
    pub min_records_per_batch: Option<u64>,
    /// How long [`Self::min_records_per_batch`] delays a batch at most, from the batch before it, above
    /// 0. Default: 15 minutes. Spark: `maxTriggerDelay`.
    pub max_delay: Duration,
    /// Splits large ranges until there are about this many, at least 1 and at most
    /// [`MAX_PLANNED_RANGES`]. Default: none, one range per partition. Spark: `minPartitions`.
    pub min_partitions: Option<u64>,
    /// Splits ranges so that none spans more offsets than this, at least 1. Default: none. Spark:
    /// `maxRecordsPerPartition`.
    pub max_records_per_partition: Option<u64>,
    /// Limits the rate to what earlier batches could process. Default: none.
    pub backpressure: Option<Backpressure>,
    /// The interval of the trigger, above 0. Default: none, for a trigger without an interval; rates
    /// and back-pressure then use 1 s.
    pub batch_interval: Option<Duration>,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            max_records_per_batch: Some(DEFAULT_MAX_RECORDS_PER_BATCH),
            max_records_per_second_per_partition: None,
            min_records_per_partition: 1,
            min_records_per_batch: None,
            max_delay: DEFAULT_MAX_DELAY,
            min_partitions: None,
            max_records_per_partition: None,
            backpressure: None,
            batch_interval: None,
        }
    }
}

impl StreamLimits {
    /// Creates limits with their defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the most offsets of a batch; `None` for no limit.
    #[must_use]
    pub fn max_records_per_batch(mut self, offsets: impl Into<Option<u64>>) -> Self {
        self.max_records_per_batch = offsets.into();
        self
    }

    /// Sets the highest rate of a partition; `None` for no limit.
    #[must_use]
    pub fn max_records_per_second_per_partition(mut self, rate: impl Into<Option<u64>>) -> Self {
        self.max_records_per_second_per_partition = rate.into();
        self
    }

    /// Sets the offsets per interval below which back-pressure never limits a partition.
    #[must_use]
    pub const fn min_records_per_partition(mut self, offsets: u64) -> Self {
        self.min_records_per_partition = offsets;
        self
    }

    /// Sets the fewest offsets of a batch; `None` for no minimum.
    #[must_use]
    pub fn min_records_per_batch(mut self, offsets: impl Into<Option<u64>>) -> Self {
        self.min_records_per_batch = offsets.into();
        self
    }

    /// Sets how long the minimum batch size delays a batch at most.
    #[must_use]
    pub const fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets about how many ranges a batch has at least; `None` for one per partition.
    #[must_use]
    pub fn min_partitions(mut self, ranges: impl Into<Option<u64>>) -> Self {
        self.min_partitions = ranges.into();
        self
    }

    /// Sets how many offsets a range may span at most; `None` for no limit.
    #[must_use]
    pub fn max_records_per_partition(mut self, offsets: impl Into<Option<u64>>) -> Self {
        self.max_records_per_partition = offsets.into();
        self
    }

    /// Sets back-pressure; `None` for none.
    #[must_use]
    pub fn backpressure(mut self, backpressure: impl Into<Option<Backpressure>>) -> Self {
        self.backpressure = backpressure.into();
        self
    }

    /// Sets the interval of the trigger; `None` for a trigger without one.
    #[must_use]
    pub fn batch_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.batch_interval = interval.into();
        self
    }

    /// Checks every limit, and that they do not contradict each other.
    ///
    /// # Errors
    /// `Invalid`:
    /// - [`DriverError::BadNumber`] for a limit of 0, or more than [`MAX_PLANNED_RANGES`] ranges.
    /// - [`DriverError::BadSetting`] for a duration of 0, or a rate that is not above 0 and finite.
    /// - [`DriverError::ContradictingLimits`] for a minimum batch size above the maximum.
    pub fn validate(&self) -> Result<(), DriverError> {
        let limits = [
            ("max_records_per_batch", self.max_records_per_batch),
            ("max_records_per_second_per_partition", self.max_records_per_second_per_partition),
            ("min_records_per_batch", self.min_records_per_batch),
            ("min_partitions", self.min_partitions),
            ("max_records_per_partition", self.max_records_per_partition),
        ];
        let bad = |setting, value: u64, problem| {
            let value = i128::from(value);
            Err(DriverError::BadNumber { topic_partition: None, setting, value, problem })
        };
        if let Some((setting, _)) = limits.into_iter().find(|(_, limit)| *limit == Some(0)) {
            return bad(setting, 0, "must be at least 1");
        }
        if let Some(many) = self.min_partitions.filter(|many| *many > MAX_PLANNED_RANGES) {
            let problem = "is more than the 1000000 ranges that a plan can have";
            return bad("min_partitions", many, problem);
        }
        if self.max_delay.is_zero() {
            return Err(DriverError::BadSetting {
                setting: "max_delay",
                value: format!("{:?}", self.max_delay),
                problem: "must be above 0",
            });
        }
        if let Some(interval) = self.batch_interval {
            check_interval(interval)?;
        }
        if let Some(backpressure) = &self.backpressure {
            backpressure.pid.validate()?;
            if let Some(rate) = backpressure.initial_rate {
                check_rate("the initial rate of back-pressure", rate)?;
            }
        }
        match (self.min_records_per_batch, self.max_records_per_batch) {
            (Some(min), Some(max)) if min > max => Err(DriverError::ContradictingLimits {
                lower: ("min_records_per_batch", min),
                upper: ("max_records_per_batch", max),
            }),
            _ => Ok(()),
        }
    }
}
