//! Formats figures as rows of the tables on stdout and in the report.
//!
//! Contract: every number has its unit, in its cell or label. An unknown figure is shown as such.

use std::fmt::Write as _;

use indicatif::{HumanBytes, HumanCount};

use super::{
    figures::{Figures, Partition, Round, float},
    stop::Cut,
};
use crate::output::Columns;

/// Rounds that fit side by side on a terminal of 100 columns.
const MAX_COLUMNS: usize = 4;
/// Maximum number of partitions that are listed.
const MAX_PARTITIONS: usize = 16;

/// Column heads for the cells of [`partition`].
pub(super) const PARTITION_HEADS: [&str; 6] =
    ["partition", "records", "values, MB", "time", "records per second", "read"];

const UNKNOWN: &str = "unknown";

/// A label and its text; a heading has no text.
pub(super) type Row = (&'static str, Option<String>);

/// Returns the rows for the figures of one round, or for the medians.
pub(super) fn rows(figures: &Figures) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |label, text| rows.push((label, Some(text)));
    row("records", HumanCount(figures.records).to_string());
    row("wall time", seconds(figures.wall_s));
    row("records per second", whole(figures.records_per_s));
    row("values, MB per second", decimal(figures.mb_per_s));
    row("CPU time per record", micros(figures.cpu_us_per_record));
    row("  in this program and libraries", micros(figures.user_us_per_record));
    row("  in the operating system", micros(figures.system_us_per_record));
    let cores = figures.cpu_cores_busy;
    row("CPU cores kept busy", cores.map_or_else(unknown, |cores| format!("{cores:.2}")));
    let peak = figures.peak_rss_kib.map(|kib| HumanBytes(kib.saturating_mul(1024)).to_string());
    row("peak memory of the process", peak.unwrap_or_else(unknown));
    row("fetch requests", HumanCount(figures.requests).to_string());
    row("on the wire, MB", decimal(float(figures.wire_bytes) / 1e6));
    row("on the wire, MB per second", decimal(figures.wire_mb_per_s));
    if figures.throttled_s > 0.0 {
        row("throttled by the brokers' quota", seconds(figures.throttled_s));
    }
    let latency = figures.fetch_latency_ms;
    rows.push(("latency of a fetch", None));
    let mut row = |label, text| rows.push((label, Some(text)));
    row("  half are below (p50)", millis(latency.p50));
    row("  90 % are below (p90)", millis(latency.p90));
    row("  99 % are below (p99)", millis(latency.p99));
    row("  all are below (max)", millis(latency.max));
    let time = figures.reader_time_s;
    let percent = |part: f64| format!("{:.1} %", 100.0 * part / time.total().max(1e-9));
    rows.push(("time of the readers", None));
    let mut row = |label, text| rows.push((label, Some(text)));
    row("  waiting for the network", percent(time.network_wait));
    row("  decompressing", percent(time.decompress));
    row("  decoding, checksums included", percent(time.decode));
    row("  handing over", percent(time.hand_over));
    if time.paused > 0.0 {
        row("  paused by --max-mb-per-second", percent(time.paused));
    }
    let skew = figures.skew;
    rows.push(("skew of the partitions", None));
    let mut row = |label, text| rows.push((label, Some(text)));
    row("  slowest partition", skew.slowest_s.map_or_else(nothing, seconds));
    row("  fastest partition", skew.fastest_s.map_or_else(nothing, seconds));
    let count = |count: Option<u64>| count.map_or_else(nothing, |n| HumanCount(n).to_string());
    row("  most records", count(skew.most_records));
    row("  fewest records", count(skew.least_records));
    rows
}

