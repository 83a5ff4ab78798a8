//! `read --output DIR/`: runs the flags as a [`BatchJob`], with progress and a closing line.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use kafka_direct::IsolationLevel;
use kafka_direct_sinks::{BatchJob, job};

use super::planned::{Display, builder, fits};
use crate::{
    cli::{ReadArgs, SelectionArgs},
    connect,
    exit::Failure,
    output,
    remarks::note_resets,
    selection::{self, PartitionList},
};

/// Runs the job and returns the number of records in its folder.
pub(super) async fn run(args: &ReadArgs, folder: &Path) -> Result<u64, Failure> {
    let out = &args.output;
    if out.limit.is_some() {
        return Err(Failure::usage(
            "--limit cannot be used with an output folder, whose ranges are read completely; use --from and --to",
        ));
    }
    if out.plan.is_none() && !folder.join(job::PLAN_FILE).exists() {
        selection::names_topics(&args.selection)?;
    }
    let format = out.format_for_files()?;
    let mut display = Display::new(out.quiet);
    // They are reported at the end, together with those of ranges that an earlier run has read.
    display.note_resets = false;
    let connect = async || {
        let shown = display.clone();
        let cluster = connect::connect(&args.connection).await?;
        Ok::<_, Failure>(builder(&cluster, args)?.on_event(move |event| shown.show(event)))
    };
    let done = Box::pin(batch_job(args, folder, format).run_with(connect)).await;
    display.clear();
    let done = done?;
    if !out.quiet {
        done.receipt.ranges.iter().for_each(|range| note_resets(&range.range.resets));
        output::note(&done.to_string());
    }
    Ok(done.receipt.totals.records)
}

fn batch_job(args: &ReadArgs, folder: &Path, format: kafka_direct_sinks::Format) -> BatchJob {
    let out = &args.output;
    let selection = args.selection.clone();
    let mut job = BatchJob::new(folder, format)
        .columns(out.columns())
        .check_plan(move |plan| fits(plan, &selection));
    if out.force {
        job = job.force();
    }
    match (&out.plan, selected(&args.selection)) {
        (Some(file), _) => job.plan_file(file),
        (None, Some(words)) => job.selected_by(words),
        (None, None) => job,
    }
}

/// Returns the flags that decide which ranges are planned, as text; `None` if none is given.
fn selected(args: &SelectionArgs) -> Option<BTreeMap<String, String>> {
    let mut topics = args.topics.clone();
    topics.sort();
    let given = [
        ("--topic", (!topics.is_empty()).then(|| topics.join(","))),
        ("--topic-pattern", args.topic_pattern.clone()),
        ("--from", args.from.as_ref().map(ToString::to_string)),
        ("--after", args.after.as_deref().map(folder_of)),
        ("--isolation", args.isolation.map(|level| IsolationLevel::from(level).to_string())),
        ("--to", args.to.as_ref().map(ToString::to_string)),
        ("--partitions", args.partitions.as_ref().map(indices)),
        ("--min-partitions", args.min_partitions.map(|count| count.to_string())),
        ("--max-records-per-partition", args.max_records_per_partition.map(|n| n.to_string())),
    ];
    let given = given.into_iter().filter_map(|(flag, value)| Some((flag.to_owned(), value?)));
    Some(given.collect()).filter(|flags: &BTreeMap<_, _>| !flags.is_empty())
}

/// The folder of an earlier job, however it was named: `DIR`, `DIR/` or `DIR/receipt.json`.
fn folder_of(path: &Path) -> String {
    let is_receipt = path.file_name().is_some_and(|name| name == job::RECEIPT_FILE);
    let folder = if is_receipt { path.parent().unwrap_or(path) } else { path };
    let parts = folder.components().filter(|part| *part != Component::CurDir);
    parts.collect::<PathBuf>().display().to_string()
}

fn indices(list: &PartitionList) -> String {
    list.indices().map(|index| index.to_string()).collect::<Vec<_>>().join(",")
}
