//! Kills a job with `kill -9` at twenty moments, then runs it to its end.
//!
//! Fetches are slow, so most kills happen in the middle of a run. The assertions do not depend on
//! the exact moments.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use kafka_direct_broker::{ApiKey, Broker, Fault};

use crate::{BINARY, files, orders};

const KILLS: u64 = 20;

fn job(broker: &Broker, root: &std::path::Path) -> Child {
    Command::new(BINARY)
        .args(["read", "--brokers", &broker.bootstrap(), "--topic", "orders", "--quiet"])
        .args(["--max-records-per-partition", "50", "--partition-max-bytes", "4KiB"])
        .args(["--plan", "plan.json", "--output", "out/"])
        .env_remove("KAFKA_DIRECT_CONFIG")
        .current_dir(root)
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_job_exits_with_143_and_leaves_only_whole_files() {
    let broker = orders(2, 400).await;
    let root = tempfile::tempdir().unwrap();
    broker.faults().every(ApiKey::Fetch, Fault::Delay(Duration::from_millis(20)));
    let mut child = job(&broker, root.path());
    while broker.requests(ApiKey::Fetch) < 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let terminated = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
    assert!(terminated.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    for (path, bytes) in files(root.path()) {
        let name = path.to_string_lossy().into_owned();
        assert!(
            !name.ends_with(".jsonl") || bytes.iter().filter(|b| **b == b'\n').count() == 50,
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_killed_twenty_times_leaves_the_same_folder_as_an_uninterrupted_one() {
    let broker = orders(4, 400).await;
    let uninterrupted = tempfile::tempdir().unwrap();
    assert!(job(&broker, uninterrupted.path()).wait().unwrap().success());

    let root = tempfile::tempdir().unwrap();
    broker.faults().every(ApiKey::Fetch, Fault::Delay(Duration::from_millis(5)));
    let mut kills_before_the_end = 0;
    for kill in 0..KILLS {
        // Moments from the start to the end of the run, by its number of fetches.
        let moment = broker.requests(ApiKey::Fetch) + kill;
        let mut child = job(&broker, root.path());
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if broker.requests(ApiKey::Fetch) >= moment {
                break None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        match ended {
            Some(status) => assert!(status.success(), "{status}"),
            None => kills_before_the_end += 1,
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    broker.faults().clear();
    assert!(job(&broker, root.path()).wait().unwrap().success());
    assert!(kills_before_the_end > 1, "no kill interrupted the job");

    let (expected, found) = (files(uninterrupted.path()), files(root.path()));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(found == expected, "a file differs from the one in the uninterrupted folder");
    assert_eq!(expected.keys().filter(|path| path.ends_with("receipt.json")).count(), 1);
}
