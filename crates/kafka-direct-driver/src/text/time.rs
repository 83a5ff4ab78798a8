//! Parses a time as a bound: milliseconds, RFC 3339, a date, or a time before now.
//!
//! Contract: a bound finer than a millisecond is rounded up, as a start and as an end, since a record
//! with an earlier timestamp is before the bound. A number that is plausible as seconds and as
//! milliseconds is refused.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};

use super::parse_duration;

/// Numbers that are a time of 1970 to 1973 in milliseconds, and one after April 1970 in seconds or a
/// date without dashes.
const AMBIGUOUS: std::ops::Range<i64> = 10_000_000..100_000_000_000;

/// From here on, in the year 5138, a number is not in milliseconds.
const TOO_LATE: i64 = 100_000_000_000_000;

/// A time as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Time {
    /// Milliseconds since 1970-01-01 UTC, at least 0.
    At(i64),
    /// This long before now, as text that [`parse_duration`] parses.
    Ago(String),
}

impl Time {
    /// Parses a time; `None` if the text does not look like one.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, String>> {
        let (has_at, rest) = match text.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if has_at && let Some(ago) = rest.strip_prefix('-') {
            let valid = ago.ends_with(|c: char| c.is_ascii_alphabetic());
            return Some(match parse_duration(ago) {
                Ok(_) if valid => Ok(Self::Ago(ago.to_owned())),
                _ => Err(format!("invalid time `{text}`; write @-90s, @-30m, @-1h or @-2d")),
            });
        }
        let digits = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
        if has_at && digits {
            return Some(match rest.parse() {
                Ok(millis) if AMBIGUOUS.contains(&millis) => Err(two_readings(millis)),
                Ok(millis) if millis >= TOO_LATE => Err(finer_than_millis(millis)),
                Ok(millis) => Ok(Self::At(millis)),
                Err(_) => Err(format!("time `{text}` is too large")),
            });
        }
        let time = DateTime::parse_from_rfc3339(rest).map(|time| time.to_utc()).ok();
        let is_date = |text: &str| {
            let digit_or_dash = |(at, byte): (usize, u8)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            };
            text.len() == 10 && text.bytes().enumerate().all(digit_or_dash)
        };
        let starts_as_date = rest.get(..10).is_some_and(is_date);
        let midnight = || {
            Some(
                Some(rest)
                    .filter(|rest| is_date(rest))?
                    .parse::<NaiveDate>()
                    .ok()?
                    .and_hms_opt(0, 0, 0)?
                    .and_utc(),
            )
        };
        match time.or_else(midnight) {
            Some(time) => Some(at(text, time)),
            None if starts_as_date && rest.get(10..11) == Some("T") => Some(Err(format!(
                "invalid time `{text}`; end it with Z or an offset, as in 2025-01-01T00:00:00Z"
            ))),
            None if has_at => Some(Err(format!(
                "invalid time `{text}`; write @2025-01-01T00:00:00Z, @2025-01-01, @1735689600000 (milliseconds) or @-1h"
            ))),
            None => None,
        }
    }

    /// The time in milliseconds since 1970-01-01 UTC, at least 0. A time before `now` is rounded up.
    pub(crate) fn millis(&self, now: SystemTime) -> i64 {
        match self {
            Self::At(millis) => *millis,
            Self::Ago(text) => {
                let ago = parse_duration(text).unwrap_or(Duration::ZERO);
                let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                let millis = since_1970.saturating_sub(ago).as_nanos().div_ceil(1_000_000);
                i64::try_from(millis).unwrap_or(i64::MAX)
            }
        }
    }
}

fn at(text: &str, time: DateTime<Utc>) -> Result<Time, String> {
    match rounded_up(time) {
        millis if millis >= 0 => Ok(Time::At(millis)),
        _ => Err(format!("time `{text}` is before 1970")),
    }
}

fn rounded_up(time: DateTime<Utc>) -> i64 {
    let has_rest = !time.timestamp_subsec_nanos().is_multiple_of(1_000_000);
    time.timestamp_millis().saturating_add(i64::from(has_rest))
}

/// A time as RFC 3339 with seconds; a number that is no time as it is.
pub(crate) fn shown(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis);
    time.map_or_else(
        || millis.to_string(),
        |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    )
}

