//! How fast a round may fetch: a pace that all its readers keep together.
//!
//! Contract: over any stretch of time no more is taken than the rate allows, beside what was already
//! on its way; time in which nothing was taken is not made up for.

use std::{num::NonZeroU64, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// See the module.
#[derive(Debug)]
pub(super) struct Limit {
    bytes_per_second: NonZeroU64,
    paid: Mutex<Paid>,
}

/// What was taken so far, and from when on more may be.
#[derive(Debug)]
struct Paid {
    bytes: u64,
    next: Instant,
}

impl Limit {
    /// So many millions of bytes a second, from now on; `bytes` were taken before.
    pub(super) fn new(mb_per_second: NonZeroU64, bytes: u64) -> Self {
        let million = NonZeroU64::MIN.saturating_add(999_999);
        Self {
            bytes_per_second: mb_per_second.saturating_mul(million),
            paid: Mutex::new(Paid { bytes, next: Instant::now() }),
        }
    }

    /// Waits until what was taken, `bytes` in all, is paid for.
    pub(super) async fn pay(&self, bytes: u64) {
        let next = {
            let paid = &mut *self.paid.lock();
            let new = bytes.saturating_sub(paid.bytes);
            paid.bytes = paid.bytes.max(bytes);
            let rate = u128::from(self.bytes_per_second.get());
            let nanos = u128::from(new).saturating_mul(1_000_000_000).checked_div(rate);
            let nanos = u64::try_from(nanos.unwrap_or(0)).unwrap_or(u64::MAX);
            let from = paid.next.max(Instant::now());
            paid.next = from.checked_add(Duration::from_nanos(nanos)).unwrap_or(from);
            paid.next
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
    async fn what_is_taken_takes_its_time() {
        let (limit, began) = (limit(2), Instant::now());
        for megabytes in 1..=10 {
            limit.pay(megabytes * 1_000_000).await;
        }
        let took = began.elapsed();
        assert!((5000..5020).contains(&took.as_millis()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn readers_share_one_pace() {
        let (limit, began) = (limit(1), Instant::now());
        tokio::join!(limit.pay(1_000_000), limit.pay(2_000_000), limit.pay(3_000_000));
        assert!((3000..3010).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_is_not_made_up_for() {
        let limit = limit(1);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let began = Instant::now();
        limit.pay(2_000_000).await;
        assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    }
}
