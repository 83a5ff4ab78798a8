//! Offset-range batch jobs: `read --plan FILE` and `read --output DIR/`.
//!
//! **Promises:** a plan is resolved once and read verbatim ever after; a folder holds one file per
//! planned range, each whole and on disk before it has its name; a job that is killed at any moment
//! and run again leaves the same folder, byte for byte, as one that was left alone; a job that is
//! done reads nothing and asks no broker.
//!
//! **Does not know:** schedules, other machines' jobs, how a record is formatted.

mod directory;
mod durable;
mod kill;
mod names;
mod plan_file;
mod range_file;
mod receipt;
mod run;
mod settings;
#[cfg(test)]
mod tests;

use std::path::Path;

use kafka_direct::{BatchPlan, IsolationLevel, KafkaRdd, KafkaRddBuilder};

use self::{
    kill::Kill,
    run::Job,
    settings::{Flags, JobSettings},
};
use crate::{
    cli::{ReadArgs, SelectionArgs},
    connect,
    exit::Failure,
    format::Encoder,
    output,
    progress::Progress,
    read,
    selection::{self, PartitionList},
};

/// Runs `read --output DIR/`.
pub(crate) async fn run(args: ReadArgs, folder: &Path) -> Result<(), Failure> {
    let out = &args.output;
    if out.limit.is_some() {
        return Err(Failure::usage(
            "--limit does not go with a folder, whose ranges are read whole; choose them with --from and --to",
        ));
    }
    if out.plan.is_none() && !folder.join(directory::PLAN_FILE).exists() {
        selection::names_topics(&args.selection)?;
    }
    // Refuses forms that no file can have, before anything is written.
    Encoder::new(out.format, out.columns())?;
    let job = Job {
        folder: folder.to_owned(),
        plan_file: out.plan.clone(),
        force: out.force,
        format: out.format,
        columns: out.columns(),
        settings: settings(&args),
        kill: Kill::never(),
    };
    let connect = async || read::builder(&connect::connect(&args.connection).await?, &args);
    let progress = |plan: &BatchPlan| {
        if !out.quiet {
            read::tell_plan(plan);
        }
        Progress::new(plan, out.quiet)
    };
    let done = job.run(connect, |plan| fits(plan, &args.selection), progress).await?;
    if !out.quiet {
        done.receipt.ranges.iter().for_each(|range| read::tell_resets(&range.resets));
        output::note(&done.to_string());
    }
    read::nothing_is_a_failure(&args, done.receipt.totals.records)
}

/// What `read --plan FILE` reads without a folder: the plan in the file, or if there is none what
/// `builder` selects, which then stands in the file.
pub(crate) async fn follow_plan(
    file: &Path,
    builder: KafkaRddBuilder,
    args: &SelectionArgs,
) -> Result<KafkaRdd, Failure> {
    let resolve = async || {
        selection::names_topics(args)?;
        Ok(builder.clone().build().await?.plan().clone())
    };
    let plan = plan_file::load_or_create(file, resolve, &Kill::never()).await?;
    fits(&plan, args)?;
    Ok(builder.build_from_plan(plan).await?)
}

/// Refuses a plan that contradicts the flags beside it.
fn fits(plan: &BatchPlan, args: &SelectionArgs) -> Result<(), Failure> {
    let isolation = IsolationLevel::from(args.isolation);
    if plan.isolation() != isolation {
        return Err(Failure::usage(format!(
            "the plan reads under {}, the flags say {isolation}; pass --isolation {} or name another plan file",
            plan.isolation(),
            plan.isolation()
        )));
    }
    let mut ranges = plan.ranges().iter().map(|planned| planned.topic_partition().topic());
    let named = |topic: &str| args.topics.iter().any(|name| name == topic);
    match ranges.find(|topic| !args.topics.is_empty() && !named(topic)) {
        Some(topic) => Err(Failure::usage(format!(
            "the plan reads topic {topic}, which the flags do not name; leave --topic out or name another plan file"
        ))),
        None => Ok(()),
    }
}

/// What tells this job from another in the same folder.
fn settings(args: &ReadArgs) -> JobSettings {
    let columns: Vec<&str> = args.output.columns().iter().map(|column| column.as_str()).collect();
    let output = Flags::from([
        ("--format".to_owned(), args.output.format.extension().to_owned()),
        ("--columns".to_owned(), columns.join(",")),
    ]);
    let selection = selected(&args.selection).filter(|_| args.output.plan.is_none());
    JobSettings::new(output, selection)
}

/// The flags that decide which ranges are planned, in their own words; `None` if none was given.
fn selected(args: &SelectionArgs) -> Option<Flags> {
    let mut topics = args.topics.clone();
    topics.sort();
    let given = [
        ("--topic", (!topics.is_empty()).then(|| topics.join(","))),
        ("--topic-pattern", args.topic_pattern.clone()),
        ("--from", args.from.as_ref().map(ToString::to_string)),
        ("--to", args.to.as_ref().map(ToString::to_string)),
        ("--partitions", args.partitions.as_ref().map(indices)),
        ("--min-partitions", args.min_partitions.map(|count| count.to_string())),
        ("--max-records-per-partition", args.max_records_per_partition.map(|n| n.to_string())),
    ];
    let given = given.into_iter().filter_map(|(flag, value)| Some((flag.to_owned(), value?)));
    let mut flags: Flags = given.collect();
    if flags.is_empty() {
        return None;
    }
    flags.insert("--isolation".to_owned(), IsolationLevel::from(args.isolation).to_string());
    Some(flags)
}

fn indices(list: &PartitionList) -> String {
    list.indices().map(|index| index.to_string()).collect::<Vec<_>>().join(",")
}
