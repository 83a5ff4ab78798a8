//! [`TopicPattern`]: a regular expression for whole topic names.

use kafka_direct_wire::TopicMetadata;
use regex_lite::Regex;

use crate::Error;

/// A regular expression that selects topics by their whole name, as [`KafkaRddBuilder::pattern`]
/// does.
///
/// [`KafkaRddBuilder::pattern`]: crate::KafkaRddBuilder::pattern
#[derive(Debug, Clone)]
pub struct TopicPattern {
    pattern: String,
    whole_name: Regex,
}

impl TopicPattern {
    /// Parses a pattern, which must be a valid regular expression by itself.
    ///
    /// # Errors
    /// [`Error::Setting`] if it is not.
    pub fn new(pattern: impl Into<String>) -> Result<Self, Error> {
        let pattern = pattern.into();
        match whole_name(&pattern) {
            Ok(whole_name) => Ok(Self { pattern, whole_name }),
            Err(error) => Err(setting(format!("`{pattern}` is no regular expression: {error}"))),
        }
    }

    /// Returns whether the pattern matches the whole `name`.
    #[must_use]
    pub fn is_match(&self, name: &str) -> bool {
        self.whole_name.is_match(name)
    }

    /// Returns the topics whose names match, in their order.
    ///
    /// # Errors
    /// [`Error::Setting`] if no name matches.
    pub fn select(&self, mut topics: Vec<TopicMetadata>) -> Result<Vec<TopicMetadata>, Error> {
        topics.retain(|topic| self.is_match(&topic.name));
        if topics.is_empty() {
            return Err(setting(format!("no topic's whole name matches `{}`", self.pattern)));
        }
        Ok(topics)
    }
}

fn setting(reason: String) -> Error {
    Error::Setting { setting: "topic pattern", reason }
}

/// A regular expression that matches a whole name. The pattern must be valid alone: inside a group
/// `a)|(b` would be too, with another meaning.
fn whole_name(pattern: &str) -> Result<Regex, regex_lite::Error> {
    Regex::new(pattern)?;
    // With the flag `x` the pattern may end in a comment, which only a line break ends.
    Regex::new(&format!("^(?:{pattern})$")).or_else(|_| Regex::new(&format!("^(?:{pattern}\n)$")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_valid_alone_and_matches_whole_names_only() {
        for broken in ["a)|(b.*", "(", "a)(b", ")"] {
            assert!(TopicPattern::new(broken).is_err(), "{broken}");
        }
        for (pattern, name, expected) in [
            ("a|ab", "ab", true),
            ("a|b", "ab", false),
            ("orders-.*", "orders-eu", true),
            ("orders-.*", "old-orders-eu", false),
            ("(?x) orders - .* # all of them", "orders-eu", true),
            ("(?x) orders # all of them", "orders-eu", false),
            ("(?i)ORDERS", "orders", true),
        ] {
            let matched = TopicPattern::new(pattern).unwrap().is_match(name);
            assert_eq!(matched, expected, "{pattern} {name}");
        }
    }
}