fn finer_than_millis(number: i64) -> String {
    let (unit, millis) = match number {
        ..100_000_000_000_000_000 => ("microseconds", number / 1000),
        _ => ("nanoseconds", number / 1_000_000),
    };
    format!(
        "`@{number}` is no time in milliseconds; it may be {} in {unit}: then write @{millis}",
        shown(millis)
    )
}

fn two_readings(number: i64) -> String {
    let as_seconds = number.saturating_mul(1000);
    format!(
        "`@{number}` is {} in milliseconds and {} in seconds; write the one that is meant, or @{as_seconds}",
        shown(number),
        shown(as_seconds)
    )
}

/// Prints text that parses to the same time.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(millis) => match DateTime::from_timestamp_millis(*millis) {
                Some(time) if AMBIGUOUS.contains(millis) => {
                    write!(f, "@{}", time.to_rfc3339_opts(SecondsFormat::Millis, true))
                }
                _ => write!(f, "@{millis}"),
            },
            Self::Ago(text) => write!(f, "@-{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Time, String> {
        Time::parse(text).unwrap_or_else(|| Err("not a time".to_owned()))
    }

    #[test]
    fn times_may_be_milliseconds_rfc_3339_or_dates() {
        for text in [
            "@1735689600000",
            "@2025-01-01T00:00:00Z",
            "@2025-01-01T01:00:00+01:00",
            "2025-01-01T00:00:00Z",
            "@2025-01-01",
            "2025-01-01",
        ] {
            assert_eq!(parsed(text), Ok(Time::At(1_735_689_600_000)), "{text}");
        }
    }

    #[test]
    fn bounds_finer_than_a_millisecond_are_rounded_up() {
        for (text, millis) in [
            ("1970-01-01T00:00:00.001Z", 1),
            ("1970-01-01T00:00:00.001000001Z", 2),
            ("1970-01-01T00:00:00.001999999Z", 2),
            ("1970-01-01T00:00:00.000000001Z", 1),
        ] {
            assert_eq!(parsed(text), Ok(Time::At(millis)), "{text}");
        }
        assert!(parsed("1969-12-31T23:59:59Z").unwrap_err().contains("before 1970"));
    }

    #[test]
    fn a_number_that_may_be_seconds_is_refused_with_both_readings() {
        let error = parsed("@1796000535").unwrap_err();
        for word in ["1970-01-21T18:53:20.535Z", "2026-11-30T01:02:15Z", "@1796000535000"] {
            assert!(error.contains(word), "{word} in {error}");
        }
        for (text, words) in [
            ("@1796000535000000", ["2026-11-30T01:02:15Z in microseconds", "@1796000535000"]),
            ("@1796000535000000000", ["2026-11-30T01:02:15Z in nanoseconds", "@1796000535000"]),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        for text in ["@0", "@9999999", "@100000000000"] {
            assert!(parsed(text).is_ok(), "{text}");
        }
        let same = Time::At(1_796_000_535).to_string();
        assert_eq!(parsed(&same), Ok(Time::At(1_796_000_535)));
    }

    #[test]
    fn relative_times_are_resolved_when_they_are_used() {
        let now = UNIX_EPOCH + Duration::from_nanos(1_735_689_600_000_000_001);
        for (text, seconds) in [("@-90s", 90), ("@-1h30m", 5_400), ("@-2d", 172_800)] {
            let time = parsed(text).unwrap();
            assert_eq!(time.to_string(), text);
            let ago = UNIX_EPOCH + Duration::from_millis(1_735_689_600_001);
            let expected = ago - Duration::from_secs(seconds);
            let millis = expected.duration_since(UNIX_EPOCH).unwrap().as_millis();
            assert_eq!(u128::try_from(time.millis(now)), Ok(millis), "{text}");
        }
        assert_eq!(parsed("@-99999999999d").unwrap().millis(now), 0);
        for text in ["@-", "@-5", "@-x", "@-h"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn other_text_is_no_time() {
        for text in ["2025-01-01T10:00:00", "@2025-01-01T10", "@20250101", "@2025 - 01 - 01"] {
            assert!(parsed(text).is_err(), "{text}");
        }
        assert!(parsed("2025-01-01T10:00:00").unwrap_err().contains("end it with Z"));
        for text in
            ["earliest", "1500", "-1500", "-1h", "0:5", "2025", "orders:0:1", "2025 - 01 - 01"]
        {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }
}
