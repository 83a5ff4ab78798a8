//! Help, version, completions, and the embedded broker.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::driven::{command, run};

#[tokio::test(flavor = "multi_thread")]
async fn help_goes_to_stdout_and_names_commands_and_formats() {
    let help = run(&["--help"]).await.ok();
    for word in
        ["demo", "read", "plan", "offsets", "topics", "produce", "broker", "Exit codes", "141"]
    {
        assert!(help.contains(word), "{word}");
    }
    let read = run(&["read", "--help"]).await.ok();
    for word in [
        "group:NAME",
        "@2025-01-01T00:00:00Z",
        "orders:0:100",
        "KAFKA_DIRECT_BROKERS",
        "--on-data-loss",
        "--plan",
        "--retry-timeout",
        "key_base64",
        "null value is an empty line",
        "stream format to stdout",
    ] {
        assert!(read.contains(word), "{word} in {read}");
    }
    assert_eq!(run(&["help"]).await.ok(), help);
    assert_eq!(run(&["help", "read"]).await.ok(), read);
    let bare = run(&[]).await.failed(2);
    assert!(bare.contains("Usage: kafka-direct"), "{bare}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_is_that_of_the_package() {
    let version = run(&["--version"]).await.ok();
    assert_eq!(version, format!("kafka-direct {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_are_valid_shell_scripts() {
    let script = run(&["completions", "bash"]).await.ok();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("completions.bash");
    std::fs::write(&path, &script).unwrap();
    let checked = Command::new("bash").arg("-n").arg(&path).status().await.unwrap();
    assert!(checked.success());
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(run(&["completions", shell]).await.ok().contains("topic-pattern"), "{shell}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_serves_until_interrupted() {
    let args = ["broker", "--listen", "127.0.0.1:0", "--topic", "orders:3", "--topic", "logs"];
    let mut child = command(&args).stdin(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.next_line().await.unwrap().unwrap();
    let topics = run(&["topics", "-b", &address]).await.ok();
    let rows: Vec<Vec<&str>> =
        topics.lines().skip(1).map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(rows, [["logs", "1"], ["orders", "3"]]);
    let taken = run(&["broker", "--listen", &address]).await.failed(7);
    assert!(taken.contains(&address), "{taken}");
    crate::stopping::signal(&child, "-INT").await;
    assert_eq!(crate::driven::outcome(child).await.code, Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_topics_of_the_embedded_broker_are_rejected() {
    for topic in ["", ":3", "a:0", "a:x", "a:1:2"] {
        let failed = run(&["broker", "--listen", "127.0.0.1:0", "--topic", topic]).await.failed(2);
        assert!(failed.contains("NAME:PARTITIONS"), "{failed}");
    }
}
