//! [`OffsetSpec`]: the text of starts or ends, one word for all partitions or a map.

use std::{collections::BTreeMap, fmt, str::FromStr, time::SystemTime};

use kafka_direct_core::{Offset, TopicPartition};

use super::time::Time;
use crate::{ByPartition, DriverError, EndOffset, Ends, NoMatch, StartOffset, Starts};

/// A parsed word, which names an offset of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    Earliest,
    Latest,
    At(i64),
    FromEnd(i64),
    Time(Time),
    Group(String),
}

impl Word {
    pub(super) fn start(&self, no_match: NoMatch, now: SystemTime) -> StartOffset {
        match self {
            Self::Earliest => StartOffset::Earliest,
            Self::Latest => StartOffset::Latest,
            Self::At(offset) => StartOffset::At(Offset::new(*offset)),
            Self::FromEnd(back) => StartOffset::FromEnd(*back),
            Self::Time(time) => StartOffset::Timestamp { millis: time.millis(now), no_match },
            Self::Group(group) => StartOffset::GroupCommitted {
                group: group.clone(),
                fallback: Box::new(StartOffset::Earliest),
            },
        }
    }

    pub(super) fn end(&self, now: SystemTime) -> Result<EndOffset, String> {
        match self {
            // An offset before the log start is raised to the log start.
            Self::Earliest => Ok(EndOffset::FromEnd(i64::MAX)),
            Self::Latest => Ok(EndOffset::Latest),
            Self::At(offset) => Ok(EndOffset::At(Offset::new(*offset))),
            Self::FromEnd(back) => Ok(EndOffset::FromEnd(*back)),
            Self::Time(time) => Ok(EndOffset::Timestamp { millis: time.millis(now) }),
            Self::Group(_) => Err(format!(
                "{self}: a range cannot end at a group; use group:NAME only as a start"
            )),
        }
    }
}

/// A partition index, with its topic if the entry names one.
type PartitionKey = (Option<String>, i32);

/// The text of starts or ends: one word for all partitions, or a map.
///
/// A word is one of:
///
/// - `earliest` or `beginning`, `latest` or `end`
/// - `1500`: an offset; `-1500`: this many offsets before the readable end
/// - `@2025-01-01T00:00:00Z`, `@2025-01-01`, both also without the `@`; `@1735689600000`, in
///   milliseconds since 1970; `@-1h`, a time before now, as
///   [`parse_duration`](crate::parse_duration) reads it
/// - `group:NAME`: the committed offset of a consumer group; starts only, and earliest where the
///   group committed none
///
/// A map has entries `PARTITION:WORD` or `TOPIC:PARTITION:WORD`, separated by commas. `*:WORD` is for
/// all other partitions. No word starts with a number and a colon, so the syntax is unambiguous. Text
/// that starts with `group:` is always one word, so a group name may contain any character.
///
/// `Display` prints text that parses to the same value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetSpec {
    default: Option<Word>,
    entries: BTreeMap<PartitionKey, Word>,
}

impl OffsetSpec {
    /// The starts. An entry without a topic belongs to `topic`, and a time before now is before
    /// `now`. `no_match` is for partitions without a record at or after a time.
    ///
    /// # Errors
    /// [`DriverError::Text`], of kind `Invalid`, for an entry without a topic if `topic` is `None`.
    pub fn starts(
        &self,
        topic: Option<&str>,
        no_match: NoMatch,
        now: SystemTime,
    ) -> Result<Starts, DriverError> {
        self.by_partition(topic, |word| Ok(word.start(no_match, now)))
    }

    /// The ends. An entry without a topic belongs to `topic`, and a time before now is before `now`.
    /// `earliest` is an end at the log start, so that nothing is read.
    ///
    /// # Errors
    /// As [`OffsetSpec::starts`], and for a group.
    pub fn ends(&self, topic: Option<&str>, now: SystemTime) -> Result<Ends, DriverError> {
        self.by_partition(topic, |word| word.end(now))
    }

    /// Whether any word is `group:NAME`, which [`OffsetSpec::ends`] refuses.
    #[must_use]
    pub fn names_group(&self) -> bool {
        self.default.iter().chain(self.entries.values()).any(|word| matches!(word, Word::Group(_)))
    }

    /// The latest of its times, in milliseconds since 1970-01-01 UTC; `None` if it has no time.
    #[must_use]
    pub fn latest_time(&self, now: SystemTime) -> Option<i64> {
        let time = |word: &Word| match word {
            Word::Time(time) => Some(time.millis(now)),
            _ => None,
        };
        self.default.iter().chain(self.entries.values()).filter_map(time).max()
    }

