//! Counters of the fetch path. They can be read at any time and are never reset.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use kafka_direct_core::BufferPool;

use super::budget::Budget;

/// The number of buckets per power of two of the latency. It is a power of two itself.
const PARTS: u64 = 8;
const PARTS_LOG2: u32 = PARTS.ilog2();
/// The number of buckets of the latency histogram. They hold latencies below `2^32` microseconds,
/// over an hour; the last bucket also holds longer ones.
const BUCKETS: usize = 240;

/// Returns the bucket of a latency in microseconds. Buckets are exact below [`PARTS`] and span an
/// eighth of a power of two above.
fn bucket(micros: u64) -> usize {
    let shift = micros.max(1).ilog2().saturating_sub(PARTS_LOG2);
    let index = u64::from(shift) * PARTS + (micros >> shift);
    usize::try_from(index).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// Returns the latencies of bucket `index`, in microseconds; the end is exclusive.
fn bucket_range(index: u64) -> Range<u64> {
    let shift = (index / PARTS).saturating_sub(1);
    let front = index - shift * PARTS;
    front << shift..(front + 1) << shift
}

/// The counters of one cluster's fetches, shared by its lanes and readers.
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

    /// Adds a response to the latency histogram.
    pub(crate) fn record_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.latency.get(bucket(micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the counters, together with those of the budget and the pool.
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
            carried_bytes: 0,
            held_bytes: u64::try_from(pool.lent_bytes()).unwrap_or(u64::MAX),
            latency: Latency(self.latency.iter().map(load).collect()),
        }
    }
}

/// Counters of a cluster's fetch path since it was connected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchMetrics {
    /// Fetch requests sent.
    pub requests: u64,
    /// Bytes of those requests, framing included.
    pub request_bytes: u64,
    /// Bytes of the responses, framing included.
    pub response_bytes: u64,
    /// Partitions of responses that had no batch to deliver.
    pub empty_responses: u64,
    /// How often a range had to look up its leader or its log's bounds again.
    pub recoveries: u64,
    /// Sum of the throttle times that brokers sent.
    pub throttled: Duration,
    /// Bytes in flight, queued, and kept for later ranges now. The memory budget bounds them.
    pub queued_bytes: i64,
    /// The highest number of these bytes at once.
    pub peak_queued_bytes: i64,
    /// Bytes that are kept now for the next batch of a stream: at most a third of the memory budget.
    pub carried_bytes: u64,
    /// Bytes of buffers that are in use now. Queues, readers that decode, and Arrow batches, whose
    /// values point into buffers, use them. The budget bounds only those in queues, so that kept
    /// batches block no reader. Not counted are buffers under 32 KiB and buffers that Arrow
    /// allocates.
    pub held_bytes: u64,
    /// Histogram of the times from a request to the end of its response.
    pub latency: Latency,
}

/// A histogram of fetch latencies with a precision of an eighth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency(Vec<u64>);

impl Latency {
    /// Returns an upper bound of the given percentile (0 to 100); `None` before the first response.
    /// The bound is at most an eighth above the measured latency.
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

    /// Returns the latencies that were measured after `earlier`, an earlier copy of this histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.0.iter().copied().chain(std::iter::repeat(0));
        Self(self.0.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect())
    }

    /// Returns the buckets that are not empty, in order: the range of their latencies, and the
    /// number of responses.
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
    fn percentiles_are_upper_bounds_of_the_latencies() {
        let metrics = Metrics::default();
        assert_eq!(latency(&metrics).percentile(50), None);
        for millis in [1, 1, 1, 900] {
            metrics.record_latency(Duration::from_millis(millis));
        }
        let latency = latency(&metrics);
        assert_eq!(latency.percentile(50), Some(Duration::from_micros(1024)));
        assert!(latency.percentile(99).unwrap() >= Duration::from_millis(900));
    }

    #[test]
    fn a_bucket_spans_at_most_an_eighth_of_its_latencies() {
        for micros in (0..5000).chain([1 << 20, (1 << 32) - 1]) {
            let range = bucket_range(u64::try_from(bucket(micros)).unwrap());
            assert!(range.contains(&micros), "{micros}: {range:?}");
            assert!(range.end - range.start <= micros / 8 + 1, "{micros}: {range:?}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_difference_holds_the_latencies_between_two_copies() {
        let metrics = Metrics::default();
        metrics.record_latency(Duration::from_secs(9));
        let before = latency(&metrics);
        for millis in [3, 3, 40] {
            metrics.record_latency(Duration::from_millis(millis));
        }
        let between = latency(&metrics).since(&before);
        assert_eq!(between.buckets().map(|(_, count)| count).collect::<Vec<_>>(), [2, 1]);
        assert!(between.percentile(50).unwrap() <= Duration::from_micros(3375));
        assert!(between.percentile(100).unwrap() <= Duration::from_millis(45));
        assert_eq!(before.since(&before).percentile(50), None);
    }
}
