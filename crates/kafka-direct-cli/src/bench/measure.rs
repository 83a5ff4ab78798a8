//! Measures one round: reads every range of the plan once and drops the batches.
//!
//! Contract: all rounds of a bench read the ranges of one plan. No task awaits while it holds a
//! batch, so memory does not grow with the number of ranges.

use std::{
    future::Future,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kafka_direct::{
    Batches, BoxError, Cluster, Codecs, FetchMetrics, KafkaRdd, Latency, Offset, PlannedRange,
};
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    limit::Limit,
    stop::{Bounds, Cut, StopRule},
    usage::{self, Cpu, CpuTime},
};
use crate::{exit::Failure, progress::Progress};

/// Initial interval between samples of the progress of a round.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);
/// At this many samples every second one is dropped and the interval doubles.
const MAX_SAMPLES: usize = 512;

/// What every round reads, and its limits.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) cluster: Cluster,
    pub(super) rdd: KafkaRdd,
    pub(super) bounds: Option<Bounds>,
    pub(super) max_mb_per_second: Option<NonZeroU64>,
}

/// The measurements of one round.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) wall: Duration,
    pub(super) cpu: Option<CpuTime>,
    pub(super) peak_rss_kib: Option<u64>,
    pub(super) requests: u64,
    pub(super) request_bytes: u64,
    pub(super) wire_bytes: u64,
    pub(super) throttled: Duration,
    pub(super) latency: Latency,
    /// In plan order; without ranges that had not started when the round was cut.
    pub(super) ranges: Vec<RangeRead>,
    pub(super) cut: Option<Cut>,
    pub(super) samples: Vec<Sample>,
}

/// The measurements of one range.
#[derive(Debug)]
pub(super) struct RangeRead {
    pub(super) planned: PlannedRange,
    pub(super) reached: Offset,
    /// Whether the round ended before all records below `reached` were counted, or before the rest
    /// was fetched.
    pub(super) cut: bool,
    pub(super) records: u64,
    pub(super) value_bytes: u64,
    pub(super) codecs: Codecs,
    pub(super) wall: Duration,
    pub(super) times: Times,
}

/// Time of the readers by activity.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) network_wait: Duration,
    pub(super) decompress: Duration,
    pub(super) decode: Duration,
    pub(super) hand_over: Duration,
    pub(super) paused: Duration,
}

/// The progress of a round at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) records: u64,
    pub(super) value_bytes: u64,
}

/// State that the readers of a round share.
#[derive(Debug)]
struct Round {
    cluster: Cluster,
    stop: StopRule,
    limit: Option<Limit>,
    progress: Progress,
    records: AtomicU64,
    value_bytes: AtomicU64,
    ranges: Mutex<Vec<RangeRead>>,
}

impl Reading {
    /// Reads all ranges once and measures it.
    pub(super) async fn round(&self, title: &str) -> Result<Measured, Failure> {
        let before = self.cluster.fetch_metrics();
        let round = Arc::new(Round {
            cluster: self.cluster.clone(),
            limit: self.max_mb_per_second.map(|mb| Limit::new(mb, before.response_bytes)),
            progress: Progress::titled(title, self.rdd.plan(), false),
            records: AtomicU64::new(0),
            value_bytes: AtomicU64::new(0),
            ranges: Mutex::default(),
            stop: StopRule::new(self.bounds),
        });
        let (cpu, began) = (Cpu::now(), Instant::now());
        let readers = Arc::clone(&round);
        let work = self.rdd.for_each_partition(move |planned, batches| {
            let round = Arc::clone(&readers);
            async move { round.read(planned, batches).await }
        });
        let (done, samples) = sampled(work, &round, began).await;
        let wall = began.elapsed();
        let cpu = cpu.and_then(|before| Some(Cpu::now()?.since(before)));
        round.progress.clear();
        done?;
        let after = self.cluster.fetch_metrics();
        let ranges = std::mem::take(&mut *round.ranges.lock());
        Ok(self.measured(&round, ranges, (before, after), wall, cpu, samples))
    }

