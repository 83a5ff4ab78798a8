//! Flags of `stream`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use kafka_direct::{Column, OffsetSpec};
use kafka_direct_sinks::PartitionBy;

use super::{
    ConnectionArgs, DecodingArgs, SelectionArgs,
    selection::{Isolation, OnDataLoss, OnNoMatch},
};
use crate::{
    list::List,
    selection::PartitionList,
    size,
    stream::{CoalesceSpec, SinkSpec, TriggerSpec},
};

const STREAM_HELP: &str = "\
Every batch is planned, and its plan is in the checkpoint before a record is read. A stream that is
killed and started again runs the batch in hand again, with identical offsets.

Sinks:
  console          the first rows of every batch as a table on stdout
  null             nothing: to measure
  jsonl:DIR        files in DIR, one per batch, see --coalesce; also csv:DIR, raw:DIR, arrow:DIR,
                   parquet:DIR. Every record is in them exactly once, whenever the stream is killed
  kafka:TOPIC      every record in an existing topic of the same cluster, at least once: records of
                   the batch in hand may be there twice after a crash or a retry. The partition is
                   chosen by the key as Kafka's Java producer does. The stream never reads TOPIC

A schema for --value-schema has a type for each field of the JSON objects, for example
  {\"id\": \"Int64!\", \"at\": \"Timestamp(ms)\", \"tags\": [\"Utf8\"], \"customer\": {\"name\": \"Utf8\"}}
Types are Boolean, Int8 to Int64, UInt8 to UInt64, Float32, Float64, Utf8, Date32 and Timestamp
of s, ms, us or ns. A field that is missing is null; if its type ends in `!` it must be there.
Other fields are ignored.

The first SIGINT or SIGTERM ends the stream after the batch in hand, with exit code 0. A second one,
or --shutdown-timeout, ends it at once: the batch in hand runs again at the next start.

Examples:
  kafka-direct stream -b localhost:9092 -t orders
  kafka-direct stream -b localhost:9092 -t orders --sink jsonl:out --checkpoint orders.checkpoint
  kafka-direct stream -b localhost:9092 -t orders --trigger available-now --sink parquet:out \\
    --checkpoint orders.checkpoint";

/// Flags of `stream`.
#[derive(Debug, Clone, Args)]
#[command(after_help = format!("{}\n\n{STREAM_HELP}", super::selection::STARTS_HELP))]
pub(crate) struct StreamArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) batches: BatchArgs,
    #[command(flatten)]
    pub(crate) decoding: DecodingArgs,
    #[command(flatten)]
    pub(crate) output: StreamOutputArgs,
}

/// What is followed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SourceArgs {
    /// Topics to follow
    #[arg(short, long = "topic", value_name = "T[,T2..]", conflicts_with = "topic_pattern")]
    pub(crate) topics: Vec<List<String>>,
    /// Follow every topic whose full name matches this regular expression, also those created later; at
    /// least one must exist
    #[arg(long, value_name = "RE")]
    pub(crate) topic_pattern: Option<String>,
    /// Where to start in topics that the checkpoint does not know, inclusive; see below [default:
    /// earliest]
    #[arg(short = 'o', long, value_name = "S", allow_hyphen_values = true)]
    pub(crate) from: Option<OffsetSpec>,
    /// Only these partitions of each topic: `0,3-5` [default: all, also those added later]
    #[arg(short, long, value_name = "LIST", allow_hyphen_values = true)]
    pub(crate) partitions: Option<PartitionList>,
    /// Which records of transactions are read [default: read_committed]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) isolation: Option<Isolation>,
    /// What to do if offsets, partitions or topics do not exist any more: stop, or go on with what
    /// exists and report what is skipped
    #[arg(long, value_enum, default_value_t = OnDataLoss::Fail, value_name = "POLICY")]
    pub(crate) on_data_loss: OnDataLoss,
    /// What to do if a partition has no record at or after the time of `--from @..`: stop, or start
    /// at its end
    #[arg(long, value_enum, default_value_t = OnNoMatch::Error, value_name = "POLICY")]
    #[arg(hide_short_help = true)]
    pub(crate) on_no_match: OnNoMatch,
}

