//! A full disk leaves no partial file under a final name, and the job can be finished later.
//!
//! One test replaces the full disk by a limit on the file size, which works everywhere. The other
//! mounts a small file system, which not every container allows; `.ci/run disk` runs it.

use std::{fs, path::Path, process::Command};

use crate::{BINARY, files, orders};

/// Runs the job with a limit on the file size, in blocks of 512 bytes.
async fn limited(broker: &str, root: &Path, blocks: &str) -> std::process::Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", BINARY, "read", "--brokers", broker, "--topic", "orders"]);
    command.args(["--output", "out/"]).current_dir(root);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_no_partial_file_and_the_job_can_be_finished() {
    let broker = orders(2, 200).await;
    let root = tempfile::tempdir().unwrap();
    let full = limited(&broker.bootstrap(), root.path(), "16").await;
    let stderr = String::from_utf8(full.stderr).unwrap();
    assert_eq!(full.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("orders-") && stderr.contains("File too large"), "{stderr}");
    let left = files(root.path());
    let records = |path: &&std::path::PathBuf| path.to_string_lossy().contains("orders-");
    assert_eq!(left.keys().filter(records).count(), 0, "{:?}", left.keys());

    let enough = limited(&broker.bootstrap(), root.path(), "unlimited").await;
    assert!(enough.status.success(), "{}", String::from_utf8_lossy(&enough.stderr));
    for partition in 0..2 {
        let name = format!("orders-{partition}-{:020}-{:020}.jsonl", 0, 200);
        let text = fs::read_to_string(root.path().join("out").join(name)).unwrap();
        assert_eq!(text.lines().count(), 200);
    }
}

/// Shell script that writes one file, runs a job, and runs the job again with more space.
///
/// It uses a private file system of 64 KiB. It prints the exit code of each command and the files
/// that are left. Of record files, one of which may have fit, it prints the number of lines.
#[cfg(target_os = "linux")]
const ON_A_FULL_FILE_SYSTEM: &str = r#"
mount -t tmpfs -o size=64k tmpfs "$1" && cd "$1" || exit 99
shift
"$@" --output out.jsonl; echo "file $?"; ls -A
"$@" --output out/; echo "job $?"; ls -A out | grep -v "^orders-.*jsonl$"
for file in out/orders-*.jsonl; do [ ! -e "$file" ] || echo "whole $(wc -l <"$file")"; done
mount -o remount,size=16m . || exit 99
"$@" --output out/; echo "again $?"; cat out/orders-*.jsonl | wc -l
"#;

#[cfg(target_os = "linux")]
#[ignore = "needs the right to mount a file system in a namespace; `.ci/run disk` runs it"]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system_gets_no_partial_file_and_the_job_finishes_with_more_space() {
    let broker = orders(2, 400).await;
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", ON_A_FULL_FILE_SYSTEM, "sh"]);
    command.arg(root.path()).arg(BINARY);
    command.args(["read", "--quiet", "--brokers", &broker.bootstrap(), "--topic", "orders"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stderr}");
    let whole = found.matches("whole 400\n").count();
    assert!(whole < 2, "{found}");
    let found = found.replace("whole 400\n", "");
    let found: Vec<&str> = found.split_whitespace().collect();
    let job = ["job", "1", ".kafka-direct", "plan.json"];
    assert_eq!(found, [&["file", "1"][..], &job, &["again", "0", "800"]].concat(), "{stderr}");
    assert_eq!(stderr.matches("No space left on device").count(), 2, "{stderr}");
    assert_eq!(stderr.matches("hint: free space").count(), 2, "{stderr}");
}
