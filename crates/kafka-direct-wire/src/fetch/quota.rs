//! How much a broker's quota lets through.
//!
//! An answer that would exceed a quota is refused: it brings a throttle time and no record, and does
//! not count. Where others use the same quota, or the broker does not cut an answer down to what its
//! window allows (before KAFKA-9677), a large one may be refused for ever: asking for less gets
//! further than asking again. Not for very little, since requests have quotas too.

use std::time::Duration;

use tokio::time::Instant;

/// No less than this is asked for: a batch comes whole anyway.
const LEAST_BYTES: usize = 256 << 10;
/// From an answer's usual 16 MiB down to the least. Not more: each is taken back by an answer.
const MOST_HALVINGS: u32 = 6;
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
    /// How much to ask for where `most` is usual.
    pub(super) fn most_bytes(&self, most: usize) -> usize {
        most.checked_shr(self.refused).unwrap_or(0).max(LEAST_BYTES)
    }

    /// Counts an answer; `true` if somebody should be told, once a minute while nothing comes through.
    pub(super) fn count(&mut self, is_refused: bool) -> bool {
        if !is_refused {
            self.refused = self.refused.saturating_sub(1);
            self.since = None;
            return false;
        }
        self.refused = self.refused.saturating_add(1).min(MOST_HALVINGS);
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
    fn refusals_halve_what_is_asked_for_and_other_answers_double_it_again() {
        let mut quota = Quota::default();
        let most = 16 << 20;
        let mut asked = Vec::new();
        for is_refused in [true, true, false, false, false] {
            quota.count(is_refused);
            asked.push(quota.most_bytes(most));
        }
        assert_eq!(asked, [most / 2, most / 4, most / 2, most, most]);
        for _ in 0..1000 {
            quota.count(true);
        }
        assert_eq!(quota.most_bytes(most), LEAST_BYTES);
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
