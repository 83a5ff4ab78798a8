//! When a stream plans its next batch.

use std::time::Duration;

use tokio::time::Instant;

/// How long an idle stream waits before it asks for the ends of the logs again: first and longest.
const FIRST_POLL: Duration = Duration::from_millis(5);
const LONGEST_POLL: Duration = Duration::from_millis(250);

/// When a stream plans its next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Trigger {
    /// As soon as there is data and the batch before is done. An idle stream asks for the ends of the
    /// logs every 5 ms at first, and every 250 ms once it has been idle for a while.
    #[default]
    Immediate,
    /// At most once per interval. A batch that is late runs at once, and missed intervals are not made
    /// up for.
    Interval(Duration),
    /// Until the stream reaches the readable ends that the logs have when it starts; then it ends.
    AvailableNow,
}

/// The times at which a stream's batches are due.
#[derive(Debug)]
pub(super) struct Schedule {
    trigger: Trigger,
    /// When the next batch is due.
    due: Instant,
    poll: Duration,
}

impl Schedule {
    pub(super) fn new(trigger: Trigger) -> Self {
        Self { trigger, due: Instant::now(), poll: FIRST_POLL }
    }

    /// When the next batch is due.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// A batch is planned: sets when the one after it is due.
    pub(super) fn planned(&mut self) {
        self.poll = FIRST_POLL;
        self.due = match self.trigger {
            Trigger::Immediate | Trigger::AvailableNow => Instant::now(),
            Trigger::Interval(interval) => {
                let late = Instant::now().saturating_duration_since(self.due);
                let missed = late.as_nanos().checked_div(interval.as_nanos()).unwrap_or(0);
                let ticks = u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1);
                self.due + interval.saturating_mul(ticks)
            }
        };
    }

    /// There is nothing to read: sets when to look again, at most `at_most` from now.
    pub(super) fn idle(&mut self, at_most: Option<Duration>) {
        let now = Instant::now();
        let wait = match self.trigger {
            Trigger::Interval(interval) => {
                let next = self.due + interval;
                next.saturating_duration_since(now).max(FIRST_POLL)
            }
            Trigger::Immediate | Trigger::AvailableNow => {
                let wait = self.poll;
                self.poll = self.poll.saturating_mul(2).min(LONGEST_POLL);
                wait
            }
        };
        self.due = now + at_most.map_or(wait, |limit| wait.min(limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_batch_runs_at_once_and_missed_intervals_are_not_made_up_for() {
        let began = Instant::now();
        let mut schedule = Schedule::new(Trigger::Interval(millis(100)));
        assert_eq!(schedule.due(), began);
        schedule.planned();
        assert_eq!(schedule.due(), began + millis(100));
        tokio::time::sleep_until(began + millis(100)).await;
        schedule.planned();
        assert_eq!(schedule.due(), began + millis(200));
        // The batch takes two intervals and a half: the next one is due already.
        tokio::time::sleep(millis(350)).await;
        assert!(schedule.due() < Instant::now());
        schedule.planned();
        assert_eq!(schedule.due(), began + millis(500), "not 300, and not 400");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_stream_looks_less_and_less_often_and_often_again_after_data() {
        let mut schedule = Schedule::new(Trigger::Immediate);
        let mut waits = Vec::new();
        for _ in 0..8 {
            schedule.idle(None);
            waits.push(schedule.due().duration_since(Instant::now()).as_millis());
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 250, 250]);
        schedule.idle(Some(millis(7)));
        assert_eq!(schedule.due().duration_since(Instant::now()), millis(7));
        schedule.planned();
        schedule.idle(None);
        assert_eq!(schedule.due().duration_since(Instant::now()), FIRST_POLL);
    }
}
