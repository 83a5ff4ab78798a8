//! What `read` reads: the plan of the flags, or a plan from a file that fits them; and what of it
//! people are told.

use std::sync::{Arc, OnceLock};

use kafka_direct::{BatchPlan, Cluster, IsolationLevel, KafkaRdd, KafkaRddBuilder, RunEvent};
use kafka_direct_sinks::job::plan_file;

use crate::{
    cli::{ReadArgs, SelectionArgs},
    connect,
    exit::Failure,
    progress::Progress,
    remarks::{note_plan, note_resets},
    selection,
};

/// Plans what `args` select, or binds the plan that is kept in a file.
pub(super) async fn planned(
    cluster: &Cluster,
    args: &ReadArgs,
    observer: impl Fn(&RunEvent<'_>) + Send + Sync + 'static,
) -> Result<KafkaRdd, Failure> {
    let builder = builder(cluster, args)?.on_event(observer);
    let Some(path) = &args.output.plan else { return Ok(builder.build().await?) };
    let selected = builder.clone();
    let resolve = async || {
        selection::names_topics(&args.selection)?;
        Ok::<_, Failure>(selected.build().await?.plan().clone())
    };
    let plan = Box::pin(plan_file::load_or_create(path, resolve)).await?;
    fits(&plan, &args.selection).map_err(Failure::usage)?;
    Ok(builder.build_from_plan(plan).await?)
}

/// A builder of what the flags say; one that selects no topic can still take a plan.
pub(super) fn builder(cluster: &Cluster, args: &ReadArgs) -> Result<KafkaRddBuilder, Failure> {
    let mut decode = connect::decode_options(&args.connection)?.with_columns(args.output.columns());
    if let Some(limit) = args.output.limit {
        let rows = usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, decode.max_rows);
        decode = decode.with_max_rows(rows);
    }
    // A failed attempt may have written part of its range to stdout already.
    let builder = selection::builder(cluster, &args.selection)?.decode(decode).attempts(1);
    Ok(match args.output.deadline {
        Some(deadline) => builder.deadline(deadline),
        None => builder,
    })
}

/// Refuses a plan that contradicts the flags beside it.
pub(super) fn fits(plan: &BatchPlan, args: &SelectionArgs) -> Result<(), String> {
    let isolation = IsolationLevel::from(args.isolation);
    if plan.isolation() != isolation {
        return Err(format!(
            "the plan reads under {}, the flags say {isolation}; pass --isolation {} or name another plan file",
            plan.isolation(),
            plan.isolation()
        ));
    }
    let mut ranges = plan.ranges().iter().map(|planned| planned.topic_partition().topic());
    let named = |topic: &str| args.topics.iter().any(|name| name == topic);
    match ranges.find(|topic| !args.topics.is_empty() && !named(topic)) {
        Some(topic) => Err(format!(
            "the plan reads topic {topic}, which the flags do not name; leave --topic out or name another plan file"
        )),
        None => Ok(()),
    }
}

/// Shows a run on stderr: remarks on the plan, then progress.
#[derive(Debug, Clone)]
pub(super) struct Display {
    /// No bars: stdout is the same terminal, and bars and data on one screen tear each other.
    pub(super) without_bars: bool,
    /// No bars and no remarks.
    pub(super) quiet: bool,
    /// Whether skipped offsets are reported when the end of a range is read.
    pub(super) note_resets: bool,
    progress: Arc<OnceLock<Progress>>,
}

impl Display {
    pub(super) fn new(quiet: bool) -> Self {
        Self { without_bars: false, quiet, note_resets: true, progress: Arc::default() }
    }

    /// Shows the plan. Called by [`Display::show`] for runs that report it.
    pub(super) fn plan(&self, plan: &BatchPlan) {
        if !self.quiet {
            note_plan(plan);
        }
        let _ = self.progress.set(Progress::new(plan, self.quiet || self.without_bars));
    }

    /// Shows one event.
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

    /// Takes the bars off the screen.
    pub(super) fn clear(&self) {
        if let Some(progress) = self.progress.get() {
            progress.clear();
        }
    }

    /// Says what was read, where bars were drawn.
    pub(super) fn tell(&self) {
        if let Some(progress) = self.progress.get() {
            progress.tell();
        }
    }
}
