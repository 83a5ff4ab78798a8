//! What an error of the producing client means: its kind, and whether another try can help.

use kafka_direct::ErrorKind;
pub use rskafka::client::error::Error as ClientError;
use rskafka::client::error::ProtocolError;

/// Returns the kind of an error of the producing client.
#[must_use]
pub const fn kind_of(error: &ClientError) -> ErrorKind {
    match error {
        ClientError::ServerError { protocol_error, .. } => match protocol_error {
            ProtocolError::TopicAuthorizationFailed | ProtocolError::ClusterAuthorizationFailed => {
                ErrorKind::Unauthorized
            }
            ProtocolError::MessageTooLarge
            | ProtocolError::RecordListTooLarge
            | ProtocolError::InvalidRecord
            | ProtocolError::InvalidTimestamp
            | ProtocolError::UnknownTopicOrPartition
            | ProtocolError::InvalidTopicException
            | ProtocolError::UnsupportedCompressionType
            | ProtocolError::PolicyViolation => ErrorKind::Invalid,
            ProtocolError::CorruptMessage => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        },
        ClientError::InvalidResponse(_) => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    }
}

/// Whether the same request may succeed later.
pub(super) const fn is_transient(error: &ClientError) -> bool {
    match error {
        ClientError::ServerError { protocol_error, .. } => matches!(
            protocol_error,
            ProtocolError::BrokerNotAvailable
                | ProtocolError::CorruptMessage
                | ProtocolError::FencedLeaderEpoch
                | ProtocolError::InvalidReplicationFactor
                | ProtocolError::KafkaStorageError
                | ProtocolError::LeaderNotAvailable
                | ProtocolError::NetworkException
                | ProtocolError::NotEnoughReplicas
                | ProtocolError::NotEnoughReplicasAfterAppend
                | ProtocolError::NotLeaderOrFollower
                | ProtocolError::OffsetNotAvailable
                | ProtocolError::PreferredLeaderNotAvailable
                | ProtocolError::ReplicaNotAvailable
                | ProtocolError::RequestTimedOut
                | ProtocolError::ThrottlingQuotaExceeded
                | ProtocolError::UnknownLeaderEpoch
        ),
        // A leader that is not in the metadata yet is an invalid response too.
        _ => true,
    }
}

/// Whether the broker refused a batch because of one of its records.
pub(super) const fn refuses_a_record(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::ServerError {
            protocol_error: ProtocolError::MessageTooLarge
                | ProtocolError::RecordListTooLarge
                | ProtocolError::InvalidRecord
                | ProtocolError::InvalidTimestamp,
            ..
        }
    )
}

/// Whether the broker refused a batch because of its size.
pub(super) const fn is_too_large(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::ServerError {
            protocol_error: ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge,
            ..
        }
    )
}

/// The broker's reason for refusing a record, and what to do.
pub(super) fn refusal(error: &ClientError, topic: &str) -> String {
    match error {
        error if is_too_large(error) => format!(
            "it is larger than topic `{topic}` accepts; raise `max.message.bytes` of the topic"
        ),
        ClientError::ServerError { protocol_error: ProtocolError::InvalidTimestamp, .. } => {
            format!(
                "topic `{topic}` does not accept its timestamp; see `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms` of the topic"
            )
        }
        ClientError::ServerError { protocol_error, .. } => format!(
            "topic `{topic}` refuses it ({protocol_error}); a compacted topic accepts only records with a key"
        ),
        other => other.to_string(),
    }
}
