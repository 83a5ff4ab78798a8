//! The figures of a round with their names and units, and their medians over several rounds.
//!
//! Contract: figures that `benches/floor` prints too have the same names and units here. An unknown
//! figure is `null`. The median is taken of each figure separately.

use std::time::Duration;

use kafka_direct::{Codecs, Latency};
use serde::Serialize;

use super::{
    measure::{Measured, RangeRead, Sample, Times},
    stop::Cut,
};

/// One measured round.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    client: &'static str,
    /// Number of the round, from 1; warm-up rounds are not counted.
    pub(super) round: u32,
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// The bound that ended the round before all its ranges were read.
    pub(super) cut: Option<Cut>,
    pub(super) partitions: Vec<Partition>,
    /// Codecs of the Kafka batches that were read.
    #[serde(skip)]
    pub(super) codecs: Codecs,
    #[serde(skip)]
    pub(super) samples: Vec<Sample>,
    #[serde(skip)]
    pub(super) latency: Latency,
}

/// The figures of one round, or their medians. An MB is 10^6 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Figures {
    pub(super) records: u64,
    pub(super) value_bytes: u64,
    pub(super) wire_bytes: u64,
    pub(super) requests: u64,
    pub(super) wall_s: f64,
    pub(super) user_s: Option<f64>,
    pub(super) system_s: Option<f64>,
    pub(super) cpu_us_per_record: Option<f64>,
    pub(super) user_us_per_record: Option<f64>,
    pub(super) system_us_per_record: Option<f64>,
    pub(super) cpu_cores_busy: Option<f64>,
    pub(super) peak_rss_kib: Option<u64>,
    pub(super) records_per_s: f64,
    pub(super) mb_per_s: f64,
    pub(super) wire_mb_per_s: f64,
    pub(super) request_bytes: u64,
    /// Throttle time that the brokers requested, summed over all brokers.
    pub(super) throttled_s: f64,
    pub(super) fetch_latency_ms: Percentiles,
    pub(super) reader_time_s: ReaderTime,
    pub(super) skew: Skew,
}

/// Percentiles of the fetch latency in milliseconds.
///
/// Each is an upper bound, at most an eighth too high; `None` if nothing was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: Option<f64>,
    pub(super) p90: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) max: Option<f64>,
}

/// Seconds that the readers spent per activity, summed over all ranges.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct ReaderTime {
    pub(super) network_wait: f64,
    pub(super) decompress: f64,
    pub(super) decode: f64,
    pub(super) hand_over: f64,
    pub(super) paused: f64,
}

/// How much the ranges with records differ in time and number of records.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Skew {
    pub(super) fastest_s: Option<f64>,
    pub(super) slowest_s: Option<f64>,
    pub(super) least_records: Option<u64>,
    pub(super) most_records: Option<u64>,
}

/// The figures of one planned range.
#[derive(Debug, Serialize)]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) partition: i32,
    #[serde(skip)]
    piece: u32,
    /// Start of the range, inclusive.
    pub(super) from: i64,
    /// End of the range, exclusive.
    pub(super) until: i64,
    /// Exclusive end of the offsets that were fetched.
    pub(super) reached: i64,
    /// Whether the round ended before all fetched records were counted, or before the rest was
    /// fetched.
    pub(super) cut: bool,
    pub(super) records: u64,
    pub(super) value_bytes: u64,
    /// Seconds from the start to the end of reading this range.
    pub(super) wall_s: f64,
}

impl Round {
    pub(super) fn new(round: u32, measured: Measured) -> Self {
        Self {
            client: "kafka-direct",
            round,
            figures: Figures::new(&measured),
            cut: measured.cut,
            partitions: measured.ranges.iter().map(Partition::new).collect(),
            codecs: measured.ranges.iter().fold(Codecs::default(), |all, r| all.with(r.codecs)),
            samples: measured.samples,
            latency: measured.latency,
        }
    }
}