    fn measured(
        &self,
        round: &Round,
        mut ranges: Vec<RangeRead>,
        (before, after): (FetchMetrics, FetchMetrics),
        wall: Duration,
        cpu: Option<CpuTime>,
        samples: Vec<Sample>,
    ) -> Measured {
        ranges.sort_by(|a, b| {
            let key = |read: &RangeRead| {
                (read.planned.topic_partition().clone(), read.planned.range().from())
            };
            key(a).cmp(&key(b))
        });
        let begun = ranges.len() == self.rdd.partitions().len();
        let all = begun && ranges.iter().all(|read| !read.cut);
        Measured {
            wall,
            cpu,
            peak_rss_kib: usage::peak_rss_kib(),
            requests: after.requests.saturating_sub(before.requests),
            request_bytes: after.request_bytes.saturating_sub(before.request_bytes),
            wire_bytes: after.response_bytes.saturating_sub(before.response_bytes),
            throttled: after.throttled.saturating_sub(before.throttled),
            latency: after.latency.since(&before.latency),
            ranges,
            cut: round.stop.reached().filter(|_| !all),
            samples,
        }
    }
}

impl Round {
    /// Reads one range, until its end or until the round reaches a bound.
    async fn read(&self, planned: PlannedRange, mut batches: Batches) -> Result<(), BoxError> {
        if self.stop.reached().is_some() {
            return Ok(());
        }
        let began = Instant::now();
        let (mut hand_over, mut paused) = (Duration::ZERO, Duration::ZERO);
        let (mut records, mut value_bytes, mut bytes) = (0u64, 0u64, 0u64);
        let mut cut = true;
        'range: while let Some(ready) = self.stop.in_time(batches.ready()).await {
            if !ready? {
                cut = false;
                break;
            }
            while let Some(batch) = batches.next_buffered()? {
                let handed = Instant::now();
                let counts = batches.counts();
                let more = counts.value_bytes.saturating_sub(value_bytes);
                self.records.fetch_add(counts.records.saturating_sub(records), Ordering::Relaxed);
                self.value_bytes.fetch_add(more, Ordering::Relaxed);
                self.stop.add(counts.decompressed_bytes.saturating_sub(bytes));
                (records, value_bytes) = (counts.records, counts.value_bytes);
                bytes = counts.decompressed_bytes;
                self.progress.update(&planned, &batches);
                drop(batch);
                let now = Instant::now();
                hand_over = hand_over.saturating_add(now.saturating_duration_since(handed));
                if self.stop.reached().is_some() {
                    break 'range;
                }
                if let Some(limit) = &self.limit {
                    let fetched = self.cluster.fetch_metrics().response_bytes;
                    let in_time = self.stop.in_time(limit.throttle(fetched)).await;
                    paused = paused.saturating_add(now.elapsed());
                    if in_time.is_none() {
                        break 'range;
                    }
                }
            }
        }
        self.progress.update(&planned, &batches);
        self.progress.finish(&planned);
        let (counts, times) = (batches.counts(), batches.times());
        let reached = batches.position();
        if cut && reached >= planned.range().until() {
            // The bound may have been reached with the last batch of the range.
            cut = batches.next_buffered()?.is_some();
        }
        let times = Times {
            network_wait: times.waiting,
            decompress: counts.decompress_time,
            decode: times.decoding.saturating_sub(counts.decompress_time),
            hand_over,
            paused,
        };
        let (wall, codecs) = (began.elapsed(), counts.codecs);
        let read = RangeRead { planned, reached, cut, records, value_bytes, codecs, wall, times };
        self.ranges.lock().push(read);
        Ok(())
    }

    fn sample(&self, began: Instant) -> Sample {
        Sample {
            at: began.elapsed(),
            records: self.records.load(Ordering::Relaxed),
            value_bytes: self.value_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Runs `work` and meanwhile samples the progress of `round`.
async fn sampled<T>(
    work: impl Future<Output = T>,
    round: &Round,
    began: Instant,
) -> (T, Vec<Sample>) {
    let mut samples = Vec::new();
    let sampling = async {
        let mut every = SAMPLE_INTERVAL;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            samples.push(round.sample(began));
            if samples.len() >= MAX_SAMPLES {
                thin_out(&mut samples);
                every = every.saturating_mul(2);
                ticks = interval(every);
                ticks.tick().await;
            }
        }
    };
    let done = tokio::select! {
        done = work => done,
        never = sampling => match never {},
    };
    samples.push(round.sample(began));
    (done, samples)
}

/// Drops every second sample.
fn thin_out(samples: &mut Vec<Sample>) {
    let mut keep = false;
    samples.retain(|_| {
        keep = !keep;
        keep
    });
}
