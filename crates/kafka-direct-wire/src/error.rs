//! What can go wrong between here and a broker, each with the step to take next.

use std::{borrow::Cow, fmt, io, sync::Arc, time::Duration};

use kafka_direct_core::{ErrorKind, Offset, OffsetRange, ResetCause, TopicPartition};

use crate::code;

/// One failed try, as a person wants to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// `host:port` of the broker that was asked; `None` where no broker could be chosen.
    pub address: Option<Arc<str>>,
    /// Why it failed.
    pub reason: String,
    /// How long the try took.
    pub after: Duration,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = &self.address {
            write!(f, "{address} ")?;
        }
        write!(f, "after {:.1?}: {}", self.after, self.reason)
    }
}

/// Why the cluster could not give what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A setting or an argument that cannot work.
    #[error("{setting}: {reason}")]
    Config {
        /// Name of the setting or argument.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Passing faults did not pass: no broker could be reached, or none answered well in time.
    #[error("{operation} failed {} in {elapsed:.1?} ({}); {next}", times(*tries), list(failures))]
    Unavailable {
        /// What was to be done.
        operation: String,
        /// How often it was tried.
        tries: u32,
        /// The last failures, oldest first; at most a handful.
        failures: Vec<Attempt>,
        /// How long it was tried without progress.
        elapsed: Duration,
        /// What to do now.
        next: &'static str,
    },
    /// A connection could not be opened, broke, or gave no response in time.
    #[error("{address}: {action} failed")]
    Connection {
        /// `host:port` of the broker.
        address: Arc<str>,
        /// What was being done: `connect` or the name of the request.
        action: &'static str,
        /// What the system said; of kind `TimedOut` where a time-out of ours ran out.
        source: io::Error,
    },
    /// Bytes that are no response to what was asked. The connection was closed.
    #[error(
        "{address} sent no valid {api} response: {reason}; check that the port is a Kafka listener of the expected security protocol"
    )]
    Protocol {
        /// `host:port` of the broker.
        address: Arc<str>,
        /// Name of the request.
        api: &'static str,
        /// What is wrong with the response.
        reason: Cow<'static, str>,
    },
    /// The broker and this build have no version of a request in common.
    #[error(
        "{address} speaks {api} {}, this build speaks {}; upgrade the older side",
        versions(*broker),
        versions(Some(*ours))
    )]
    UnsupportedVersion {
        /// `host:port` of the broker.
        address: Arc<str>,
        /// Name of the request.
        api: &'static str,
        /// Lowest and highest version of the broker, both inclusive; `None` if it does not know the
        /// request.
        broker: Option<(i16, i16)>,
        /// Lowest and highest version of this build, both inclusive.
        ours: (i16, i16),
    },
    /// The broker responded with an error code.
    #[error(
        "{}{address} answered {api} with {} ({code}){}",
        prefix(topic_partition.as_ref()),
        code::name(*code),
        code::next_step(*code)
    )]
    Broker {
        /// `host:port` of the broker.
        address: Arc<str>,
        /// Name of the request.
        api: &'static str,
        /// Kafka's error code.
        code: i16,
        /// The partition it is about, if it is about one.
        topic_partition: Option<TopicPartition>,
    },
    /// A topic or partition that does not exist, or whose name cannot exist.
    #[error("{}: {reason}", subject(topic, *partition))]
    UnknownTopic {
        /// The topic's name as it was given.
        topic: Arc<str>,
        /// The partition, where the topic exists and the partition does not.
        partition: Option<i32>,
        /// What is known about it.
        reason: Cow<'static, str>,
    },
    /// Offsets of the range do not exist any more (policy `fail`).
    #[error(
        "{range}: offset {position} is lost: {}; read what is left with the data-loss policy `resume`, or plan anew",
        lost(*cause, *bounds)
    )]
    OffsetLost {
        /// The range that was read.
        range: OffsetRange,
        /// The next offset that was wanted.
        position: Offset,
        /// What happened to the log.
        cause: ResetCause,
        /// Log start (inclusive) and readable end (exclusive), where there is a log.
        bounds: Option<(Offset, Offset)>,
    },
    /// A batch that cannot be read, or a response that cannot be true, also when asked for again.
    #[error("{range}: at offset {position}: {reason}")]
    BadBatch {
        /// The range that was read.
        range: OffsetRange,
        /// The next offset that was wanted.
        position: Offset,
        /// What is wrong.
        reason: String,
        /// `Corrupt`; `Invalid` for an old message format; `Unavailable` for an empty response.
        kind: ErrorKind,
    },
    /// The deadline of the read passed.
    #[error(
        "{range}: the deadline passed at offset {position}; raise it, or run the range again from its start"
    )]
    Deadline {
        /// The range that was read.
        range: OffsetRange,
        /// The next offset that was wanted.
        position: Offset,
    },
}

