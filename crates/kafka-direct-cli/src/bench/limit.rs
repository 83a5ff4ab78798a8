//! The limit on the fetch rate of a round, which all its readers share.
//!
//! Contract: over any period the readers fetch at most what the rate allows, plus what was already
//! in flight. Idle time does not allow a higher rate later.

use std::{num::NonZeroU64, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// Limits the fetch rate of all readers of a round together.
#[derive(Debug)]
pub(super) struct Limit {
    bytes_per_second: NonZeroU64,
    schedule: Mutex<Schedule>,
}

/// The bytes counted so far, and the time at which the next fetch is allowed.
#[derive(Debug)]
struct Schedule {
    bytes: u64,
    next: Instant,
}

impl Limit {
    /// A limit in units of 10^6 bytes per second, from now on; `bytes` were fetched before.
    pub(super) fn new(mb_per_second: NonZeroU64, bytes: u64) -> Self {
        let million = NonZeroU64::MIN.saturating_add(999_999);
        Self {
            bytes_per_second: mb_per_second.saturating_mul(million),
            schedule: Mutex::new(Schedule { bytes, next: Instant::now() }),
        }
    }

    /// Counts fetched bytes and waits until the rate allows more.
    ///
    /// `bytes` is the total of all fetches of the cluster so far, not the increase.
    pub(super) async fn throttle(&self, bytes: u64) {
        let next = {
            let schedule = &mut *self.schedule.lock();
            let new = bytes.saturating_sub(schedule.bytes);
            schedule.bytes = schedule.bytes.max(bytes);
            let rate = u128::from(self.bytes_per_second.get());
            let nanos = u128::from(new).saturating_mul(1_000_000_000).checked_div(rate);
            let nanos = u64::try_from(nanos.unwrap_or(0)).unwrap_or(u64::MAX);
            let from = schedule.next.max(Instant::now());
            schedule.next = from.checked_add(Duration::from_nanos(nanos)).unwrap_or(from);
            schedule.next
        };
        sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(mb: u64) -> Limit {
        Limit::new(NonZeroU64::new(mb).unwrap(), 0)
    }

    #[tokio::test(start_paused = true)]
    async fn fetched_bytes_take_the_time_of_the_rate() {
        let (limit, began) = (limit(2), Instant::now());
        for megabytes in 1..=10 {
            limit.throttle(megabytes * 1_000_000).await;
        }
        let took = began.elapsed();
        assert!((5000..5020).contains(&took.as_millis()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn readers_share_one_rate() {
        let (limit, began) = (limit(1), Instant::now());
        tokio::join!(
            limit.throttle(1_000_000),
            limit.throttle(2_000_000),
            limit.throttle(3_000_000)
        );
        assert!((3000..3010).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_does_not_allow_a_higher_rate_later() {
        let limit = limit(1);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let began = Instant::now();
        limit.throttle(2_000_000).await;
        assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    }
}
