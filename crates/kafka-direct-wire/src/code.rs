//! Kafka's error codes: their names, their kinds, and which of them may pass.

use kafka_direct_core::ErrorKind;
use kafka_protocol::ResponseError;

pub(crate) const NONE: i16 = 0;
pub(crate) const OFFSET_OUT_OF_RANGE: i16 = 1;
pub(crate) const CORRUPT_MESSAGE: i16 = 2;
pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
pub(crate) const LEADER_NOT_AVAILABLE: i16 = 5;
pub(crate) const INVALID_TOPIC: i16 = 17;
pub(crate) const UNSUPPORTED_VERSION: i16 = 35;
pub(crate) const GROUP_ID_NOT_FOUND: i16 = 69;

/// Kafka's name for the error `code`.
pub(crate) fn name(code: i16) -> String {
    ResponseError::try_from_code(code).map_or_else(|| "NONE".to_owned(), |e| e.to_string())
}

/// The kind of the error `code`, which says what a caller should do.
pub(crate) const fn kind(code: i16) -> ErrorKind {
    match code {
        OFFSET_OUT_OF_RANGE => ErrorKind::OffsetLost,
        CORRUPT_MESSAGE => ErrorKind::Corrupt,
        // topic, group, cluster, transactional id; SASL mechanism, state, failure; token
        29 | 30 | 31 | 53 | 33 | 34 | 54 | 58 | 65 => ErrorKind::Unauthorized,
        UNKNOWN_TOPIC_OR_PARTITION => ErrorKind::Invalid,
        code if is_passing(code) => ErrorKind::Unavailable,
        _ => ErrorKind::Invalid,
    }
}

/// Whether a request that fails with `code` may succeed later, or with fresh metadata.
pub(crate) const fn is_passing(code: i16) -> bool {
    matches!(
        code,
        UNKNOWN_TOPIC_OR_PARTITION
            | LEADER_NOT_AVAILABLE
            // not leader, timed out, broker or replica not available, network
            | 6 | 7 | 8 | 9 | 13
            // coordinator loading, not available, moved
            | 14 | 15 | 16
            // storage error, fenced and unknown leader epoch, offset not available
            | 56 | 74 | 75 | 78
            // unknown server error, for example failed remote storage (KIP-405): Kafka's own
            // consumer retries it
            | -1
            // unstable offset commit, throttling quota, unknown and inconsistent topic id,
            // rebootstrap
            | 88 | 89 | 100 | 103 | 129
    )
}

/// Whether a commit failed because the group has members: illegal generation, unknown member,
/// rebalance in progress.
const fn is_of_members(code: i16) -> bool {
    matches!(code, 22 | 25 | 27)
}

/// The next step after the error `code`, as the end of an error message.
pub(crate) const fn next_step(code: i16) -> &'static str {
    match kind(code) {
        _ if is_of_members(code) => "; the group has consumers: name a group that none uses",
        ErrorKind::Unauthorized => "; grant the operation to this user, or use other credentials",
        ErrorKind::Unavailable => "; retry later",
        ErrorKind::Corrupt => {
            "; the partition's log on the broker is damaged, check the broker's log file"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_retriable_code_about_leaders_and_coordinators_is_passing() {
        for code in [3, 5, 6, 7, 13, 14, 15, 16, 56, 74, 75, 78, 88] {
            assert!(is_passing(code), "{}", name(code));
            assert!(ResponseError::try_from_code(code).unwrap().is_retriable(), "{}", name(code));
        }
    }

    #[test]
    fn authorization_codes_are_unauthorized_and_never_retried() {
        for code in [29, 30, 31, 53, 58] {
            assert_eq!(kind(code), ErrorKind::Unauthorized, "{}", name(code));
            assert!(!is_passing(code));
        }
    }
}
