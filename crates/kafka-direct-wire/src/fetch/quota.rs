//! Counts the responses that a broker's quota refuses, to make the next requests smaller.
//!
//! A broker refuses a response that would exceed a quota. The response then has a throttle time and
//! no record, and does not count towards the quota. A large response may be refused forever in two
//! cases:
//!
//! - Other clients use the same quota.
//! - The broker does not shorten a response to the bytes that its window allows (before
//!   KAFKA-9677).
//!
//! So after a refusal the next request asks for fewer bytes. It never asks for very few, because
//! requests have quotas too.

use std::time::Duration;

use tokio::time::Instant;

/// The most refusals that are counted: the halvings from the default 16 MiB to the minimum of 256
/// KiB. More would delay the return, because each refusal takes one successful response to undo.
const MAX_REFUSALS: u32 = 6;
/// A warning is logged after refusals for this long. Brokers measure quotas over some ten seconds.
const WARN_AFTER: Duration = Duration::from_secs(60);

/// The quota state of a lane.
#[derive(Debug, Default)]
pub(super) struct Quota {
    /// The number of refusals, minus the number of responses that were not refused since.
    refused: u32,
    /// Since when all responses were refused, or when the last warning was due.
    since: Option<Instant>,
}

impl Quota {
    /// How many times [`FetchLimits`](super::limits::FetchLimits) halves the requested bytes.
    pub(super) const fn refusals(&self) -> u32 {
        self.refused
    }

    /// Counts a response. Returns whether a warning is due: once a minute while all responses are
    /// refused.
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
    fn refusals_are_counted_up_to_a_limit_and_other_responses_undo_them() {
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
    async fn a_warning_is_due_once_a_minute_while_all_responses_are_refused() {
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
