//! A disk that takes no more bytes: no half file under a final name, and a way on.

use std::{fs, path::Path, process::Command};

use crate::{BINARY, files, orders};

/// Runs the job where no file may grow beyond so many blocks of 512 bytes.
async fn limited(broker: &str, root: &Path, blocks: &str) -> std::process::Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", BINARY, "read", "--brokers", broker, "--topic", "orders"]);
    command.args(["--output", "out/"]).current_dir(root);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_no_half_file_and_the_job_can_be_finished() {
    let broker = orders(2, 200).await;
    let root = tempfile::tempdir().unwrap();
    let full = limited(&broker.bootstrap(), root.path(), "16").await;
    let said = String::from_utf8(full.stderr).unwrap();
    assert_eq!(full.status.code(), Some(1), "{said}");
    assert!(said.contains("orders-") && said.contains("File too large"), "{said}");
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
