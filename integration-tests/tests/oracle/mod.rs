//! Compares our reads, record by record, with those of the reference Java client, the oracle.

mod command_line;
mod fixtures;
mod quota;
mod times;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use kafka_direct::IsolationLevel;
use kafka_direct_integration_tests::dump::{Dump, parse};
use serde::Deserialize;

/// Topics of every fixture, written once for the whole test binary.
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

/// Returns the bootstrap address that `kafka.sh run` set.
pub(crate) fn bootstrap() -> String {
    std::env::var("KAFKA_DIRECT_BOOTSTRAP")
        .expect("no broker: run this through integration-tests/kafka/kafka.sh run")
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/kafka.sh")
}

/// Runs an oracle class and returns its output.
fn oracle(arguments: &[&str]) -> String {
    let output = Command::new(script()).arg("java").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
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
    parse(&text)
}