/// When batches run, and how large they are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Batches")]
pub(crate) struct BatchArgs {
    /// When batches run: `immediate` as soon as there is data, `10s` at most this often,
    /// `available-now` until all that is there now is read [default: 10s for files, else immediate]
    #[arg(long, value_name = "WHEN")]
    pub(crate) trigger: Option<TriggerSpec>,
    /// The most offsets of a batch, shared among partitions by their lag
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_records_per_batch: u64,
    /// The highest rate of a partition, in offsets per second [default: none]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_records_per_second_per_partition: Option<u64>,
    /// Wait until this many offsets can be read, or --max-delay has passed [default: none]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) min_records_per_batch: Option<u64>,
    /// How long --min-records-per-batch delays a batch at most [default: 15m]
    #[arg(long, value_parser = size::duration, value_name = "D", requires = "min_records_per_batch")]
    pub(crate) max_delay: Option<Duration>,
    /// Limit the rate to what earlier batches could process [default: none]
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) backpressure: Option<BackpressureKind>,
    /// Split large ranges until there are about this many [default: one per partition]
    #[arg(long, value_name = "N")]
    pub(crate) min_partitions: Option<u64>,
    /// How long the batch in hand may take after the first signal
    #[arg(long, value_parser = size::duration, value_name = "D", default_value = "30s")]
    pub(crate) shutdown_timeout: Duration,
    /// How long one call of the sink may take before it is tried again [default: no limit]
    #[arg(long, value_parser = size::duration, value_name = "D")]
    pub(crate) sink_timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackpressureKind {
    /// Spark's estimator: proportional, integral and derivative of the error of the rate
    Pid,
}

/// Where records and reports go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct StreamOutputArgs {
    /// Where records go; see below
    #[arg(long, value_name = "SINK", default_value = "console")]
    pub(crate) sink: SinkSpec,
    /// Folder with the plans and positions of the stream; needed for files and topics
    #[arg(long, value_name = "DIR")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Write into a folder that has files of another stream or job
    #[arg(long)]
    pub(crate) append: bool,
    /// Write at most this many files per batch (in each folder of --partition-by), or `off` for one per
    /// range; a file takes one core
    /// [default: 1 for files without --min-partitions, else off]
    #[arg(long, value_name = "N|off")]
    pub(crate) coalesce: Option<CoalesceSpec>,
    /// Write files into folders by topic, date and hour, such as `date=2026-11-30/hour=09`: by the
    /// records' timestamps, in UTC [default: all in one folder]
    #[arg(long, value_name = "topic|date|hour[,..]")]
    pub(crate) partition_by: Vec<List<PartitionBy>>,
    /// Commit the positions to this consumer group too, for tools that show the lag of groups
    #[arg(long, value_name = "GROUP")]
    pub(crate) publish_to_group: Option<String>,
    /// Write each record into the partition of the topic that has the number of its source's partition
    #[arg(long)]
    pub(crate) keep_partitions: bool,
    /// Use a checkpoint that was made for another sink; batches that are done are not in this one
    #[arg(long)]
    pub(crate) allow_other_sink: bool,
    /// Columns: key, value, topic, partition, offset, timestamp, timestamp_type, headers [default: what
    /// the sink needs]. A topic needs key and value, and gets headers only if they are named
    #[arg(long, value_name = "C[,C2..]")]
    pub(crate) columns: Vec<List<Column>>,
    /// Append one JSON object per batch to this file; `-` prints them on stdout
    #[arg(long, value_name = "FILE|-")]
    pub(crate) progress_json: Option<PathBuf>,
    /// Print only warnings and errors on stderr: no line per batch
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl SourceArgs {
    /// The same flags as those of a batch.
    pub(crate) fn selection(&self) -> SelectionArgs {
        SelectionArgs {
            topics: self.topics.clone(),
            topic_pattern: self.topic_pattern.clone(),
            from: self.from.clone(),
            partitions: self.partitions.clone(),
            isolation: self.isolation,
            on_data_loss: self.on_data_loss,
            on_no_match: self.on_no_match,
            ..SelectionArgs::default()
        }
    }
}
