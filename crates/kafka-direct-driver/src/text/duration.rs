//! Parses durations: `30s`, `1h30m`.

use std::time::Duration;

use crate::DriverError;

/// Parses a duration: `500ms`, `30s`, `5m`, `2h`, `1d`, or a sum such as `1h30m`.
///
/// A number without a unit is in seconds.
///
/// # Errors
/// [`DriverError::Text`], of kind `Invalid`, for other text and for more than 2^64 milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, DriverError> {
    let wrong = || DriverError::Text {
        reason: format!("invalid duration `{text}`; write it like 500ms, 30s, 5m or 2h"),
    };
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (number, tail) =
            rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let millis = match unit {
            "ms" => 1,
            // Seconds are meant only by a number alone: in `1h30` it may be minutes.
            "" if !total.is_zero() => return Err(wrong()),
            "" | "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = next;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_count_as_documented() {
        for (text, millis) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1m30s", 90_000),
            ("7", 7000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        // Minutes or seconds?
        assert!(parse_duration("1h30").is_err() && parse_duration("5m30").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,12}|[0-9]{0,22}[a-zA-Z]{0,4}") {
            drop(parse_duration(&text));
        }
    }

    #[test]
    fn invalid_text_is_rejected_and_named() {
        for text in ["", "s", "-1s", "1 s", "5 parsecs", "99999999999999999999s", "5x"] {
            let error = parse_duration(text).unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{text}");
        }
    }
}
