//! Counts the consecutive faults of one range, without progress between them.
//!
//! There are two kinds. A passing fault is retried until the retry timeout ([`Retry`]). A response
//! that may be wrong is requested a fixed number of times and then trusted ([`Repeatable`]).

use std::time::Duration;

use crate::{
    WireError,
    retry::{Retry, RetryPolicy},
};

/// A response that may be wrong or too early. It is trusted only after several in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeatable {
    /// Bytes that are not a valid response or not a valid batch.
    Invalid,
    /// The topic is not in the metadata, which may lag for seconds after a restart.
    MissingTopic,
    /// A response without a batch, to a request that listed the range first and got no bytes for
    /// other ranges. A replica that lags sends such responses for seconds, for example on a broker
    /// that keeps records in object storage only, and a hole at the end of a log is rare.
    Empty,
    /// The log ends before the fetch position, for example on a new leader that lags.
    ShortLog,
}

impl Repeatable {
    /// The number of responses in a row after which the response is trusted.
    pub(super) const fn limit(self) -> u32 {
        match self {
            Self::Invalid => 3,
            Self::ShortLog => 5,
            Self::Empty => 7,
            Self::MissingTopic => 8,
        }
    }
}

/// The fault counters of one range.
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

    /// Resets all counters after progress.
    pub(super) fn clear(&mut self) {
        let Self { policy, retry, invalid, missing_topic, empty, short_log } = self;
        if retry.is_some() || [invalid, missing_topic, empty, short_log].iter().any(|n| **n > 0) {
            *self = Self::new(*policy);
        }
    }

    /// Resets the counter of empty responses, because they were about another position.
    pub(super) const fn clear_empty(&mut self) {
        self.empty = 0;
    }

    /// The number of empty responses in a row.
    pub(super) const fn empty(&self) -> u32 {
        self.empty
    }

    /// Counts a response that may be wrong. Returns the backoff before the next request, or `None`
    /// if the limit is reached and the response must be trusted.
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
    /// `error` if a retry cannot help; [`WireError::Unavailable`] after the retry timeout.
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
    fn each_kind_has_its_own_counter_and_a_growing_backoff_up_to_its_limit() {
        let mut faults = FaultCounters::new(ClusterConfig::new(["h:1"]).get_retry_policy());
        for (fault, backoffs) in [
            (Repeatable::Invalid, &[100, 200][..]),
            (Repeatable::Empty, &[100, 200, 400, 800, 1000, 1000]),
            (Repeatable::ShortLog, &[100, 200, 400, 800]),
            (Repeatable::MissingTopic, &[100, 200, 400, 800, 1000, 1000, 1000]),
        ] {
            let counted = std::iter::from_fn(|| faults.count(fault));
            assert_eq!(counted.map(|backoff| backoff.as_millis()).collect::<Vec<_>>(), backoffs);
        }
        faults.clear();
        assert_eq!(faults.count(Repeatable::Invalid), Some(Duration::from_millis(100)));
    }
}
