//! Ways to stop a read before its end: none exits 0.

#![cfg(unix)]

use std::time::Duration;

use kafka_direct_broker::{ApiKey, Broker, Fault};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::driven::{at, broker, command, fill, outcome};

/// Sends a signal to a running command.
pub(crate) async fn signal(child: &Child, signal: &str) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
}

async fn stuck() -> Broker {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 50);
    broker.faults().every(ApiKey::Fetch, Fault::Delay(Duration::from_secs(60)));
    broker
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_a_read_with_their_codes() {
    let broker = stuck().await;
    let bootstrap = broker.bootstrap();
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let before = broker.requests(ApiKey::Fetch);
        let child = command(&["read", "-b", &bootstrap, "-t", "t"]).spawn().unwrap();
        while broker.requests(ApiKey::Fetch) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        signal(&child, name).await;
        let outcome = outcome(child).await;
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(code), ""), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_read_that_is_blocked_on_stdout() {
    let broker = broker("t", 4).await;
    fill(&broker, "t", 4, 20_000);
    let bootstrap = broker.bootstrap();
    let mut child = command(&["read", "-b", &bootstrap, "-t", "t"]).spawn().unwrap();
    // After one line the pipe fills up, because nothing more is read.
    let mut stdout = BufReader::with_capacity(16, child.stdout.take().unwrap());
    stdout.read_until(b'\n', &mut Vec::new()).await.unwrap();
    signal(&child, "-INT").await;
    assert_eq!(outcome(child).await.code, Some(130));
    drop(stdout);
}

/// A thread per waiting partition would keep its stack and the memory of its allocator.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_partitions_wait_for_stdout_with_one_thread() {
    let broker = broker("t", 200).await;
    fill(&broker, "t", 200, 1000);
    let bootstrap = broker.bootstrap();
    let mut child = command(&["read", "-b", &bootstrap, "-t", "t"]).spawn().unwrap();
    let mut stdout = BufReader::with_capacity(16, child.stdout.take().unwrap());
    stdout.read_until(b'\n', &mut Vec::new()).await.unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let mut most = 0;
    for _ in 0..200 {
        let status = std::fs::read_to_string(&status).unwrap();
        let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap();
        most = most.max(threads.trim().parse::<usize>().unwrap());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let cores = std::thread::available_parallelism().unwrap().get();
    // The main thread, one per core for the runtime, and the writer thread.
    assert!(most <= 1 + cores + 1, "{most} threads on {cores} cores");
    signal(&child, "-TERM").await;
    assert_eq!(outcome(child).await.code, Some(143));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_quietly() {
    let broker = broker("t", 4).await;
    fill(&broker, "t", 4, 20_000);
    let bootstrap = broker.bootstrap();
    let mut child = command(&["read", "-b", &bootstrap, "-t", "t"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("{\"topic\":\"t\""), "{line}");
    drop(stdout);
    let outcome = outcome(child).await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(141), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_deadline_is_a_failure() {
    let broker = stuck().await;
    let outcome = at(&broker, &["read", "-t", "t", "--deadline", "300ms"]).await;
    assert!(matches!(outcome.code, Some(2 | 7)), "{outcome:?}");
    assert!(outcome.stderr.contains("deadline"), "{}", outcome.stderr);
}
