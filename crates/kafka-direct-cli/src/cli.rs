//! What can be typed: every subcommand with its flags, and the help that goes with them.
//!
//! Contract: parsing only. What a flag means is decided in the module of its subcommand; groups of
//! flags that several subcommands share have a module here.

mod bench;
mod connection;
mod read;
mod selection;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::{
    bench::{BenchArgs, GenerateArgs},
    connection::ConnectionArgs,
    read::{Format, PlanArgs, ReadArgs},
    selection::SelectionArgs,
};

const AFTER_HELP: &str = "\
Exit codes:
  0    done
  1    internal error, failed verification, an output that cannot be written, or --fail-if-empty
  2    wrong usage, or input that does not fit the cluster
  3    offsets that were asked for do not exist (any more)
  4    another driver owns the checkpoint, or the plan belongs to something else
  5    corrupt or unreadable records
  6    not authorized
  7    the cluster is unavailable: the one worth retrying
  130, 143, 141    interrupted, terminated, or the reader of stdout went away

Start with `kafka-direct demo`: it needs no Kafka.";

/// Read exact offset ranges of Kafka topics, in parallel, straight from the leaders.
///
/// No consumer group, no receiver: a plan says which offsets are read, one task per partition reads
/// them.
#[derive(Debug, Parser)]
#[command(name = "kafka-direct", version, propagate_version = true, after_help = AFTER_HELP)]
#[command(max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) logging: LoggingArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Subcommands in the order a newcomer meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show it work: start a broker in this process, write records, read them back, verify them
    Demo(DemoArgs),
    /// Read records to stdout, a file, or a folder with one file per planned range
    Read(Box<ReadArgs>),
    /// Show which offsets `read` would read with the same flags, reading nothing
    Plan(Box<PlanArgs>),
    /// Show the bounds of partitions, and where a consumer group stands
    Offsets(OffsetsArgs),
    /// List topics
    Topics(TopicsArgs),
    /// Write records from lines or JSON lines on stdin to a topic that exists
    Produce(ProduceArgs),
    /// Measure how fast records are read and what that costs, throwing them away
    Bench(Box<BenchArgs>),
    /// Run the embedded broker until interrupted: for demos and tests, no substitute for Kafka
    Broker(BrokerArgs),
    /// Print a shell's completion script
    Completions(CompletionsArgs),
}

/// How diagnostics are written. They go to stderr.
#[derive(Debug, Args)]
#[command(next_help_heading = "Diagnostics")]
pub(crate) struct LoggingArgs {
    /// Form of log lines on stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    #[arg(env = "KAFKA_DIRECT_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Lowest level that is logged
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
    /// How many records of 100 bytes are written and read
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub(crate) records: u64,
    /// How many partitions the topic has
    #[arg(long, default_value_t = 4, value_name = "P")]
    #[arg(value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub(crate) topic_partitions: i32,
    /// Keep the broker running afterwards, for other commands to read from, until interrupted
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Flags of `offsets`.
#[derive(Debug, Args)]
pub(crate) struct OffsetsArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Topics to look at
    #[arg(short, long = "topic", required = true, value_delimiter = ',', value_name = "T[,T2..]")]
    pub(crate) topics: Vec<String>,
    /// Also show where this consumer group stands and how far it lags behind the high watermark
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
    /// Also list topics that Kafka keeps for itself
    #[arg(long)]
    pub(crate) internal: bool,
    /// Print one JSON array instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `produce`.
#[derive(Debug, Args)]
#[command(after_help = "\
A plain line is a value, or with --key-separator a key and a value; a line without the separator
has no key. --json takes lines as `read` prints them: `key`, `value` (strings or null), or
`key_base64`, `value_base64`, and `headers`, `timestamp`, `partition`, each optional; other fields
are ignored.")]
pub(crate) struct ProduceArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// Topic to write to; it must exist
    #[arg(short, long, value_name = "T")]
    pub(crate) topic: String,
    /// Partition to write to [default: round robin, or the `partition` of a JSON line]
    #[arg(short, long, value_name = "P")]
    pub(crate) partition: Option<i32>,
    /// Text between key and value of a line; `\t` is a tab
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "json")]
    pub(crate) key_separator: Option<String>,
    /// Lines are JSON objects as `read` prints them
    #[arg(long)]
    pub(crate) json: bool,
    /// How batches are compressed
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
    /// Address to listen on; port 0 takes a free one, which is printed
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "ADDR")]
    pub(crate) listen: std::net::SocketAddr,
    /// Create a topic; may be given several times
    #[arg(long = "topic", value_name = "NAME:PARTITIONS", value_parser = crate::broker::topic)]
    pub(crate) topics: Vec<(String, i32)>,
}

/// Flags of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell to print for
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn negative_offsets_are_values_not_flags() {
        let parse = |args: &[&str]| Cli::try_parse_from(args).unwrap().command;
        for from in [&["--from", "-10"][..], &["-o", "-10"], &["-o-10"], &["--from=-10"]] {
            let line = [&["kafka-direct", "plan", "-b", "h:1", "-t", "t"][..], from].concat();
            let Command::Plan(args) = parse(&line) else { panic!("not plan") };
            assert_eq!(args.selection.from.unwrap().to_string(), "-10");
        }
    }
}
