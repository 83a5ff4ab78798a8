//! `stream`: killed with `kill -9`, stopped by a signal, run twice at once, and what it reports.

use std::{collections::BTreeMap, path::Path, process::Output, time::Duration};

use kafka_direct_broker::Broker;
use tokio::process::{Child, Command};

use crate::{BINARY, append, files, orders};

fn command(broker: &Broker, root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["stream", "--brokers", &broker.bootstrap(), "-t", "orders"]).args(args);
    command.env_remove("KAFKA_DIRECT_CONFIG").current_dir(root).kill_on_drop(true);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}

const TO_FILES: [&str; 4] = ["--sink", "jsonl:out", "--checkpoint", "checkpoint"];

fn files_of(broker: &Broker, root: &Path, more: &[&str]) -> Child {
    command(broker, root, &[&TO_FILES[..], more].concat()).spawn().unwrap()
}

async fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output());
    let Output { status, stdout, stderr } = output.await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// Runs `stream` with these flags to its end; returns exit code, stdout and stderr.
pub(crate) async fn ended_stream(
    broker: &Broker,
    root: &Path,
    args: &[&str],
) -> (Option<i32>, String, String) {
    ended(command(broker, root, args).spawn().unwrap()).await
}

/// How often each record is in the files that a pattern `*.jsonl` finds, by partition and offset.
fn visible(root: &Path) -> BTreeMap<(i64, i64), usize> {
    let mut seen = BTreeMap::new();
    let out = root.join("out");
    for (path, bytes) in if out.exists() { files(&out) } else { BTreeMap::new() } {
        let name = path.to_string_lossy();
        if name.contains('/') || name.starts_with('.') || !name.ends_with(".jsonl") {
            continue;
        }
        for line in String::from_utf8(bytes).unwrap().lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let place = |field: &str| record[field].as_i64().unwrap();
            *seen.entry((place("partition"), place("offset"))).or_default() += 1;
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_killed_at_any_moment_has_every_record_exactly_once() {
    let broker = orders(3, 50).await;
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let often = ["--trigger", "immediate", "--max-records-per-batch", "40", "-q"];
    for kill in 0..20_u64 {
        append(&broker, i32::try_from(kill % 3).unwrap(), 0..20);
        let mut child = files_of(&broker, root, &often);
        tokio::time::sleep(Duration::from_millis(20 + kill * 7)).await;
        child.kill().await.unwrap();
        assert!(visible(root).values().all(|times| *times == 1), "after kill {kill}");
    }
    let (code, _, said) = ended(files_of(&broker, root, &["--trigger", "available-now"])).await;
    assert_eq!(code, Some(0), "{said}");
    let seen = visible(root);
    assert_eq!(seen.len(), 3 * 50 + 20 * 20);
    assert!(seen.values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_stream_finishes_its_batch_and_exits_with_0() {
    let broker = orders(2, 30).await;
    let root = tempfile::tempdir().unwrap();
    let child = files_of(&broker, root.path(), &["--trigger", "immediate", "--progress-json", "-"]);
    while visible(root.path()).len() < 60 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let (code, reported, said) = ended(child).await;
    assert_eq!(code, Some(0), "{said}");
    let records: i64 = reported
        .lines()
        .map(|line| {
            let batch: serde_json::Value = serde_json::from_str(line).unwrap();
            for field in ["batch", "span", "lag", "planning_ms", "total_ms", "scheduling_delay_ms"]
            {
                assert!(batch[field].is_number(), "{field} in {line}");
            }
            batch["records"].as_i64().unwrap()
        })
        .sum();
    assert_eq!(records, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_on_one_checkpoint_the_older_exits_with_4() {
    let broker = orders(1, 10).await;
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let immediate = ["--trigger", "immediate", "-q"];
    let older = files_of(&broker, root, &immediate);
    while visible(root).len() < 10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let newer = files_of(&broker, root, &immediate);
    while files(&root.join("checkpoint/generations")).len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    append(&broker, 0, 10..15);
    let (code, _, said) = ended(older).await;
    assert_eq!(code, Some(4), "{said}");
    while visible(root).len() < 15 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(visible(root).values().all(|times| *times == 1));
    drop(newer);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_and_folders_of_others_are_refused() {
    let broker = orders(1, 10).await;
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let run = async |args: &[&str]| ended(command(&broker, root, args).spawn().unwrap()).await;
    let now = ["--trigger", "available-now"];
    let (code, _, said) = run(&["--sink", "jsonl:out"]).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("--checkpoint DIR"), "{said}");
    let (code, _, said) = run(&["--sink", "xml:out"]).await;
    assert!(code == Some(2) && said.contains("jsonl:DIR"), "{said}");
    let first = [&TO_FILES[..], &now].concat();
    assert_eq!(run(&first).await.0, Some(0));
    // Another checkpoint is another stream.
    let other = [&["--sink", "jsonl:out", "--checkpoint", "other"][..], &now].concat();
    let (code, _, said) = run(&other).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--append"), "{said}");
    // Another folder or sink on the same checkpoint would miss what is done.
    for sink in ["jsonl:elsewhere", "null"] {
        let args = [&["--sink", sink, "--checkpoint", "checkpoint"][..], &now].concat();
        let (code, _, said) = run(&args).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--allow-other-sink"), "{said}");
    }
    let (code, _, said) = run(&["--sink", "jsonl:x", "--checkpoint", "./x/"]).await;
    assert!(code == Some(2) && said.contains("same folder"), "{said}");
    let (code, _, said) = run(&["--progress-json", "-"]).await;
    assert!(code == Some(2) && said.contains("stdout"), "{said}");
    // A start that is not used is named.
    let from = [&first[..], &["--from", "5"]].concat();
    let (code, _, said) = run(&from).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("--from is used only for topics that it does not have"), "{said}");
    let (code, shown, _) = run(&[&["--sink", "console", "--from", "8"][..], &now].concat()).await;
    assert_eq!(code, Some(0));
    assert!(shown.starts_with("batch 0: 2 records\n") && shown.contains("order 9"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_shown_without_a_broker_and_its_lag_with_one() {
    let broker = orders(2, 10).await;
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let now = ["--trigger", "available-now", "-q"];
    assert_eq!(ended(files_of(&broker, root, &now)).await.0, Some(0));
    append(&broker, 1, 10..14);
    let show = async |args: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(args).env_remove("KAFKA_DIRECT_CONFIG").current_dir(root);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        ended(command.spawn().unwrap()).await
    };
    let (code, shown, said) = show(&["checkpoint", "show", "checkpoint"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        shown.contains("last batch  0, done ") && shown.contains("sink        folder /"),
        "{shown}"
    );
    assert!(shown.contains("orders          1            10"), "{shown}");
    let (_, shown, _) = show(&["checkpoint", "show", "checkpoint", "--json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["batch"], &shown["positions"][0]["offset"]), (&0.into(), &10.into()));
    let (code, _, said) = show(&["checkpoint", "show", "nothing-here"]).await;
    assert!(code == Some(2) && said.contains("has no checkpoint"), "{said}");
    let bootstrap = broker.bootstrap();
    let args = ["offsets", "-b", &bootstrap, "--checkpoint", "checkpoint", "--json"];
    let (code, shown, said) = show(&args).await;
    assert_eq!(code, Some(0), "{said}");
    let lines: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&lines[0]["lag"], &lines[1]["lag"]), (&0.into(), &4.into()), "{shown}");
    assert_eq!(lines[1]["committed"], 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewound_stream_reads_again_what_came_after_the_batch() {
    let broker = orders(2, 10).await;
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let now = ["--trigger", "available-now", "-q", "--max-records-per-batch", "8"];
    let whole = async || {
        assert_eq!(ended(files_of(&broker, root, &now)).await.0, Some(0));
    };
    whole().await;
    let before = visible(root);
    let checkpoint = async |args: &[&str]| {
        let mut command = Command::new(BINARY);
        command.arg("checkpoint").args(args).env_remove("KAFKA_DIRECT_CONFIG").current_dir(root);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        ended(command.spawn().unwrap()).await
    };
    let (code, said, _) = checkpoint(&["verify", "checkpoint"]).await;
    assert!(code == Some(0) && said.starts_with("3 batches"), "{said}");
    let (code, _, said) = checkpoint(&["rewind", "checkpoint", "--to-batch", "0"]).await;
    assert!(code == Some(0) && said.contains("batches 1 to 2:"), "{said}");
    let (code, said, _) = checkpoint(&["show", "checkpoint"]).await;
    assert!(code == Some(0) && said.contains("rewind to the end of batch 0"), "{said}");
    let (code, _, said) = checkpoint(&["rewind", "checkpoint", "--to-batch", "3"]).await;
    assert!(code == Some(2) && said.contains("nothing to rewind"), "{said}");
    for file in files(&root.join("out")).into_keys() {
        let name = file.to_string_lossy();
        if [1, 2].iter().any(|n| name.starts_with(&format!("batch-{n:0>20}-"))) {
            std::fs::remove_file(root.join("out").join(&file)).unwrap();
        }
    }
    assert_ne!(visible(root), before);
    whole().await;
    assert_eq!(visible(root), before);
    let (code, said, _) = checkpoint(&["verify", "checkpoint"]).await;
    assert!(code == Some(0) && said.starts_with("6 batches"), "{said}");
    // The rewind has kept the sink.
    let (_, shown, _) = checkpoint(&["show", "checkpoint", "--json"]).await;
    assert!(shown.contains("folder "), "{shown}");
    // It names a batch that is there.
    let (code, _, said) = checkpoint(&["rewind", "checkpoint", "--to-batch", "99"]).await;
    assert!(code == Some(2) && said.contains("not committed"), "{said}");
    let damaged = root.join(format!("checkpoint/commits/{:0>20}", 2));
    std::fs::remove_file(damaged).unwrap();
    let (code, _, said) = checkpoint(&["verify", "checkpoint"]).await;
    assert!(code == Some(5) && said.contains("commits/"), "{code:?} {said}");
}