/// Formats all rounds and their medians side by side; of many rounds only the fastest and the
/// slowest.
pub(super) fn rounds(rounds: &[Round], median: &Figures) -> String {
    let mut columns: Vec<(String, &Figures)> = if rounds.len() <= MAX_COLUMNS {
        rounds.iter().map(|round| (format!("round {}", round.round), &round.figures)).collect()
    } else {
        let by_time = |a: &&Round, b: &&Round| a.figures.wall_s.total_cmp(&b.figures.wall_s);
        let named = |name: &str, round: &'_ Round| format!("{name} ({})", round.round);
        let fastest = rounds.iter().min_by(by_time);
        let slowest = rounds.iter().max_by(by_time);
        fastest
            .map(|round| (named("fastest", round), &round.figures))
            .into_iter()
            .chain(slowest.map(|round| (named("slowest", round), &round.figures)))
            .collect()
    };
    if rounds.len() > 1 {
        columns.push(("median".to_owned(), median));
    }
    let heads: Vec<&str> =
        std::iter::once("").chain(columns.iter().map(|(head, _)| head.as_str())).collect();
    let mut table = Columns::new(&heads);
    let cells: Vec<Vec<Row>> = columns.iter().map(|(_, figures)| rows(figures)).collect();
    // Only a throttled or paused round has the row for it.
    let longest = cells.iter().max_by_key(|rows| rows.len());
    for (label, _) in longest.into_iter().flatten() {
        let cell = |rows: &Vec<Row>| {
            let row = rows.iter().find(|(own, _)| own == label);
            row.and_then(|(_, text)| text.clone()).unwrap_or_default()
        };
        table.row(std::iter::once((*label).to_owned()).chain(cells.iter().map(cell)));
    }
    table.finish()
}

/// Formats the partitions of a round, slowest first.
pub(super) fn partitions(round: &Round) -> String {
    let mut all: Vec<&Partition> = round.partitions.iter().collect();
    all.sort_by(|a, b| b.wall_s.total_cmp(&a.wall_s));
    let mut table = Columns::new(&PARTITION_HEADS);
    for part in all.iter().take(MAX_PARTITIONS) {
        table.row(partition(part));
    }
    let mut text = table.finish();
    if all.len() > MAX_PARTITIONS {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "... {} more, all faster", all.len().saturating_sub(MAX_PARTITIONS));
    }
    text
}

/// Returns the cells of one partition.
pub(super) fn partition(part: &Partition) -> [String; 6] {
    [
        part.name(),
        HumanCount(part.records).to_string(),
        decimal(float(part.value_bytes) / 1e6),
        seconds(part.wall_s),
        whole(float(part.records) / part.wall_s.max(1e-9)),
        format!("{:.0} %", (100.0 * part.read_fraction()).floor()),
    ]
}

/// Describes why and where a round was cut; `None` if it was not.
pub(super) fn cut(round: &Round, ranges: usize) -> Option<String> {
    const MAX: usize = 8;
    let why = match round.cut? {
        Cut::Time => "30 s",
        Cut::Bytes => "10 GiB of records",
    };
    let cut: Vec<&Partition> = round.partitions.iter().filter(|part| part.cut).collect();
    let mut text =
        format!("round {} was cut after {why}; pass --all to read everything", round.round);
    if !cut.is_empty() {
        text.push_str(". Not read to the end: ");
    }
    let parts: Vec<String> = cut
        .iter()
        .take(MAX)
        .map(|part| format!("{} up to {} of {}", part.name(), part.reached, part.until))
        .collect();
    text.push_str(&parts.join(", "));
    let more = cut.len().saturating_sub(MAX);
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    let not_started = ranges.saturating_sub(round.partitions.len());
    if not_started > 0 {
        let ranges = if not_started == 1 { "range was" } else { "ranges were" };
        let _ = write!(text, "; {not_started} {ranges} not started");
    }
    Some(text)
}

fn unknown() -> String {
    UNKNOWN.to_owned()
}

fn nothing() -> String {
    "-".to_owned()
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}

fn micros(micros: Option<f64>) -> String {
    micros.map_or_else(unknown, |micros| format!("{micros:.3} µs"))
}

fn millis(millis: Option<f64>) -> String {
    millis.map_or_else(nothing, |millis| format!("{millis:.1} ms"))
}

fn decimal(number: f64) -> String {
    if number < 100.0 { format!("{number:.1}") } else { whole(number) }
}

fn whole(number: f64) -> String {
    let rounded = std::time::Duration::try_from_secs_f64(number.round());
    rounded.map_or_else(|_| nothing(), |whole| HumanCount(whole.as_secs()).to_string())
}
