//! What the fetch path counted: plain counters, read at any time, never reset.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use kafka_direct_core::BufferPool;

use super::budget::Budget;

/// Buckets a power of two is divided into, itself a power of two.
const PARTS: u64 = 8;
const PARTS_LOG2: u32 = PARTS.ilog2();
/// Buckets of the latency histogram: up to `2^32` microseconds, which is over an hour.
const BUCKETS: usize = 240;

/// The bucket of a latency in microseconds: exact below [`PARTS`], an eighth of a power of two above.
fn bucket(micros: u64) -> usize {
    let shift = micros.max(1).ilog2().saturating_sub(PARTS_LOG2);
    let index = u64::from(shift) * PARTS + (micros >> shift);
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The latencies of bucket `index`, in microseconds.
fn bucket_range(index: u64) -> Range<u64> {
    let shift = (index / PARTS).saturating_sub(1);
    let front = index - shift * PARTS;
    front << shift..(front + 1) << shift
}

/// Counters of one cluster's fetches.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) requests: AtomicU64,
    pub(crate) request_bytes: AtomicU64,
    pub(crate) response_bytes: AtomicU64,
    pub(crate) empty_responses: AtomicU64,
    pub(crate) recoveries: AtomicU64,
    pub(crate) throttled_ms: AtomicU64,
    latency: [AtomicU64; BUCKETS],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: AtomicU64::default(),
            request_bytes: AtomicU64::default(),
            response_bytes: AtomicU64::default(),
            empty_responses: AtomicU64::default(),
            recoveries: AtomicU64::default(),
            throttled_ms: AtomicU64::default(),
            latency: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

impl Metrics {
    pub(crate) fn add(counter: &AtomicU64, by: usize) {
        counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn answered_after(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.latency.get(bucket(micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters, beside what the budget and the pool know.
    pub(crate) fn read(&self, budget: &Budget, pool: &BufferPool) -> FetchMetrics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FetchMetrics {
            requests: load(&self.requests),
            request_bytes: load(&self.request_bytes),
            response_bytes: load(&self.response_bytes),
            empty_responses: load(&self.empty_responses),
            recoveries: load(&self.recoveries),
            throttled: Duration::from_millis(load(&self.throttled_ms)),
            queued_bytes: budget.used(),
            peak_queued_bytes: budget.peak_used(),
            held_bytes: u64::try_from(pool.lent_bytes()).unwrap_or(u64::MAX),
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
    /// Bytes of the responses, framing included.
    pub response_bytes: u64,
    /// Partitions that came back without a batch.
    pub empty_responses: u64,
    /// Times a range had to look again for its leader or its log's bounds.
    pub recoveries: u64,
    /// Time brokers told us to wait.
    pub throttled: Duration,
    /// Bytes in flight and queued now: what the memory budget bounds.
    pub queued_bytes: i64,
    /// The most that was ever in flight and queued.
    pub peak_queued_bytes: i64,
    /// Bytes of buffers that somebody holds now: queues, readers that decode, and whoever keeps
    /// Arrow batches, whose values point into them. The budget bounds only those in queues, so that
    /// kept batches stop nobody. Buffers under 32 KiB are not counted, nor what Arrow builds itself.
    pub held_bytes: u64,
    /// Time from a request to the end of its response.
    pub latency: Latency,
}

/// A histogram of fetch latencies: exact to an eighth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency(Vec<u64>);

impl Latency {
    /// An upper bound of the given percentile (0 to 100), `None` before the first response. At most an
    /// eighth above what was measured.
    #[must_use]
    pub fn percentile(&self, percent: u32) -> Option<Duration> {
        let total: u64 = self.0.iter().sum();
        let wanted = total.saturating_mul(u64::from(percent.min(100))).div_ceil(100).max(1);
        let mut seen = 0u64;
        self.buckets().find_map(|(bucket, count)| {
            seen = seen.saturating_add(count);
            (seen >= wanted).then_some(bucket.end)
        })
    }

    /// What was measured after `earlier`, a copy of the same histogram that was taken before.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.0.iter().copied().chain(std::iter::repeat(0));
        Self(self.0.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect())
    }

    /// The buckets that hold any response, in order: which latencies they hold, and how many there
    /// were.
    pub fn buckets(&self) -> impl Iterator<Item = (Range<Duration>, u64)> + '_ {
        let buckets = (0u64..).map(|index| {
            let Range { start, end } = bucket_range(index);
            Duration::from_micros(start)..Duration::from_micros(end)
        });
        buckets.zip(self.0.iter().copied()).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(metrics: &Metrics) -> Latency {
        metrics.read(&Budget::new(1), &BufferPool::new(1)).latency
    }

    #[test]
    fn percentiles_bound_what_was_measured() {
        let metrics = Metrics::default();
        assert_eq!(latency(&metrics).percentile(50), None);
        for millis in [1, 1, 1, 900] {
            metrics.answered_after(Duration::from_millis(millis));
        }
        let latency = latency(&metrics);
        assert_eq!(latency.percentile(50), Some(Duration::from_micros(1024)));
        assert!(latency.percentile(99).unwrap() >= Duration::from_millis(900));
    }
    #[test]
    fn a_bucket_is_at_most_an_eighth_of_what_it_holds() {
        for micros in (0..5000).chain([1 << 20, (1 << 32) - 1]) {
            let range = bucket_range(u64::try_from(bucket(micros)).unwrap());
            assert!(range.contains(&micros), "{micros}: {range:?}");
            assert!(range.end - range.start <= micros / 8 + 1, "{micros}: {range:?}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_difference_holds_what_came_between() {
        let metrics = Metrics::default();
        metrics.answered_after(Duration::from_secs(9));
        let before = latency(&metrics);
        for millis in [3, 3, 40] {
            metrics.answered_after(Duration::from_millis(millis));
        }
        let between = latency(&metrics).since(&before);
        assert_eq!(between.buckets().map(|(_, count)| count).collect::<Vec<_>>(), [2, 1]);
        assert!(between.percentile(50).unwrap() <= Duration::from_micros(3375));
        assert!(between.percentile(100).unwrap() <= Duration::from_millis(45));
        assert_eq!(before.since(&before).percentile(50), None);
    }
}
