//! Retries of passing faults: how long, with which backoff, and the error after the retry timeout.
//!
//! [`RetryPolicy`] has the settings. Its uses:
//!
//! - [`RetryPolicy::run`] repeats a whole operation until it succeeds.
//! - [`Retry`] is for operations that keep partial results between attempts: `list_offsets`, and
//!   recovery, which must not lose its count when a future is dropped.
//! - [`RetryPolicy::backoff`] alone is for faults that are counted instead of timed
//!   (`fetch/fault_counters.rs`).
//!
//! Three reactions to faults are not retries, and are elsewhere:
//!
//! - A broken idle connection is replaced at once (`pool.rs`).
//! - A second broker is queried once about an unknown topic (`metadata.rs`).
//! - A response that a quota refuses makes the next request smaller (`fetch/quota.rs`).

use std::{collections::VecDeque, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{Attempt, WireError, topology::Refresh};

/// How many failed attempts an error lists.
const MAX_FAILURES: usize = 5;
const NEXT: &str = "check that these brokers are up and that their advertised addresses can be \
                    reached from here, then retry";

/// How long passing faults are retried, and how long to wait before each retry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    /// Longest time without progress.
    pub(crate) timeout: Duration,
    /// Wait before the first retry.
    pub(crate) first_backoff: Duration,
    /// Longest wait before a retry.
    pub(crate) longest_backoff: Duration,
}

impl RetryPolicy {
    /// Calls `attempt` until it succeeds.
    ///
    /// `operation` names the attempt in an error. The first attempt may use known metadata; each
    /// later one needs metadata that is newer than the previous failure.
    ///
    /// # Errors
    /// The error of an attempt if a retry cannot help; [`WireError::Unavailable`] after the
    /// timeout.
    pub(crate) async fn run<T, F>(
        self,
        operation: impl Into<String>,
        mut attempt: impl FnMut(Refresh) -> F,
    ) -> Result<T, WireError>
    where
        F: Future<Output = Result<T, WireError>>,
    {
        let mut retry = Retry::new(self, operation);
        let mut refresh = Refresh::IfUnknown;
        loop {
            match attempt(refresh).await {
                Ok(done) => return Ok(done),
                Err(error) => {
                    refresh = Refresh::NewerThan(Instant::now());
                    retry.pause(error).await?;
                }
            }
        }
    }

    /// The wait after the `count`-th consecutive fault, counted from 1. Doubles up to the longest.
    pub(crate) const fn backoff(self, count: u32) -> Duration {
        let factor = 2u32.saturating_pow(count.saturating_sub(1));
        let doubled = self.first_backoff.saturating_mul(factor);
        if doubled.as_nanos() < self.longest_backoff.as_nanos() {
            doubled
        } else {
            self.longest_backoff
        }
    }
}

/// The retry state of one operation. Call [`Retry::pause`] after each failure.
#[derive(Debug)]
pub(crate) struct Retry {
    operation: String,
    policy: RetryPolicy,
    since: Instant,
    tries: u32,
    try_began: Instant,
    failures: VecDeque<Attempt>,
}

impl Retry {
    pub(crate) fn new(policy: RetryPolicy, operation: impl Into<String>) -> Self {
        let now = Instant::now();
        Self {
            operation: operation.into(),
            policy,
            since: now,
            tries: 0,
            try_began: now,
            failures: VecDeque::new(),
        }
    }

    /// Restarts the retry timeout after progress.
    pub(crate) fn progress(&mut self) {
        self.since = Instant::now();
        self.tries = 0;
        self.failures.clear();
    }

