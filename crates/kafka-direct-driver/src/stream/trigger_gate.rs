//! [`TriggerGate`] delays a batch until enough offsets wait for it, or a maximum delay has passed.

use std::time::Duration;

use crate::StreamLimits;

/// The time of the last batch, for `min_records_per_batch` and `max_delay`.
///
/// The rule is that of Spark's `KafkaMicroBatchStream.delayBatch`. Times are times since any fixed
/// moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TriggerGate {
    last_batch: Option<Duration>,
}

impl TriggerGate {
    /// How long a batch of `backlog` offsets has to wait at most; `None` if it can run now.
    ///
    /// The first batch of a process never waits.
    pub(crate) fn wait(
        &self,
        limits: &StreamLimits,
        backlog: u128,
        now: Duration,
    ) -> Option<Duration> {
        let min = limits.min_records_per_batch.filter(|min| backlog < u128::from(*min));
        let (_, last_batch) = min.zip(self.last_batch)?;
        let elapsed = now.saturating_sub(last_batch);
        limits.max_delay.checked_sub(elapsed).filter(|left| !left.is_zero())
    }

    /// Records that a batch was planned.
    pub(crate) const fn planned(&mut self, now: Duration) {
        self.last_batch = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_small_batch_waits_until_the_delay_has_passed_except_the_first() {
        let limits = StreamLimits::new().min_records_per_batch(10).max_delay(seconds(60));
        let mut gate = TriggerGate::default();
        assert_eq!(gate.wait(&limits, 1, seconds(5)), None);
        gate.planned(seconds(5));
        assert_eq!(gate.wait(&limits, 9, seconds(6)), Some(seconds(59)));
        assert_eq!(gate.wait(&limits, 10, seconds(6)), None);
        assert_eq!(gate.wait(&limits, 9, seconds(64)), Some(seconds(1)));
        assert_eq!(gate.wait(&limits, 9, seconds(65)), None);
        assert_eq!(gate.wait(&limits, 9, seconds(0)), Some(seconds(60)));
        assert_eq!(gate.wait(&StreamLimits::new(), 1, seconds(6)), None);
    }

    #[test]
    fn the_default_delay_is_fifteen_minutes() {
        let limits = StreamLimits::new().min_records_per_batch(10);
        let mut gate = TriggerGate::default();
        gate.planned(seconds(0));
        assert_eq!(gate.wait(&limits, 1, seconds(1)), Some(seconds(899)));
    }
}
