//! The subcommands, their flags and their help texts.
//!
//! Contract: this module only parses. The module of a subcommand decides what its flags mean. Large
//! or shared groups of flags have a module below this one.

mod bench;
mod checkpoint;
mod connection;
mod decoding;
mod read;
mod selection;
mod stream;
mod topics;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::exit;

pub(crate) use self::{
    bench::{BenchArgs, GenerateArgs},
    checkpoint::{CheckpointArgs, CheckpointCommand, RewindArgs, ShowArgs, VerifyCheckpointArgs},
    connection::ConnectionArgs,
    decoding::{DecodingArgs, Encoding, PoisonPolicy},
    read::{Format, PlanArgs, ReadArgs},
    selection::{OnNoMatch, SelectionArgs},
    stream::{BatchArgs, StreamArgs, StreamOutputArgs},
    topics::{CreateTopicArgs, OffsetsArgs, TopicsArgs, TopicsCommand},
};

fn after_help() -> String {
    format!("{}\n\nStart with `kafka-direct demo`; it needs no Kafka cluster.", exit::codes_help())
}

/// Read exact offset ranges of Kafka topics, in parallel, straight from the leaders.
///
/// It needs no consumer group and no receiver. A plan fixes the offset ranges, and one task reads
/// each range.
#[derive(Debug, Parser)]
#[command(name = "kafka-direct", version, propagate_version = true, after_help = after_help())]
#[command(max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) logging: LoggingArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands, in the order in which `--help` lists them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Try it without Kafka: write, read and verify records on a broker in this process
    Demo(DemoArgs),
    /// Read records to stdout, a file, or a folder with one file per planned range
    Read(Box<ReadArgs>),
    /// Check the files of a finished `read --output DIR/` against its receipt; needs no broker
    Verify(VerifyArgs),
    /// Follow topics in micro-batches, with a checkpoint, into files that have every record once
    Stream(Box<StreamArgs>),
    /// Show, verify or rewind the checkpoint of a stream; needs no broker
    Checkpoint(CheckpointArgs),
    /// Show which offsets `read` would read with the same flags; reads no record
    Plan(Box<PlanArgs>),
    /// Show the offset bounds of partitions, and the committed offsets of a group
    Offsets(OffsetsArgs),
    /// List topics, create one, or delete one
    Topics(TopicsArgs),
    /// Write lines or JSON lines from stdin as records to an existing topic
    Produce(ProduceArgs),
    /// Measure read throughput, CPU time and memory; the records are discarded
    Bench(Box<BenchArgs>),
    /// Run the embedded broker until interrupted, for demos and tests only
    Broker(BrokerArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
}

/// Flags for the log lines on stderr.
#[derive(Debug, Args)]
#[command(next_help_heading = "Diagnostics")]
pub(crate) struct LoggingArgs {
    /// Format of log lines on stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    #[arg(env = "KAFKA_DIRECT_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Least severe level that is logged
    #[arg(long, global = true, value_enum, default_value_t = LogLevel::Warn)]
    #[arg(env = "KAFKA_DIRECT_LOG_LEVEL", hide_env_values = true, value_name = "LEVEL")]
    pub(crate) log_level: LogLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Number of records to write and read, 100 bytes each
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub(crate) records: u64,
    /// Number of partitions of the topic
    #[arg(long, default_value_t = 4, value_name = "P")]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub(crate) topic_partitions: i32,
    /// Keep the broker running for other commands until interrupted
    #[arg(long)]
    pub(crate) keep: bool,
    /// Show a stream instead, which is killed while records arrive and starts again
    #[arg(long, conflicts_with_all = ["records", "topic_partitions", "keep"])]
    pub(crate) stream: bool,
}

/// Flags of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every file that receipt.json names must exist with the recorded size and CRC-32, plan.json must be the
one of the job, and no other data file may be in the folder. Exit code 1 names each file that differs,
exit code 2 a folder without a receipt: its job is not finished.")]
pub(crate) struct VerifyArgs {
    /// Folder of the job
    #[arg(value_name = "DIR")]
    pub(crate) folder: std::path::PathBuf,
    /// Print the result as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `produce`.
#[derive(Debug, Args)]
#[command(after_help = "\
A plain line is a value. With --key-separator it is a key and a value; a line without the separator
has no key. With --json each line is an object as `read` prints it: `key` and `value` (strings or
null), or `key_base64` and `value_base64`, and `headers`, `timestamp`, `partition`. Only
the value is required, which may be null. Unknown fields are an error. So is a header whose value is
null or whose name occurs twice: the producer cannot write it, and writes headers in the order of their
names. With --json-values too, a `value` that is an object, an array,
a number or a boolean is written as its JSON text, unchanged; a string is written without its quotes.")]
pub(crate) struct ProduceArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Topic to write to; it must exist
    #[arg(short, long, value_name = "T")]
    pub(crate) topic: String,
    /// Partition to write to [default: the `partition` of a JSON line; else by the key, as Kafka's Java
    /// producer chooses it; else round robin]
    #[arg(short, long, value_name = "P")]
    pub(crate) partition: Option<i32>,
    /// Text between the key and the value of a line; `\t` is a tab
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "json")]
    pub(crate) key_separator: Option<String>,
    /// Lines are JSON objects as `read` prints them
    #[arg(long)]
    pub(crate) json: bool,
    /// Take values of JSON lines that are JSON and no string, as `read --json-values` prints them
    #[arg(long, requires = "json")]
    pub(crate) json_values: bool,
    /// Drop fields of JSON lines that `read` does not print; without it they are an error
    #[arg(long, requires = "json")]
    pub(crate) ignore_unknown: bool,
    /// Compression codec of the batches
    #[arg(short = 'z', long, value_enum, default_value_t = Codec::None, value_name = "CODEC")]
    pub(crate) compression: Codec,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Codec {
    None,
    Gzip,
    Lz4,
    Snappy,
    Zstd,
}

/// Flags of `broker`.
#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    /// Address to listen on; with port 0 the system chooses a free port, which is printed
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "ADDR")]
    pub(crate) listen: std::net::SocketAddr,
    /// Create a topic with this many partitions (default 1); repeat it for more topics
    #[arg(long = "topic", value_name = "NAME:PARTITIONS", value_parser = crate::broker::topic)]
    pub(crate) topics: Vec<(String, i32)>,
}

/// Flags of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell that runs the script
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn negative_offsets_are_values_and_not_flags() {
        let parse = |args: &[&str]| Cli::try_parse_from(args).unwrap().command;
        for from in [&["--from", "-10"][..], &["-o", "-10"], &["-o-10"], &["--from=-10"]] {
            let line = [&["kafka-direct", "plan", "-b", "h:1", "-t", "t"][..], from].concat();
            let Command::Plan(args) = parse(&line) else { panic!("not plan") };
            assert_eq!(args.selection.from.unwrap().to_string(), "-10");
        }
    }
}
