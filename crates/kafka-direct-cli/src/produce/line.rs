//! Converts a line of input to a record.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::Utc;
use kafka_direct_sinks::kafka_topic::ProducerRecord;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{cli::ProduceArgs, exit::Failure};

/// The format of the input lines.
#[derive(Debug)]
pub(super) enum LineForm {
    /// The line is the value.
    Value,
    /// The line is a key and a value, with this separator between them.
    KeyValue(Vec<u8>),
    /// The line is a JSON object as `read` prints it.
    Json {
        /// Whether fields that `read` does not print are allowed and dropped.
        ignore_unknown: bool,
        /// Whether a value may be JSON that is no string; its text is written.
        json_values: bool,
    },
}

/// A record, and the partition that its line names.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) record: ProducerRecord,
    pub(super) partition: Option<i32>,
    /// Whether its headers are in another order than that of their names, in which they are written.
    pub(super) reorders_headers: bool,
}

/// The fields of a line of `read` that can be written.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object as `read` prints it")]
struct JsonLine<'a> {
    partition: Option<i32>,
    timestamp: Option<i64>,
    key: Option<String>,
    key_base64: Option<String>,
    /// `None` if the field is missing, `Some(None)` if it is null.
    #[serde(default, borrow, deserialize_with = "present")]
    value: Option<Option<&'a RawValue>>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: JsonHeaders,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

/// Fields that `read` prints and that cannot be written.
const NOT_WRITTEN: [&str; 3] = ["topic", "offset", "timestamp_type"];

fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<&'de RawValue>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// Headers as `read` prints them, or as one object of names and values.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "headers must be a list as `read` prints it, or an object of strings"
)]
enum JsonHeaders {
    List(Vec<JsonHeader>),
    Object(JsonPairs),
}

/// The members of an object in order, repeated names included.
#[derive(Debug)]
struct JsonPairs(Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for JsonPairs {
    fn deserialize<D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = JsonPairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<JsonPairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = members.next_entry()? {
                    pairs.push(pair);
                }
                Ok(JsonPairs(pairs))
            }
        }
        object.deserialize_map(Members)
    }
}

impl Default for JsonHeaders {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

#[derive(Debug, Deserialize)]
struct JsonHeader {
    key: String,
    value: Option<String>,
    value_base64: Option<String>,
}

impl LineForm {
    pub(super) fn new(args: &ProduceArgs) -> Result<Self, Failure> {
        match (args.json, args.key_separator.as_deref()) {
            (true, _) => Ok(Self::Json {
                ignore_unknown: args.ignore_unknown,
                json_values: args.json_values,
            }),
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
            let (value, timestamp_millis) = (Some(value), Some(Utc::now().timestamp_millis()));
            let record = ProducerRecord { key, value, headers: BTreeMap::new(), timestamp_millis };
            Ok(Some(Line { record, partition: None, reorders_headers: false }))
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
            Self::Json { .. } if text.iter().all(u8::is_ascii_whitespace) => Ok(None),
            Self::Json { ignore_unknown, json_values } => {
                json(&text, *ignore_unknown, *json_values).map(Some).map_err(|reason| {
                    Failure::usage(format!("line {number} cannot be written: {reason}"))
                })
            }
        }
    }
}

fn json(text: &[u8], ignore_unknown: bool, json_values: bool) -> Result<Line, String> {
    let line: JsonLine<'_> = serde_json::from_slice(text).map_err(|error| {
        // The line is named by its number in the input.
        error.to_string().replace(" at line 1 column ", " at column ")
    })?;
    let is_unknown = |name: &&String| !NOT_WRITTEN.contains(&name.as_str());
    if let Some(name) = line.others.keys().find(is_unknown).filter(|_| !ignore_unknown) {
        return Err(format!("unknown field `{name}`; correct it, or pass --ignore-unknown"));
    }
    if line.value.is_none() && line.value_base64.is_none() {
        return Err("field `value` is missing; write \"value\":null for a tombstone".to_owned());
    }
    let list = match line.headers {
        JsonHeaders::List(list) => list,
        JsonHeaders::Object(JsonPairs(pairs)) => pairs
            .into_iter()
            .map(|(key, value)| JsonHeader { key, value, value_base64: None })
            .collect(),
    };
    let reorders_headers = !list.is_sorted_by(|a, b| a.key <= b.key);
    let mut headers = BTreeMap::new();
    for JsonHeader { key, value, value_base64 } in list {
        let value = bytes("header value", value, value_base64)?.ok_or_else(|| {
            format!("header `{key}` has a null value, which the producer cannot write")
        })?;
        if headers.contains_key(&key) {
            return Err(format!("header `{key}` occurs twice, which the producer cannot write"));
        }
        headers.insert(key, value);
    }
    let value = line.value.flatten().map(|value| value_text(value, json_values)).transpose()?;
    let record = ProducerRecord {
        key: bytes("key", line.key, line.key_base64)?,
        value: bytes("value", value, line.value_base64)?,
        headers,
        timestamp_millis: Some(line.timestamp.unwrap_or_else(|| Utc::now().timestamp_millis())),
    };
    Ok(Line { record, partition: line.partition, reorders_headers })
}

