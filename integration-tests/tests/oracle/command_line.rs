//! `kafka-direct read` against the Java consumer on every fixture.

use std::{path::PathBuf, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kafka_direct::IsolationLevel;
use kafka_direct_integration_tests::{dump::assert_same, rows::Row};
use serde::Deserialize;

use super::{FIXTURES, bootstrap, dump};

/// Builds the command line, once, where this test was built.
fn binary() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "kafka-direct-cli"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success());
    let deps = std::env::current_exe().unwrap();
    deps.parent().unwrap().parent().unwrap().join("kafka-direct")
}

#[derive(Deserialize)]
struct Line {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    timestamp_type: i8,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    headers: Vec<HeaderLine>,
}

#[derive(Deserialize)]
struct HeaderLine {
    key: String,
    value: Option<String>,
    value_base64: Option<String>,
}

fn bytes(text: Option<String>, base64: Option<String>) -> Option<Vec<u8>> {
    assert!(text.is_none() || base64.is_none(), "both forms are given");
    base64.map(|text| STANDARD.decode(text).unwrap()).or_else(|| text.map(String::into_bytes))
}

#[test]
fn read_prints_what_the_java_consumer_reads() {
    let binary = binary();
    for isolation in [IsolationLevel::ReadCommitted, IsolationLevel::ReadUncommitted] {
        let topics: Vec<&str> = FIXTURES.values().map(String::as_str).collect();
        let dumps = dump(isolation, &topics);
        for (name, topic) in FIXTURES.iter() {
            let output = Command::new(&binary)
                .args(["read", "-b", &bootstrap(), "-t", topic])
                .args(["--isolation", isolation.as_str()])
                .output()
                .unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: {errors}");
            let text = String::from_utf8(output.stdout).unwrap();
            let rows = text.lines().map(|line| {
                let line: Line = serde_json::from_str(line).unwrap();
                Row {
                    topic: line.topic,
                    partition: line.partition,
                    offset: line.offset,
                    timestamp: line.timestamp,
                    timestamp_type: line.timestamp_type,
                    key: bytes(line.key, line.key_base64),
                    value: bytes(line.value, line.value_base64),
                    headers: line
                        .headers
                        .into_iter()
                        .map(|h| (h.key, bytes(h.value, h.value_base64)))
                        .collect(),
                }
            });
            assert_same(name, rows.collect(), &dumps[topic]);
        }
    }
}
