//! `offsets`: shows the offset bounds of partitions, and how far a group or a stream is.

use std::collections::{BTreeMap, BTreeSet};

use kafka_direct::{EndPosition, Error, Offset, TopicPartition, Watermarks};
use serde::Serialize;

use crate::{
    checkpoint,
    cli::OffsetsArgs,
    connect,
    exit::Failure,
    list::List,
    output::{self, Columns},
    topics,
};

/// One partition as JSON; its end offsets are exclusive.
///
/// With `--group` it has `committed` and `lag`, null where the group has no committed offset. With
/// `--checkpoint` they are where the stream continues, and null where it has no position.
#[derive(Debug, Serialize)]
struct OffsetsLine {
    topic: String,
    partition: i32,
    /// Log start offset; this and the next three are null while the partition has no leader.
    log_start: Option<i64>,
    last_stable: Option<i64>,
    high: Option<i64>,
    withheld: Option<i64>,
    #[serde(flatten)]
    group: Option<GroupPosition>,
}

/// The committed offset of a group, or where a stream continues, and its lag to the high watermark.
#[derive(Debug, Serialize)]
struct GroupPosition {
    committed: Option<i64>,
    lag: Option<i64>,
}

impl OffsetsLine {
    fn new(
        tp: &TopicPartition,
        marks: Option<&Watermarks>,
        committed: Option<Option<Offset>>,
    ) -> Self {
        let group_position = |committed: Option<Offset>| GroupPosition {
            committed: committed.map(Offset::get),
            lag: marks.zip(committed).map(|(marks, at)| marks.high.distance_from(at).max(0)),
        };
        Self {
            topic: tp.topic().to_owned(),
            partition: tp.partition(),
            log_start: marks.map(|marks| marks.log_start.get()),
            last_stable: marks.map(|marks| marks.last_stable.get()),
            high: marks.map(|marks| marks.high.get()),
            withheld: marks.map(Watermarks::withheld),
            group: committed.map(group_position),
        }
    }

    fn cells(&self) -> Vec<String> {
        let shown = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let bounds = [self.log_start, self.last_stable, self.high, self.withheld];
        let group = self.group.iter().flat_map(|group| [group.committed, group.lag]);
        [self.topic.clone(), self.partition.to_string()]
            .into_iter()
            .chain(bounds.into_iter().chain(group).map(shown))
            .collect()
    }
}

/// Runs `offsets`.
pub(crate) async fn run(args: OffsetsArgs) -> Result<(), Failure> {
    let positions = match &args.checkpoint {
        Some(folder) => Some(checkpoint::read(folder).await?.positions()),
        None => None,
    };
    let mut names = List::flat(&args.topics);
    if let (Some(positions), true, None) = (&positions, names.is_empty(), &args.topic_pattern) {
        let topics = positions.iter().map(|position| position.topic_partition.topic().to_owned());
        names = topics.collect::<BTreeSet<_>>().into_iter().collect();
        if names.is_empty() {
            return Err(Failure::usage("the checkpoint follows no topic yet; pass --topic"));
        }
    }
    let cluster = connect::connect(&args.connection).await?;
    let topics = topics::selected(&cluster, &names, args.topic_pattern.as_deref(), false).await?;
    let partitions = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let name = std::sync::Arc::clone(&topic.name);
            (TopicPartition::new(name, partition.index), partition.leader.is_some())
        })
    });
    let partitions: BTreeMap<TopicPartition, bool> = partitions.collect();
    let led: Vec<TopicPartition> =
        partitions.iter().filter(|(_, led)| **led).map(|(tp, _)| tp.clone()).collect();
    let marks = cluster.watermarks(&led).await.map_err(Error::from)?;
    let of_stream = positions.map(|positions| {
        let position = |at: EndPosition| {
            // A position in a topic that was re-created since says nothing about this one.
            let now = topics.iter().find(|topic| *topic.name == *at.topic_partition.topic());
            let ids = at.topic_id.zip(now.and_then(|topic| topic.id));
            let offset = ids.is_none_or(|(then, now)| then == now).then_some(at.offset);
            (at.topic_partition, offset)
        };
        positions.into_iter().map(position).collect()
    });
    let committed: Option<BTreeMap<TopicPartition, Option<Offset>>> = match &args.group {
        None => of_stream,
        Some(group) => {
            let all: Vec<TopicPartition> = partitions.keys().cloned().collect();
            Some(cluster.committed_offsets(group, &all).await.map_err(Error::from)?)
        }
    };
    let lines: Vec<OffsetsLine> = partitions
        .keys()
        .map(|tp| {
            let at = committed.as_ref().map(|all| all.get(tp).copied().flatten());
            OffsetsLine::new(tp, marks.get(tp), at)
        })
        .collect();
    if args.json {
        return output::json(&lines);
    }
    let mut heads = vec!["topic", "partition", "log start", "last stable", "high", "withheld"];
    if committed.is_some() {
        let head = if args.checkpoint.is_some() { "continues at" } else { "committed" };
        heads.extend([head, "lag"]);
    }
    let mut table = Columns::new(&heads);
    for line in &lines {
        table.row(line.cells());
    }
    output::data(&table.finish())
}
