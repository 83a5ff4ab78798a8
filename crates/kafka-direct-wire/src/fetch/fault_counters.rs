//! Faults of one range in a row, without progress between them.
//!
//! There are two kinds. A passing fault is retried until the retry timeout ([`Retry`]). A response that
//! may be wrong is requested again a fixed number of times, and then trusted ([`Repeatable`]).

use std::time::Duration;

use crate::{
    WireError,
    retry::{Retry, RetryPolicy},
};

/// A response that may be wrong or early. Only several of them in a row are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeatable {
    /// Bytes that are no valid response or no valid batch.
    Invalid,
    /// The topic is not in the metadata, which may lag for seconds after a restart.
    MissingTopic,
    /// No batch, to a request that listed the range first and brought bytes for no other range.
    Empty,
    /// The log ends before the fetch position, as on a new leader that lags.
    ShortLog,
}

impl Repeatable {
    /// How many in a row are trusted.
    pub(super) const fn limit(self) -> u32 {
        match self {
            Self::Invalid | Self::Empty => 3,
            Self::ShortLog => 5,
            Self::MissingTopic => 8,
        }
    }
}

/// The counters of one range.
#[derive(Debug)]
pub(super) struct FaultCounters {
    policy: RetryPolicy,
    retry: Option<Retry>,
    invalid: u32,
    missing_topic: u32,
    empty: u32,
    short_log: u32,
}

impl FaultCounters {
    pub(super) const fn new(policy: RetryPolicy) -> Self {
        Self { policy, retry: None, invalid: 0, missing_topic: 0, empty: 0, short_log: 0 }
    }

    /// Forgets all faults: there was progress.
    pub(super) fn clear(&mut self) {
        let Self { policy, retry, invalid, missing_topic, empty, short_log } = self;
        if retry.is_some() || [invalid, missing_topic, empty, short_log].iter().any(|n| **n > 0) {
            *self = Self::new(*policy);
        }
    }

    /// Forgets the empty responses, which were about another position.
    pub(super) const fn clear_empty(&mut self) {
        self.empty = 0;
    }

    /// How many responses in a row were empty.
    pub(super) const fn empty(&self) -> u32 {
        self.empty
    }

    /// Counts a response that may be wrong. Returns the backoff before the next request, or `None` if
    /// the limit is reached and the response is to be trusted.
    pub(super) fn count(&mut self, fault: Repeatable) -> Option<Duration> {
        let counter = match fault {
            Repeatable::Invalid => &mut self.invalid,
            Repeatable::MissingTopic => &mut self.missing_topic,
            Repeatable::Empty => &mut self.empty,
            Repeatable::ShortLog => &mut self.short_log,
        };
        *counter = counter.saturating_add(1);
        (*counter < fault.limit()).then(|| self.policy.backoff(*counter))
    }

    /// Counts a passing fault and returns the backoff. `uncounted` is time before it that does not
    /// count towards the retry timeout. `operation` names what is retried.
    ///
    /// # Errors
    /// `error` if it does not pass by itself; [`WireError::Unavailable`] after the retry timeout.
    pub(super) fn retry(
        &mut self,
        error: WireError,
        uncounted: Duration,
        operation: impl FnOnce() -> String,
    ) -> Result<Duration, WireError> {
        let policy = self.policy;
        let retry = self.retry.get_or_insert_with(|| Retry::new(policy, operation()));
        retry.extend_deadline(uncounted);
        retry.note(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClusterConfig;

    #[test]
    fn each_kind_is_counted_on_its_own_with_growing_backoff_up_to_its_limit() {
        let mut faults = FaultCounters::new(ClusterConfig::new(["h:1"]).get_retry_policy());
        for (fault, backoffs) in [
            (Repeatable::Invalid, &[100, 200][..]),
            (Repeatable::Empty, &[100, 200]),
            (Repeatable::ShortLog, &[100, 200, 400, 800]),
            (Repeatable::MissingTopic, &[100, 200, 400, 800, 1000, 1000, 1000]),
        ] {
            let counted = std::iter::from_fn(|| faults.count(fault));
            assert_eq!(counted.map(|pause| pause.as_millis()).collect::<Vec<_>>(), backoffs);
        }
        faults.clear();
        assert_eq!(faults.count(Repeatable::Invalid), Some(Duration::from_millis(100)));
    }
}
