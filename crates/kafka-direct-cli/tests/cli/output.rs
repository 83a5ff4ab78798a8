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
    let read = at(&broker, &args).await;
    let closing = format!("{}: 150 records\n", path.display());
    assert_eq!((read.code, read.stdout, read.stderr), (Some(0), Vec::new(), closing));
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
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    let below = file.join("out.jsonl").display().to_string();
    let failed = at(&broker, &["read", "-t", "t", "--output", &below]).await.failed(1);
    assert!(failed.contains(&below) && failed.contains("caused by: "), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_is_named_and_not_created() {
    let broker = broker("t", 1).await;
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("a b/c");
    let file = missing.join("out.jsonl").display().to_string();
    for format in ["jsonl", "table"] {
        let args = ["read", "-t", "t", "--format", format, "--output", &file];
        let failed = at(&broker, &args).await.failed(1);
        let missing = missing.display();
        let named =
            format!("the folder {missing} does not exist; make it with `mkdir -p '{missing}'`");
        assert!(failed.contains(&named), "{failed}");
    }
    assert_eq!(names(root.path()), [""; 0]);
    let args = ["read", "-t", "t", "--quiet", "--output", "out.jsonl", "-b"];
    let mut bare = command(&args);
    bare.arg(broker.bootstrap()).current_dir(root.path());
    crate::driven::finish(bare).await.ok();
    assert_eq!(names(root.path()), ["out.jsonl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_closing_line_counts_records() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 1);
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("out").display().to_string();
    for format in ["jsonl", "table"] {
        let args = ["read", "-t", "t", "--format", format, "--output", &file];
        assert_eq!(at(&broker, &args).await.stderr, format!("{file}: 1 record\n"));
        at(&broker, &[&args[..], &["--quiet"]].concat()).await.ok();
    }
    let folder = root.path().join("folder/").display().to_string();
    let job = at(&broker, &["read", "-t", "t", "--output", &folder]).await;
    assert_eq!(job.stderr, format!("{folder}: 1 record in 1 file\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_read_that_must_not_be_empty_leaves_no_new_file() {
    let broker = broker("t", 1).await;
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("out");
    let path = file.display().to_string();
    let read = async |format: &str| {
        let args = ["read", "-t", "t", "--fail-if-empty", "--format", format, "--output", &path];
        let failed = at(&broker, &args).await.failed(1);
        assert!(failed.contains("--fail-if-empty"), "{failed}");
    };
    for format in ["jsonl", "csv", "table"] {
        read(format).await;
        assert_eq!(names(root.path()), [""; 0], "{format}");
    }
    fs::write(&file, "old").unwrap();
    read("jsonl").await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    // A folder keeps its job: files, plan and receipt.
    fs::remove_file(&file).unwrap();
    let folder = format!("{path}/");
    let args = ["read", "-t", "t", "--fail-if-empty", "--output", &folder];
    at(&broker, &args).await.failed(1);
    assert!(file.join("receipt.json").exists());
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
