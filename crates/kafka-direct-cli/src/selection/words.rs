//! The selection flags as words, which a plan and a folder keep: a later run is compared with them.
//!
//! Contract: the words hold every flag that decides which offsets are planned. A relative time stays as
//! it was given, so that the same command is the same selection at any time.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use kafka_direct::{BatchPlan, IsolationLevel};
use kafka_direct_sinks::job;

use super::PartitionList;
use crate::cli::{OnNoMatch, SelectionArgs};

/// Returns the flags that decide which ranges are planned, as text; `None` if none is given.
pub(crate) fn of(args: &SelectionArgs) -> Option<BTreeMap<String, String>> {
    let mut topics = args.topics();
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
        ("--on-no-match", (args.on_no_match != OnNoMatch::default()).then(|| "latest".to_owned())),
    ];
    let given = given.into_iter().filter_map(|(flag, value)| Some((flag.to_owned(), value?)));
    Some(given.collect()).filter(|flags: &BTreeMap<_, _>| !flags.is_empty())
}

/// Checks that the flags that were given select what an existing plan was selected by. Flags that were
/// not given are those of the plan.
pub(crate) fn fit(plan: &BatchPlan, args: &SelectionArgs) -> Result<(), String> {
    let isolation = args.isolation.map(IsolationLevel::from);
    if let Some(flag) = isolation.filter(|isolation| *isolation != plan.isolation()) {
        return Err(format!(
            "the plan has isolation level {}, but --isolation is {flag}; leave --isolation out, or name another plan file",
            plan.isolation()
        ));
    }
    let topics = args.topics();
    let named = |topic: &str| topics.iter().any(|name| name == topic);
    let mut ranges = plan.ranges().iter().map(|planned| planned.topic_partition().topic());
    if let Some(topic) = ranges.find(|topic| !topics.is_empty() && !named(topic)) {
        return Err(format!(
            "the plan reads topic {topic}, which --topic does not name; leave out --topic, or pass another plan file"
        ));
    }
    let planned = |name: &str| {
        plan.partitions().iter().any(|partition| partition.topic_partition.topic() == name)
    };
    let examined = !plan.partitions().is_empty();
    if let Some(topic) = topics.iter().find(|topic| examined && !planned(topic)) {
        return Err(format!(
            "--topic names {topic}, which the plan does not have; leave out --topic, or pass another plan file"
        ));
    }
    let mut given = of(args).unwrap_or_default();
    given.remove("--isolation");
    let Some(kept) = plan.selected_by() else {
        // The topics were compared above.
        given.remove("--topic");
        return given.keys().next().map_or(Ok(()), |flag| {
            Err(format!(
                "the plan does not say by which {flag} it was made; leave out {flag}, or name another plan file"
            ))
        });
    };
    match given.iter().find(|(flag, value)| kept.get(*flag) != Some(value)) {
        None => Ok(()),
        Some((flag, value)) => {
            let made = kept
                .get(flag)
                .map_or_else(|| format!("without {flag}"), |kept| format!("with {flag} {kept}"));
            Err(format!(
                "the plan was made {made}, but {flag} is now {value}; leave out {flag}, or name another plan file"
            ))
        }
    }
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
