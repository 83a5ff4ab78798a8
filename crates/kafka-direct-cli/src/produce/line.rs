//! Converts a line of input to a record.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use rskafka::record::Record;
use serde::Deserialize;

use crate::exit::Failure;

/// The format of the input lines.
#[derive(Debug)]
pub(super) enum LineForm {
    /// The line is the value.
    Value,
    /// The line is a key and a value, with this separator between them.
    KeyValue(Vec<u8>),
    /// The line is a JSON object as `read` prints it.
    Json,
}

/// A record, and the partition that its line names.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) record: Record,
    pub(super) partition: Option<i32>,
}

/// The fields of a line of `read` that can be written.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object as `read` prints it")]
struct JsonLine {
    partition: Option<i32>,
    timestamp: Option<i64>,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: Vec<JsonHeader>,
}

#[derive(Debug, Deserialize)]
struct JsonHeader {
    key: String,
    value: Option<String>,
    value_base64: Option<String>,
}

impl LineForm {
    pub(super) fn new(json: bool, separator: Option<&str>) -> Result<Self, Failure> {
        match (json, separator) {
            (true, _) => Ok(Self::Json),
            (false, None) => Ok(Self::Value),
            (false, Some("")) => {
                Err(Failure::usage("--key-separator is empty; pass at least one character"))
            }
            (false, Some(text)) => Ok(Self::KeyValue(text.replace("\\t", "\t").into_bytes())),
        }
    }

    /// Converts the text of line `number` to a record; `None` for a blank line between JSON lines.
    pub(super) fn parse(&self, text: Vec<u8>, number: u64) -> Result<Option<Line>, Failure> {
        let plain = |key: Option<Vec<u8>>, value: Vec<u8>| {
            let timestamp = Utc::now();
            let record = Record { key, value: Some(value), headers: BTreeMap::new(), timestamp };
            Ok(Some(Line { record, partition: None }))
        };
        match self {
            Self::Value => plain(None, text),
            Self::KeyValue(separator) => {
                let at = text.windows(separator.len()).position(|window| window == separator);
                match at.and_then(|at| {
                    Some((text.get(..at)?, text.get(at.checked_add(separator.len())?..)?))
                }) {
                    Some((key, value)) => plain(Some(key.to_vec()), value.to_vec()),
                    None => plain(None, text),
                }
            }
            Self::Json if text.iter().all(u8::is_ascii_whitespace) => Ok(None),
            Self::Json => json(&text).map(Some).map_err(|reason| {
                Failure::usage(format!("line {number} cannot be written: {reason}"))
            }),
        }
    }
}

fn json(text: &[u8]) -> Result<Line, String> {
    let line: JsonLine = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let mut headers = BTreeMap::new();
    for JsonHeader { key, value, value_base64 } in line.headers {
        let value = bytes("header value", value, value_base64)?.ok_or_else(|| {
            format!("header `{key}` has a null value, which the producer cannot write")
        })?;
        if headers.contains_key(&key) {
            return Err(format!("header `{key}` occurs twice, which the producer cannot write"));
        }
        headers.insert(key, value);
    }
    let timestamp = match line.timestamp {
        Some(millis) => DateTime::from_timestamp_millis(millis)
            .ok_or_else(|| format!("timestamp {millis} is out of range"))?,
        None => Utc::now(),
    };
    let record = Record {
        key: bytes("key", line.key, line.key_base64)?,
        value: bytes("value", line.value, line.value_base64)?,
        headers,
        timestamp,
    };
    Ok(Line { record, partition: line.partition })
}

fn bytes(
    what: &str,
    text: Option<String>,
    base64: Option<String>,
) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(format!("{what} and {what}_base64 are both given")),
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(text)) => {
            STANDARD.decode(text).map(Some).map_err(|error| format!("{what}_base64: {error}"))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(form: &LineForm, text: &str) -> Record {
        form.parse(text.as_bytes().to_vec(), 1).unwrap().unwrap().record
    }

    #[test]
    fn lines_split_at_the_first_separator_or_have_no_key() {
        let form = LineForm::new(false, Some("\\t")).unwrap();
        let kept = record(&form, "k\tv\tw");
        assert_eq!((kept.key, kept.value), (Some(b"k".to_vec()), Some(b"v\tw".to_vec())));
        let bare = record(&form, "v");
        assert_eq!((bare.key, bare.value), (None, Some(b"v".to_vec())));
        let empty = record(&form, "\t");
        assert_eq!((empty.key, empty.value), (Some(vec![]), Some(vec![])));
    }

    #[test]
    fn a_line_printed_by_read_is_parsed() {
        let text = r#"{"topic":"t","partition":2,"offset":9,"timestamp":1700000000123,"timestamp_type":0,"key":null,"key_base64":"/w==","value":"é","headers":[{"key":"h","value":null,"value_base64":"gA=="}]}"#;
        let line = LineForm::Json.parse(text.as_bytes().to_vec(), 1).unwrap().unwrap();
        assert_eq!(line.partition, Some(2));
        assert_eq!(line.record.key, Some(vec![0xff]));
        assert_eq!(line.record.value, Some("é".into()));
        assert_eq!(line.record.headers["h"], vec![0x80]);
        assert_eq!(line.record.timestamp.timestamp_millis(), 1_700_000_000_123);
        let tombstone = record(&LineForm::Json, r#"{"key":"k","value":null}"#);
        assert_eq!(tombstone.value, None);
    }

    #[test]
    fn an_invalid_line_is_named_by_its_number() {
        for (text, named) in [
            ("nonsense", "line 7"),
            ("[]", "line 7"),
            (r#"{"value":5}"#, "line 7"),
            (r#"{"value_base64":"%"}"#, "value_base64"),
            (r#"{"key":"a","key_base64":"YQ=="}"#, "both"),
            (r#"{"headers":[{"key":"h","value":null}]}"#, "`h` has a null value"),
            (r#"{"headers":[{"key":"h","value":""},{"key":"h","value":""}]}"#, "`h` occurs twice"),
        ] {
            let error = LineForm::Json.parse(text.as_bytes().to_vec(), 7).unwrap_err();
            assert_eq!(error.code(), 2);
            assert!(error.to_string().contains(named), "{text}: {error}");
        }
        assert!(LineForm::Json.parse(b" ".to_vec(), 1).unwrap().is_none());
    }
}
