//! Applies the selection flags: topics, partitions, starts and ends.
//!
//! The library parses starts and ends; here are the words about flags.

mod partition_list;
pub(crate) mod words;

use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use kafka_direct::{
    BatchEnd, Cluster, Ends, IsolationLevel, KafkaRdd, KafkaRddBuilder, OffsetSpec, Starts,
};
use kafka_direct_sinks::job::{RECEIPT_FILE, Receipt};

pub(crate) use self::partition_list::PartitionList;
use crate::{cli::SelectionArgs, exit::Failure, output};

/// Returns a builder for the ranges that the flags select.
pub(crate) fn builder(cluster: &Cluster, args: &SelectionArgs) -> Result<KafkaRddBuilder, Failure> {
    let builder = KafkaRdd::builder(cluster);
    let mut builder = match &args.topic_pattern {
        Some(pattern) => builder.pattern(pattern),
        None => builder.topics(args.topics()),
    };
    if let Some(spec) = &args.from {
        builder = builder.start(starts(spec, args)?);
    }
    if let Some(receipt) = &args.after {
        builder = builder.after(&earlier_end(receipt, args)?);
    }
    if let Some(spec) = &args.to {
        note_future(spec);
        builder = builder.end(ends(spec, args)?);
    }
    if let Some(list) = &args.partitions {
        builder = builder.partitions(list.indices());
    }
    if let Some(count) = args.min_partitions {
        builder = builder.min_partitions(count);
    }
    if let Some(count) = args.max_records_per_partition {
        builder = builder.max_records_per_partition(count);
    }
    if let Some(limit) = args.wait_for_transactions {
        builder = builder.wait_for_transactions(limit);
    }
    if let Some(isolation) = args.isolation {
        builder = builder.isolation(isolation.into());
    }
    if let Some(words) = words::of(args) {
        builder = builder.selected_by(words);
    }
    Ok(builder.on_data_loss(args.on_data_loss.into()))
}

/// Where the batch of `--after` ended.
fn earlier_end(path: &Path, args: &SelectionArgs) -> Result<BatchEnd, Failure> {
    let path = if path.is_dir() { path.join(RECEIPT_FILE) } else { path.to_owned() };
    let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Failure::usage(format!(
            "--after: {} does not exist; name the folder of a finished job, or its receipt",
            path.display()
        )),
        _ => Failure::io(format!("reading {}", path.display()), source),
    })?;
    let end = Receipt::from_json(&text, &path)?.end();
    if end.positions.is_empty() {
        return Err(Failure::usage(format!(
            "--after {}: the receipt does not say where every partition ended",
            path.display()
        )));
    }
    let isolation = args.isolation.map(IsolationLevel::from);
    match isolation.filter(|isolation| *isolation != end.isolation) {
        Some(flag) => Err(Failure::usage(format!(
            "--after {} continues a batch under {}, --isolation says {flag}; leave --isolation out",
            path.display(),
            end.isolation
        ))),
        None => Ok(end),
    }
}

/// Checks that the flags select topics; with a plan from a file this is not needed.
pub(crate) fn names_topics(args: &SelectionArgs) -> Result<(), Failure> {
    if args.topics.is_empty() && args.topic_pattern.is_none() && args.after.is_none() {
        return Err(Failure::usage(
            "no topic is selected; pass `--topic T` or `--topic-pattern RE`",
        ));
    }
    Ok(())
}

pub(crate) fn starts(spec: &OffsetSpec, args: &SelectionArgs) -> Result<Starts, Failure> {
    let starts =
        spec.starts(only_topic(args).as_deref(), args.on_no_match.into(), Utc::now().into());
    starts.map_err(|error| Failure::usage(format!("--from {error}")))
}

/// Prints a remark if an end is in the future: the records up to it do not exist yet.
fn note_future(spec: &OffsetSpec) {
    let now = Utc::now();
    let end = spec.latest_time(now.into()).and_then(DateTime::from_timestamp_millis);
    if let Some(end) = end.filter(|end| *end > now) {
        let end = end.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        output::note(&format!(
            "--to: {end} is in the future; only what exists now is read, and a folder or plan is not filled later"
        ));
    }
}

fn ends(spec: &OffsetSpec, args: &SelectionArgs) -> Result<Ends, Failure> {
    if spec.names_group() {
        return Err(Failure::usage(format!(
            "--to {spec}: a range cannot end at a group; use group:NAME only with --from"
        )));
    }
    let ends = spec.ends(only_topic(args).as_deref(), Utc::now().into());
    ends.map_err(|error| Failure::usage(format!("--to {error}")))
}

/// The topic of entries that name none.
fn only_topic(args: &SelectionArgs) -> Option<String> {
    match args.topics().as_mut_slice() {
        [topic] if args.topic_pattern.is_none() => Some(std::mem::take(topic)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use kafka_direct::{EndOffset, Offset, StartOffset, TopicPartition};

    use super::*;
    use crate::list::List;

    fn args(topics: &[&str]) -> SelectionArgs {
        SelectionArgs {
            topics: topics.iter().map(|topic| List::one((*topic).to_owned())).collect(),
            ..SelectionArgs::default()
        }
    }

    fn spec(text: &str) -> OffsetSpec {
        text.parse().unwrap()
    }

    #[test]
    fn an_entry_without_topic_belongs_to_the_only_topic() {
        let one = starts(&spec("0:5,1:earliest"), &args(&["a"])).unwrap();
        let named = starts(&spec("a:0:5,a:1:earliest"), &args(&["a"])).unwrap();
        assert_eq!(one, named);
        let error = starts(&spec("0:5"), &args(&["a", "b"])).unwrap_err().to_string();
        assert!(error.contains("`orders:0:5`"), "{error}");
    }

    #[test]
    fn a_star_is_the_default() {
        let with = starts(&spec("a:3:7,*:latest"), &args(&["a", "b"])).unwrap();
        let expected =
            Starts::per_partition([(TopicPartition::new("a", 3), StartOffset::At(Offset::new(7)))])
                .with_default(StartOffset::Latest);
        assert_eq!(with, expected);
    }

    #[test]
    fn a_range_does_not_end_at_a_group() {
        let error = ends(&spec("group:g"), &args(&["a"])).unwrap_err();
        assert_eq!(error.code(), 2);
        assert_eq!(ends(&spec("latest"), &args(&["a"])).unwrap(), EndOffset::Latest.into());
    }
}
