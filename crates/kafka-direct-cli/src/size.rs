//! Parses durations and sizes: `30s`, `64MiB`.

use std::time::Duration;

/// Parses a duration: `500ms`, `30s`, `5m`, `2h`, `1d`, or a sum such as `1h30m`.
///
/// A number without a unit is in seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("invalid duration `{text}`; write it like 500ms, 30s, 5m or 2h");
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (number, tail) = split(rest);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let millis = match unit {
            "ms" => 1,
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

/// Parses a size in bytes: `65536`, `64KiB`, `64MiB`, `1GiB`.
///
/// `k`, `M`, `KB` and other short units are powers of 1024 too.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || format!("invalid size `{text}`; write it like 65536, 512KiB or 64MiB");
    let (number, unit) = split(text.trim());
    let number: usize = number.parse().map_err(|_| wrong())?;
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
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
            ("1m30s", 90_000),
            ("7", 7000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, size) in [("0", 0), ("64KiB", 65_536), ("64 MiB", 64 << 20), ("1g", 1 << 30)] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,12}|[0-9]{0,22}[a-zA-Z]{0,4}") {
            let _ = (duration(&text), bytes(&text));
        }
    }

    #[test]
    fn invalid_text_is_rejected_and_named() {
        for text in ["", "s", "-1s", "1 s", "5 parsecs", "99999999999999999999s", "5x"] {
            assert!(duration(text).unwrap_err().contains(&format!("`{text}`")), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5M", "99999999999999999999", "20000000000G"] {
            assert!(bytes(text).unwrap_err().contains(&format!("`{text}`")), "{text}");
        }
    }
}
