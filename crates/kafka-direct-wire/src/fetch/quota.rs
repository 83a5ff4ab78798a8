//! How much a broker's quota lets through.
//!
//! An answer that would exceed a quota is refused: it brings a throttle time and no record, and does
//! not count. Where others use the same quota, or the broker does not cut an answer down to what its
//! window allows (before KAFKA-9677), a large one may be refused for ever: asking for less gets
//! further than asking again. Not for very little, since requests have quotas too.

use std::time::Duration;

use tokio::time::Instant;

/// As many refusals as there are halvings between the usual 16 MiB and the least. Not more: each takes
/// one answer to take back.
const MAX_REFUSALS: u32 = 6;
/// Refusals for so long are told of. Brokers count over some ten seconds.
const TOLD: Duration = Duration::from_secs(60);

/// What a lane has learned of the quota.
#[derive(Debug, Default)]
pub(super) struct Quota {
    /// Refusals, less the answers that were served since.
    refused: u32,
    /// Since when there were refusals only, or that was told.
    since: Option<Instant>,
}

impl Quota {
    /// How many times [`FetchLimits`](super::limits::FetchLimits) halves what is asked for.
    pub(super) const fn refusals(&self) -> u32 {
        self.refused
    }

    /// Counts an answer; `true` if somebody should be told, once a minute while nothing comes through.
    pub(super) fn count(&mut self, is_refused: bool) -> bool {
        if !is_refused {
            self.refused = self.refused.saturating_sub(1);
            self.since = None;
            return false;
        }
        self.refused = self.refused.saturating_add(1).min(MAX_REFUSALS);
        let is_told = self.since.get_or_insert_with(Instant::now).elapsed() >= TOLD;
        if is_told {
            self.since = Some(Instant::now());
        }
        is_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_up_to_a_limit_and_other_answers_take_them_back() {
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
    async fn refusals_are_told_of_once_a_minute_while_there_is_nothing_else() {
        let mut quota = Quota::default();
        let mut told = 0;
        for second in 0..150 {
            told += u32::from(quota.count(true));
            assert_eq!(told, second / 60, "after {second} s");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        quota.count(false);
        tokio::time::advance(TOLD).await;
        assert!(!quota.count(true));
    }
}
