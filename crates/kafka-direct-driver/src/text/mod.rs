//! Starts and ends as text: one grammar for programs and for the command line.
//!
//! Contract: the syntax is unambiguous. The printed form of an [`OffsetSpec`] parses to the same
//! value. The system clock is read only by `FromStr` of starts and ends, once per text, because
//! `@-1h` is a time before now; [`OffsetSpec`] takes the time from its caller.

mod duration;
mod offset_spec;
mod time;

use std::{str::FromStr, time::SystemTime};

use self::offset_spec::Word;
pub(crate) use self::time::shown;
pub use self::{duration::parse_duration, offset_spec::OffsetSpec};
use crate::{DriverError, EndOffset, Ends, NoMatch, StartOffset, Starts};

/// Parses one word of [`OffsetSpec`], such as `earliest`, `1500`, `@-1h` or `group:NAME`.
///
/// A time before now is resolved when it is parsed. A start by time has [`NoMatch::Error`].
impl FromStr for StartOffset {
    type Err = DriverError;

    fn from_str(text: &str) -> Result<Self, DriverError> {
        Ok(word(text)?.start(NoMatch::default(), now()))
    }
}

/// Parses one word of [`OffsetSpec`], such as `latest`, `1500` or `@2025-01-01`, but no group.
///
/// A time before now is resolved when it is parsed. `earliest` is an end at the log start.
impl FromStr for EndOffset {
    type Err = DriverError;

    fn from_str(text: &str) -> Result<Self, DriverError> {
        word(text)?.end(now()).map_err(|reason| DriverError::Text { reason })
    }
}

/// Parses an [`OffsetSpec`] whose entries name their topics: `orders:0:100,*:earliest`.
///
/// A time before now is resolved when it is parsed. A start by time has [`NoMatch::Error`].
impl FromStr for Starts {
    type Err = DriverError;

    fn from_str(text: &str) -> Result<Self, DriverError> {
        text.parse::<OffsetSpec>()?.starts(None, NoMatch::default(), now())
    }
}

/// Parses an [`OffsetSpec`] whose entries name their topics: `orders:0:100,*:latest`.
///
/// A time before now is resolved when it is parsed.
impl FromStr for Ends {
    type Err = DriverError;

    fn from_str(text: &str) -> Result<Self, DriverError> {
        text.parse::<OffsetSpec>()?.ends(None, now())
    }
}

fn word(text: &str) -> Result<Word, DriverError> {
    text.parse().map_err(|reason| DriverError::Text { reason })
}

#[expect(clippy::disallowed_methods, reason = "the text may ask for a time before now")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use kafka_direct_core::{ErrorKind, Offset, TopicPartition};

    use super::*;

    #[test]
    fn starts_and_ends_are_parsed_from_the_words_of_the_command_line() {
        assert_eq!("earliest".parse(), Ok(StartOffset::Earliest));
        assert_eq!("-10".parse(), Ok(StartOffset::FromEnd(10)));
        let millis = 1_735_689_600_000;
        let since = StartOffset::Timestamp { millis, no_match: NoMatch::Error };
        assert_eq!("@2025-01-01".parse(), Ok(since));
        let group = StartOffset::GroupCommitted {
            group: "g".to_owned(),
            fallback: Box::new(StartOffset::Earliest),
        };
        assert_eq!("group:g".parse(), Ok(group));
        assert_eq!("latest".parse(), Ok(EndOffset::Latest));
        assert_eq!("1500".parse(), Ok(EndOffset::At(Offset::new(1500))));
        assert_eq!("@1735689600000".parse(), Ok(EndOffset::Timestamp { millis }));
        assert_eq!("earliest".parse(), Ok(EndOffset::FromEnd(i64::MAX)));
        let Ok(EndOffset::Timestamp { millis }) = "@-1h".parse() else {
            panic!("a time before now is a timestamp");
        };
        assert!(millis > 1_735_689_600_000);
    }

    #[test]
    fn maps_are_parsed_with_their_topics() {
        let one = (TopicPartition::new("orders", 3), StartOffset::At(Offset::new(7)));
        let expected = Starts::per_partition([one]).with_default(StartOffset::Latest);
        assert_eq!("orders:3:7,*:latest".parse(), Ok(expected));
        assert_eq!("latest".parse(), Ok(Ends::from(EndOffset::Latest)));
        let error = "0:5".parse::<Starts>().unwrap_err();
        assert!(error.to_string().contains("`orders:0:5`"), "{error}");
        let spec: OffsetSpec = "0:5".parse().unwrap();
        let named: Starts = "t:0:5".parse().unwrap();
        assert_eq!(spec.starts(Some("t"), NoMatch::Error, now()), Ok(named));
    }

    #[test]
    fn refused_text_is_invalid_and_named() {
        for text in ["group:g", "now", "0:5", "@1796000535"] {
            let error = text.parse::<EndOffset>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(text), "{error}");
        }
        assert!("*:group:g".parse::<Ends>().is_err());
        assert!("*:group:g".parse::<OffsetSpec>().unwrap().names_group());
    }
}
