//! Names and ids of topics and partitions. An id distinguishes a topic from a re-created one.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::CoreError;

/// The length of the longest topic name, in bytes. Legal names are ASCII, so also in characters.
const MAX_NAME_BYTES: usize = 249;

/// Whether Kafka accepts `name` as a topic name.
///
/// A legal name has 1 to 249 characters of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`, and is neither
/// `.` nor `..`. It is safe as a part of a file name.
#[must_use]
pub fn is_legal_topic_name(name: &str) -> bool {
    check_topic_name(name).is_ok()
}

/// Checks `name` against Kafka's rule for topic names.
///
/// # Errors
/// The part of the rule that `name` violates, as a clause without a full stop. An error is returned
/// exactly when [`is_legal_topic_name`] returns false.
pub fn check_topic_name(name: &str) -> Result<(), &'static str> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() {
        Err("a topic's name cannot be empty")
    } else if name.len() > MAX_NAME_BYTES {
        Err("a topic's name has at most 249 characters")
    } else if name == "." || name == ".." {
        Err("a topic cannot be named `.` or `..`")
    } else if !name.bytes().all(is_legal) {
        Err("a topic's name has only letters, digits, `.`, `_` and `-`")
    } else {
        Ok(())
    }
}

/// One partition of a topic: the topic's name and the partition's index. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    topic: Arc<str>,
    partition: i32,
}

impl TopicPartition {
    /// Partition `partition` (from 0) of `topic`.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic's name as a shared string.
    #[must_use]
    pub const fn topic_arc(&self) -> &Arc<str> {
        &self.topic
    }

    /// The partition's index within its topic, from 0.
    #[must_use]
    pub const fn partition(&self) -> i32 {
        self.partition
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The id that a broker assigns to a topic when it is created (KIP-516).
///
/// Another id means another topic, even under the same name. `Display` prints it as Kafka's tools
/// do: 22 characters of URL-safe base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// An id from its 16 bytes on the wire; `None` for the all-zero id, which means "not known".
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The id's 16 bytes on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

impl FromStr for TopicId {
    type Err = CoreError;

    fn from_str(text: &str) -> Result<Self, CoreError> {
        let not_an_id = || CoreError::TopicId { text: text.to_owned() };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| not_an_id())?;
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| not_an_id())?;
        Self::from_bytes(bytes).ok_or_else(not_an_id)
    }
}

impl TryFrom<String> for TopicId {
    type Error = CoreError;

    fn try_from(text: String) -> Result<Self, CoreError> {
        text.parse()
    }
}

impl From<TopicId> for String {
    fn from(id: TopicId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_kafka_accepts_are_legal() {
        for name in ["a", "...", "Orders_v1.a-b", "0", &"x".repeat(249)] {
            assert!(is_legal_topic_name(name), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "../x", "a\0", "ä", &"x".repeat(250)] {
            assert!(!is_legal_topic_name(name), "{name}");
        }
    }

    #[test]
    fn the_error_names_the_violated_part_of_the_rule() {
        let check = |name: &str, part: &str| {
            let error = check_topic_name(name).unwrap_err();
            assert!(error.contains(part), "{name}: {error}");
        };
        check("", "empty");
        check(&"ä".repeat(125), "249 characters");
        check("..", "`..`");
        check("a/b", "letters, digits");
    }

    #[test]
    fn a_topic_id_reads_back_from_its_text() {
        let id = TopicId::from_bytes([7; 16]).unwrap();
        assert_eq!(id.to_string().parse::<TopicId>().unwrap(), id);
        assert_eq!(id.to_string().len(), 22);
    }

    #[test]
    fn text_that_is_not_a_topic_id_is_rejected() {
        for text in ["", "abc", "AAAAAAAAAAAAAAAAAAAAAA", "!!!!!!!!!!!!!!!!!!!!!!"] {
            assert!(text.parse::<TopicId>().is_err(), "{text}");
        }
    }

    #[test]
    fn partitions_order_by_topic_then_index() {
        let mut all = [
            TopicPartition::new("b", 0),
            TopicPartition::new("a", 10),
            TopicPartition::new("a", 2),
        ];
        all.sort();
        assert_eq!(all.map(|tp| tp.to_string()), ["a-2", "a-10", "b-0"]);
    }
}
