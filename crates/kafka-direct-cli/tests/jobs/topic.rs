//! `stream --sink kafka:TOPIC`: killed with `kill -9`, refused, and what it never reads.

use std::{collections::BTreeMap, path::Path, process::Output, time::Duration};

use kafka_direct_broker::{ApiKey, Broker, ErrorCode, Fault, Record};
use tokio::process::{Child, Command};

use crate::{BINARY, append, orders};

const TO_TOPIC: [&str; 4] = ["--sink", "kafka:out", "--checkpoint", "checkpoint"];
const NOW: [&str; 3] = ["--trigger", "available-now", "-q"];

fn stream(broker: &Broker, root: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(BINARY);
    command.args(["stream", "--brokers", &broker.bootstrap()]).args(args);
    command.env_remove("KAFKA_DIRECT_CONFIG").current_dir(root).kill_on_drop(true);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command.spawn().unwrap()
}

async fn ended(child: Child) -> (Option<i32>, String) {
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output());
    let Output { status, stderr, .. } = output.await.unwrap().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// How often each value is in a topic.
async fn values(broker: &Broker, topic: &str) -> BTreeMap<String, usize> {
    let mut command = Command::new(BINARY);
    command.args(["read", "--brokers", &broker.bootstrap(), "-t", topic, "-f", "raw", "-q"]);
    let Output { status, stdout, stderr } =
        command.env_remove("KAFKA_DIRECT_CONFIG").output().await.unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let mut found = BTreeMap::new();
    for line in String::from_utf8(stdout).unwrap().lines() {
        *found.entry(line.to_owned()).or_default() += 1;
    }
    found
}

/// Appends records whose values are unique over all partitions.
fn append_unique(broker: &Broker, partition: i32, numbers: std::ops::Range<i64>) {
    let records: Vec<Record> =
        numbers.map(|number| Record::new(format!("{partition}/{number}"))).collect();
    broker.append("orders", partition, records).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_into_a_topic_that_is_killed_loses_nothing_and_doubles_at_most_its_batch() {
    let broker = orders(3, 0).await;
    broker.create_topic("out", 4).unwrap();
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let often = [&TO_TOPIC[..], &["-t", "orders", "--max-records-per-batch", "30", "-q"]].concat();
    // A broker that takes its time, so that most kills are in the middle of a batch.
    broker.faults().every(ApiKey::Produce, Fault::Delay(Duration::from_millis(5)));
    let kills = 15_u64;
    for kill in 0..kills {
        for partition in 0..3_i32 {
            let first = i64::try_from(kill * 100).unwrap();
            append_unique(&broker, partition, first..first + 100);
        }
        let mut child = stream(&broker, root, &often);
        tokio::time::sleep(Duration::from_millis(30 + kill * 9)).await;
        child.kill().await.unwrap();
    }
    broker.faults().clear();
    let rest = [&TO_TOPIC[..], &["-t", "orders"], &NOW].concat();
    let (code, said) = ended(stream(&broker, root, &rest)).await;
    assert_eq!(code, Some(0), "{said}");
    let written = values(&broker, "out").await;
    assert!(written.keys().eq(values(&broker, "orders").await.keys()), "lost or invented");
    let doubled: usize = written.values().map(|times| times - 1).sum();
    let most = usize::try_from(kills * 30).unwrap();
    assert!(doubled <= most, "{doubled} records are doubled after {kills} kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_waits_while_the_output_cannot_be_written() {
    let broker = orders(2, 20).await;
    broker.create_topic("out", 2).unwrap();
    let root = tempfile::tempdir().unwrap();
    let not_enough_replicas = Fault::ErrorCode(ErrorCode(19));
    broker.faults().every(ApiKey::Produce, not_enough_replicas);
    let args = [&TO_TOPIC[..], &["-t", "orders"], &NOW].concat();
    let waiting = stream(&broker, root.path(), &args);
    // Far more tries than a batch has attempts.
    while broker.requests(ApiKey::Produce) < 10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    broker.faults().clear();
    let (code, said) = ended(waiting).await;
    assert_eq!(code, Some(0), "{said}");
    let warnings = said.matches("records cannot be written; trying again").count();
    assert!((1..=4).contains(&warnings) && !said.contains("rskafka::"), "{said}");
    // `orders` has each value in both partitions.
    assert!(values(&broker, "out").await == values(&broker, "orders").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_read_missing_or_half_named_is_refused() {
    let broker = orders(2, 10).await;
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let run = async |args: &[&str]| ended(stream(&broker, root, &[args, &NOW].concat())).await;
    let to_topic = async |args: &[&str]| run(&[&TO_TOPIC[..], args].concat()).await;
    let (code, said) = to_topic(&["-t", "orders"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("kafka-direct topics create out --partitions"), "{said}");
    broker.create_topic("out", 1).unwrap();
    let (code, said) = to_topic(&["-t", "orders,out"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--topic: the stream writes to `out`"), "{said}");
    let (code, said) = run(&["-t", "orders", "--sink", "kafka:out"]).await;
    assert!(code == Some(2) && said.contains("--checkpoint DIR"), "{said}");
    let (code, said) = to_topic(&["-t", "orders", "--columns", "key,headers"]).await;
    assert!(code == Some(2) && said.contains("include `value`"), "{said}");
    let (code, said) = run(&["-t", "orders", "--sink", "null", "--keep-partitions"]).await;
    assert!(code == Some(2) && said.contains("--keep-partitions"), "{said}");

    let (code, said) = to_topic(&["--topic-pattern", ".*"]).await;
    assert_eq!(code, Some(0), "{said}");
    append(&broker, 0, 10..12);
    let (code, said) = to_topic(&["--topic-pattern", ".*"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(values(&broker, "out").await.values().sum::<usize>(), 22);
    append(&broker, 1, 10..11);
    let (code, said) = to_topic(&["-t", "orders", "--keep-partitions"]).await;
    assert!(code == Some(2) && said.contains("topic `out` has only 1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_cannot_be_kept_are_reported() {
    let broker = orders(1, 0).await;
    broker.create_topic("out", 1).unwrap();
    let record = Record::new("v").with_header("h", None);
    broker.append("orders", 0, [record.clone(), record]).unwrap();
    let root = tempfile::tempdir().unwrap();
    let args = [&TO_TOPIC[..], &["-t", "orders", "--trigger", "available-now"]].concat();
    let (code, said) = ended(stream(&broker, root.path(), &args)).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("header=\"h\""), "{said}");
    assert!(said.contains("2 headers with a null value were written as empty"), "{said}");
}
