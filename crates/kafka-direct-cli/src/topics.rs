//! `topics`: lists topics, and creates and deletes them on request.
//!
//! Contract: listing sends metadata requests only, none of which creates a topic. Only the exact name
//! of a topic deletes it, and internal topics are never deleted.

mod admin;

use kafka_direct::{Cluster, Error, TopicMetadata, TopicPattern};
use serde::Serialize;

pub(crate) use self::admin::TopicAdmin;
use crate::{
    cli::{ConnectionArgs, CreateTopicArgs, TopicsArgs, TopicsCommand},
    connect,
    exit::Failure,
    list::List,
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

/// One partition as JSON, with `--leaders`; brokers are ids.
#[derive(Debug, Serialize)]
struct PartitionLine {
    topic: String,
    partition: i32,
    /// Null while the partition has no leader.
    leader: Option<i32>,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
}

impl PartitionLine {
    fn of(topic: &TopicMetadata) -> impl Iterator<Item = Self> {
        topic.partitions.iter().map(|partition| Self {
            topic: topic.name.to_string(),
            partition: partition.index,
            leader: partition.leader,
            replicas: partition.replicas.clone(),
            in_sync: partition.isr.clone(),
        })
    }

    fn cells(&self) -> [String; 5] {
        let list = |ids: &[i32]| {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            ids.join(",")
        };
        [
            self.topic.clone(),
            self.partition.to_string(),
            self.leader.map_or_else(|| "-".to_owned(), |leader| leader.to_string()),
            list(&self.replicas),
            list(&self.in_sync),
        ]
    }
}

/// Runs `topics`.
pub(crate) async fn run(args: TopicsArgs) -> Result<(), Failure> {
    match &args.command {
        None => list(args).await,
        Some(_) if args.has_list_flags() => Err(Failure::usage(
            "--topic, --topic-pattern, --internal, --leaders and --json are for listing topics; leave them out",
        )),
        Some(TopicsCommand::Create(create_args)) => create(&args.connection, create_args).await,
        Some(TopicsCommand::Delete { name }) => delete(&args.connection, name).await,
    }
}

async fn create(connection: &ConnectionArgs, args: &CreateTopicArgs) -> Result<(), Failure> {
    let CreateTopicArgs { name, partitions, replicas } = args;
    let admin = TopicAdmin::connect(&connect::merged(connection)?, name).await?;
    if !admin.create(name, *partitions, *replicas).await? {
        return Err(Failure::usage(format!("topic `{name}` exists already; nothing was changed")));
    }
    admin.wait_for_leaders(name, *partitions).await?;
    let plural = if *partitions == 1 { "" } else { "s" };
    output::note(&format!("{name} created with {partitions} partition{plural}"));
    Ok(())
}

async fn delete(connection: &ConnectionArgs, name: &str) -> Result<(), Failure> {
    let admin = TopicAdmin::connect(&connect::merged(connection)?, name).await?;
    let Some(topic) = admin.find(name).await? else {
        return Err(Failure::usage(format!("topic `{name}` does not exist; nothing was changed")));
    };
    if topic.is_internal {
        return Err(Failure::usage(format!(
            "topic `{name}` is internal to Kafka and is not deleted"
        )));
    }
    admin.delete(name).await?;
    admin.wait_until_gone(&topic).await?;
    output::note(&format!("{name} deleted"));
    Ok(())
}

async fn list(args: TopicsArgs) -> Result<(), Failure> {
    let cluster = connect::connect(&args.connection).await?;
    let names = List::flat(&args.topics);
    let pattern = args.topic_pattern.as_deref();
    let topics = selected(&cluster, &names, pattern, args.internal).await?;
    match (args.leaders, args.json) {
        (true, true) => {
            let lines: Vec<_> = topics.iter().flat_map(PartitionLine::of).collect();
            output::json(&lines)
        }
        (true, false) => {
            let mut table = Columns::new(&["topic", "partition", "leader", "replicas", "in sync"]);
            for line in topics.iter().flat_map(PartitionLine::of) {
                table.row(line.cells());
            }
            output::data(&table.finish())
        }
        (false, true) => output::json(&topics.into_iter().map(TopicLine::from).collect::<Vec<_>>()),
        (false, false) => output::data(&table(topics)),
    }
}

/// Returns the named topics, or those whose whole name matches `pattern`, or else all.
///
/// Internal topics are left out unless they are named or `internal` is set.
///
/// # Errors
/// `Invalid` for an unknown name, and for a pattern that is invalid or matches no topic.
pub(crate) async fn selected(
    cluster: &Cluster,
    names: &[String],
    pattern: Option<&str>,
    internal: bool,
) -> Result<Vec<TopicMetadata>, Failure> {
    if !names.is_empty() {
        return Ok(cluster.topics(names).await.map_err(Error::from)?);
    }
    let pattern = pattern.map(TopicPattern::new).transpose()?;
    let mut topics = cluster.all_topics().await.map_err(Error::from)?;
    topics.retain(|topic| internal || !topic.is_internal);
    match pattern {
        Some(pattern) => Ok(pattern.select(topics)?),
        None => Ok(topics),
    }
}

fn table(topics: Vec<TopicMetadata>) -> String {
    let mut table = Columns::new(&["topic", "partitions", "replicas", "id"]);
    for line in topics.into_iter().map(TopicLine::from) {
        let mut partitions = line.partitions.to_string();
        if !line.without_leader.is_empty() {
            partitions.push_str(&format!(" ({} without leader)", line.without_leader.len()));
        }
        let id = line.id.unwrap_or_default();
        table.row([line.topic, partitions, line.replicas.to_string(), id]);
    }
    table.finish()
}
