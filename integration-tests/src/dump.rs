//! Parses the output of the oracle class `Dump`: the records that the reference Java client reads.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::rows::{Header, Row};

/// The records that the Java consumer read from one topic.
#[derive(Debug, Default)]
pub struct Dump {
    pub rows: Vec<Row>,
    /// Size in bytes and SHA-256 of values too large to be printed, by partition and offset.
    pub large: BTreeMap<(i32, i64), (usize, String)>,
    /// Log start offset and readable end (exclusive) of each partition.
    pub bounds: BTreeMap<i32, (i64, i64)>,
}

#[derive(Deserialize)]
struct Line {
    topic: String,
    partition: i32,
    offset: Option<i64>,
    #[serde(default)]
    timestamp: Option<i64>,
    #[serde(default)]
    timestamp_type: i8,
    key: Option<String>,
    value: Option<String>,
    value_sha256: Option<String>,
    value_len: Option<usize>,
    #[serde(default)]
    headers: Vec<(String, Option<String>)>,
    beginning: Option<i64>,
    end: Option<i64>,
    position: Option<i64>,
}

fn bytes(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

/// Parses `text`, one JSON object a line, into one dump per topic.
#[must_use]
pub fn parse(text: &str) -> BTreeMap<String, Dump> {
    let mut dumps: BTreeMap<String, Dump> = BTreeMap::new();
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        let dump = dumps.entry(line.topic.clone()).or_default();
        let Some(offset) = line.offset else {
            assert_eq!(
                line.position, line.end,
                "the Java consumer did not reach the end: {}",
                line.topic
            );
            dump.bounds.insert(line.partition, (line.beginning.unwrap(), line.end.unwrap()));
            continue;
        };
        if let (Some(hash), Some(length)) = (line.value_sha256, line.value_len) {
            dump.large.insert((line.partition, offset), (length, hash));
        }
        dump.rows.push(Row {
            topic: line.topic,
            partition: line.partition,
            offset,
            timestamp: line.timestamp,
            timestamp_type: line.timestamp_type,
            key: line.key.as_deref().map(bytes),
            value: line.value.as_deref().map(bytes),
            headers: line.headers.into_iter().map(header).collect(),
        });
    }
    for dump in dumps.values_mut() {
        dump.rows.sort();
    }
    dumps
}

fn header((key, value): (String, Option<String>)) -> Header {
    (String::from_utf8_lossy(&bytes(&key)).into_owned(), value.as_deref().map(bytes))
}

/// Asserts that the records we read from a topic equal those that the Java consumer read.
pub fn assert_same(name: &str, mut ours: Vec<Row>, theirs: &Dump) {
    ours.sort();
    assert_eq!(ours.len(), theirs.rows.len(), "{name}: number of records");
    for (mut ours, theirs_row) in ours.into_iter().zip(&theirs.rows) {
        let at = (ours.partition, ours.offset);
        if let Some((length, hash)) = theirs.large.get(&at) {
            let value = ours.value.take().unwrap();
            assert_eq!(
                (value.len(), &hex(&Sha256::digest(&value))),
                (*length, hash),
                "{name} {at:?}"
            );
        }
        assert_eq!(&ours, theirs_row, "{name} {at:?}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
