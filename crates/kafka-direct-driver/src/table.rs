//! [`PlanTable`] prints a plan as text.

use std::fmt;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, presets};
use kafka_direct_core::{BatchPlan, IsolationLevel, PlannedPartition, Reset, TopicPartition};

/// Longest list that is printed completely.
const WHOLE: usize = 50;
/// How many items of a longer list are printed.
const SHOWN: usize = 40;

/// Prints a plan as a table, with one line per range.
///
/// After the ranges come the partitions that have nothing to read, the offsets that open
/// transactions withhold (read_committed), the offsets that the policy `resume` skips, and the
/// total. Long lists are cut, but the total counts everything. The text ends without a line feed.
///
/// With a width, as in `{:80}`, long names of topics are wrapped so that the lines of the table have
/// at most this many columns.
#[derive(Debug, Clone, Copy)]
pub struct PlanTable<'a>(
    /// The plan to print.
    pub &'a BatchPlan,
);

impl fmt::Display for PlanTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        if !plan.is_empty_span() {
            writeln!(f, "{}", ranges(plan, f.width()).trim_fmt())?;
            let more = plan.ranges().len().saturating_sub(shown(plan.ranges().len()));
            if more > 0 {
                writeln!(f, "... {more} more")?;
            }
        }
        let idle = idle(plan);
        if !idle.is_empty() {
            let runs = runs(&idle);
            let what = if idle.len() == 1 { "partition has" } else { "partitions have" };
            let names = runs.iter().take(shown(runs.len())).map(String::as_str);
            write!(f, "{} {what} nothing to read: ", idle.len())?;
            f.write_str(&names.collect::<Vec<_>>().join(", "))?;
            let more = runs.len().saturating_sub(shown(runs.len()));
            if more > 0 {
                write!(f, ", ... {more} more")?;
            }
            writeln!(f)?;
        }
        withheld(f, plan)?;
        lines(f, &plan.resets().iter().collect::<Vec<_>>(), |f, reset: &&Reset| {
            let Reset { topic_partition, from, to, .. } = reset;
            writeln!(f, "{topic_partition}: offsets [{from}, {to}) do not exist and are skipped")
        })?;
        total(f, plan, plan.partitions().len().saturating_sub(idle.len()))
    }
}

const fn shown(len: usize) -> usize {
    if len > WHOLE { SHOWN } else { len }
}

fn lines<T>(
    f: &mut fmt::Formatter<'_>,
    all: &[T],
    line: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    let shown = shown(all.len());
    all.iter().take(shown).try_for_each(|item| line(f, item))?;
    match all.len().saturating_sub(shown) {
        0 => Ok(()),
        more => writeln!(f, "... {more} more"),
    }
}

fn ranges(plan: &BatchPlan, width: Option<usize>) -> Table {
    let pieces = plan.ranges().iter().any(|planned| planned.piece() > 0);
    let row = |topic: &str, partition: String, piece: String, rest: [String; 3]| {
        let mut row = Row::from([topic.to_owned(), partition]);
        if pieces {
            row.add_cell(piece.into());
        }
        for cell in rest {
            row.add_cell(cell.into());
        }
        row
    };
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let heads = ["from", "until", "span"].map(str::to_owned);
    table.set_header(row("topic", "partition".to_owned(), "piece".to_owned(), heads));
    for planned in plan.ranges().iter().take(shown(plan.ranges().len())) {
        let (tp, range) = (planned.topic_partition(), planned.range());
        let numbers =
            [range.from().to_string(), range.until().to_string(), range.span().to_string()];
        table.add_row(row(
            tp.topic(),
            tp.partition().to_string(),
            planned.piece().to_string(),
            numbers,
        ));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    if let Some(width) = width {
        // The padding of the last column is trimmed.
        let width = u16::try_from(width.saturating_add(2)).unwrap_or(u16::MAX);
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// The partitions without a range. Ranges and partitions have the same order.
fn idle(plan: &BatchPlan) -> Vec<&TopicPartition> {
    let mut busy = plan.ranges().iter().map(|planned| planned.topic_partition()).peekable();
    let mut idle = Vec::new();
    for PlannedPartition { topic_partition, .. } in plan.partitions() {
        while busy.next_if(|tp| *tp < topic_partition).is_some() {}
        if busy.peek() != Some(&topic_partition) {
            idle.push(topic_partition);
        }
    }
    idle
}

/// Joins consecutive partitions of a topic: `orders-0 to orders-7`.
fn runs(partitions: &[&TopicPartition]) -> Vec<String> {
    let follows = |a: &&TopicPartition, b: &&TopicPartition| {
        a.topic() == b.topic() && a.partition().checked_add(1) == Some(b.partition())
    };
    partitions
        .chunk_by(follows)
        .map(|run| match run {
            [first, _, .., last] => format!("{first} to {last}"),
            few => few.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })
        .collect()
}

fn withheld(f: &mut fmt::Formatter<'_>, plan: &BatchPlan) -> fmt::Result {
    if plan.isolation() == IsolationLevel::ReadUncommitted {
        return Ok(());
    }
    let open: Vec<_> =
        plan.partitions().iter().filter(|planned| planned.watermarks.withheld() > 0).collect();
    lines(f, &open, |f, planned| {
        let PlannedPartition { topic_partition, watermarks, .. } = planned;
        let (withheld, from) = (watermarks.withheld(), watermarks.end(plan.isolation()));
        let high = watermarks.high;
        writeln!(
            f,
            "{topic_partition}: open transactions withhold {withheld} offsets, [{from}, {high})"
        )
    })
}

fn total(f: &mut fmt::Formatter<'_>, plan: &BatchPlan, busy: usize) -> fmt::Result {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let (ranges, partitions) = (plan.ranges().len(), plan.partitions().len());
    write!(
        f,
        "total: {ranges} range{} in {busy} of {partitions} partition{}, span {}",
        plural(ranges),
        plural(partitions),
        plan.span()
    )
}
