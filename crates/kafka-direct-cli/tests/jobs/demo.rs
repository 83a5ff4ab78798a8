//! `demo`, and the commands that it suggests.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use crate::BINARY;

#[test]
fn the_demo_verifies_every_record_it_wrote() {
    let shown = Command::new(BINARY)
        .args(["demo", "--records", "10001", "--topic-partitions", "3"])
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{text}");
    for expected in ["span 10001", "3,334", "3,333", "every record exactly once", "\"sequence\":4,"]
    {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn a_demo_without_records_succeeds() {
    let shown = Command::new(BINARY).args(["demo", "--records", "0"]).output().unwrap();
    assert!(shown.status.success());
}

#[test]
fn a_kept_demo_can_be_read_with_the_suggested_command() {
    let mut kept = Command::new(BINARY)
        .args(["demo", "--records", "100", "--keep"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(kept.stdout.take().unwrap()).lines().map(Result::unwrap);
    let suggested = lines
        .skip_while(|line| !line.contains("from another terminal"))
        .find(|line| line.contains(" read "));
    let suggested = suggested.unwrap();
    let words = suggested.split_whitespace().skip(1);
    let read = Command::new(BINARY).args(words).output().unwrap();
    kept.kill().unwrap();
    kept.wait().unwrap();
    let text = String::from_utf8(read.stdout).unwrap();
    assert!(read.status.success(), "{suggested}\n{text}");
    assert!(text.contains("\"sequence\":24,"), "{text}");
}

#[test]
fn the_demo_of_a_stream_finds_every_record_once_after_kills() {
    let temporary = tempfile::tempdir().unwrap();
    let shown = Command::new(BINARY)
        .args(["demo", "--stream"])
        .env("TMPDIR", temporary.path())
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{text}");
    assert_eq!(text.matches("then SIGKILL").count(), 3, "{text}");
    assert!(text.contains("No record is missing, none is there twice."), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "it is removed");
}
