//! Flags of `topics` and `offsets`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ConnectionArgs;
use crate::list::List;

/// Flags of `offsets`.
#[derive(Debug, Args)]
pub(crate) struct OffsetsArgs {
    /// Topics to show
    #[arg(short, long = "topic", value_name = "T[,T2..]")]
    #[arg(required_unless_present_any = ["topic_pattern", "checkpoint"])]
    #[arg(conflicts_with = "topic_pattern")]
    pub(crate) topics: Vec<List<String>>,
    /// Show every topic whose full name matches this regular expression; no internal topics
    #[arg(long, value_name = "RE")]
    pub(crate) topic_pattern: Option<String>,
    /// Also show the committed offsets of this consumer group and its lag to the high watermark
    #[arg(short = 'G', long)]
    pub(crate) group: Option<String>,
    /// Also show where the stream of this checkpoint continues, and its lag; without --topic, of its
    /// topics
    #[arg(long, value_name = "DIR", conflicts_with = "group")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Print one JSON array instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    // Last, because flags after it would be listed under its heading.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// Flags and subcommands of `topics`.
#[derive(Debug, Args)]
// The connection flags, which alone have a heading, may also follow `create` and `delete`.
#[command(mut_args(|arg| { let is_shared = arg.get_help_heading().is_some(); arg.global(is_shared) }))]
#[command(after_help = "\
Without a subcommand nothing on the cluster is changed.

Examples:
  kafka-direct topics -b localhost:9092 --topic-pattern 'orders-.*' --leaders
  kafka-direct topics create -b localhost:9092 orders --partitions 12 --replicas 3
  kafka-direct topics delete -b localhost:9092 orders")]
pub(crate) struct TopicsArgs {
    /// List only these topics, also internal ones [default: all]
    #[arg(short, long = "topic", value_name = "T[,T2..]", conflicts_with = "topic_pattern")]
    pub(crate) topics: Vec<List<String>>,
    /// List only topics whose full name matches this regular expression
    #[arg(long, value_name = "RE")]
    pub(crate) topic_pattern: Option<String>,
    /// Also list the internal topics of Kafka
    #[arg(long)]
    pub(crate) internal: bool,
    /// Show one line per partition: its leader, replicas and in-sync replicas, as broker ids
    #[arg(long)]
    pub(crate) leaders: bool,
    /// Print one JSON array instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    // Last, because flags after it would be listed under its heading.
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(subcommand)]
    pub(crate) command: Option<TopicsCommand>,
}

impl TopicsArgs {
    /// Whether a flag is given that only listing uses.
    pub(crate) const fn has_list_flags(&self) -> bool {
        let Self { topics, topic_pattern, internal, leaders, json, .. } = self;
        !topics.is_empty() || topic_pattern.is_some() || *internal || *leaders || *json
    }
}

/// The subcommands of `topics`.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// Create a topic, and wait until each of its partitions has a leader
    Create(CreateTopicArgs),
    /// Delete a topic and all its records without asking, and wait until it is gone
    Delete {
        /// Exact name of the topic
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Flags of `topics create`.
#[derive(Debug, Args)]
pub(crate) struct CreateTopicArgs {
    /// Name of the topic, which must not exist
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Number of partitions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) partitions: i32,
    /// Number of replicas of each partition [default: that of the broker]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(i16).range(1..))]
    pub(crate) replicas: Option<i16>,
}
