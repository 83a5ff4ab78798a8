//! `read`: writes the records of the selected offsets to stdout, one file, or a folder.

mod folder;
mod planned;
mod sink;
mod table;
mod table_text;
mod writer;

use std::{path::Path, sync::Arc};

use kafka_direct::KafkaRdd;

pub(crate) use self::table_text::{Fit, TableText};
use self::{
    planned::{Display, planned},
    sink::StreamSink,
};
use crate::{
    cli::{Format, ReadArgs},
    deadline::Deadline,
    exit::Failure,
    output,
    remarks::note_resets,
    selection,
};

/// Runs `read`.
pub(crate) async fn run(args: ReadArgs) -> Result<(), Failure> {
    args.output.check()?;
    let records = match &args.output.output {
        Some(path) if names_a_folder(path) => Box::pin(folder::run(&args, path)).await?,
        _ => Box::pin(to_one_output(&args)).await?,
    };
    if records == 0 && args.output.fail_if_empty {
        return Err(nothing_read());
    }
    Ok(())
}

fn nothing_read() -> Failure {
    Failure::unmet("no record was read (--fail-if-empty)")
}

/// Whether `--output` names a folder: it ends in a slash or is an existing folder.
fn names_a_folder(path: &Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(std::path::MAIN_SEPARATOR)
        || path.as_os_str().to_string_lossy().ends_with('/')
        || path.is_dir()
}

/// Reads to stdout or one file and returns the number of records.
async fn to_one_output(args: &ReadArgs) -> Result<u64, Failure> {
    if args.output.force {
        return Err(Failure::usage(
            "--force works only with an output folder; pass `--output DIR/`",
        ));
    }
    if args.output.plan.is_none() {
        selection::names_topics(&args.selection)?;
    }
    match args.output.format {
        Format::Table => table::run(args).await,
        _ => stream(args).await,
    }
}

/// Writes the records to stdout or one file as a stream and returns their number.
async fn stream(args: &ReadArgs) -> Result<u64, Failure> {
    let deadline = Deadline::start(args.output.deadline);
    deadline.enforce();
    let sink = Arc::new(StreamSink::open(args)?);
    let guard = sink.unfinished();
    let cluster = deadline.connect(&args.connection).await?;
    let mut display = Display::new(args.output.quiet);
    display.without_bars = args.output.output.is_none() && output::stdout_is_terminal();
    display.note_resets = args.output.limit.is_none();
    let shown = display.clone();
    let rdd = planned(&cluster, args, deadline, move |event| shown.show(event)).await?;
    let read = async {
        sink.start().await?;
        match args.output.limit {
            Some(limit) => Box::pin(first(&rdd, limit, &sink, &display)).await,
            None => rdd.write_to(&sink).await.map(drop).map_err(Failure::from),
        }
    };
    let mut read = read.await;
    display.clear();
    if read.is_ok() && guard.is_file() && args.output.fail_if_empty && sink.records() == 0 {
        read = Err(nothing_read());
    }
    sink.end(read).await?;
    drop(guard);
    match named_output(args) {
        Some(path) => note_written(args, path, sink.records()),
        None => display.print_summary(),
    }
    Ok(sink.records())
}

/// The file, device or pipe that `--output` names; `None` for stdout.
fn named_output(args: &ReadArgs) -> Option<&Path> {
    args.output.output.as_deref().filter(|path| path.as_os_str() != "-")
}

/// Prints how many records were written to `path`.
fn note_written(args: &ReadArgs, path: &Path, records: u64) {
    if !args.output.quiet {
        let plural = if records == 1 { "" } else { "s" };
        output::note(&format!("{}: {records} record{plural}", path.display()));
    }
}

/// Writes the first `limit` records, one range after the other.
async fn first(
    rdd: &KafkaRdd,
    limit: u64,
    sink: &StreamSink,
    display: &Display,
) -> Result<(), Failure> {
    display.plan(rdd.plan());
    let mut left = limit;
    for index in 0..rdd.partitions().len() {
        let Some(mut batches) = rdd.read_partition(index) else { break };
        while left > 0
            && let Some(batch) = batches.try_next().await?
        {
            let rows = usize::try_from(left).unwrap_or(usize::MAX).min(batch.num_rows());
            sink.write(&batch.slice(0, rows)).await?;
            left = left.saturating_sub(u64::try_from(rows).unwrap_or(u64::MAX));
        }
        if !display.quiet {
            note_resets(batches.resets());
        }
        if left == 0 {
            break;
        }
    }
    Ok(())
}