    /// Extends the deadline by `waited`, time that does not count towards the retry timeout.
    ///
    /// The new deadline is at most a full retry timeout from now.
    pub(crate) fn extend_deadline(&mut self, waited: Duration) {
        let now = Instant::now();
        self.since = self.since.checked_add(waited).map_or(now, |since| since.min(now));
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// `error` itself if a retry cannot help; [`WireError::Unavailable`] after the timeout.
    pub(crate) async fn pause(&mut self, error: WireError) -> Result<(), WireError> {
        let pause = self.note(error)?;
        sleep(pause).await;
        self.try_began = Instant::now();
        Ok(())
    }

    /// Counts a failure without waiting, and returns how long to wait before the next attempt.
    ///
    /// # Errors
    /// As [`Retry::pause`].
    pub(crate) fn note(&mut self, error: WireError) -> Result<Duration, WireError> {
        if !error.is_retriable() {
            return Err(error);
        }
        self.tries = self.tries.saturating_add(1);
        self.add_failure(error);
        let elapsed = self.since.elapsed();
        let backoff = self.policy.backoff(self.tries);
        if elapsed.saturating_add(backoff) > self.policy.timeout {
            return Err(WireError::Unavailable {
                operation: std::mem::take(&mut self.operation),
                tries: self.tries,
                failures: std::mem::take(&mut self.failures).into(),
                elapsed,
                next: NEXT,
            });
        }
        tracing::debug!(
            operation = %self.operation,
            tries = self.tries,
            failure = self.failures.back().map(tracing::field::display),
            "retrying"
        );
        Ok(backoff)
    }

    fn add_failure(&mut self, error: WireError) {
        match error {
            WireError::Unavailable { failures, .. } => self.failures.extend(failures),
            error => self.failures.push_back(error.attempt(self.try_began.elapsed())),
        }
        while self.failures.len() > MAX_FAILURES {
            self.failures.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use kafka_direct_core::ErrorKind;

    use super::*;
    use crate::ClusterConfig;

    fn fault() -> WireError {
        let source = io::Error::from(io::ErrorKind::ConnectionReset);
        WireError::Connection { address: Arc::from("h:1"), action: "ListOffsets", source }
    }

    fn retry_with_timeout(seconds: u64) -> Retry {
        let config = ClusterConfig::new(["h:1"]).retry_timeout(Duration::from_secs(seconds));
        Retry::new(config.get_retry_policy(), "the request")
    }

    #[tokio::test(start_paused = true)]
    async fn backoff_doubles_up_to_the_longest_and_ends_within_the_retry_timeout() {
        let (mut retry, began) = (retry_with_timeout(10), Instant::now());
        let mut pauses = Vec::new();
        let end = loop {
            let before = Instant::now();
            match retry.pause(fault()).await {
                Ok(()) => pauses.push(before.elapsed().as_millis()),
                Err(error) => break error,
            }
        };
        assert_eq!(pauses[..6], [100, 200, 400, 800, 1000, 1000]);
        assert!(began.elapsed() <= Duration::from_secs(10));
        assert!(began.elapsed() > Duration::from_secs(8));
        assert_eq!(end.kind(), ErrorKind::Unavailable);
        let text = end.to_string();
        assert!(text.contains("the request") && text.contains("h:1"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_operation_is_run_with_fresh_metadata_after_each_failure() {
        let policy = ClusterConfig::new(["h:1"]).get_retry_policy();
        let began = Instant::now();
        let mut moments = Vec::new();
        let done = policy.run("the request", |refresh| {
            moments.push(match refresh {
                Refresh::IfUnknown => None,
                Refresh::NewerThan(moment) => Some((moment - began).as_millis()),
            });
            let is_last = moments.len() == 3;
            async move { if is_last { Ok(7) } else { Err(fault()) } }
        });
        assert_eq!(done.await.unwrap(), 7);
        assert_eq!(moments, [None, Some(0), Some(100)]);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_restarts_the_retry_timeout() {
        let (mut retry, began) = (retry_with_timeout(2), Instant::now());
        for _ in 0..100 {
            retry.pause(fault()).await.unwrap();
            retry.progress();
        }
        assert!(began.elapsed() >= Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn extending_the_deadline_adds_no_more_time_than_has_passed() {
        let mut retry = retry_with_timeout(2);
        retry.pause(fault()).await.unwrap();
        sleep(Duration::from_secs(100)).await;
        retry.extend_deadline(Duration::from_secs(100));
        retry.pause(fault()).await.unwrap();
        retry.extend_deadline(Duration::MAX);
        sleep(Duration::from_secs(3)).await;
        assert!(retry.pause(fault()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_error_is_returned_at_once() {
        let error = WireError::Config { setting: "x", reason: String::new() };
        let began = Instant::now();
        assert!(matches!(retry_with_timeout(10).pause(error).await, Err(WireError::Config { .. })));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