impl WireError {
    /// The error about a topic that no broker knows.
    pub(crate) fn unknown_topic(topic: &Arc<str>, cluster_id: Option<&str>) -> Self {
        let cluster = cluster_id.map(|id| format!(" `{id}`")).unwrap_or_default();
        let reason = format!(
            "it does not exist in cluster{cluster}; check the name, or create it (reading creates no topic)"
        );
        Self::UnknownTopic { topic: Arc::clone(topic), partition: None, reason: reason.into() }
    }

    /// What the caller should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Config { .. } | Self::UnsupportedVersion { .. } | Self::UnknownTopic { .. } => {
                ErrorKind::Invalid
            }
            Self::Unavailable { .. } | Self::Connection { .. } | Self::Deadline { .. } => {
                ErrorKind::Unavailable
            }
            Self::OffsetLost { .. } => ErrorKind::OffsetLost,
            Self::BadBatch { kind, .. } => *kind,
            Self::Protocol { .. } => ErrorKind::Corrupt,
            Self::Broker { code, .. } => code::kind(*code),
        }
    }

    /// Whether the same question may be answered a moment later, after a look at fresh metadata.
    pub(crate) const fn is_retriable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Connection { .. } => true,
            Self::Broker { code, .. } => code::is_passing(*code),
            Self::BadBatch { kind, .. } => matches!(kind, ErrorKind::Unavailable),
            Self::OffsetLost { .. }
            | Self::Deadline { .. }
            | Self::Config { .. }
            | Self::Protocol { .. }
            | Self::UnsupportedVersion { .. }
            | Self::UnknownTopic { .. } => false,
        }
    }

    /// No response within `limit`.
    pub(crate) fn timeout(address: &Arc<str>, action: &'static str, limit: Duration) -> Self {
        let source = io::Error::new(io::ErrorKind::TimedOut, format!("no response in {limit:?}"));
        Self::Connection { address: Arc::clone(address), action, source }
    }

    /// The same response, told of one partition.
    pub(crate) fn about(self, subject: &TopicPartition) -> Self {
        match self {
            Self::Broker { address, api, code, .. } => {
                Self::Broker { address, api, code, topic_partition: Some(subject.clone()) }
            }
            other => other,
        }
    }

    /// The broker's address, where the error is about one broker.
    pub(crate) const fn address(&self) -> Option<&Arc<str>> {
        match self {
            Self::Connection { address, .. }
            | Self::Protocol { address, .. }
            | Self::UnsupportedVersion { address, .. }
            | Self::Broker { address, .. } => Some(address),
            Self::Config { .. }
            | Self::Unavailable { .. }
            | Self::UnknownTopic { .. }
            | Self::OffsetLost { .. }
            | Self::BadBatch { .. }
            | Self::Deadline { .. } => None,
        }
    }

    /// This error as one line of a list of attempts, its source included.
    pub(crate) fn attempt(&self, after: Duration) -> Attempt {
        let reason = match self {
            Self::Connection { action, source, .. } => format!("{action}: {source}"),
            other => other.to_string(),
        };
        Attempt { address: self.address().map(Arc::clone), reason, after }
    }
}

fn list(failures: &[Attempt]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn times(tries: u32) -> String {
    if tries == 1 { "once".to_owned() } else { format!("{tries} times") }
}

fn versions(range: Option<(i16, i16)>) -> String {
    range.map_or_else(|| "in no version".to_owned(), |(min, max)| format!("{min} to {max}"))
}

fn prefix(topic_partition: Option<&TopicPartition>) -> String {
    topic_partition.map(|tp| format!("{tp}: ")).unwrap_or_default()
}

fn subject(topic: &str, partition: Option<i32>) -> String {
    partition.map_or_else(|| format!("topic `{topic}`"), |p| format!("{topic}-{p}"))
}

fn lost(cause: ResetCause, bounds: Option<(Offset, Offset)>) -> String {
    let what = match cause {
        ResetCause::Trimmed => "the log was trimmed",
        ResetCause::Truncated => "the log was truncated",
        ResetCause::Recreated => "the topic was deleted and created again",
        ResetCause::Deleted => "the topic was deleted",
        _ => "the log changed",
    };
    bounds
        .map_or_else(|| what.to_owned(), |(start, end)| format!("{what}, it has [{start}, {end})"))
}
