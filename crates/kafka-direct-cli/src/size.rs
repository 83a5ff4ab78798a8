//! Parses durations and sizes: `30s`, `64MiB`.

use std::time::Duration;

/// Parses a duration as the library does, with its error as text.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    kafka_direct::parse_duration(text).map_err(|error| error.to_string())
}

/// Parses a size in bytes: `65536`, `64KiB`, `64MiB`, `1GiB`.
///
/// `k`, `M`, `KB` and other short units are powers of 1024 too.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || format!("invalid size `{text}`; write it like 65536, 512KiB or 64MiB");
    let size = text.trim();
    let (number, unit) =
        size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len()));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_count_as_documented() {
        for (text, size) in [("0", 0), ("64KiB", 65_536), ("64 MiB", 64 << 20), ("1g", 1 << 30)] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,12}|[0-9]{0,22}[a-zA-Z]{0,4}") {
            let _ = bytes(&text);
        }
    }

    #[test]
    fn invalid_text_is_rejected_and_named() {
        for text in ["", "MiB", "-1", "1.5M", "99999999999999999999", "20000000000G"] {
            assert!(bytes(text).unwrap_err().contains(&format!("`{text}`")), "{text}");
        }
    }
}
