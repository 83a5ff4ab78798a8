//! Flags of `bench`.

use std::{
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use clap::Args;
use kafka_direct::{Column, Columns};

use super::{Codec, ConnectionArgs, SelectionArgs, selection::OFFSETS_HELP};
use crate::{list::List, size};

const BENCH_HELP: &str = "\
Without --generate nothing is written to the cluster, and no offset is committed.
With --generate, and without brokers in --brokers, KAFKA_DIRECT_BROKERS or the config file, the
topic is created and read on an embedded broker in this process.

Examples:
  kafka-direct bench -b localhost:9092 -t orders
  kafka-direct bench -b localhost:9092 -t orders --max-mb-per-second 20 --report orders.html
  kafka-direct bench -b localhost:9092 -t try --generate 5000000 --codec lz4 --delete-after
  kafka-direct bench --generate 1000000 --json -";

/// Flags of `bench`.
#[derive(Debug, Clone, Args)]
#[command(after_help = format!("{OFFSETS_HELP}\n\n{BENCH_HELP}"))]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) rounds: RoundArgs,
    #[command(flatten)]
    pub(crate) generate: GenerateArgs,
    /// Write one JSON object to this file; `-` prints it on stdout instead of the tables
    #[arg(long, value_name = "FILE|-", help_heading = "Output")]
    pub(crate) json: Option<PathBuf>,
    /// Write an HTML page with tables and plots: one self-contained file
    #[arg(long, value_name = "FILE.html", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,
}

/// Flags for the rounds: how many, and what each of them reads.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Measuring")]
pub(crate) struct RoundArgs {
    /// Columns to decode: key, value, topic, partition, offset, timestamp, timestamp_type, headers
    #[arg(long, value_name = "C[,C2..]", default_value = "offset,timestamp,key,value")]
    pub(crate) columns: Vec<List<Column>>,
    /// Maximum number of ranges read at the same time [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<NonZeroUsize>,
    /// Number of measured rounds; each reads the same offsets
    #[arg(long, default_value = "3", value_name = "N")]
    pub(crate) rounds: NonZeroU32,
    /// Number of warm-up rounds before them, which are not measured
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) warmup: u32,
    /// Read everything; without --all or --to a round ends after 30 s or 10 GiB of records
    #[arg(long)]
    pub(crate) all: bool,
    /// Fetch at most this many megabytes (10^6 bytes, as sent) per second, to limit the load
    #[arg(long, value_name = "N")]
    pub(crate) max_mb_per_second: Option<NonZeroU64>,
}

/// Flags for the topic that `bench` writes before it reads.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Writing a topic to read")]
pub(crate) struct GenerateArgs {
    /// Create the topic and write this many records first; fails if the topic exists
    #[arg(long, value_name = "N")]
    pub(crate) generate: Option<NonZeroU64>,
    /// Size of each value: `100` bytes, `4KiB`
    #[arg(long, value_parser = size::bytes, default_value = "100", value_name = "BYTES")]
    #[arg(requires = "generate")]
    pub(crate) size: usize,
    /// Compression codec of the batches
    #[arg(long, value_enum, default_value_t = Codec::None, value_name = "CODEC")]
    #[arg(requires = "generate")]
    pub(crate) codec: Codec,
    /// Number of partitions of the topic
    #[arg(long, default_value_t = 4, value_name = "P", requires = "generate")]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub(crate) topic_partitions: i32,
    /// Delete the topic at the end, also after an error or Ctrl-C
    #[arg(long, requires = "generate")]
    pub(crate) delete_after: bool,
}

impl RoundArgs {
    /// The columns to decode.
    pub(crate) fn columns(&self) -> Columns {
        List::flat(&self.columns).into_iter().collect()
    }
}
