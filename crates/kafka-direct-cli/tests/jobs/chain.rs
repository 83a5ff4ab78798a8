//! `read --after`: a batch that continues where an earlier one ended.

use std::{path::Path, process::Output};

use kafka_direct_broker::{Broker, Record};
use tokio::process::Command;

use crate::{BINARY, append, files, orders};

async fn run(broker: &Broker, root: &Path, args: &[&str]) -> Output {
    Command::new(BINARY)
        .args(["read", "--brokers", &broker.bootstrap()])
        .args(args)
        .env_remove("KAFKA_DIRECT_CONFIG")
        .current_dir(root)
        .output()
        .await
        .unwrap()
}

async fn code(broker: &Broker, root: &Path, args: &[&str], expected: i32) -> String {
    let output = run(broker, root, args).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(expected), "{args:?}: {said}");
    said
}

fn records(root: &Path, folder: &str) -> usize {
    let found = files(&root.join(folder));
    let data = found.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "jsonl"));
    data.map(|(_, bytes)| bytes.iter().filter(|byte| **byte == b'\n').count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_continue_where_the_earlier_one_ended_and_new_topics_start_at_earliest() {
    let (broker, root) = (orders(2, 10).await, tempfile::tempdir().unwrap());
    let root = root.path();
    code(&broker, root, &["-t", "orders", "--to", "7", "--output", "one/"], 0).await;
    append(&broker, 1, 10..13);
    broker.create_topic("refunds", 1).unwrap();
    broker.append("refunds", 0, ["a", "b", "c", "d"].map(Record::new)).unwrap();
    let both = ["-t", "orders,refunds", "--after", "one/", "--output", "two/"];
    code(&broker, root, &both, 0).await;
    assert_eq!((records(root, "one"), records(root, "two")), (14, 3 + 6 + 4));
    // The receipt itself can be named, and a batch without a record ends where it began.
    code(&broker, root, &["--after", "two/receipt.json", "--output", "three/"], 0).await;
    append(&broker, 0, 10..12);
    code(&broker, root, &["--after", "three/", "--output", "four/"], 0).await;
    assert_eq!((records(root, "three"), records(root, "four")), (0, 2));
    // The earlier folder may be named in any way.
    for same in ["three", "./three", "three/receipt.json"] {
        code(&broker, root, &["--after", same, "--output", "four/"], 0).await;
    }
    let said = code(&broker, root, &["--after", "one/", "--output", "four/"], 2).await;
    assert!(said.contains("--after was `three` and is now `one`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_form_of_its_values() {
    let (broker, root) = (orders(1, 10).await, tempfile::tempdir().unwrap());
    let root = root.path();
    let args = ["-t", "orders", "--to", "7", "--output", "one/", "--json-values"];
    code(&broker, root, &args, 0).await;
    let said = code(&broker, root, &args[..6], 2).await;
    assert!(said.contains("--json-values was `yes` and is now not given"), "{said}");
    code(&broker, root, &args, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_re_created_follows_the_data_loss_policy() {
    let (broker, root) = (orders(1, 10).await, tempfile::tempdir().unwrap());
    let root = root.path();
    code(&broker, root, &["-t", "orders", "--output", "one/"], 0).await;
    broker.recreate_topic("orders").unwrap();
    append(&broker, 0, 0..15);
    let two = ["--after", "one/", "--output", "two/"];
    let said = code(&broker, root, &two, 3).await;
    assert!(said.contains("orders-0: the topic was re-created since the earlier batch"), "{said}");
    assert!(!root.join("two/receipt.json").exists());
    let resumed = [&two[..], &["--on-data-loss", "resume"]].concat();
    let said = code(&broker, root, &resumed, 0).await;
    assert!(said.contains("re-created"), "{said}");
    assert_eq!(records(root, "two"), 15);
    let plan = std::fs::read_to_string(root.join("two/plan.json")).unwrap();
    assert!(plan.contains("\"cause\": \"recreated\""), "{plan}");
    // The new topic's positions carry its own id: the chain continues.
    append(&broker, 0, 15..17);
    code(&broker, root, &["--after", "two/", "--output", "three/"], 0).await;
    assert_eq!(records(root, "three"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_gone_or_left_out_follow_the_data_loss_policy() {
    let (broker, root) = (orders(1, 10).await, tempfile::tempdir().unwrap());
    let root = root.path();
    broker.create_topic("refunds", 1).unwrap();
    broker.append("refunds", 0, [Record::new("a")]).unwrap();
    code(&broker, root, &["-t", "orders,refunds", "--output", "one/"], 0).await;
    append(&broker, 0, 10..12);
    let two = ["--after", "one/", "-t", "orders", "--output", "two/"];
    let said = code(&broker, root, &two, 2).await;
    assert!(said.contains("the earlier batch had refunds-0"), "{said}");
    code(&broker, root, &[&two[..], &["--on-data-loss", "resume"]].concat(), 0).await;
    assert_eq!(records(root, "two"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_the_plan_skipped_are_in_the_receipt() {
    let (broker, root) = (orders(1, 10).await, tempfile::tempdir().unwrap());
    let root = root.path();
    let args = ["-t", "orders", "--to", "15", "--on-data-loss", "resume", "--output", "one/"];
    let said = code(&broker, root, &args, 0).await;
    assert!(said.contains("[10, 15)") && said.contains("5 lost offsets were skipped"), "{said}");
    let receipt = std::fs::read_to_string(root.join("one/receipt.json")).unwrap();
    for field in ["\"skipped_offsets\": 5", "\"resets\": 1", "\"cause\": \"clamped\""] {
        assert!(receipt.contains(field), "{field} in {receipt}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_may_have_any_name_and_any_number_of_partitions() {
    let (broker, root) = (orders(1, 1).await, tempfile::tempdir().unwrap());
    let root = root.path();
    broker.create_topic("group", 1_200).unwrap();
    broker.append("group", 0, [Record::new("a"), Record::new("b")]).unwrap();
    code(&broker, root, &["-t", "group", "--output", "one/"], 0).await;
    broker.append("group", 1_199, [Record::new("c")]).unwrap();
    code(&broker, root, &["--after", "one/", "--output", "two/"], 0).await;
    assert_eq!((records(root, "one"), records(root, "two")), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_continued_is_refused_before_anything_is_made() {
    let (broker, root) = (orders(1, 10).await, tempfile::tempdir().unwrap());
    let root = root.path();
    code(&broker, root, &["-t", "orders", "--output", "one/"], 0).await;
    let said = code(&broker, root, &["--after", "none/", "--output", "two/"], 2).await;
    assert!(said.contains("does not exist"), "{said}");
    let isolation = ["--isolation", "read_uncommitted", "--after", "one/", "--output", "two/"];
    let said = code(&broker, root, &isolation, 2).await;
    assert!(said.contains("read_committed"), "{said}");
    let both = ["--after", "one/", "--from", "earliest", "--output", "two/"];
    code(&broker, root, &both, 2).await;
    let other = orders(1, 20).await;
    let said = code(&other, root, &["--after", "one/", "--output", "two/"], 2).await;
    assert!(said.contains(other.cluster_id()), "{said}");
    assert!(!root.join("two/plan.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uncommitted_batch_is_continued_under_its_own_level() {
    let (broker, root) = (orders(1, 10).await, tempfile::tempdir().unwrap());
    let root = root.path();
    let first = ["-t", "orders", "--isolation", "read_uncommitted", "--plan", "p.json"];
    code(&broker, root, &[&first[..], &["--output", "one/"]].concat(), 0).await;
    // Neither the plan nor the chain needs the flag again.
    code(&broker, root, &["--plan", "p.json", "--output", "again/"], 0).await;
    append(&broker, 0, 10..11);
    code(&broker, root, &["--after", "one/", "--output", "two/"], 0).await;
    let receipt = std::fs::read_to_string(root.join("two/receipt.json")).unwrap();
    assert!(receipt.contains("\"isolation\": \"read_uncommitted\""), "{receipt}");
    assert_eq!(records(root, "two"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_no_plan_and_force_keeps_it_until_the_cluster_was_asked() {
    let (broker, root) = (orders(1, 10).await, tempfile::tempdir().unwrap());
    let root = root.path();
    code(&broker, root, &["-t", "orders", "--output", "one/"], 0).await;
    let said = code(&broker, root, &["--plan", "one/receipt.json", "--output", "two/"], 2).await;
    assert!(
        said.contains("is the receipt of a job, not a plan") && said.contains("--after"),
        "{said}"
    );
    let receipt = std::fs::read(root.join("one/receipt.json")).unwrap();
    broker.delete_topic("orders").unwrap();
    broker.create_topic("orders", 1).unwrap();
    append(&broker, 0, 0..3);
    code(&broker, root, &["--output", "one/", "--force"], 3).await;
    assert_eq!(std::fs::read(root.join("one/receipt.json")).unwrap(), receipt);
    let resumed = ["--after", "one/", "--on-data-loss", "resume", "--output", "next/"];
    let said = code(&broker, root, &resumed, 0).await;
    assert!(
        said.contains("orders-0: the topic was re-created and is read from offset 0"),
        "{said}"
    );
    assert_eq!(records(root, "next"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_file_that_a_pattern_would_read_is_a_mismatch() {
    let (broker, root) = (orders(1, 10).await, tempfile::tempdir().unwrap());
    let root = root.path();
    code(&broker, root, &["-t", "orders", "--output", "one/"], 0).await;
    let verify = || async {
        let verify = Command::new(BINARY).args(["verify", "one/"]).current_dir(root).output();
        let verify = verify.await.unwrap();
        (verify.status.code(), String::from_utf8(verify.stderr).unwrap())
    };
    std::fs::write(root.join("one/notes.txt"), "mine").unwrap();
    assert_eq!(verify().await.0, Some(0));
    std::fs::write(root.join("one/orders-0-extra.jsonl"), "{}").unwrap();
    let (code, said) = verify().await;
    assert_eq!(code, Some(1));
    assert!(said.contains("orders-0-extra.jsonl is not in the receipt"), "{said}");
}
