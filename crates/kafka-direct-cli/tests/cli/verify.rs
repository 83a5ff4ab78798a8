//! `verify`: a job folder and its receipt, without a broker.

use std::fs;

use serde_json::{Value, json};

use crate::driven::{at, broker, fill, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_matches_until_a_file_changes() {
    let broker = broker("t", 2).await;
    fill(&broker, "t", 2, 10);
    let root = tempfile::tempdir().unwrap();
    let folder = format!("{}/", root.path().display());
    let failed = run(&["verify", &folder]).await.failed(2);
    assert!(failed.contains("has no receipt.json: the job is not finished"), "{failed}");
    let read = ["read", "-t", "t", "--quiet", "--output", &folder];
    at(&broker, &read).await.ok();
    drop(broker);
    let expected = format!("{folder}: 20 records in 2 files match the receipt\n");
    assert_eq!(run(&["verify", &folder]).await.ok(), expected);
    let result: Value =
        serde_json::from_str(&run(&["verify", "--json", &folder]).await.ok()).unwrap();
    let expected =
        json!({"folder": folder, "matches": true, "records": 20, "files": 2, "mismatches": []});
    assert_eq!(result, expected);

    let [gone, cut] =
        [0, 1].map(|p| format!("t-{p}-00000000000000000000-00000000000000000010.jsonl"));
    fs::remove_file(root.path().join(&gone)).unwrap();
    fs::write(root.path().join(&cut), "x").unwrap();
    let failed = run(&["verify", &folder]).await.failed(1);
    assert!(
        failed.contains(&format!(
            "{folder} does not match its receipt: {gone} is missing; {cut} has the size 1 B"
        )),
        "{failed}"
    );
    let differs = run(&["verify", &folder, "--json"]).await;
    assert_eq!(differs.code, Some(1), "{}", differs.stderr);
    let result: Value = serde_json::from_slice(&differs.stdout).unwrap();
    assert_eq!(result["matches"], false);
    assert_eq!(result["mismatches"][0], json!({"file": gone, "problem": "missing"}));
    assert_eq!(result["mismatches"][1]["problem"], "size");
    assert_eq!(result["mismatches"][1]["found"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_job_folder_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let missing = root.path().join("none").display().to_string();
    let failed = run(&["verify", &missing]).await.failed(2);
    assert!(failed.contains(&format!("the folder {missing} does not exist")), "{failed}");
    fs::write(root.path().join("receipt.json"), "{}").unwrap();
    let failed = run(&["verify", root.path().to_str().unwrap()]).await.failed(2);
    assert!(failed.contains("is not a job's receipt"), "{failed}");
    run(&["verify"]).await.failed(2);
}
