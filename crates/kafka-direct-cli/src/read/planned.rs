//! Plans a `read` from its flags or from a plan file, and shows its progress.

use std::sync::{Arc, OnceLock};

use kafka_direct::{BatchPlan, Cluster, KafkaRdd, KafkaRddBuilder, RunEvent};
use kafka_direct_sinks::job::plan_file;

use crate::{
    cli::ReadArgs,
    connect,
    deadline::Deadline,
    exit::Failure,
    progress::Progress,
    remarks::{note_plan, note_resets},
    selection::{self, words},
};

/// Plans what `args` select, or uses the plan of `--plan FILE`, which is created if missing.
///
/// # Errors
/// `Usage` if the plan in the file contradicts the flags.
pub(super) async fn planned(
    cluster: &Cluster,
    args: &ReadArgs,
    deadline: Deadline,
    observer: impl Fn(&RunEvent<'_>) + Send + Sync + 'static,
) -> Result<KafkaRdd, Failure> {
    let builder = builder(cluster, args, deadline)?.on_event(observer);
    let Some(path) = &args.output.plan else { return Ok(builder.build().await?) };
    let selected = builder.clone();
    let resolve = async || {
        selection::names_topics(&args.selection)?;
        Ok::<_, Failure>(selected.build().await?.plan().clone())
    };
    let plan = Box::pin(plan_file::load_or_create(path, resolve)).await?;
    words::fit(&plan, &args.selection).map_err(Failure::usage)?;
    Ok(builder.build_from_plan(plan).await?)
}

/// Returns a builder configured by the flags; without topics it can still use a plan.
pub(super) fn builder(
    cluster: &Cluster,
    args: &ReadArgs,
    deadline: Deadline,
) -> Result<KafkaRddBuilder, Failure> {
    let mut decode = connect::decode_options(&args.connection)?.columns(args.output.columns());
    if let Some(limit) = args.output.limit {
        let rows = usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, decode.max_rows);
        decode = decode.max_rows(rows);
    }
    // No retry: a failed attempt may already have written part of its range to stdout.
    let mut builder = selection::builder(cluster, &args.selection)?.decode(decode).attempts(1);
    if let Some(ranges) = args.output.concurrency {
        builder = builder.concurrency(ranges);
    }
    Ok(match deadline.left() {
        Some(left) => builder.deadline(left),
        None => builder,
    })
}

/// Shows remarks on the plan and the progress of a run on stderr.
#[derive(Debug, Clone)]
pub(super) struct Display {
    /// Draw no bars, because stdout is the same terminal and data would garble them.
    pub(super) without_bars: bool,
    /// Show no bars and no remarks.
    pub(super) quiet: bool,
    /// Report the skipped offsets of a range when its end is reached.
    pub(super) note_resets: bool,
    progress: Arc<OnceLock<Progress>>,
}

impl Display {
    pub(super) fn new(quiet: bool) -> Self {
        Self { without_bars: false, quiet, note_resets: true, progress: Arc::default() }
    }

    /// Shows remarks on the plan and starts its bars.
    ///
    /// [`Display::show`] calls it for runs that report their plan.
    pub(super) fn plan(&self, plan: &BatchPlan) {
        if !self.quiet {
            note_plan(plan);
        }
        let _ = self.progress.set(Progress::new(plan, self.quiet || self.without_bars));
    }

    /// Shows one event of a run.
    pub(super) fn show(&self, event: &RunEvent<'_>) {
        let progress = self.progress.get();
        match event {
            RunEvent::Planned { plan } => self.plan(plan),
            RunEvent::Advanced { range, position, counts } => {
                if let Some(progress) = progress {
                    progress.advance(range, *position, *counts);
                }
            }
            RunEvent::Read { summary, .. } if self.note_resets && !self.quiet => {
                note_resets(&summary.resets);
            }
            RunEvent::Finished { range, .. } => {
                if let Some(progress) = progress {
                    progress.finish(range);
                }
            }
            _ => {}
        }
    }

    /// Removes the bars from the terminal.
    pub(super) fn clear(&self) {
        if let Some(progress) = self.progress.get() {
            progress.clear();
        }
    }

    /// Prints a summary of what was read, if bars were drawn.
    pub(super) fn print_summary(&self) {
        if let Some(progress) = self.progress.get() {
            progress.print_summary();
        }
    }
}
