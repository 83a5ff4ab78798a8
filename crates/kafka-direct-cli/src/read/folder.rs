//! `read --output DIR/`: runs the flags as a [`BatchJob`], with progress and a closing line.

use std::path::Path;

use kafka_direct_sinks::{ArrowTypes, BatchJob, Format, job};

use super::planned::{Display, builder};
use crate::{
    cli::ReadArgs,
    deadline::Deadline,
    exit::Failure,
    output,
    remarks::note_resets,
    selection::{self, words},
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
    let types = out.arrow_types(ArrowTypes::Plain);
    let mut display = Display::new(out.quiet);
    // They are reported at the end, together with those of ranges that an earlier run has read.
    display.note_resets = false;
    let deadline = Deadline::start(out.deadline);
    deadline.enforce();
    let connect = async || {
        let shown = display.clone();
        let cluster = deadline.connect(&args.connection).await?;
        Ok::<_, Failure>(
            builder(&cluster, args, deadline)?.on_event(move |event| shown.show(event)),
        )
    };
    let done = Box::pin(batch_job(args, folder, format, types).run_with(connect)).await;
    display.clear();
    let done = done?;
    if !out.quiet {
        done.receipt.ranges.iter().for_each(|range| note_resets(&range.range.resets));
        output::note(&done.to_string());
    }
    Ok(done.receipt.totals.records)
}

fn batch_job(args: &ReadArgs, folder: &Path, format: Format, types: ArrowTypes) -> BatchJob {
    let out = &args.output;
    let selection = args.selection.clone();
    let mut job = BatchJob::new(folder, format)
        .columns(out.columns())
        .arrow_types(types)
        .check_plan(move |plan| words::fit(plan, &selection));
    if out.force {
        job = job.force();
    }
    match (&out.plan, words::of(&args.selection)) {
        (Some(file), _) => job.plan_file(file),
        (None, Some(words)) => job.selected_by(words),
        (None, None) => job,
    }
}
