//! `read`: records of the selected offsets to stdout or one file.
//!
//! A folder as output is [`crate::job`]'s. The steps that both need are here: planning what the
//! flags say and telling what a plan withholds or skips.

mod sink;
mod table;
mod writer;

use std::sync::Arc;

use kafka_direct::{
    BatchPlan, Batches, BoxError, Cluster, IsolationLevel, KafkaRdd, KafkaRddBuilder, PlannedRange,
    Reset, ResetCause,
};

use self::sink::Sink;
use crate::{
    cli::{Format, ReadArgs},
    connect,
    exit::{self, Failure},
    job, output,
    progress::Progress,
    selection,
};

/// Runs `read`.
pub(crate) async fn run(args: ReadArgs) -> Result<(), Failure> {
    let path = args.output.output.clone();
    if let Some(path) = path.filter(|path| names_a_folder(path)) {
        return Box::pin(job::run(args, &path)).await;
    }
    if args.output.force {
        return Err(Failure::usage("--force belongs to a job: give --output a folder, `DIR/`"));
    }
    if args.output.plan.is_none() {
        selection::names_topics(&args.selection)?;
    }
    let records = match args.output.format {
        Format::Table => Box::pin(table::run(&args)).await?,
        Format::Jsonl | Format::Raw | Format::Arrow => Box::pin(stream(&args)).await?,
    };
    nothing_is_a_failure(&args, records)
}

/// Whether `--output` means a folder: it ends in a slash, or it is one.
fn names_a_folder(path: &std::path::Path) -> bool {
    path.as_os_str().to_string_lossy().ends_with(std::path::MAIN_SEPARATOR)
        || path.as_os_str().to_string_lossy().ends_with('/')
        || path.is_dir()
}

/// `--fail-if-empty`.
pub(crate) fn nothing_is_a_failure(args: &ReadArgs, records: u64) -> Result<(), Failure> {
    if records == 0 && args.output.fail_if_empty {
        return Err(Failure::unmet("there was no record to read (--fail-if-empty)"));
    }
    Ok(())
}

/// Plans what `args` select, or binds the plan that is kept in a file; says on stderr what the
/// plan withholds and skips.
pub(crate) async fn planned(cluster: &Cluster, args: &ReadArgs) -> Result<KafkaRdd, Failure> {
    let builder = builder(cluster, args)?;
    let rdd = match &args.output.plan {
        None => builder.build().await?,
        Some(path) => Box::pin(job::follow_plan(path, builder, &args.selection)).await?,
    };
    if !args.output.quiet {
        tell_plan(rdd.plan());
    }
    Ok(rdd)
}

/// A builder of what the flags say; one that selects no topic can still take a plan.
pub(crate) fn builder(cluster: &Cluster, args: &ReadArgs) -> Result<KafkaRddBuilder, Failure> {
    let mut decode = connect::decode_options(&args.connection)?.with_columns(args.output.columns());
    if let Some(limit) = args.output.limit {
        let rows = usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, decode.max_rows);
        decode = decode.with_max_rows(rows);
    }
    // A closure that failed has written part of its range already.
    let builder = selection::builder(cluster, &args.selection)?.decode(decode).attempts(1);
    Ok(match args.output.deadline {
        Some(deadline) => builder.deadline(deadline),
        None => builder,
    })
}

/// Says which offsets open transactions withhold, and which the plan skips.
pub(crate) fn tell_plan(plan: &BatchPlan) {
    if plan.isolation() == IsolationLevel::ReadCommitted {
        for partition in plan.partitions() {
            let marks = partition.watermarks;
            if marks.withheld() > 0 {
                output::note(&format!(
                    "{}: open transactions withhold {} offsets, [{}, {})",
                    partition.topic_partition,
                    marks.withheld(),
                    marks.last_stable,
                    marks.high,
                ));
            }
        }
    }
    tell_resets(plan.resets());
}

/// Says which offsets were skipped and why.
pub(crate) fn tell_resets(resets: &[Reset]) {
    for reset in resets {
        let why = match reset.cause {
            ResetCause::Trimmed => "were trimmed off the log",
            ResetCause::Truncated => "were lost to an unclean leader election",
            ResetCause::Recreated => "belong to a topic that was re-created",
            ResetCause::Deleted => "belong to a topic that was deleted",
            _ => "do not exist",
        };
        let Reset { topic_partition, from, to, .. } = reset;
        output::note(&format!("{topic_partition}: offsets [{from}, {to}) {why} and are skipped"));
    }
}

/// Streams the records and gives their number.
async fn stream(args: &ReadArgs) -> Result<u64, Failure> {
    let sink = Arc::new(Sink::open(args)?);
    let guard = sink.unfinished();
    let cluster = connect::connect(&args.connection).await?;
    let rdd = planned(&cluster, args).await?;
    let quiet = args.output.quiet;
    // Bars and data on one screen would tear each other.
    let on_screen = args.output.output.is_none() && output::stdout_is_terminal();
    let progress = Arc::new(Progress::new(rdd.plan(), quiet || on_screen));
    let read = async {
        sink.start().await?;
        match args.output.limit {
            Some(limit) => Box::pin(first(&rdd, limit, &sink, &progress, quiet)).await,
            None => all(&rdd, &sink, &progress, quiet).await,
        }
    };
    let read = read.await;
    progress.clear();
    sink.end(read).await?;
    drop(guard);
    progress.tell();
    Ok(sink.records())
}

/// All partitions at once.
async fn all(
    rdd: &KafkaRdd,
    sink: &Arc<Sink>,
    progress: &Arc<Progress>,
    quiet: bool,
) -> Result<(), Failure> {
    let (sink, progress) = (Arc::clone(sink), Arc::clone(progress));
    rdd.for_each_partition(move |planned, batches| {
        let (sink, progress) = (Arc::clone(&sink), Arc::clone(&progress));
        async move { one(&planned, batches, &sink, &progress, quiet).await }
    })
    .await
    .map_err(exit::unwrap_closure)
}

/// One range. While it waits it holds nothing decoded, so that a thousand partitions may wait.
async fn one(
    planned: &PlannedRange,
    mut batches: Batches,
    sink: &Sink,
    progress: &Progress,
    quiet: bool,
) -> Result<(), BoxError> {
    while batches.ready().await? {
        let _turn = sink.turn().await;
        while let Some(batch) = batches.next_buffered()? {
            sink.write(&batch).await?;
            progress.update(planned, &batches);
        }
    }
    progress.update(planned, &batches);
    progress.finish(planned);
    if !quiet {
        tell_resets(batches.resets());
    }
    Ok(())
}

/// The first `limit` records, partition after partition.
async fn first(
    rdd: &KafkaRdd,
    limit: u64,
    sink: &Sink,
    progress: &Progress,
    quiet: bool,
) -> Result<(), Failure> {
    let mut left = limit;
    for (index, planned) in rdd.partitions().iter().enumerate() {
        let Some(mut batches) = rdd.read_partition(index) else { break };
        while left > 0
            && let Some(batch) = batches.try_next().await?
        {
            let rows = usize::try_from(left).unwrap_or(usize::MAX).min(batch.num_rows());
            sink.write(&batch.slice(0, rows)).await?;
            progress.update(planned, &batches);
            left = left.saturating_sub(u64::try_from(rows).unwrap_or(u64::MAX));
        }
        if !quiet {
            tell_resets(batches.resets());
        }
        if left == 0 {
            break;
        }
    }
    Ok(())
}
