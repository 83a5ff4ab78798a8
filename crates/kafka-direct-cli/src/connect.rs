//! Connects to a cluster by flags, environment and config file, in this order of precedence.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use kafka_direct::{Cluster, ClusterConfig, DecodeOptions, Error};
use serde::{Deserialize, Deserializer, de};

use crate::{cli::ConnectionArgs, exit::Failure, output, size};

/// Bytes that a response may have besides its records.
const FRAME_SLACK_BYTES: usize = 1 << 20;
/// The library's default for the largest response; a smaller limit is never set here.
const FRAME_DEFAULT_BYTES: usize = 128 << 20;
/// The library's limit for the largest response.
const FRAME_LIMIT_BYTES: usize = 1 << 30;
/// Reports only once that the default config file cannot be read; a run reads it several times.
static UNREADABLE: Once = Once::new();

/// The config file, with the connection flags by their long names.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct ConfigFile {
    #[serde(deserialize_with = "brokers")]
    brokers: Option<String>,
    client_id: Option<String>,
    #[serde(deserialize_with = "duration")]
    connect_timeout: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    request_timeout: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    retry_timeout: Option<Duration>,
    #[serde(deserialize_with = "bytes")]
    memory_budget: Option<usize>,
    #[serde(deserialize_with = "bytes")]
    fetch_max_bytes: Option<usize>,
    #[serde(deserialize_with = "bytes")]
    partition_max_bytes: Option<usize>,
    #[serde(deserialize_with = "bytes")]
    max_batch_bytes: Option<usize>,
    fetch_connections: Option<usize>,
}

/// Connects to the cluster that the flags, the environment or the config file name.
pub(crate) async fn connect(args: &ConnectionArgs) -> Result<Cluster, Failure> {
    let config = config(&merged(args)?)?;
    Ok(Cluster::connect(config).await.map_err(Error::from)?)
}

/// Returns the bootstrap addresses, for a client other than the library.
pub(crate) fn brokers_of(args: &ConnectionArgs) -> Result<Vec<String>, Failure> {
    let merged = merged(args)?;
    let brokers = merged.brokers.as_deref().ok_or_else(no_brokers)?;
    Ok(ClusterConfig::new([brokers]).bootstrap().to_vec())
}

/// Returns the flags, with missing ones filled in from the config file.
pub(crate) fn merged(args: &ConnectionArgs) -> Result<ConnectionArgs, Failure> {
    let (path, required) = match &args.config {
        Some(path) => (path.clone(), true),
        None => match default_path() {
            Some(path) => (path, false),
            None => return Ok(args.clone()),
        },
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => {
            return Ok(args.clone());
        }
        Err(error) if !required => {
            UNREADABLE.call_once(|| {
                let path = path.display();
                output::note(&format!(
                    "config file {path} cannot be read and is not used: {error}"
                ));
            });
            return Ok(args.clone());
        }
        Err(error) => {
            return Err(Failure::usage(format!("config file {}: {error}", path.display())));
        }
    };
    Ok(filled(args, parse(&path, &text)?))
}

/// Returns the decode options, with the same limit on one Kafka batch as the connection.
pub(crate) fn decode_options(args: &ConnectionArgs) -> Result<DecodeOptions, Failure> {
    let options = DecodeOptions::new();
    Ok(match merged(args)?.max_batch_bytes {
        Some(bytes) => options.max_batch_bytes(bytes),
        None => options,
    })
}

fn default_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(base.join("kafka-direct").join("config.toml"))
}

fn parse(path: &Path, text: &str) -> Result<ConfigFile, Failure> {
    toml::from_str(text).map_err(|error| {
        Failure::usage(format!("config file {}: {}", path.display(), error.to_string().trim_end()))
    })
}

fn filled(args: &ConnectionArgs, file: ConfigFile) -> ConnectionArgs {
    let args = args.clone();
    ConnectionArgs {
        brokers: args.brokers.or(file.brokers),
        config: args.config,
        client_id: args.client_id.or(file.client_id),
        connect_timeout: args.connect_timeout.or(file.connect_timeout),
        request_timeout: args.request_timeout.or(file.request_timeout),
        retry_timeout: args.retry_timeout.or(file.retry_timeout),
        memory_budget: args.memory_budget.or(file.memory_budget),
        fetch_max_bytes: args.fetch_max_bytes.or(file.fetch_max_bytes),
        partition_max_bytes: args.partition_max_bytes.or(file.partition_max_bytes),
        max_batch_bytes: args.max_batch_bytes.or(file.max_batch_bytes),
        fetch_connections: args.fetch_connections.or(file.fetch_connections),
    }
}

fn no_brokers() -> Failure {
    Failure::usage(
        "no brokers are configured; pass `--brokers HOST:PORT`, set KAFKA_DIRECT_BROKERS, or put `brokers = \"HOST:PORT\"` into the config file",
    )
}

