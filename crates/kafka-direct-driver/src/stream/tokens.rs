//! [`TokenBuckets`] limit the rate of each partition over many batches of any duration.
//!
//! One token is one offset. Fractions of a token carry over to the next batch, so that 10 records per
//! second in batches of 15 ms are 0.15 a batch, and neither 0 nor 1.

use std::{collections::BTreeMap, time::Duration};

use kafka_direct_core::TopicPartition;

use crate::stream::share::whole;

/// A bucket holds the tokens of this time, unless the batch interval is longer.
const BURST: Duration = Duration::from_secs(1);
/// The interval of a stream without one.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// A bucket holds at least this many tokens, since a batch takes only whole ones.
const MIN_BURST: f64 = 1.0;

/// The token buckets of a stream's partitions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenBuckets {
    interval: Duration,
    filled_at: Option<Duration>,
    tokens: BTreeMap<TopicPartition, Bucket>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    tokens: f64,
    /// Tokens per second.
    rate: f64,
}

impl TokenBuckets {
    /// Creates empty buckets. `interval` is the batch interval; `None` counts as 1 s.
    pub(crate) fn new(interval: Option<Duration>) -> Self {
        let interval = interval.unwrap_or(DEFAULT_INTERVAL);
        Self { interval, filled_at: None, tokens: BTreeMap::new() }
    }

    /// The rate of this many tokens per batch interval.
    pub(crate) fn per_second(&self, tokens: u64) -> f64 {
        tokens as f64 / self.interval.as_secs_f64()
    }

    /// Fills the buckets of exactly these partitions for the time since the last fill, at `rates` in
    /// tokens per second. Drops all other buckets.
    ///
    /// - A bucket holds the tokens of 1 s, or of the batch interval if that is longer, so that a pause
    ///   adds no more than that.
    /// - A new bucket gets the tokens of one batch interval.
    /// - `now` is the time since any fixed moment. A `now` before the last one fills nothing.
    pub(crate) fn fill(
        &mut self,
        now: Duration,
        rates: impl IntoIterator<Item = (TopicPartition, f64)>,
    ) {
        let longest = self.interval.max(BURST);
        let elapsed = self.filled_at.map(|then| now.saturating_sub(then));
        self.filled_at = Some(now);
        let mut before = std::mem::take(&mut self.tokens);
        for (topic_partition, rate) in rates {
            let burst = (rate * longest.as_secs_f64()).max(MIN_BURST);
            let tokens = match (before.remove(&topic_partition), elapsed) {
                (Some(bucket), Some(elapsed)) => bucket.tokens + rate * elapsed.as_secs_f64(),
                _ => rate * self.interval.as_secs_f64(),
            };
            let bucket = Bucket { tokens: tokens.min(burst), rate };
            self.tokens.insert(topic_partition, bucket);
        }
    }

    /// How many whole tokens a partition has; `None` if it has no bucket, and so no limit.
    pub(crate) fn available(&self, topic_partition: &TopicPartition) -> Option<u64> {
        self.tokens.get(topic_partition).map(|bucket| whole(bucket.tokens))
    }

    /// Takes tokens out of a partition's bucket.
    pub(crate) fn take(&mut self, topic_partition: &TopicPartition, tokens: u64) {
        if let Some(bucket) = self.tokens.get_mut(topic_partition) {
            bucket.tokens = (bucket.tokens - tokens as f64).max(0.0);
        }
    }

    /// How long until a partition has one whole token; 0 if it has one.
    pub(crate) fn time_to_next(&self, topic_partition: &TopicPartition) -> Option<Duration> {
        let bucket = self.tokens.get(topic_partition)?;
        let missing = (1.0 - bucket.tokens).max(0.0);
        Duration::try_from_secs_f64(missing / bucket.rate).ok()
    }
}
