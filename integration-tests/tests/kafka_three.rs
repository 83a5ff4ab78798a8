//! A read from three real brokers, one of which is killed. Run it through `kafka.sh run3`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::type_complexity,
    reason = "a failed step is a failed test, and numbers of tests are small"
)]

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use kafka_direct::{Cluster, ClusterConfig, Columns, KafkaRdd};
use kafka_direct_integration_tests::{cluster::unique, rows::rows};
use parking_lot::Mutex;

fn variable(name: &str) -> String {
    std::env::var(name).expect("no brokers: run this through integration-tests/kafka/kafka.sh run3")
}

fn kafka(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/kafka.sh");
    let output = Command::new(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_mid_read_loses_and_duplicates_nothing() {
    let (bootstrap, dir) = (variable("KAFKA_DIRECT_BOOTSTRAP"), variable("KAFKA_DIRECT_KAFKA_DIR"));
    let topic = unique("survives");
    kafka(&["java", "Admin", &bootstrap, "create", &topic, "6", "3", "min.insync.replicas=2"]);
    for partition in 0..6 {
        let partition = partition.to_string();
        kafka(&["java", "Admin", &bootstrap, "append", &topic, &partition, "20000", "100", "lz4"]);
    }
    let config = ClusterConfig::new([bootstrap.as_str()]).partition_max_bytes(20_000);
    let cluster = Cluster::connect(config).await.unwrap();
    let builder = KafkaRdd::builder(&cluster).topic(&topic).columns(Columns::all());
    let rdd = builder.build().await.unwrap();
    assert_eq!(rdd.span(), 120_000);
    let leader = kafka(&["java", "Admin", &bootstrap, "leader", &topic, "0"]);
    let node = leader.split_whitespace().next().unwrap().to_owned();

    let offsets: Arc<Mutex<Vec<Vec<i64>>>> = Arc::new(Mutex::new(vec![Vec::new(); 6]));
    let seen = Arc::clone(&offsets);
    let read = tokio::spawn(async move {
        rdd.for_each_partition(move |planned, mut batches| {
            let seen = Arc::clone(&seen);
            let partition = planned.topic_partition().partition() as usize;
            async move {
                while let Some(batch) = batches.try_next().await? {
                    let own = rows(&[batch]).into_iter().map(|row| row.offset);
                    seen.lock()[partition].extend(own);
                    // Slow enough that the broker is killed in the middle of every range.
                    tokio::time::sleep(Duration::from_millis(25)).await;
                }
                Ok(())
            }
        })
        .await
    });
    while offsets.lock().iter().any(Vec::is_empty) {
        tokio::task::yield_now().await;
    }
    tokio::task::spawn_blocking(move || kafka(&["kill", &dir, &node])).await.unwrap();
    assert!(!read.is_finished(), "the read finished before the broker was killed");
    read.await.unwrap().unwrap();
    for offsets in offsets.lock().iter() {
        assert_eq!(*offsets, (0..20_000).collect::<Vec<_>>());
    }
}