impl Partition {
    fn new(read: &RangeRead) -> Self {
        let (topic_partition, range) = (read.planned.topic_partition(), read.planned.range());
        Self {
            topic: topic_partition.topic().to_owned(),
            partition: topic_partition.partition(),
            piece: read.planned.piece(),
            from: range.from().get(),
            until: range.until().get(),
            reached: read.reached.get(),
            cut: read.cut,
            records: read.records,
            value_bytes: read.value_bytes,
            wall_s: read.wall.as_secs_f64(),
        }
    }

    /// The name of the range, as progress bars show it.
    pub(super) fn name(&self) -> String {
        match self.piece {
            0 => format!("{}-{}", self.topic, self.partition),
            piece => format!("{}-{}.{piece}", self.topic, self.partition),
        }
    }

    /// Whether it is a whole partition of the same topic as `other`.
    pub(super) fn is_whole_of(&self, other: Option<&Self>) -> bool {
        self.piece == 0 && other.is_some_and(|other| other.topic == self.topic)
    }

    /// The fraction of the offsets that was read, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a fraction for display")]
    pub(super) fn read_fraction(&self) -> f64 {
        let span = self.until.saturating_sub(self.from).max(1);
        self.reached.saturating_sub(self.from) as f64 / span as f64
    }
}

impl Figures {
    fn new(measured: &Measured) -> Self {
        let records: u64 = measured.ranges.iter().map(|read| read.records).sum();
        let value_bytes: u64 = measured.ranges.iter().map(|read| read.value_bytes).sum();
        let wall_s = measured.wall.as_secs_f64();
        let cpu = measured.cpu;
        let system_s = cpu.and_then(|cpu| Some(cpu.total * cpu.system_fraction?));
        let user_s = cpu.and_then(|cpu| Some(cpu.total - system_s?));
        let per_record = |seconds: Option<f64>| {
            (records > 0).then_some(())?;
            Some(seconds? * 1e6 / float(records))
        };
        let per_second = |amount: f64| if wall_s > 0.0 { amount / wall_s } else { 0.0 };
        Self {
            records,
            value_bytes,
            wire_bytes: measured.wire_bytes,
            requests: measured.requests,
            wall_s,
            user_s,
            system_s,
            cpu_us_per_record: per_record(cpu.map(|cpu| cpu.total)),
            user_us_per_record: per_record(user_s),
            system_us_per_record: per_record(system_s),
            cpu_cores_busy: cpu.map(|cpu| per_second(cpu.total)),
            peak_rss_kib: measured.peak_rss_kib,
            records_per_s: per_second(float(records)),
            mb_per_s: per_second(float(value_bytes) / 1e6),
            wire_mb_per_s: per_second(float(measured.wire_bytes) / 1e6),
            request_bytes: measured.request_bytes,
            throttled_s: measured.throttled.as_secs_f64(),
            fetch_latency_ms: Percentiles::new(&measured.latency),
            reader_time_s: ReaderTime::new(&measured.ranges),
            skew: Skew::new(&measured.ranges),
        }
    }

