//! Tests of batch jobs: the real binary, run as by a scheduler, against the embedded broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "functions shared by tests may panic"
)]

mod chain;
mod decoding;
mod demo;
mod docs;
mod full_disk;
mod kill;
mod stream;
mod topic;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use kafka_direct_broker::{Broker, Record};

/// The binary under test.
const BINARY: &str = env!("CARGO_BIN_EXE_kafka-direct");

/// Starts a broker with the topic `orders` and `records` records in each partition.
async fn orders(partitions: i32, records: i64) -> Broker {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("orders", partitions).unwrap();
    for partition in 0..partitions {
        append(&broker, partition, 0..records);
    }
    broker
}

fn append(broker: &Broker, partition: i32, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let record = Record::new(format!("order {number}")).with_timestamp(number);
        broker.append("orders", partition, [record]).unwrap();
    }
}

/// Returns every file below `root` with its bytes.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                found.insert(path.strip_prefix(root).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}