fn config(args: &ConnectionArgs) -> Result<ClusterConfig, Failure> {
    let brokers = args.brokers.as_deref().ok_or_else(no_brokers)?;
    let mut config = ClusterConfig::new([brokers]);
    if let Some(client_id) = &args.client_id {
        config = config.client_id(client_id);
    }
    if let Some(limit) = args.connect_timeout {
        config = config.connect_timeout(limit);
    }
    if let Some(limit) = args.request_timeout {
        config = config.request_timeout(limit);
    }
    if let Some(limit) = args.retry_timeout {
        config = config.retry_timeout(limit).connect_retry_timeout(limit);
    }
    if let Some(bytes) = args.memory_budget {
        config = config.memory_budget_bytes(bytes);
    }
    if let Some(bytes) = args.fetch_max_bytes {
        config = config.fetch_max_bytes(bytes);
    }
    if let Some(bytes) = args.partition_max_bytes {
        config = config.partition_max_bytes(bytes);
    }
    if let Some(bytes) = args.max_batch_bytes {
        config = config.max_batch_bytes(bytes);
    }
    if let Some(fetch_connections) = args.fetch_connections {
        config = config.fetch_connections_per_broker(fetch_connections);
    }
    // A response holds at least one whole batch, and at most the largest of these sizes.
    let sizes = [
        ("--fetch-max-bytes", args.fetch_max_bytes),
        ("--partition-max-bytes", args.partition_max_bytes),
        ("--max-batch-bytes", args.max_batch_bytes),
    ];
    let too_large = |bytes: usize| bytes > FRAME_LIMIT_BYTES - FRAME_SLACK_BYTES;
    if let Some((flag, _)) = sizes.iter().find(|(_, bytes)| bytes.is_some_and(too_large)) {
        return Err(Failure::usage(format!("{flag} must be at most 1023MiB")));
    }
    let largest = sizes.into_iter().filter_map(|(_, bytes)| bytes).max().unwrap_or(0);
    if largest > FRAME_DEFAULT_BYTES - FRAME_SLACK_BYTES {
        config = config.max_frame_bytes(largest.saturating_add(FRAME_SLACK_BYTES));
    }
    Ok(config)
}

/// A number, or text with a unit.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a number, or text with a unit")]
enum Quantity {
    Number(u64),
    Text(String),
}

impl Quantity {
    fn read<T, E: de::Error>(self, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, E> {
        match self {
            Self::Number(number) => parse(&number.to_string()),
            Self::Text(text) => parse(&text),
        }
        .map_err(E::custom)
    }
}

fn duration<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    Quantity::deserialize(value)?.read(size::duration).map(Some)
}

fn bytes<'de, D: Deserializer<'de>>(value: D) -> Result<Option<usize>, D::Error> {
    Quantity::deserialize(value)?.read(size::bytes).map(Some)
}

/// Reads one address, several addresses in one string, or a list.
fn brokers<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "`host:port`, or a list of them")]
    enum Brokers {
        One(String),
        Many(Vec<String>),
    }
    Ok(Some(match Brokers::deserialize(value)? {
        Brokers::One(brokers) => brokers,
        Brokers::Many(brokers) => brokers.join(","),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<ConfigFile, Failure> {
        parse(Path::new("config.toml"), text)
    }

    #[test]
    fn every_connection_option_can_be_set_in_the_file() {
        let text = r#"
            brokers = ["a:1", "b:2"]
            client-id = "nightly"
            connect-timeout = "1s"
            request-timeout = 2
            retry-timeout = "3m"
            memory-budget = "4MiB"
            fetch-max-bytes = 5
            partition-max-bytes = "6k"
            max-batch-bytes = "200MiB"
            fetch-connections = 2
        "#;
        let args = filled(&ConnectionArgs::default(), file(text).unwrap());
        assert_eq!(args.brokers.as_deref(), Some("a:1,b:2"));
        assert_eq!(args.request_timeout, Some(Duration::from_secs(2)));
        assert_eq!(args.retry_timeout, Some(Duration::from_secs(180)));
        assert_eq!(args.partition_max_bytes, Some(6144));
        let shown = format!("{:?}", config(&args).unwrap());
        for expected in [
            "nightly",
            "\"a:1\", \"b:2\"",
            "1s",
            "2s",
            "180s",
            "4194304",
            "6144",
            "fetch_connections_per_broker: 2",
            "209715200",
        ] {
            assert!(shown.contains(expected), "{expected} in {shown}");
        }
        assert!(shown.contains("max_frame_bytes: 210763776"), "{shown}");
    }

    #[test]
    fn a_flag_overrides_the_file() {
        let flags = ConnectionArgs { brokers: Some("flag:1".into()), ..ConnectionArgs::default() };
        let args = filled(&flags, file("brokers = \"file:1\"\nfetch-connections = 3").unwrap());
        assert_eq!(args.brokers.as_deref(), Some("flag:1"));
        assert_eq!(args.fetch_connections, Some(3));
    }

    #[test]
    fn an_invalid_entry_of_the_file_is_named() {
        for (text, named) in [
            ("broker = \"a:1\"", "broker"),
            ("fetch-connections = \"many\"", "fetch-connections"),
            ("memory-budget = \"lots\"", "invalid size `lots`"),
            ("brokers = ", "config.toml"),
        ] {
            let error = file(text).unwrap_err();
            assert_eq!(error.code(), 2);
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn an_error_without_brokers_names_the_ways_to_set_them() {
        let error = config(&ConnectionArgs::default()).unwrap_err();
        assert_eq!(error.code(), 2);
        assert!(error.to_string().contains("KAFKA_DIRECT_BROKERS"), "{error}");
    }
}
