//! What the fetch path counted: plain counters, read at any time, never reset.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Buckets of the latency histogram: bucket `i` holds answers of `[2^i, 2^(i+1))` microseconds.
const BUCKETS: usize = 32;

/// Counters of one cluster's fetches.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) requests: AtomicU64,
    pub(crate) request_bytes: AtomicU64,
    pub(crate) response_bytes: AtomicU64,
    pub(crate) empty_answers: AtomicU64,
    pub(crate) recoveries: AtomicU64,
    pub(crate) throttled_ms: AtomicU64,
    latency: [AtomicU64; BUCKETS],
}

impl Metrics {
    pub(crate) fn add(counter: &AtomicU64, by: usize) {
        counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn answered_after(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        let bucket = usize::try_from(micros.ilog2()).unwrap_or(0).min(BUCKETS.wrapping_sub(1));
        if let Some(bucket) = self.latency.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self, queued_bytes: i64, peak_queued_bytes: i64) -> FetchMetrics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FetchMetrics {
            requests: load(&self.requests),
            request_bytes: load(&self.request_bytes),
            response_bytes: load(&self.response_bytes),
            empty_answers: load(&self.empty_answers),
            recoveries: load(&self.recoveries),
            throttled: Duration::from_millis(load(&self.throttled_ms)),
            queued_bytes,
            peak_queued_bytes,
            latency: Latency(self.latency.iter().map(load).collect()),
        }
    }
}

/// What the fetch path of a cluster did since it was connected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchMetrics {
    /// Fetch requests sent.
    pub requests: u64,
    /// Bytes of those requests, framing included.
    pub request_bytes: u64,
    /// Bytes of the answers, framing included.
    pub response_bytes: u64,
    /// Partitions that came back without a batch.
    pub empty_answers: u64,
    /// Times a range had to look again for its leader or its log's bounds.
    pub recoveries: u64,
    /// Time brokers told us to wait.
    pub throttled: Duration,
    /// Bytes in flight and queued now.
    pub queued_bytes: i64,
    /// The most that was ever in flight and queued.
    pub peak_queued_bytes: i64,
    /// Time from a request to the end of its answer.
    pub latency: Latency,
}

/// A histogram of fetch latencies in powers of two of microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency(Vec<u64>);

impl Latency {
    /// An upper bound of the given percentile (0 to 100), `None` before the first answer. Exact to
    /// a factor of two.
    #[must_use]
    pub fn percentile(&self, percent: u32) -> Option<Duration> {
        let total: u64 = self.0.iter().sum();
        let wanted = total.saturating_mul(u64::from(percent.min(100))).div_ceil(100).max(1);
        let mut seen = 0u64;
        self.0.iter().zip(0u32..).find_map(|(count, bucket)| {
            seen = seen.saturating_add(*count);
            (total > 0 && seen >= wanted)
                .then(|| Duration::from_micros(2u64.saturating_pow(bucket.saturating_add(1))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_bound_what_was_measured() {
        let metrics = Metrics::default();
        assert_eq!(metrics.read(0, 0).latency.percentile(50), None);
        for millis in [1, 1, 1, 900] {
            metrics.answered_after(Duration::from_millis(millis));
        }
        let latency = metrics.read(0, 0).latency;
        assert_eq!(latency.percentile(50), Some(Duration::from_micros(1024)));
        assert!(latency.percentile(99).unwrap() >= Duration::from_millis(900));
    }
}
