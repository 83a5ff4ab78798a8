//! Compares `kafka-direct read` and `bench` with the Java consumer on every fixture.
//!
//! Also tests `bench` with a topic that it writes, and the library's examples.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kafka_direct::IsolationLevel;
use kafka_direct_integration_tests::{
    dump::{Dump, assert_same},
    rows::Row,
};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{FIXTURES, bootstrap, dump, oracle};

/// Builds the command line program in this test's target folder, and returns its path.
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
            assert_same(name, text.lines().map(row).collect(), &dumps[topic]);
        }
    }
}

/// Batches are small and the kills random, so that most of them happen inside a batch.
#[tokio::test]
async fn a_stream_that_is_killed_again_and_again_writes_what_the_java_consumer_reads() {
    let binary = binary();
    let topics: Vec<&str> = FIXTURES.values().map(String::as_str).collect();
    let dumps = dump(IsolationLevel::ReadCommitted, &topics);
    let mut kills = 0;
    for (name, topic) in FIXTURES.iter() {
        let root = tempfile::tempdir().unwrap();
        let stream = |trigger: &str| {
            let mut command = Command::new(&binary);
            command
                .args(["stream", "-b", &bootstrap(), "-t", topic, "--quiet"])
                .args(["--sink", "jsonl:out", "--checkpoint", "checkpoint", "--trigger", trigger])
                .args(["--max-records-per-batch", "97"])
                .current_dir(root.path());
            command
        };
        for kill in 0..12_u64 {
            let mut running = stream("immediate").spawn().unwrap();
            sleep(Duration::from_millis(15 + kill * 11)).await;
            running.kill().unwrap();
            running.wait().unwrap();
            kills += 1;
        }
        assert!(stream("available-now").status().unwrap().success(), "{name}");
        let mut rows = Vec::new();
        for entry in std::fs::read_dir(root.path().join("out")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                rows.extend(std::fs::read_to_string(path).unwrap().lines().map(row));
            }
        }
        assert_same(name, rows, &dumps[topic]);
    }
    assert!(kills >= 150, "{kills}");
}

/// Kafka's own tool for consumer groups shows where a stream is, and how far it is behind.
#[test]
fn the_group_tool_of_kafka_shows_the_lag_of_a_stream() {
    let (binary, root) = (binary(), tempfile::tempdir().unwrap());
    // It ends with aborted records and control records.
    let topic = &FIXTURES["tx-tail"];
    let group = format!("lag-of-{topic}");
    let stream = Command::new(&binary)
        .args(["stream", "-b", &bootstrap(), "-t", topic, "--quiet", "--trigger", "available-now"])
        .args(["--sink", "null", "--checkpoint", "checkpoint", "--publish-to-group", &group])
        .current_dir(root.path())
        .status();
    assert!(stream.unwrap().success());
    let tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let bootstrap = bootstrap();
    let shown = oracle(&[tool, "--bootstrap-server", &bootstrap, "--describe", "--group", &group]);
    let rows = shown.lines().filter(|line| line.starts_with(&group));
    let rows: Vec<Vec<&str>> = rows.map(|line| line.split_whitespace().collect()).collect();
    assert!(!rows.is_empty(), "{shown}");
    for row in rows {
        // Group, topic, partition, current offset, log end offset, lag.
        assert_eq!((row[1], row[3], row[5]), (&**topic, row[4], "0"), "{shown}");
    }
}

/// The records of a line that `read` or `stream` wrote.
fn row(line: &str) -> Row {
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
}

/// Runs `bench --json -` for one round. Returns its document, or its exit code and error output.
fn bench(binary: &Path, args: &[&str]) -> Result<serde_json::Value, (Option<i32>, String)> {
    let output = Command::new(binary)
        .args(["bench", "-b", &bootstrap(), "--warmup", "0", "--rounds", "1", "--json", "-"])
        .args(args)
        .output()
        .unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

#[test]
fn bench_counts_what_the_java_consumer_reads() {
    let binary = binary();
    let topics: Vec<&str> = FIXTURES.values().map(String::as_str).collect();
    let dumps = dump(IsolationLevel::ReadCommitted, &topics);
    for (name, topic) in FIXTURES.iter() {
        let document = bench(&binary, &["-t", topic]).unwrap();
        let Dump { rows, large, .. } = &dumps[topic];
        let small = rows.iter().flat_map(|row| &row.value).map(Vec::len);
        let value_bytes: usize = small.chain(large.values().map(|(length, _)| *length)).sum();
        let round = &document["rounds"][0];
        assert_eq!(round["records"], rows.len(), "{name}: {round}");
        assert_eq!(round["value_bytes"], value_bytes, "{name}: {round}");
        let refused = bench(&binary, &["-t", topic, "--generate", "5"]).unwrap_err();
        assert_eq!(refused.0, Some(2), "{name}: {}", refused.1);
    }
}

#[tokio::test]
async fn bench_writes_a_topic_of_its_own_with_every_codec_and_deletes_it() {
    let binary = binary();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("bench-{codec}-{}", std::process::id());
        let write = ["-t", &topic, "--generate", "3000", "--size", "300", "--codec", codec];
        let write = [&write[..], &["--topic-partitions", "3", "--delete-after"]].concat();
        let document = bench(&binary, &write).unwrap();
        let round = &document["rounds"][0];
        assert_eq!(round["records"], 3000, "{codec}: {round}");
        assert_eq!(round["value_bytes"], 900_000, "{codec}: {round}");
        assert_eq!(document["embedded_broker"], false);
        // A broker may delete the topic a little later than the controller, which responded.
        let began = Instant::now();
        let (code, errors) = loop {
            match bench(&binary, &["-t", &topic]) {
                Err(failed) => break failed,
                Ok(document) => {
                    assert!(began.elapsed().as_secs() < 60, "{topic} is still there: {document}");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        };
        assert!(code == Some(2) && errors.contains(&topic), "{code:?}: {errors}");
    }
}

#[test]
fn the_examples_of_the_library_read_topics_of_a_real_kafka() {
    let topics: Vec<&str> = FIXTURES.values().map(String::as_str).collect();
    let dumps = dump(IsolationLevel::ReadCommitted, &topics);
    let (topic, dump) = dumps.iter().find(|(_, dump)| dump.rows.len() > 100).unwrap();
    for example in ["read_topic", "receiver_versus_direct"] {
        let output = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--package", "kafka-direct", "--example", example])
            .args(["--", &bootstrap(), topic])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{example}: {errors}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let rows =
            |line: &str| line.rsplit_once(": ")?.1.split_once(" rows")?.0.parse::<usize>().ok();
        let records: usize = match example {
            "read_topic" => printed.lines().filter_map(rows).sum(),
            _ => printed.split_once(" records").unwrap().0.parse().unwrap(),
        };
        assert_eq!(records, dump.rows.len(), "{example}: {printed}");
    }
}
