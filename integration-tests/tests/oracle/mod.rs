//! The reference Java client as the oracle: what it reads is what we read, record by record.

mod command_line;
mod fixtures;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kafka_direct::IsolationLevel;
use kafka_direct_integration_tests::rows::{Header, Row};
use serde::Deserialize;

/// Every fixture, written once for the whole test binary.
static FIXTURES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let prefix = format!("fx{}", std::process::id());
    let lines = oracle(&["Fixtures", &bootstrap(), &prefix]);
    lines
        .lines()
        .map(|line| serde_json::from_str::<Fixture>(line).unwrap())
        .map(|fixture| (fixture.fixture, fixture.topic))
        .collect()
});

#[derive(Deserialize)]
struct Fixture {
    fixture: String,
    topic: String,
}

/// The address that `kafka.sh run` gave.
pub(crate) fn bootstrap() -> String {
    std::env::var("KAFKA_DIRECT_BOOTSTRAP")
        .expect("no broker: run this through integration-tests/kafka/kafka.sh run")
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/kafka.sh")
}

/// Runs an oracle class and returns what it printed.
fn oracle(arguments: &[&str]) -> String {
    let output = Command::new(script()).arg("java").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the Java consumer read of one topic.
#[derive(Default)]
struct Dump {
    rows: Vec<Row>,
    /// Size and SHA-256 of values that are too large to be printed, by partition and offset.
    large: BTreeMap<(i32, i64), (usize, String)>,
    /// Log start and readable end of each partition.
    bounds: BTreeMap<i32, (i64, i64)>,
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

/// Reads topics with the Java consumer.
fn dump(isolation: IsolationLevel, topics: &[&str]) -> BTreeMap<String, Dump> {
    let file = std::env::temp_dir().join(format!(
        "kafka-direct-dump-{}-{}-{:?}",
        std::process::id(),
        isolation.as_str(),
        std::thread::current().id(),
    ));
    let bootstrap = bootstrap();
    let mut arguments = vec!["Dump", &bootstrap, isolation.as_str(), file.to_str().unwrap()];
    arguments.extend(topics);
    oracle(&arguments);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
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

/// Compares what we read of a topic with what the Java consumer read.
fn assert_same(name: &str, mut ours: Vec<Row>, theirs: &Dump) {
    ours.sort();
    assert_eq!(ours.len(), theirs.rows.len(), "{name}: number of records");
    for (mut ours, theirs_row) in ours.into_iter().zip(&theirs.rows) {
        let at = (ours.partition, ours.offset);
        if let Some((length, hash)) = theirs.large.get(&at) {
            let value = ours.value.take().unwrap();
            assert_eq!((value.len(), &sha256(&value)), (*length, hash), "{name} {at:?}");
        }
        assert_eq!(&ours, theirs_row, "{name} {at:?}");
    }
}

/// By the machine's own tool, so that no hashing crate is compiled for two records.
fn sha256(bytes: &[u8]) -> String {
    use std::io::Write as _;
    let mut child = Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}
