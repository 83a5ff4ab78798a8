//! Draws the plots of the report as SVG, with colours from the style sheet of the page.
//!
//! Contract: a plot has axes and units and refers to nothing outside the page. Its colours are
//! placeholders, which [`STYLE`] replaces; the page must contain that style.

use std::{collections::BTreeMap, time::Duration};

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::types::RangedCoordf64,
    element::Rectangle,
    prelude::{Cartesian2d, IntoDrawingArea as _, SVGBackend},
    series::LineSeries,
    style::{Color as _, IntoFont as _, RGBColor, ShapeStyle, TRANSPARENT, TextStyle},
};

use super::{
    figures::{Partition, Round, float},
    measure::Sample,
};
use crate::exit::Failure;

/// CSS that replaces the placeholder colours of the plots by the light or dark ones of the page.
pub(super) const STYLE: &str = "\
svg { display: block; width: 100%; height: auto }
svg [fill=\"#010101\"] { fill: var(--text) }
svg [stroke=\"#020202\"] { stroke: var(--line) }
svg [fill=\"#030300\"] { fill: var(--series-1) }
svg [stroke=\"#030300\"] { stroke: var(--series-1) }
svg [stroke=\"#030301\"] { stroke: var(--series-2) }
svg [stroke=\"#030302\"] { stroke: var(--series-3) }
svg [stroke=\"#030303\"] { stroke: var(--series-4) }
";
const TEXT: RGBColor = RGBColor(1, 1, 1);
const LINE: RGBColor = RGBColor(2, 2, 2);
/// Number of line colours; with more rounds the colours repeat.
pub(super) const SERIES: u8 = 4;

/// Size of a plot in pixels: as wide as the page, and half as wide.
const WIDE: (u32, u32) = (900, 300);
const NARROW: (u32, u32) = (440, 260);
/// Maximum number of points of one line, so that it stays readable.
const MAX_POINTS: usize = 90;
/// With at most this many bars, each bar has its own label.
const MAX_NAMES: usize = 16;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Plots value bytes per second over the time of each round; records if no value was read.
pub(super) fn throughput(rounds: &[Round]) -> Result<String, Failure> {
    let values = rounds.iter().any(|round| round.figures.value_bytes > 0);
    let amount = |sample: &Sample| match values {
        true => float(sample.value_bytes) / 1e6,
        false => float(sample.records) / 1e3,
    };
    let lines: Vec<Vec<(f64, f64)>> =
        rounds.iter().map(|round| rates(&round.samples, amount)).collect();
    let most = |axis: fn(&(f64, f64)) -> f64| lines.iter().flatten().map(axis).fold(0.0, f64::max);
    let unit = if values { "MB of values per second" } else { "thousand records per second" };
    let axes = Axes {
        x: (0.0, most(|point| point.0)),
        y: most(|point| point.1),
        x_labels: 12,
        size: WIDE,
        x_unit: "seconds since the start of the round",
        y_unit: unit,
        x_label: &number,
    };
    axes.draw(|chart| {
        for (line, series) in lines.iter().zip((0..SERIES).cycle()) {
            let style = RGBColor(3, 3, series).stroke_width(2);
            chart.draw_series(LineSeries::new(line.iter().copied(), style))?;
        }
        Ok(())
    })
}

/// Plots one bar per planned range.
pub(super) fn partitions(
    parts: &[Partition],
    y_unit: &str,
    figure: impl Fn(&Partition) -> f64,
) -> Result<String, Failure> {
    let bars: Vec<f64> = parts.iter().map(figure).collect();
    let one_topic = parts.iter().all(|part| part.is_whole_of(parts.first()));
    let numbers: Vec<String> = parts.iter().map(|part| part.partition.to_string()).collect();
    let named = one_topic && parts.len() <= MAX_NAMES;
    let count = float(u64::try_from(parts.len()).unwrap_or(0));
    let label = |x: f64| -> String {
        let names = numbers.iter().zip(0u64..);
        let at = |index: u64| (x - float(index)).abs() < 1e-6;
        names.filter(|(_, index)| at(*index)).map(|(name, _)| name.as_str()).collect()
    };
    let axes = Axes {
        x: (-0.6, count - 0.4),
        y: bars.iter().copied().fold(0.0, f64::max),
        x_labels: if named { MAX_NAMES } else { 8 },
        size: NARROW,
        x_unit: if named { "partition" } else { "ranges in the order of the plan" },
        y_unit,
        x_label: if named { &label } else { &number },
    };
    axes.draw(|chart| {
        let bars = bars.iter().zip(0u64..).map(|(height, index)| {
            let x = float(index);
            Rectangle::new([(x - 0.4, 0.0), (x + 0.4, *height)], bar_style())
        });
        chart.draw_series(bars)?;
        Ok(())
    })
}

/// Plots the distribution of the fetch latency over all rounds.
pub(super) fn latency(rounds: &[Round]) -> Result<String, Failure> {
    let mut buckets = BTreeMap::new();
    for (bucket, count) in rounds.iter().flat_map(|round| round.latency.buckets()) {
        let sum: &mut u64 = buckets.entry((bucket.start, bucket.end)).or_default();
        *sum = sum.saturating_add(count);
    }
    let total = float(buckets.values().sum::<u64>()).max(1.0);
    // The axis is logarithmic: each doubling has the same width.
    let log2_millis = |time: Duration| (time.as_secs_f64() * 1e3).max(1e-3).log2();
    let bars: Vec<(f64, f64, f64)> = buckets
        .iter()
        .map(|((start, end), n)| {
            (log2_millis(*start), log2_millis(*end), 100.0 * float(*n) / total)
        })
        .collect();
    let range = match (bars.first(), bars.last()) {
        (Some((start, ..)), Some((_, end, _))) => (start.floor(), end.ceil()),
        _ => (0.0, 1.0),
    };
    let axes = Axes {
        x: range,
        y: bars.iter().map(|(.., percent)| *percent).fold(0.0, f64::max),
        x_labels: MAX_NAMES,
        size: WIDE,
        x_unit: "milliseconds from a fetch to the end of its response",
        y_unit: "% of fetches",
        x_label: &|x| if (x - x.round()).abs() < 1e-6 { number(x.exp2()) } else { String::new() },
    };
    axes.draw(|chart| {
        let bars = bars.iter().map(|(start, end, percent)| {
            Rectangle::new([(*start, 0.0), (*end, *percent)], bar_style())
        });
        chart.draw_series(bars)?;
        Ok(())
    })
}

/// The axes of a plot; the `y` axis starts at zero and ends above `y`.
struct Axes<'a> {
    x: (f64, f64),
    y: f64,
    /// Approximate number of labels of the x axis.
    x_labels: usize,
    size: (u32, u32),
    x_unit: &'a str,
    y_unit: &'a str,
    x_label: &'a dyn Fn(f64) -> String,
}

type DrawingError = Box<dyn std::error::Error>;

impl Axes<'_> {
    fn draw(
        &self,
        series: impl FnOnce(&mut Chart<'_, '_>) -> Result<(), DrawingError>,
    ) -> Result<String, Failure> {
        let mut svg = String::new();
        self.try_draw(&mut svg, series)
            .map_err(|error| Failure::unmet(format!("a plot cannot be drawn: {error}")))?;
        // Inside HTML an SVG needs no namespace, and CSS sets its size.
        let (width, height) = self.size;
        let size = format!("width=\"{width}\" height=\"{height}\" ");
        Ok(svg.replace(&size, "").replace(" xmlns=\"http://www.w3.org/2000/svg\"", ""))
    }

    fn try_draw(
        &self,
        svg: &mut String,
        series: impl FnOnce(&mut Chart<'_, '_>) -> Result<(), DrawingError>,
    ) -> Result<(), DrawingError> {
        let root = SVGBackend::with_string(svg, self.size).into_drawing_area();
        let text = || TextStyle::from(("sans-serif", 14).into_font()).color(&TEXT);
        let (from, to) = self.x;
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .margin_right(20)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(from..to.max(from + 1e-3), 0.0..(self.y * 1.08).max(1e-3))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(LINE)
            .light_line_style(TRANSPARENT)
            .axis_style(LINE)
            .label_style(text())
            .axis_desc_style(text())
            .x_desc(self.x_unit)
            .y_desc(self.y_unit)
            .x_labels(self.x_labels)
            .y_labels(6)
            .x_label_formatter(&|x| (self.x_label)(*x))
            .y_label_formatter(&|y| number(*y))
            .draw()?;
        series(&mut chart)?;
        drop(chart);
        root.present()?;
        Ok(())
    }
}

fn bar_style() -> ShapeStyle {
    RGBColor(3, 3, 0).filled()
}

/// Formats a number for an axis, without trailing zeros.
fn number(number: f64) -> String {
    let text = if number.abs() >= 100.0 { format!("{number:.0}") } else { format!("{number:.3}") };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Returns `(seconds, rate)` points between samples, merged to at most [`MAX_POINTS`] or one more.
fn rates(samples: &[Sample], amount: impl Fn(&Sample) -> f64) -> Vec<(f64, f64)> {
    let step = samples.len().div_ceil(MAX_POINTS).max(1);
    let kept: Vec<&Sample> = samples.iter().step_by(step).chain(samples.last()).collect();
    kept.windows(2)
        .filter_map(|pair| {
            let [before, after] = pair else { return None };
            let time = after.at.saturating_sub(before.at).as_secs_f64();
            let rate = (amount(after) - amount(before)) / time;
            (time > 0.0).then(|| (after.at.as_secs_f64() - time / 2.0, rate))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_add_up_to_what_was_read() {
        let samples: Vec<Sample> = (0..400u32)
            .map(|n| Sample {
                at: Duration::from_millis(50) * n,
                records: u64::from(n * n),
                value_bytes: 0,
            })
            .collect();
        let rates = rates(&samples, |sample| float(sample.records));
        assert!(rates.len() <= MAX_POINTS + 1);
        // Each point is in the middle of its interval, which starts at the end of the previous one.
        let (mut from, mut sum) = (0.0, 0.0);
        for (middle, rate) in rates {
            sum += rate * 2.0 * (middle - from);
            from = 2.0 * middle - from;
        }
        assert!((sum - 399.0 * 399.0).abs() < 1.0, "{sum}");
    }

    #[test]
    fn axis_numbers_are_short() {
        for (value, text) in [(0.0, "0"), (2.5, "2.5"), (1200.0, "1200"), (0.125, "0.125")] {
            assert_eq!(number(value), text);
        }
    }
}
