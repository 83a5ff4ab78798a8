//! `topics`: lists the topics of a cluster; creates none.

use kafka_direct::{Error, TopicMetadata};
use serde::Serialize;

use crate::{
    cli::TopicsArgs,
    connect,
    exit::Failure,
    output::{self, Columns},
};

/// One topic as JSON.
#[derive(Debug, Serialize)]
struct TopicLine {
    topic: String,
    id: Option<String>,
    internal: bool,
    partitions: usize,
    replicas: usize,
    without_leader: Vec<i32>,
}

impl From<TopicMetadata> for TopicLine {
    fn from(topic: TopicMetadata) -> Self {
        let partitions = &topic.partitions;
        Self {
            topic: topic.name.to_string(),
            id: topic.id.map(|id| id.to_string()),
            internal: topic.is_internal,
            partitions: partitions.len(),
            replicas: partitions
                .iter()
                .map(|partition| partition.replicas.len())
                .min()
                .unwrap_or(0),
            without_leader: partitions
                .iter()
                .filter(|partition| partition.leader.is_none())
                .map(|partition| partition.index)
                .collect(),
        }
    }
}

/// Runs `topics`.
pub(crate) async fn run(args: TopicsArgs) -> Result<(), Failure> {
    let cluster = connect::connect(&args.connection).await?;
    let topics = cluster.all_topics().await.map_err(Error::from)?;
    let mut lines: Vec<TopicLine> = topics.into_iter().map(TopicLine::from).collect();
    lines.retain(|line| args.internal || !line.internal);
    if args.json {
        return output::json(&lines);
    }
    let mut table = Columns::new(&["topic", "partitions", "replicas", "id"]);
    for line in &lines {
        let mut partitions = line.partitions.to_string();
        if !line.without_leader.is_empty() {
            partitions.push_str(&format!(" ({} without leader)", line.without_leader.len()));
        }
        let id = line.id.clone().unwrap_or_default();
        table.row([line.topic.clone(), partitions, line.replicas.to_string(), id]);
    }
    output::data(&table.finish())
}
