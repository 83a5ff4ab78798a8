//! Values that are JSON, embedded in a JSON line as they are.
//!
//! Contract: only line breaks between tokens, and the white space after them, are left out. Numbers
//! keep their digits and objects their repeated keys. What is embedded can be read by any parser
//! that reads the line.

use serde::de::IgnoredAny;

/// Deepest nesting that is embedded; parsers have limits, of which 128 is a usual one.
const MAX_DEPTH: u32 = 100;

/// Appends `bytes` if they can be embedded in a JSON line; returns whether they can.
///
/// Not embedded are: what is not JSON; `null`, which would look like a tombstone; text that is nested
/// deeper than [`MAX_DEPTH`]; strings with half of a surrogate pair, which many parsers refuse.
pub(super) fn embed(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    if serde_json::from_str::<IgnoredAny>(text).is_err() || bytes.trim_ascii() == b"null" {
        return false;
    }
    let start = out.len();
    let embedded = one_line(bytes, out).is_some();
    if !embedded {
        out.truncate(start);
    }
    embedded
}

/// Appends valid JSON without its line breaks; `None` if it cannot be embedded.
fn one_line(mut rest: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut depth: u32 = 0;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'\n' | b'\r' => {
                rest = rest.trim_ascii_start();
                continue;
            }
            b'"' => {
                rest = after_string(after)?;
                let end = after.len().saturating_sub(rest.len());
                out.push(b'"');
                out.extend_from_slice(after.get(..end)?);
                continue;
            }
            b'{' | b'[' => {
                depth = depth.checked_add(1).filter(|depth| *depth <= MAX_DEPTH)?;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        out.push(*byte);
    }
    Some(())
}

/// Returns what follows a string, of which `rest` is all but the opening quote; `None` if it has half
/// of a surrogate pair.
fn after_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let at = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (byte, after) = rest.get(at..)?.split_first()?;
        if *byte == b'"' {
            return Some(after);
        }
        rest = match after.strip_prefix(b"u") {
            None => after.get(1..)?,
            Some(digits) => match (surrogate(digits)?, digits.get(4..)?) {
                (Surrogate::None, after) => after,
                (Surrogate::High, after) => {
                    let low = after.strip_prefix(b"\\u")?;
                    (surrogate(low)? == Surrogate::Low).then(|| low.get(4..)).flatten()?
                }
                (Surrogate::Low, _) => return None,
            },
        };
    }
}

/// The part of a surrogate pair that four hexadecimal digits stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Surrogate {
    None,
    High,
    Low,
}

fn surrogate(digits: &[u8]) -> Option<Surrogate> {
    let digits = std::str::from_utf8(digits.get(..4)?).ok()?;
    Some(match u16::from_str_radix(digits, 16).ok()? {
        0xd800..=0xdbff => Surrogate::High,
        0xdc00..=0xdfff => Surrogate::Low,
        _ => Surrogate::None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Returns the embedded text; `None` if it is not embedded, and then nothing was appended.
    fn embedded(text: impl AsRef<[u8]>) -> Option<String> {
        let mut out = b"before".to_vec();
        let embedded = embed(text.as_ref(), &mut out);
        let text = String::from_utf8(out.split_off(6)).unwrap();
        assert_eq!(out, b"before");
        assert!(embedded || text.is_empty());
        embedded.then_some(text)
    }

    #[test]
    fn json_on_one_line_is_embedded_unchanged() {
        for text in [
            r#"{"a":1,"a":2,"A":{}}"#,
            r#"{ "spaced" : [ 1 , 2 ] }"#,
            "1e400",
            "-0.000000000000000000000000000000000000000000000000000000000001E-999",
            "123456789012345678901234567890",
            "0.10",
            r#""a string \" \\ \/ é \ud83d\ude00 \u00e9""#,
            r#"{"null":null}"#,
            "true",
            "[]",
            " 5 ",
        ] {
            assert_eq!(embedded(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn line_breaks_are_left_out_only_between_tokens() {
        let pretty = "{\n  \"a\\n\": [\r\n\t1,\n\n\t2\n  ],\n  \"b  c\": \"x  y\"\n}\n";
        assert_eq!(embedded(pretty).unwrap(), r#"{"a\n": [1,2],"b  c": "x  y"}"#);
        assert_eq!(embedded("\n7\n").unwrap(), "7");
    }

    #[test]
    fn what_a_reader_could_mistake_or_refuse_is_not_embedded() {
        for text in [
            "",
            " ",
            "null",
            " null\n",
            "text",
            "{",
            "{} {}",
            "01",
            "NaN",
            "'a'",
            "\"a\nb\"",
            "\u{feff}{}",
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83dx""#,
            r#""\ud83d\n""#,
            r#"["\ud83d\ud83d\ude00"]"#,
            r#""\x""#,
            "[1,]",
        ] {
            assert_eq!(embedded(text), None, "{text}");
        }
        assert_eq!(embedded(b"\"\xff\""), None);
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(embedded(nested(100)).is_some());
        assert_eq!(embedded(nested(101)), None);
        assert_eq!(embedded(nested(1_000_000)), None);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\x00-\\x30\"\\\\]{0,9}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_the_same_value_on_one_line(value in json()) {
            let compact = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(embedded(&compact), Some(compact));
            let line = embedded(serde_json::to_string_pretty(&value).unwrap()).unwrap();
            prop_assert!(!line.contains(['\n', '\r']));
            prop_assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
        }

        #[test]
        fn what_is_embedded_can_be_read(text in "[\\[\\]{}\",:\\\\ud8c3 \n0-9a-f]{0,12}") {
            if let Some(line) = embedded(&text) {
                // serde_json refuses numbers above 1.8e308, which are valid.
                prop_assert!(serde_json::from_str::<Value>(&line).is_ok() || line.contains('e'));
            }
        }
    }
}
