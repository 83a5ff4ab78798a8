//! Why the embedded broker could not do what its owner asked. Clients get Kafka's error codes
//! instead.

use kafka_direct_core::{ErrorKind, HeaderError, Offset, TopicPartition};

/// An operation of the broker's owner that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// A listener could not be opened.
    #[error("cannot listen on {address}; choose a free port, or port 0 for any")]
    Listen {
        /// The address that was asked for.
        address: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The builder was given something impossible.
    #[error("the broker cannot be built: {reason}")]
    Settings {
        /// What is impossible.
        reason: &'static str,
    },
    /// No topic of this name.
    #[error("there is no topic `{topic}`; create it first")]
    UnknownTopic {
        /// The name.
        topic: String,
    },
    /// The topic exists and has no such partition.
    #[error("{topic_partition} does not exist; the topic has {partitions} partitions")]
    UnknownPartition {
        /// The partition that was asked for.
        topic_partition: TopicPartition,
        /// How many the topic has.
        partitions: usize,
    },
    /// A topic that cannot be created.
    #[error("topic `{topic}` cannot be created: {reason}")]
    Topic {
        /// The name.
        topic: String,
        /// Why not.
        reason: &'static str,
    },
    /// No node of this id.
    #[error("there is no node {node}; nodes are numbered from 1 to {nodes}")]
    UnknownNode {
        /// The id that was asked for.
        node: i32,
        /// How many nodes there are.
        nodes: usize,
    },
    /// An offset outside what the operation can take.
    #[error("{topic_partition}: offset {offset} lies outside [{from}, {until}]; choose one inside")]
    OffsetOutside {
        /// The partition.
        topic_partition: TopicPartition,
        /// The offset that was given.
        offset: Offset,
        /// Lowest offset that would do, inclusive.
        from: Offset,
        /// Highest offset that would do, inclusive.
        until: Offset,
    },
    /// Raw bytes that are no whole batches.
    #[error("{topic_partition}: the bytes are no sequence of record batches")]
    Batches {
        /// The partition.
        topic_partition: TopicPartition,
        /// What is wrong, if it is more than a cut end.
        #[source]
        source: Option<HeaderError>,
    },
    /// Records that no batch can hold.
    #[error("the records do not fit one batch: {reason}")]
    Unencodable {
        /// Which bound was broken.
        reason: &'static str,
    },
}

impl BrokerError {
    /// What the caller should do.
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
