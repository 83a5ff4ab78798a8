//! How much a broker's quota lets through.
//!
//! A response that would exceed a quota is refused: it brings a throttle time and no record, and does
//! not count. Where others use the same quota, or the broker does not cut a response down to what its
//! window allows (before KAFKA-9677), a large one may be refused for ever: asking for less gets
//! further than asking again. Not for very little, since requests have quotas too.

use std::time::Duration;

use tokio::time::Instant;

/// As many refusals as there are halvings between the usual 16 MiB and the least. Not more: each takes
/// one response to take back.
const MAX_REFUSALS: u32 = 6;
/// Refusals for so long are warned of. Brokers count over some ten seconds.
const WARN_AFTER: Duration = Duration::from_secs(60);

/// What a lane has learned of the quota.
#[derive(Debug, Default)]
pub(super) struct Quota {
    /// Refusals, less the responses that were served since.
    refused: u32,
    /// Since when there were refusals only, or that was warned.
    since: Option<Instant>,
}

impl Quota {
    /// How many times [`FetchLimits`](super::limits::FetchLimits) halves what is asked for.
    pub(super) const fn refusals(&self) -> u32 {
        self.refused
    }

    /// Counts a response; `true` if somebody should be warned, once a minute while nothing comes through.
    pub(super) fn count(&mut self, is_refused: bool) -> bool {
        if !is_refused {
            self.refused = self.refused.saturating_sub(1);
            self.since = None;
            return false;
        }
        self.refused = self.refused.saturating_add(1).min(MAX_REFUSALS);
        let is_warned = self.since.get_or_insert_with(Instant::now).elapsed() >= WARN_AFTER;
        if is_warned {
            self.since = Some(Instant::now());
        }
        is_warned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_up_to_a_limit_and_other_responses_take_them_back() {
        let mut quota = Quota::default();
        let mut counted = Vec::new();
        for is_refused in [true, true, false, false, false] {
            quota.count(is_refused);
            counted.push(quota.refusals());
        }
        assert_eq!(counted, [1, 2, 1, 0, 0]);
        for _ in 0..1000 {
            quota.count(true);
        }
        assert_eq!(quota.refusals(), MAX_REFUSALS);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_logged_once_a_minute_while_there_is_nothing_else() {
        let mut quota = Quota::default();
        let mut warned = 0;
        for second in 0..150 {
            warned += u32::from(quota.count(true));
            assert_eq!(warned, second / 60, "after {second} s");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        quota.count(false);
        tokio::time::advance(WARN_AFTER).await;
        assert!(!quota.count(true));
    }
}