/// Returns the content of a string; the text of other JSON, if that is allowed.
fn value_text(value: &RawValue, json_values: bool) -> Result<String, String> {
    if value.get().starts_with('"') {
        return serde_json::from_str(value.get()).map_err(|error| format!("value: {error}"));
    }
    if json_values {
        return Ok(value.get().to_owned());
    }
    Err("field `value` is no string; pass --json-values to write its JSON text".to_owned())
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

    const JSON: LineForm = LineForm::Json { ignore_unknown: false, json_values: false };

    fn record(form: &LineForm, text: &str) -> ProducerRecord {
        form.parse(text.as_bytes().to_vec(), 1).unwrap().unwrap().record
    }

    #[test]
    fn lines_split_at_the_first_separator_or_have_no_key() {
        let form = LineForm::KeyValue(b"\t".to_vec());
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
        let line = JSON.parse(text.as_bytes().to_vec(), 1).unwrap().unwrap();
        assert_eq!(line.partition, Some(2));
        assert_eq!(line.record.key, Some(vec![0xff]));
        assert_eq!(line.record.value, Some("é".into()));
        assert_eq!(line.record.headers["h"], vec![0x80]);
        assert_eq!(line.record.timestamp_millis, Some(1_700_000_000_123));
        let tombstone = record(&JSON, r#"{"key":"k","value":null}"#);
        assert_eq!(tombstone.value, None);
    }

    #[test]
    fn headers_may_be_an_object_and_unknown_fields_are_ignored_on_request() {
        let text = r#"{"value":"v","headers":{"b":"2","a":"1"},"note":[1]}"#;
        let form = LineForm::Json { ignore_unknown: true, json_values: false };
        let line = form.parse(text.as_bytes().to_vec(), 1).unwrap().unwrap();
        assert!(line.reorders_headers);
        let headers = record(&form, text).headers;
        assert_eq!((&headers["a"][..], &headers["b"][..]), (&b"1"[..], &b"2"[..]));
        assert!(JSON.parse(text.as_bytes().to_vec(), 1).is_err());
    }

    #[test]
    fn json_values_are_written_as_their_text() {
        let form = LineForm::Json { ignore_unknown: false, json_values: true };
        for (value, written) in [
            (r#"{"a": 1,"a":1e400}"#, Some(r#"{"a": 1,"a":1e400}"#)),
            ("[ ]", Some("[ ]")),
            ("123456789012345678901234567890", Some("123456789012345678901234567890")),
            ("false", Some("false")),
            (r#""t\"xt""#, Some("t\"xt")),
            (r#""null""#, Some("null")),
            ("null", None),
        ] {
            let line = format!(r#"{{"offset":1,"value": {value} ,"headers":[]}}"#);
            assert_eq!(record(&form, &line).value, written.map(|text| text.as_bytes().to_vec()));
        }
        let both = br#"{"value":{},"value_base64":"YQ=="}"#.to_vec();
        assert!(form.parse(both, 1).unwrap_err().to_string().contains("both given"));
    }

    #[test]
    fn an_invalid_line_is_named_by_its_number() {
        for (text, named) in [
            ("nonsense", "line 7"),
            ("[]", "line 7"),
            (r#"{"value":5}"#, "line 7"),
            (r#"{"value":{}}"#, "pass --json-values"),
            (r#"{"value":"\ud83d"}"#, "line 7"),
            (r#"{"value":{},"value_base64":"YQ=="}"#, "--json-values"),
            (r#"{"value_base64":"%"}"#, "value_base64"),
            (r#"{"value":"","key":"a","key_base64":"YQ=="}"#, "both"),
            (r#"{"value":"","headers":[{"key":"h","value":null}]}"#, "`h` has a null value"),
            (r#"{"value":"","headers":{"h":null}}"#, "`h` has a null value"),
            (r#"{"value":"","headers":7}"#, "headers must be"),
            (r#"{"value":"","headers":{"h":"1","h":"2"}}"#, "`h` occurs twice"),
            (
                r#"{"value":"","headers":[{"key":"h","value":""},{"key":"h","value":""}]}"#,
                "`h` occurs twice",
            ),
            (r#"{"key":"k"}"#, "`value` is missing"),
            (r#"{"key":"k","payload":"v"}"#, "unknown field `payload`"),
        ] {
            let error = JSON.parse(text.as_bytes().to_vec(), 7).unwrap_err();
            assert_eq!(error.code(), 2);
            assert!(error.to_string().contains(named), "{text}: {error}");
        }
        assert!(JSON.parse(b" ".to_vec(), 1).unwrap().is_none());
    }
}