    /// Returns the median of each figure; `None` if there are no rounds.
    pub(super) fn median(rounds: &[Round]) -> Option<Self> {
        let all = Rounds(rounds);
        rounds.first()?;
        Some(Self {
            records: all.count(|f| f.records),
            value_bytes: all.count(|f| f.value_bytes),
            wire_bytes: all.count(|f| f.wire_bytes),
            requests: all.count(|f| f.requests),
            wall_s: all.float(|f| f.wall_s),
            user_s: all.known(|f| f.user_s),
            system_s: all.known(|f| f.system_s),
            cpu_us_per_record: all.known(|f| f.cpu_us_per_record),
            user_us_per_record: all.known(|f| f.user_us_per_record),
            system_us_per_record: all.known(|f| f.system_us_per_record),
            cpu_cores_busy: all.known(|f| f.cpu_cores_busy),
            peak_rss_kib: median(all.each(|f| f.peak_rss_kib)),
            records_per_s: all.float(|f| f.records_per_s),
            mb_per_s: all.float(|f| f.mb_per_s),
            wire_mb_per_s: all.float(|f| f.wire_mb_per_s),
            request_bytes: all.count(|f| f.request_bytes),
            throttled_s: all.float(|f| f.throttled_s),
            fetch_latency_ms: Percentiles {
                p50: all.known(|f| f.fetch_latency_ms.p50),
                p90: all.known(|f| f.fetch_latency_ms.p90),
                p99: all.known(|f| f.fetch_latency_ms.p99),
                max: all.known(|f| f.fetch_latency_ms.max),
            },
            reader_time_s: ReaderTime {
                network_wait: all.float(|f| f.reader_time_s.network_wait),
                decompress: all.float(|f| f.reader_time_s.decompress),
                decode: all.float(|f| f.reader_time_s.decode),
                hand_over: all.float(|f| f.reader_time_s.hand_over),
                paused: all.float(|f| f.reader_time_s.paused),
            },
            skew: Skew {
                fastest_s: all.known(|f| f.skew.fastest_s),
                slowest_s: all.known(|f| f.skew.slowest_s),
                least_records: median(all.each(|f| f.skew.least_records)),
                most_records: median(all.each(|f| f.skew.most_records)),
            },
        })
    }
}

/// The rounds whose medians are taken.
#[derive(Clone, Copy)]
struct Rounds<'a>(&'a [Round]);

impl Rounds<'_> {
    fn each<T>(&self, figure: impl Fn(&Figures) -> Option<T>) -> Vec<T> {
        self.0.iter().filter_map(|round| figure(&round.figures)).collect()
    }

    fn count(&self, figure: impl Fn(&Figures) -> u64) -> u64 {
        median(self.each(|figures| Some(figure(figures)))).unwrap_or_default()
    }

    fn float(&self, figure: impl Fn(&Figures) -> f64) -> f64 {
        self.known(|figures| Some(figure(figures))).unwrap_or_default()
    }

    fn known(&self, figure: impl Fn(&Figures) -> Option<f64>) -> Option<f64> {
        median(self.each(figure))
    }
}

/// Returns the median; of an even number the lower middle value, so that it is a measured one.
fn median<T: PartialOrd + Copy>(mut all: Vec<T>) -> Option<T> {
    all.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    all.get(all.len().saturating_sub(1) / 2).copied()
}

impl Percentiles {
    fn new(latency: &Latency) -> Self {
        let at = |percent| latency.percentile(percent).map(|bound| bound.as_secs_f64() * 1e3);
        Self { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

impl ReaderTime {
    fn new(ranges: &[RangeRead]) -> Self {
        let sum = |part: fn(&Times) -> Duration| {
            ranges.iter().map(|read| part(&read.times)).sum::<Duration>().as_secs_f64()
        };
        Self {
            network_wait: sum(|times| times.network_wait),
            decompress: sum(|times| times.decompress),
            decode: sum(|times| times.decode),
            hand_over: sum(|times| times.hand_over),
            paused: sum(|times| times.paused),
        }
    }

    pub(super) const fn total(&self) -> f64 {
        self.network_wait + self.decompress + self.decode + self.hand_over + self.paused
    }
}

impl Skew {
    fn new(ranges: &[RangeRead]) -> Self {
        let read = || ranges.iter().filter(|read| read.records > 0);
        Self {
            fastest_s: read().map(|read| read.wall).min().map(|wall| wall.as_secs_f64()),
            slowest_s: read().map(|read| read.wall).max().map(|wall| wall.as_secs_f64()),
            least_records: read().map(|read| read.records).min(),
            most_records: read().map(|read| read.records).max(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for display")]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_a_measured_figure() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4, 1, 3, 2]), Some(2));
        assert_eq!(median(vec![7]), Some(7));
        assert_eq!(median::<u64>(Vec::new()), None);
    }
}