    fn by_partition<O>(
        &self,
        only_topic: Option<&str>,
        resolve: impl Fn(&Word) -> Result<O, String>,
    ) -> Result<ByPartition<O>, DriverError> {
        let resolve = |word: &Word| resolve(word).map_err(|reason| DriverError::Text { reason });
        let entry = |((topic, partition), word): (&PartitionKey, &Word)| {
            let Some(topic) = topic.as_deref().or(only_topic) else {
                let reason = format!(
                    "{partition}:{word} names no topic; add it, as in `orders:{partition}:{word}`"
                );
                return Err(DriverError::Text { reason });
            };
            Ok((TopicPartition::new(topic, *partition), resolve(word)?))
        };
        let entries = self.entries.iter().map(entry).collect::<Result<Vec<_>, DriverError>>()?;
        let all = ByPartition::per_partition(entries);
        Ok(match &self.default {
            Some(word) => all.with_default(resolve(word)?),
            None => all,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut spec = Self { default: None, entries: BTreeMap::new() };
        let is_word = text.starts_with('@') || text.starts_with("group:") || !text.contains(':');
        if is_word || Time::parse(text).is_some() {
            spec.default = Some(text.parse()?);
            return Ok(spec);
        }
        for entry in text.split(',') {
            let (key, word) = entry_of(entry)?;
            let word = word.parse().map_err(|error| format!("in `{entry}`: {error}"))?;
            spec.add(key, word)?;
        }
        Ok(spec)
    }

    fn add(&mut self, key: Option<PartitionKey>, word: Word) -> Result<(), String> {
        let twice = format!("`{}` is given twice", ShownKey(key.as_ref()));
        let before = match key {
            None => self.default.replace(word),
            Some(key) => self.entries.insert(key, word),
        };
        before.map_or(Ok(()), |_| Err(twice))
    }
}

impl FromStr for OffsetSpec {
    type Err = DriverError;

    fn from_str(text: &str) -> Result<Self, DriverError> {
        Self::parse(text).map_err(|reason| DriverError::Text { reason })
    }
}

/// Splits an entry into its partition (`None` for `*`) and its word.
fn entry_of(entry: &str) -> Result<(Option<PartitionKey>, &str), String> {
    let wrong = || {
        format!(
            "invalid entry `{entry}`; write PARTITION:OFFSET, TOPIC:PARTITION:OFFSET or *:OFFSET"
        )
    };
    let (first, rest) = entry.split_once(':').ok_or_else(wrong)?;
    if let Some((second, word)) = rest.split_once(':')
        && let Some(partition) = index(second)
    {
        if first.is_empty() {
            return Err(wrong());
        }
        return Ok((Some((Some(first.to_owned()), partition)), word));
    }
    if first == "*" {
        return Ok((None, rest));
    }
    index(first).map(|partition| (Some((None, partition)), rest)).ok_or_else(wrong)
}

fn index(text: &str) -> Option<i32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            all.then(|| digits.parse::<i64>().ok()).flatten()
        };
        let wrong = || {
            format!(
                "invalid offset `{text}`; write earliest, latest, 1500, -1500, @2025-01-01T00:00:00Z, @2025-01-01, @-1h, @MILLISECONDS or group:NAME"
            )
        };
        match text {
            "earliest" | "beginning" => return Ok(Self::Earliest),
            "latest" | "end" => return Ok(Self::Latest),
            _ => {}
        }
        if let Some(group) = text.strip_prefix("group:") {
            if group.is_empty() {
                return Err("missing group name in `group:`; write group:NAME".to_owned());
            }
            return Ok(Self::Group(group.to_owned()));
        }
        if let Some(time) = Time::parse(text) {
            return time.map(Self::Time);
        }
        if text.starts_with('-')
            && Time::parse(&format!("@{text}")).is_some_and(|time| time.is_ok())
        {
            return Err(format!("invalid offset `{text}`; a time before now is written @{text}"));
        }
        match text.strip_prefix('-') {
            Some(back) => number(back).map(Self::FromEnd),
            None => number(text).map(Self::At),
        }
        .ok_or_else(wrong)
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::At(offset) => write!(f, "{offset}"),
            Self::FromEnd(back) => write!(f, "-{back}"),
            Self::Time(time) => time.fmt(f),
            Self::Group(group) => write!(f, "group:{group}"),
        }
    }
}

/// Prints the partition of an entry, `*` for `None`.
struct ShownKey<'a>(Option<&'a PartitionKey>);

impl fmt::Display for ShownKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("*"),
            Some((None, partition)) => write!(f, "{partition}"),
            Some((Some(topic), partition)) => write!(f, "{topic}:{partition}"),
        }
    }
}

