//! Draws progress bars on stderr if it is a terminal: one per planned range, or one for many.
//!
//! A bar counts offsets, because only their number is known in advance. Next to it are the records,
//! bytes and rates.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use kafka_direct::{BatchPlan, Batches, Counts, Offset, PlannedRange, TopicPartition};
use tokio::time::Instant;

use crate::output;

/// Maximum number of ranges that have bars of their own; more ranges share one bar.
const MAX_BARS: usize = 16;
/// Interval between redraws of the bars.
const TICK: Duration = Duration::from_millis(100);

/// The progress bars of one read; hidden unless stderr is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    ranges: HashMap<(TopicPartition, Offset), Bar>,
    total: ProgressBar,
    began: Instant,
    records: AtomicU64,
    value_bytes: AtomicU64,
}

/// The bar of one range, and what it has counted.
#[derive(Debug)]
struct Bar {
    bar: Option<ProgressBar>,
    /// Offsets, records and value bytes counted so far.
    seen: [AtomicU64; 3],
}

impl Progress {
    /// Creates bars for `plan`; they are hidden if `quiet` or if stderr is not a terminal.
    pub(crate) fn new(plan: &BatchPlan, quiet: bool) -> Self {
        Self::titled("total", plan, quiet)
    }

    /// Creates bars for `plan` as [`Progress::new`] does, with `title` on the bar of all ranges.
    pub(crate) fn titled(title: &str, plan: &BatchPlan, quiet: bool) -> Self {
        let visible = !quiet && output::stderr_is_terminal();
        let each = visible && plan.ranges().len() <= MAX_BARS && plan.ranges().len() > 1;
        let width = plan
            .ranges()
            .iter()
            .map(|planned| name(planned).len())
            .max()
            .unwrap_or(0)
            .max(title.len());
        let bar = |span: i64, prefix: String| {
            // A bar is drawn only after it is added to the container of all bars.
            let bar = ProgressBar::new(u64::try_from(span).unwrap_or(0)).with_style(style(width));
            let bar = output::bars().add(bar.with_prefix(prefix));
            bar.enable_steady_tick(TICK);
            bar
        };
        let ranges = plan.ranges().iter().map(|planned| {
            let bar = each.then(|| bar(planned.range().span(), name(planned)));
            let key = (planned.topic_partition().clone(), planned.range().from());
            (key, Bar { bar, seen: Default::default() })
        });
        let ranges = ranges.collect();
        let total =
            if visible { bar(plan.span(), title.to_owned()) } else { ProgressBar::hidden() };
        Self {
            ranges,
            total,
            began: Instant::now(),
            records: AtomicU64::new(0),
            value_bytes: AtomicU64::new(0),
        }
    }

    /// Updates the bar of `planned` from its reader.
    pub(crate) fn update(&self, planned: &PlannedRange, batches: &Batches) {
        self.advance(planned, batches.position(), batches.counts());
    }

    /// Updates the bar of `planned` from the position and the counts of its current attempt.
    pub(crate) fn advance(&self, planned: &PlannedRange, position: Offset, counts: Counts) {
        let range = planned.range();
        let done = position.distance_from(range.from()).clamp(0, range.span());
        let done = u64::try_from(done).unwrap_or(0);
        let Some(bar) = self.ranges.get(&(planned.topic_partition().clone(), range.from())) else {
            return;
        };
        let [offsets, records, bytes] = &bar.seen;
        let more = |counter: &AtomicU64, now: u64| {
            now.saturating_sub(counter.swap(now, Ordering::Relaxed))
        };
        self.total.inc(more(offsets, done));
        let all = add(&self.records, more(records, counts.records));
        let all_bytes = add(&self.value_bytes, more(bytes, counts.value_bytes));
        if let Some(bar) = &bar.bar {
            bar.set_position(done);
            bar.set_message(summary(counts.records, counts.value_bytes, None));
        }
        if !self.total.is_hidden() {
            self.total.set_message(summary(all, all_bytes, Some(self.began.elapsed())));
        }
    }

    /// Marks the range of `planned` as done.
    pub(crate) fn finish(&self, planned: &PlannedRange) {
        let key = (planned.topic_partition().clone(), planned.range().from());
        if let Some(bar) = self.ranges.get(&key).and_then(|range| range.bar.as_ref()) {
            bar.finish();
        }
    }

    /// Prints a summary of what was read, if bars were drawn.
    pub(crate) fn print_summary(&self) {
        if !self.total.is_hidden() {
            let (records, bytes) = (&self.records, &self.value_bytes);
            let elapsed = self.began.elapsed();
            let summary = summary(
                records.load(Ordering::Relaxed),
                bytes.load(Ordering::Relaxed),
                Some(elapsed),
            );
            output::note(&format!("{summary} in {elapsed:.1?}"));
        }
    }

    /// Removes the bars from the terminal.
    pub(crate) fn clear(&self) {
        for bar in self.ranges.values().filter_map(|range| range.bar.as_ref()) {
            bar.finish_and_clear();
        }
        self.total.finish_and_clear();
    }
}

/// Creates a bar for writing `records` records; hidden if stderr is not a terminal.
pub(crate) fn writing(records: u64) -> ProgressBar {
    if !output::stderr_is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(records).with_style(style(5));
    let bar = output::bars().add(bar.with_prefix("write"));
    bar.enable_steady_tick(TICK);
    bar
}

fn add(counter: &AtomicU64, more: u64) -> u64 {
    counter.fetch_add(more, Ordering::Relaxed).saturating_add(more)
}

fn name(planned: &PlannedRange) -> String {
    match planned.piece() {
        0 => planned.topic_partition().to_string(),
        piece => format!("{}.{piece}", planned.topic_partition()),
    }
}

fn summary(records: u64, bytes: u64, elapsed: Option<Duration>) -> String {
    let mut text = format!("{} records  {}", HumanCount(records), HumanBytes(bytes));
    if let Some(millis) = elapsed.map(|elapsed| elapsed.as_millis()).filter(|millis| *millis > 0) {
        let rate = u128::from(records).saturating_mul(1000).checked_div(millis).unwrap_or(0);
        text.push_str(&format!("  {}/s", HumanCount(u64::try_from(rate).unwrap_or(u64::MAX))));
    }
    text
}

fn style(width: usize) -> ProgressStyle {
    let template = format!("{{prefix:<{width}}} {{bar:24}} {{percent:>3}}%  {{msg}}");
    let style = ProgressStyle::with_template(&template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}
