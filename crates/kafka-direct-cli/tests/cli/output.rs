//! `--output FILE`: a file appears complete or not at all.

use std::{fs, path::Path, time::Duration};

use kafka_direct_broker::{ApiKey, Fault};

use crate::driven::{at, broker, command, corrupt, fill, outcome};

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_the_same_content_as_stdout() {
    let broker = broker("t", 3).await;
    fill(&broker, "t", 3, 50);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    fs::write(&path, "old").unwrap();
    let printed = at(&broker, &["read", "-t", "t"]).await.sorted_lines();
    let args = ["read", "-t", "t", "--output", path.to_str().unwrap()];
    assert_eq!(at(&broker, &args).await.ok(), "");
    let text = fs::read_to_string(&path).unwrap();
    let mut written: Vec<&str> = text.lines().collect();
    written.sort_unstable();
    assert_eq!(written, printed);
    assert_eq!(names(folder.path()), ["out.jsonl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_read_keeps_the_old_file_and_leaves_no_other() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 50);
    corrupt(&broker, "t");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    fs::write(&path, "old").unwrap();
    let args = ["read", "-t", "t", "--output", path.to_str().unwrap()];
    assert_eq!(at(&broker, &args).await.code, Some(5));
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(folder.path()), ["out.jsonl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_the_file_that_cannot_be_written() {
    let broker = broker("t", 1).await;
    let args = ["read", "-t", "t", "--output", "/no/such/folder/out.jsonl"];
    let failed = at(&broker, &args).await.failed(1);
    assert!(failed.contains("/no/such/folder/out.jsonl"), "{failed}");
    assert!(failed.contains("caused by: "), "{failed}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_with_a_hint() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 50);
    let failed = at(&broker, &["read", "-t", "t", "--output", "/dev/full"]).await.failed(1);
    assert!(failed.contains("No space left") && failed.contains("hint: free space"), "{failed}");
    assert!(fs::metadata("/dev/full").is_ok(), "the device was replaced");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_read_leaves_no_file() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 50);
    broker.faults().every(ApiKey::Fetch, Fault::Delay(Duration::from_secs(60)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let bootstrap = broker.bootstrap();
    let args = ["read", "-b", &bootstrap, "-t", "t", "--output", path.to_str().unwrap()];
    let child = command(&args).spawn().unwrap();
    while broker.requests(ApiKey::Fetch) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(names(folder.path()).len(), 1, "the temporary file");
    crate::stopping::signal(&child, "-TERM").await;
    let outcome = outcome(child).await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(143), ""));
    assert_eq!(names(folder.path()), [""; 0]);
}
