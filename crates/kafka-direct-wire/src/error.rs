//! [`WireError`], all errors of this crate. Each message names the next step.

use std::{borrow::Cow, fmt, io, sync::Arc, time::Duration};

use kafka_direct_core::{ErrorKind, Offset, OffsetRange, ResetCause, TopicPartition};

use crate::code;

/// One failed attempt, for error messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// `host:port` of the broker; `None` if no broker could be chosen.
    pub address: Option<Arc<str>>,
    /// Why the attempt failed.
    pub reason: String,
    /// How long the attempt took.
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

/// Why an operation on the cluster failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A setting or an argument is invalid.
    #[error("{setting}: {reason}")]
    Config {
        /// Name of the setting or argument.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Passing faults lasted too long: no broker could be reached, or none responded without an
    /// error before the retry timeout.
    #[error("{operation} failed {} in {elapsed:.1?} ({}); {next}", times(*tries), list(failures))]
    Unavailable {
        /// The operation that failed.
        operation: String,
        /// Number of attempts.
        tries: u32,
        /// The last failed attempts, oldest first; at most 5 of an operation that retries.
        failures: Vec<Attempt>,
        /// Time without progress.
        elapsed: Duration,
        /// What to do next.
        next: &'static str,
    },
    /// A connection could not be opened, broke, or received no response before a timeout.
    #[error("{address}: {action} failed")]
    Connection {
        /// `host:port` of the broker.
        address: Arc<str>,
        /// The action that failed: `connect` or the name of the request.
        action: &'static str,
        /// The error of the system; of kind `TimedOut` if a timeout of this crate ended the action.
        source: io::Error,
    },
    /// A broker sent bytes that are not a valid response to the request. The connection was closed.
    #[error("{address} sent an invalid {api} response: {reason}")]
    Protocol {
        /// `host:port` of the broker.
        address: Arc<str>,
        /// Name of the request.
        api: &'static str,
        /// What is wrong with the response.
        reason: Cow<'static, str>,
    },
    /// The port is no Kafka listener that this client can use.
    #[error("{address} is {what}; {next}")]
    WrongListener {
        /// `host:port` that was connected to.
        address: Arc<str>,
        /// What is there, as far as its response tells.
        what: &'static str,
        /// What to do next.
        next: &'static str,
    },
    /// The broker and this build support no common version of a request.
    #[error(
        "{address} supports {api} {}, this build {}; upgrade the older side",
        versions(*broker),
        versions(Some(*ours))
    )]
    UnsupportedVersion {
        /// `host:port` of the broker.
        address: Arc<str>,
        /// Name of the request.
        api: &'static str,
        /// Lowest and highest version of the broker, both inclusive; `None` if it does not support
        /// the request.
        broker: Option<(i16, i16)>,
        /// Lowest and highest version of this build, both inclusive.
        ours: (i16, i16),
    },
    /// The broker responded with an error code.
    #[error(
        "{}{address} responded to {api} with {} ({code}){}",
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
        /// The partition, if the error code is of one partition.
        topic_partition: Option<TopicPartition>,
    },
    /// A topic or partition does not exist, or the topic's name is not allowed.
    #[error("{}: {reason}", subject(topic, *partition))]
    UnknownTopic {
        /// The topic's name, as the caller gave it.
        topic: Arc<str>,
        /// The partition, if the topic exists and the partition does not.
        partition: Option<i32>,
        /// What is wrong, and what to do.
        reason: Cow<'static, str>,
    },
    /// Offsets of the range no longer exist (policy `fail`).
    #[error(
        "{range}: offset {position} is lost: {}; read the remaining offsets with the data-loss policy `resume`, or make a new plan",
        lost(*cause, *bounds)
    )]
    OffsetLost {
        /// The range of the read.
        range: OffsetRange,
        /// The fetch position.
        position: Offset,
        /// What happened to the log.
        cause: ResetCause,
        /// Log start offset (inclusive) and readable end (exclusive), if the log exists.
        bounds: Option<(Offset, Offset)>,
    },
    /// A batch cannot be read, or a response is impossible, also after a retry.
    #[error("{range}: at offset {position}: {reason}")]
    BadBatch {
        /// The range of the read.
        range: OffsetRange,
        /// The fetch position.
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
        /// The range of the read.
        range: OffsetRange,
        /// The fetch position.
        position: Offset,
    },
}

