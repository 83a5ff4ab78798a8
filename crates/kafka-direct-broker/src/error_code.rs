//! [`ErrorCode`]: Kafka's error codes by name.

use std::fmt;

/// An error code of the Kafka protocol, as [`Fault::ErrorCode`](crate::Fault::ErrorCode) sends it.
///
/// The constants are those that a reader meets. Any other code is `ErrorCode(number)`. `Display` and
/// `Debug` print Kafka's name, or the number of a code without a constant.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(
    /// The number in the protocol.
    pub i16,
);

macro_rules! codes {
    ($($(#[$meaning:meta])* $name:ident = $code:literal,)*) => {
        impl ErrorCode {
            $($(#[$meaning])* pub const $name: Self = Self($code);)*

            /// Every constant, with its name.
            const NAMED: &[(Self, &str)] = &[$((Self::$name, stringify!($name)),)*];
        }
    };
}

codes! {
    /// An error that the broker does not name; failed remote storage, for example.
    UNKNOWN_SERVER_ERROR = -1,
    /// The offset is outside the log.
    OFFSET_OUT_OF_RANGE = 1,
    /// A checksum does not match.
    CORRUPT_MESSAGE = 2,
    /// This broker has no such topic or partition.
    UNKNOWN_TOPIC_OR_PARTITION = 3,
    /// The partition has no leader.
    LEADER_NOT_AVAILABLE = 5,
    /// This broker does not lead the partition.
    NOT_LEADER_OR_FOLLOWER = 6,
    /// The request took too long.
    REQUEST_TIMED_OUT = 7,
    /// This broker has no replica of the partition.
    REPLICA_NOT_AVAILABLE = 9,
    /// The coordinator of the group is loading.
    COORDINATOR_LOAD_IN_PROGRESS = 14,
    /// The group has no coordinator.
    COORDINATOR_NOT_AVAILABLE = 15,
    /// This broker does not coordinate the group.
    NOT_COORDINATOR = 16,
    /// The user may not access the topic.
    TOPIC_AUTHORIZATION_FAILED = 29,
    /// The user may not access the group.
    GROUP_AUTHORIZATION_FAILED = 30,
    /// The user may not access the cluster.
    CLUSTER_AUTHORIZATION_FAILED = 31,
    /// The broker does not support the version of the request.
    UNSUPPORTED_VERSION = 35,
    /// A disk of the broker failed.
    KAFKA_STORAGE_ERROR = 56,
    /// The fetch session does not exist.
    FETCH_SESSION_ID_NOT_FOUND = 70,
    /// The fetch session has another epoch.
    INVALID_FETCH_SESSION_EPOCH = 71,
    /// The leader epoch of the request is too old.
    FENCED_LEADER_EPOCH = 74,
    /// The leader epoch of the request is newer than the broker knows.
    UNKNOWN_LEADER_EPOCH = 75,
    /// The new leader does not know its high watermark yet.
    OFFSET_NOT_AVAILABLE = 78,
    /// A quota is exceeded.
    THROTTLING_QUOTA_EXCEEDED = 89,
    /// This broker has no topic of this id.
    UNKNOWN_TOPIC_ID = 100,
    /// The id of the topic is not that of the log.
    INCONSISTENT_TOPIC_ID = 103,
    /// The fetch session mixes topic names and ids.
    FETCH_SESSION_TOPIC_ID_ERROR = 106,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMED.iter().find(|(code, _)| code == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "ErrorCode({})", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::ResponseError;

    use super::*;

    #[test]
    fn the_constants_have_the_numbers_of_the_protocol() {
        for (code, name) in ErrorCode::NAMED {
            let kafkas = ResponseError::try_from_code(code.0).unwrap();
            assert_eq!(format!("{kafkas:?}").to_uppercase(), name.replace('_', ""));
        }
    }

    #[test]
    fn a_code_prints_its_name() {
        assert_eq!(ErrorCode(6).to_string(), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(ErrorCode(3210).to_string(), "ErrorCode(3210)");
    }
}