impl fmt::Display for OffsetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(word), true) = (&self.default, self.entries.is_empty()) {
            return word.fmt(f);
        }
        let default = self.default.iter().map(|word| (None, word));
        // Text that begins with `group:` is the name of a group, so that topic is not the first.
        let is_group = |key: &PartitionKey| key.0.as_deref() == Some("group");
        let (groups, others): (Vec<_>, Vec<_>) =
            self.entries.iter().partition(|(key, _)| is_group(key));
        let entries = others.into_iter().chain(groups).map(|(key, word)| (Some(key), word));
        for (at, (key, word)) in default.chain(entries).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}:{word}", ShownKey(key))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words() -> impl Strategy<Value = Word> {
        prop_oneof![
            Just(Word::Earliest),
            Just(Word::Latest),
            (0..=i64::MAX).prop_map(Word::At),
            (0..=i64::MAX).prop_map(Word::FromEnd),
            (0..100_000_000_000_000_i64).prop_map(|millis| Word::Time(Time::At(millis))),
            Just(Word::Time(Time::Ago("1h30m".to_owned()))),
            "[a-z0-9.:-]{1,12}".prop_map(Word::Group),
        ]
    }

    fn specs() -> impl Strategy<Value = OffsetSpec> {
        let names = prop_oneof!["[a-zA-Z0-9._-]{1,8}", Just("group".to_owned())];
        let topic = proptest::option::of(names);
        let entries = proptest::collection::btree_map((topic, 0..=i32::MAX), words(), 0..5);
        (proptest::option::of(words()), entries)
            .prop_map(|(default, entries)| OffsetSpec { default, entries })
            .prop_filter("the spec is not empty", |spec| {
                spec.default.is_some() || !spec.entries.is_empty()
            })
            // Such a text would parse as the name of one group.
            .prop_filter("no topic `group` at the start", |spec| {
                !spec.to_string().starts_with("group:")
            })
            .prop_filter("a lone default is a word", |spec| {
                !spec.entries.is_empty() || spec.default.is_some()
            })
    }

    proptest! {
        #[test]
        fn printed_text_parses_to_the_same_value(spec in specs()) {
            let text = spec.to_string();
            prop_assert_eq!(text.parse::<OffsetSpec>(), Ok(spec), "{}", text);
        }

        #[test]
        fn a_single_word_is_for_all_partitions(word in words()) {
            let spec: OffsetSpec = word.to_string().parse().unwrap();
            prop_assert_eq!(spec.default.as_ref(), Some(&word));
            prop_assert!(spec.entries.is_empty());
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}|[0-9a-z:,*@-]{0,20}") {
            drop(text.parse::<OffsetSpec>());
        }
    }

    #[test]
    fn times_are_words_alone_and_in_maps() {
        let at = |millis| Word::Time(Time::At(millis));
        for text in ["@2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "2025-01-01"] {
            let spec: OffsetSpec = text.parse().unwrap();
            assert_eq!(spec.default, Some(at(1_735_689_600_000)), "{text}");
        }
        let in_map: OffsetSpec =
            "0:@2025-01-01T00:00:00.5Z,t:1:@7,2:2025-01-01T00:00:00Z,t:3:@-1h".parse().unwrap();
        assert_eq!(in_map.entries[&(None, 0)], at(1_735_689_600_500));
        assert_eq!(in_map.entries[&(None, 2)], at(1_735_689_600_000));
        assert_eq!(in_map.entries[&(Some("t".to_owned()), 1)], at(7));
        let ago = Word::Time(Time::Ago("1h".to_owned()));
        assert_eq!(in_map.entries[&(Some("t".to_owned()), 3)], ago);
        let hint = "-1h".parse::<OffsetSpec>().unwrap_err().to_string();
        assert!(hint.contains("@-1h"), "{hint}");
    }

    #[test]
    fn a_topic_named_like_a_number_is_a_topic() {
        let spec: OffsetSpec = "7:0:100,3:5".parse().unwrap();
        assert_eq!(spec.entries[&(Some("7".to_owned()), 0)], Word::At(100));
        assert_eq!(spec.entries[&(None, 3)], Word::At(5));
    }

    #[test]
    fn the_words_of_kcat_are_accepted() {
        assert_eq!("beginning".parse::<Word>(), Ok(Word::Earliest));
        assert_eq!("end".parse::<Word>(), Ok(Word::Latest));
    }

    #[test]
    fn invalid_text_is_rejected_and_named() {
        for text in [
            "",
            "-",
            "--1",
            "+1",
            "1.5",
            "now",
            "@",
            "@yesterday",
            "@-5",
            "@1960-01-01T00:00:00Z",
            "group:",
            "0:",
            "0:1,",
            ":1",
            "a:1",
            "0:1,0:2",
            "*:1,*:2",
            "0:now",
            "-1:5",
            "99999999999999999999",
            "99999999999:5",
            "a::5",
            ":0:5",
        ] {
            assert!(text.parse::<OffsetSpec>().is_err(), "{text}");
        }
        let error = "0:1,1:now".parse::<OffsetSpec>().unwrap_err().to_string();
        assert!(error.contains("`1:now`") && error.contains("`now`"), "{error}");
    }
}
