//! Names and ids of topics and partitions. An id tells a topic from a re-created one.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::CoreError;

/// Longest name of a topic, in bytes. Legal names are ASCII, so it is in characters too.
const MAX_NAME_BYTES: usize = 249;

/// Whether Kafka accepts `name` for a topic: 1 to 249 characters of `a-z`, `A-Z`, `0-9`, `.`, `_`
/// and `-`, but neither `.` nor `..`.
///
/// A legal name is safe as a part of a file name.
#[must_use]
pub fn is_legal_topic_name(name: &str) -> bool {
    check_topic_name(name).is_ok()
}

/// Says which part of Kafka's rule for topic names `name` breaks.
///
/// # Errors
/// The broken part, as a clause without a full stop, where [`is_legal_topic_name`] is false.
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

/// A topic's name with the index of one of its partitions. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    topic: Arc<str>,
    partition: i32,
}

impl TopicPartition {
    /// Names partition `partition` (from 0) of `topic`.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic's name, shared.
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

/// The id a broker gives a topic at its creation (KIP-516): another id means another topic, even
/// under the same name. Printed as Kafka's tools print it, 22 characters of URL-safe base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// From the 16 bytes on the wire; `None` for the all-zero id, which means "not known".
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The 16 bytes on the wire.
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
    fn names_kafka_accepts_are_legal_and_no_others() {
        for name in ["a", "...", "Orders_v1.a-b", "0", &"x".repeat(249)] {
            assert!(is_legal_topic_name(name), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "../x", "a\0", "ä", &"x".repeat(250)] {
            assert!(!is_legal_topic_name(name), "{name}");
        }
    }

    #[test]
    fn the_broken_part_of_the_rule_is_named() {
        let check = |name: &str, part: &str| {
            let broken = check_topic_name(name).unwrap_err();
            assert!(broken.contains(part), "{name}: {broken}");
        };
        check("", "empty");
        check(&"ä".repeat(125), "249 characters");
        check("..", "`..`");
        check("a/b", "letters, digits");
    }

    #[test]
    fn topic_id_survives_its_text() {
        let id = TopicId::from_bytes([7; 16]).unwrap();
        assert_eq!(id.to_string().parse::<TopicId>().unwrap(), id);
        assert_eq!(id.to_string().len(), 22);
    }

    #[test]
    fn topic_id_refuses_what_is_not_one() {
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
