//! Flags of `stream` that decode keys and values.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use kafka_direct::is_legal_topic_name;

/// How keys and values are decoded, and what happens to records that cannot be.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Decoding")]
pub(crate) struct DecodingArgs {
    /// What values are. `utf8` and `json` are checked in every record
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Encoding::Binary)]
    pub(crate) value_format: Encoding,
    /// What keys are
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Encoding::Binary)]
    pub(crate) key_format: Encoding,
    /// Decode JSON values into these fields: a JSON file of names and types, see below; needs
    /// `--value-format json`
    #[arg(long, value_name = "FILE")]
    pub(crate) value_schema: Option<PathBuf>,
    /// What to do with a record whose key or value cannot be decoded: `fail` ends the stream with exit
    /// code 5 and names the record; `skip` leaves it out; `null` makes the key or value null and puts the
    /// reason into the column `_error`; `dead-letter:TOPIC` writes it to that topic as it is, and leaves
    /// it out. All but `fail` count it and warn [default: fail]
    #[arg(long, value_name = "POLICY", default_value = "fail", hide_default_value = true)]
    pub(crate) on_poison: PoisonPolicy,
}

/// What the bytes of a key or value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// Bytes, which stay as they are
    Binary,
    /// Text in UTF-8
    Utf8,
    /// JSON
    Json,
}

/// What happens to a record that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PoisonPolicy {
    Fail,
    Skip,
    Null,
    DeadLetter { topic: String },
}

impl FromStr for PoisonPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "fail" => Self::Fail,
            "skip" => Self::Skip,
            "null" => Self::Null,
            other => match other.strip_prefix("dead-letter:") {
                Some(topic) if is_legal_topic_name(topic) => {
                    Self::DeadLetter { topic: topic.to_owned() }
                }
                Some(topic) => return Err(format!("`{topic}` is not the name of a topic")),
                None => {
                    return Err(format!(
                        "invalid policy `{text}`; write fail, skip, null or dead-letter:TOPIC"
                    ));
                }
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_words_or_a_topic_for_dead_letters() {
        let parsed = |text: &str| text.parse::<PoisonPolicy>();
        assert_eq!(parsed("fail"), Ok(PoisonPolicy::Fail));
        assert_eq!(parsed("skip"), Ok(PoisonPolicy::Skip));
        assert_eq!(parsed("null"), Ok(PoisonPolicy::Null));
        let topic = "orders.dead".to_owned();
        assert_eq!(parsed("dead-letter:orders.dead"), Ok(PoisonPolicy::DeadLetter { topic }));
        for text in ["", "Fail", "dead-letter", "dead-letter:", "dead-letter:a b", "orders"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
