//! Flags of `topics` and `offsets`.

use clap::Args;

use super::ConnectionArgs;
use crate::list::List;

/// Flags of `offsets`.
#[derive(Debug, Args)]
pub(crate) struct OffsetsArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Topics to show
    #[arg(short, long = "topic", value_name = "T[,T2..]")]
    #[arg(required_unless_present = "topic_pattern", conflicts_with = "topic_pattern")]
    pub(crate) topics: Vec<List<String>>,
    /// Show every topic whose full name matches this regular expression; no internal topics
    #[arg(long, value_name = "RE")]
    pub(crate) topic_pattern: Option<String>,
    /// Also show the committed offsets of this consumer group and its lag to the high watermark
    #[arg(short = 'G', long)]
    pub(crate) group: Option<String>,
    /// Print one JSON array instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `topics`.
#[derive(Debug, Args)]
pub(crate) struct TopicsArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
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
}
