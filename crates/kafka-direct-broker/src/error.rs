//! The errors of the broker owner's operations. Clients get Kafka's error codes instead.

use kafka_direct_core::{ErrorKind, HeaderError, Offset, TopicPartition};

/// A failed operation of the broker's owner.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// A listener could not be opened.
    #[error("cannot listen on {address}; choose a free port, or port 0 for any")]
    Listen {
        /// The requested address.
        address: String,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// The builder got an invalid setting.
    #[error("the broker cannot be built: {reason}")]
    Settings {
        /// Which setting is invalid, and its valid range.
        reason: &'static str,
    },
    /// No topic has this name.
    #[error("there is no topic `{topic}`; create it first")]
    UnknownTopic {
        /// The name.
        topic: String,
    },
    /// The topic exists but has no such partition.
    #[error("{topic_partition} does not exist; the topic has {partitions} partitions")]
    UnknownPartition {
        /// The requested partition.
        topic_partition: TopicPartition,
        /// The number of partitions the topic has.
        partitions: usize,
    },
    /// The topic cannot be created.
    #[error("topic `{topic}` cannot be created: {reason}")]
    Topic {
        /// The name.
        topic: String,
        /// Why it cannot be created, or have this many partitions.
        reason: &'static str,
    },
    /// No node has this id.
    #[error("there is no node {node}; nodes are numbered from 1 to {nodes}")]
    UnknownNode {
        /// The requested node id.
        node: i32,
        /// The number of nodes.
        nodes: usize,
    },
    /// The offset is outside the operation's valid range.
    #[error("{topic_partition}: offset {offset} is outside [{from}, {until}]; choose one inside")]
    OffsetOutside {
        /// The partition.
        topic_partition: TopicPartition,
        /// The given offset.
        offset: Offset,
        /// Lowest valid offset, inclusive.
        from: Offset,
        /// Highest valid offset, inclusive.
        until: Offset,
    },
    /// The raw bytes are not a sequence of whole record batches.
    #[error("{topic_partition}: the bytes are not a sequence of whole record batches")]
    Batches {
        /// The partition.
        topic_partition: TopicPartition,
        /// The invalid header; `None` if only the end is cut.
        #[source]
        source: Option<HeaderError>,
    },
    /// The records do not fit into one batch.
    #[error("the records do not fit into one batch: {reason}")]
    Unencodable {
        /// Which limit the records exceed, or which setting does not match them.
        reason: &'static str,
    },
}

impl BrokerError {
    /// The error's kind: what the caller should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { .. } => ErrorKind::Unavailable,
            Self::Settings { .. }
            | Self::UnknownTopic { .. }
            | Self::UnknownPartition { .. }
            | Self::Topic { .. }
            | Self::UnknownNode { .. }
            | Self::OffsetOutside { .. }
            | Self::Batches { .. }
            | Self::Unencodable { .. } => ErrorKind::Invalid,
        }
    }
}
