//! `read --format table`: prints the first records as a table to read on screen.

use kafka_direct::Batches;

use super::{
    named_output, note_written, nothing_read,
    planned::{Display, planned},
    table_text::{Fit, TableText},
    writer::Target,
};
use crate::{cli::ReadArgs, deadline::Deadline, exit::Failure, output, remarks::note_resets};

/// Default of `--limit`: the number of records shown.
const DEFAULT_LIMIT: u64 = 1000;

/// Prints the table and returns the number of records in it.
pub(super) async fn run(args: &ReadArgs) -> Result<u64, Failure> {
    let deadline = Deadline::start(args.output.deadline);
    deadline.enforce();
    let mut target = Target::open(args.output.output.as_deref())?;
    let cluster = deadline.connect(&args.connection).await?;
    let rdd = planned(&cluster, args, deadline, |_| ()).await?;
    let mut display = Display::new(args.output.quiet);
    display.without_bars = true;
    display.plan(rdd.plan());
    let limit = args.output.limit.unwrap_or(DEFAULT_LIMIT);
    let mut table = TableText::new(args.output.columns(), fit(args));
    let mut left = limit;
    let mut more = false;
    for index in 0..rdd.partitions().len() {
        let Some(mut batches) = rdd.read_partition(index) else { break };
        // Only a table without a limit says whether there is more.
        let stops_at_limit = args.output.limit.is_some();
        more = fill(&mut table, &mut batches, &mut left, stops_at_limit).await?;
        if !args.output.quiet {
            note_resets(batches.resets());
        }
        if more || (stops_at_limit && left == 0) {
            break;
        }
    }
    let records = limit.saturating_sub(left);
    if records == 0 && args.output.fail_if_empty && target.is_file() {
        return Err(nothing_read());
    }
    let cut = more && args.output.limit.is_none();
    target.write(table.finish().as_bytes())?;
    target.finish()?;
    if cut && !args.output.quiet {
        output::note(&format!(
            "only the first {limit} records are shown; pass --limit N to show more"
        ));
    }
    if let Some(path) = named_output(args) {
        note_written(args, path, records);
    }
    Ok(records)
}

/// Returns how the table is fitted to where it is printed.
fn fit(args: &ReadArgs) -> Fit {
    let to_stdout = args.output.output.as_deref().is_none_or(|path| path.as_os_str() == "-");
    match output::stdout_width().filter(|_| to_stdout) {
        _ if args.output.no_truncate => Fit::Whole,
        Some(width) => Fit::Terminal(usize::from(width)),
        None => Fit::Cells,
    }
}

/// Adds rows until `left` is 0; returns whether there are more.
async fn fill(
    table: &mut TableText,
    batches: &mut Batches,
    left: &mut u64,
    stops_at_limit: bool,
) -> Result<bool, Failure> {
    while !(stops_at_limit && *left == 0)
        && let Some(batch) = batches.try_next().await?
    {
        let room = usize::try_from(*left).unwrap_or(usize::MAX);
        let rows = batch.num_rows().min(room);
        table.push(&batch.slice(0, rows))?;
        *left = left.saturating_sub(u64::try_from(rows).unwrap_or(u64::MAX));
        if rows < batch.num_rows() {
            return Ok(true);
        }
    }
    Ok(false)
}