impl WireError {
    /// The error for a topic that no broker knows.
    pub(crate) fn unknown_topic(topic: &Arc<str>, cluster_id: Option<&str>) -> Self {
        let cluster = cluster_id.map(|id| format!(" `{id}`")).unwrap_or_default();
        let reason = format!(
            "it does not exist in cluster{cluster}; check the name, or create it (reading creates no topic)"
        );
        Self::UnknownTopic { topic: Arc::clone(topic), partition: None, reason: reason.into() }
    }

    /// The kind of this error, which says what the caller should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Config { .. }
            | Self::WrongListener { .. }
            | Self::UnsupportedVersion { .. }
            | Self::UnknownTopic { .. } => ErrorKind::Invalid,
            Self::Unavailable { .. } | Self::Connection { .. } | Self::Deadline { .. } => {
                ErrorKind::Unavailable
            }
            Self::OffsetLost { .. } => ErrorKind::OffsetLost,
            Self::BadBatch { kind, .. } => *kind,
            Self::Protocol { .. } => ErrorKind::Corrupt,
            Self::Broker { code, .. } => code::kind(*code),
        }
    }

    /// Whether the same request may succeed later, with fresh metadata.
    pub(crate) const fn is_retriable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Connection { .. } => true,
            Self::Broker { code, .. } => code::is_passing(*code),
            Self::BadBatch { kind, .. } => matches!(kind, ErrorKind::Unavailable),
            Self::OffsetLost { .. }
            | Self::Deadline { .. }
            | Self::Config { .. }
            | Self::Protocol { .. }
            | Self::WrongListener { .. }
            | Self::UnsupportedVersion { .. }
            | Self::UnknownTopic { .. } => false,
        }
    }

    /// The error for `action` without a response within `limit`.
    pub(crate) fn timeout(address: &Arc<str>, action: &'static str, limit: Duration) -> Self {
        let source = io::Error::new(io::ErrorKind::TimedOut, format!("no response in {limit:?}"));
        Self::Connection { address: Arc::clone(address), action, source }
    }

    /// Adds the partition `subject` to the error of an error code.
    pub(crate) fn about(self, subject: &TopicPartition) -> Self {
        match self {
            Self::Broker { address, api, code, .. } => {
                Self::Broker { address, api, code, topic_partition: Some(subject.clone()) }
            }
            other => other,
        }
    }

    /// The broker's address, if the error is of one broker.
    pub(crate) const fn address(&self) -> Option<&Arc<str>> {
        match self {
            Self::Connection { address, .. }
            | Self::Protocol { address, .. }
            | Self::WrongListener { address, .. }
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

    /// Converts this error, with its source, to an entry of a list of failed attempts.
    pub(crate) fn attempt(&self, after: Duration) -> Attempt {
        let reason = match self {
            Self::Connection { action, source, .. } => format!("{action}: {source}"),
            other => other.to_string(),
        };
        Attempt { address: self.address().map(Arc::clone), reason, after }
    }
}

/// The failures in order; equal ones in a row are shown once.
fn list(failures: &[Attempt]) -> String {
    let same = |a: &Attempt, b: &Attempt| (&a.address, &a.reason) == (&b.address, &b.reason);
    let shown = failures.chunk_by(same).filter_map(|group| {
        let last = group.last()?;
        let count = group.len();
        Some(if count > 1 { format!("{last}, {count} times") } else { last.to_string() })
    });
    shown.collect::<Vec<_>>().join("; ")
}

fn times(tries: u32) -> String {
    if tries == 1 { "once".to_owned() } else { format!("{tries} times") }
}

fn versions(range: Option<(i16, i16)>) -> String {
    range.map_or_else(
        || "in no version".to_owned(),
        |(min, max)| format!("in versions {min} to {max}"),
    )
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
    bounds.map_or_else(
        || what.to_owned(),
        |(start, end)| format!("{what} and now has [{start}, {end})"),
    )
}
