//! The connection flags, which every subcommand that needs a cluster shares.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::size;

/// Connection flags, all optional.
///
/// Each value comes from the first of: flag, environment, config file, default of the library.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection (flag, or environment, or config file)")]
pub(crate) struct ConnectionArgs {
    /// Bootstrap brokers, tried in order; the default port is 9092
    #[arg(short, long, env = "KAFKA_DIRECT_BROKERS", hide_env_values = true)]
    #[arg(value_name = "HOST[:PORT],..")]
    pub(crate) brokers: Option<String>,
    /// TOML file with these options by their long names [default:
    /// ~/.config/kafka-direct/config.toml if it exists]
    #[arg(long, env = "KAFKA_DIRECT_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Name under which brokers log, meter and throttle this client [default: kafka-direct]
    #[arg(long, env = "KAFKA_DIRECT_CLIENT_ID", hide_env_values = true, hide_short_help = true)]
    #[arg(value_name = "NAME")]
    pub(crate) client_id: Option<String>,
    /// Time limit for opening one connection [default: 10s]
    #[arg(long, env = "KAFKA_DIRECT_CONNECT_TIMEOUT", hide_env_values = true)]
    #[arg(value_parser = size::duration, hide_short_help = true, value_name = "TIME")]
    pub(crate) connect_timeout: Option<Duration>,
    /// Time limit from a request to the end of its response [default: 30s]
    #[arg(long, env = "KAFKA_DIRECT_REQUEST_TIMEOUT", hide_env_values = true)]
    #[arg(value_parser = size::duration, hide_short_help = true, value_name = "TIME")]
    pub(crate) request_timeout: Option<Duration>,
    /// How long transient faults are retried without any progress; if given, the first connection is
    /// retried too [default: 60s, and a first connection that fails ends the run]
    #[arg(long, env = "KAFKA_DIRECT_RETRY_TIMEOUT", hide_env_values = true)]
    #[arg(value_parser = size::duration, hide_short_help = true, value_name = "TIME")]
    pub(crate) retry_timeout: Option<Duration>,
    /// Memory for records in flight and queued, all partitions together [default: 48MiB]
    #[arg(long, env = "KAFKA_DIRECT_MEMORY_BUDGET", hide_env_values = true)]
    #[arg(value_parser = size::bytes, hide_short_help = true, value_name = "SIZE")]
    pub(crate) memory_budget: Option<usize>,
    /// Maximum bytes that one Fetch requests [default: 16MiB]
    #[arg(long, env = "KAFKA_DIRECT_FETCH_MAX_BYTES", hide_env_values = true)]
    #[arg(value_parser = size::bytes, hide_short_help = true, value_name = "SIZE")]
    pub(crate) fetch_max_bytes: Option<usize>,
    /// Maximum bytes that one Fetch requests of one partition; usually it requests half of this
    /// [default: 4MiB]
    #[arg(long, env = "KAFKA_DIRECT_PARTITION_MAX_BYTES", hide_env_values = true)]
    #[arg(value_parser = size::bytes, hide_short_help = true, value_name = "SIZE")]
    pub(crate) partition_max_bytes: Option<usize>,
    /// Largest accepted Kafka batch, both compressed and decompressed [default: 64MiB]
    #[arg(long, env = "KAFKA_DIRECT_MAX_BATCH_BYTES", hide_env_values = true)]
    #[arg(value_parser = size::bytes, hide_short_help = true, value_name = "SIZE")]
    pub(crate) max_batch_bytes: Option<usize>,
    /// Connections to each broker that fetch at the same time [default: 1]
    #[arg(
        long,
        env = "KAFKA_DIRECT_FETCH_CONNECTIONS",
        hide_env_values = true,
        hide_short_help = true
    )]
    #[arg(value_name = "N")]
    pub(crate) fetch_connections: Option<usize>,
}
