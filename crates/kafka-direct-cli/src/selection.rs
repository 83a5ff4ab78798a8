//! Applies the selection flags: topics, partitions, starts and ends.
//!
//! Contract: the syntax of offsets and partitions is unambiguous. The printed form of a parsed
//! value parses to the same value.

mod offset_spec;
mod partition_list;
mod time;
pub(crate) mod words;

use std::path::Path;

use kafka_direct::{
    BatchEnd, Cluster, EndOffset, Ends, IsolationLevel, KafkaRdd, KafkaRddBuilder, Offset,
    StartOffset, Starts, TopicPartition,
};
use kafka_direct_sinks::job::{RECEIPT_FILE, Receipt};

pub(crate) use self::{
    offset_spec::{OffsetSpec, Word},
    partition_list::PartitionList,
};
use crate::{cli::SelectionArgs, exit::Failure};

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

fn starts(spec: &OffsetSpec, args: &SelectionArgs) -> Result<Starts, Failure> {
    let start = |word: &Word| match word {
        Word::Earliest => StartOffset::Earliest,
        Word::Latest => StartOffset::Latest,
        Word::At(offset) => StartOffset::At(Offset::new(*offset)),
        Word::FromEnd(back) => StartOffset::FromEnd(*back),
        Word::Time(time) => {
            StartOffset::Timestamp { millis: time.millis(), no_match: args.on_no_match.into() }
        }
        Word::Group(group) => StartOffset::GroupCommitted {
            group: group.clone(),
            fallback: Box::new(StartOffset::Earliest),
        },
    };
    let entries = entries("--from", spec, args)?;
    let starts = Starts::per_partition(entries.into_iter().map(|(tp, word)| (tp, start(word))));
    Ok(match spec.default_word() {
        Some(word) => starts.with_default(start(word)),
        None => starts,
    })
}

fn ends(spec: &OffsetSpec, args: &SelectionArgs) -> Result<Ends, Failure> {
    let end = |word: &Word| match word {
        // An offset before the log start is raised to the log start.
        Word::Earliest => Ok(EndOffset::FromEnd(i64::MAX)),
        Word::Latest => Ok(EndOffset::Latest),
        Word::At(offset) => Ok(EndOffset::At(Offset::new(*offset))),
        Word::FromEnd(back) => Ok(EndOffset::FromEnd(*back)),
        Word::Time(time) => Ok(EndOffset::Timestamp { millis: time.millis() }),
        Word::Group(_) => Err(Failure::usage(format!(
            "--to {spec}: a range cannot end at a group; use group:NAME only with --from"
        ))),
    };
    let entries = entries("--to", spec, args)?;
    let ends = entries.into_iter().map(|(tp, word)| Ok((tp, end(word)?)));
    let ends = Ends::per_partition(ends.collect::<Result<Vec<_>, Failure>>()?);
    Ok(match spec.default_word() {
        Some(word) => ends.with_default(end(word)?),
        None => ends,
    })
}

/// Returns the entries with their topics; an entry without a topic belongs to the only topic.
fn entries<'a>(
    flag: &str,
    spec: &'a OffsetSpec,
    args: &SelectionArgs,
) -> Result<Vec<(TopicPartition, &'a Word)>, Failure> {
    let topics = args.topics();
    let only = match topics.as_slice() {
        [topic] if args.topic_pattern.is_none() => Some(topic.as_str()),
        _ => None,
    };
    spec.entries()
        .map(|((topic, partition), word)| match topic.as_deref().or(only) {
            Some(topic) => Ok((TopicPartition::new(topic, *partition), word)),
            None => Err(Failure::usage(format!(
                "{flag} {partition}:{word} names no topic; add it, as in `orders:{partition}:{word}`"
            ))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
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
