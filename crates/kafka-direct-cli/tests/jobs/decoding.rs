//! `stream` with `--value-format`: what is written, and what becomes of records that cannot be decoded.

use std::path::Path;

use kafka_direct_broker::{Broker, Record};
use serde_json::{Value, json};

use crate::{files, stream::ended_stream};

const SCHEMA: &str = r#"{"id": "Int64!", "amount": "Float64", "at": "Timestamp(ms)", "tags": ["Utf8"], "customer": {"name": "Utf8"}}"#;

/// Offsets 0 to 5: two documents, poison, a tombstone, poison, a document.
async fn documents(root: &Path) -> Broker {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("orders", 1).unwrap();
    let records = [
        Record::new(
            r#"{"id": 1, "amount": 0.5, "at": "2025-01-01T00:00:00Z", "tags": ["a", "b"]}"#,
        ),
        Record::new(r#"{"customer": {"name": "Ann", "age": 7}, "id": 2}"#).with_key("k"),
        Record::new(r#"{"id": "3"}"#),
        Record::tombstone("k"),
        Record::new(r#"{"id": 4"#),
        Record::new(r#"{"id": 5}"#),
    ];
    broker.append("orders", 0, records).unwrap();
    std::fs::write(root.join("schema.json"), SCHEMA).unwrap();
    broker
}

/// Runs the stream to its end; returns exit code, stdout and stderr.
async fn run(broker: &Broker, root: &Path, flags: &str) -> (Option<i32>, String, String) {
    let all = format!("--trigger available-now {flags}");
    ended_stream(broker, root, &all.split(' ').collect::<Vec<_>>()).await
}

/// The text of all files in `out`.
fn written(root: &Path) -> String {
    let visible = files(&root.join("out")).into_iter();
    let visible = visible.filter(|(path, _)| !path.starts_with(".kafka-direct"));
    visible.map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect()
}

fn lines(root: &Path) -> Vec<Value> {
    written(root).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const TYPED: &str = "--value-format json --value-schema schema.json";
const JSONL: &str = "--sink jsonl:out --checkpoint checkpoint";

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_makes_values_objects_and_poison_is_left_out_counted_and_named() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let broker = documents(root).await;
    let flags = format!(
        "{JSONL} {TYPED} --on-poison skip --progress-json progress --columns offset,value -q"
    );
    let (code, _, said) = run(&broker, root, &flags).await;
    assert_eq!(code, Some(0), "{said}");
    let none = Value::Null;
    assert_eq!(
        lines(root),
        [
            json!({"offset": 0, "value": {"id": 1, "amount": 0.5, "at": "2025-01-01T00:00:00Z", "tags": ["a", "b"], "customer": none}}),
            json!({"offset": 1, "value": {"id": 2, "amount": none, "at": none, "tags": none, "customer": {"name": "Ann"}}}),
            json!({"offset": 3, "value": none}),
            json!({"offset": 5, "value": {"id": 5, "amount": none, "at": none, "tags": none, "customer": none}}),
        ]
    );
    let progress = std::fs::read_to_string(root.join("progress")).unwrap();
    let progress: Value = serde_json::from_str(&progress).unwrap();
    assert_eq!((&progress["poison"], &progress["records"]), (&2.into(), &6.into()));
    assert!(said.contains("records=2") && said.contains("were left out"), "{said}");
    assert!(
        said.contains("orders-0 offset 2: the value is not JSON of the schema: field `id`"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_ends_the_stream_at_once_and_another_policy_continues_with_the_same_batch() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let broker = documents(root).await;
    let (code, _, said) = run(&broker, root, &format!("{JSONL} {TYPED}")).await;
    assert_eq!(code, Some(5), "{said}");
    assert!(
        said.contains("error: orders-0 offset 2: the value is not JSON of the schema\n"),
        "{said}"
    );
    assert!(said.contains("caused by: field `id`: invalid type"), "{said}");
    assert!(said.contains("hint: `--on-poison skip`"), "{said}");
    assert!(!said.contains("is read again"), "{said}");
    assert_eq!(written(root), "");
    let (code, _, said) = run(&broker, root, &format!("{JSONL} {TYPED} --on-poison null")).await;
    assert_eq!(code, Some(0), "{said}");
    let lines = lines(root);
    let errors: Vec<bool> = lines.iter().map(|line| !line["_error"].is_null()).collect();
    assert_eq!(errors, [false, false, true, false, true, false]);
    assert!(lines[2]["value"].is_null() && lines[2]["_error"].as_str().unwrap().contains("`id`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_embedded_text_is_text_and_csv_and_raw_have_both() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let broker = documents(root).await;
    for (sink, flags, expected) in [
        (
            "jsonl",
            "--value-format json --columns value",
            "{\"value\":{\"id\": 5},\"_error\":null}\n",
        ),
        (
            "jsonl",
            "--value-format utf8 --columns value",
            "{\"value\":\"{\\\"id\\\": 4\",\"_error\":null}\n",
        ),
        (
            "csv",
            "--value-format json --columns offset,value",
            "3,,\n4,,the value is not JSON: EOF while parsing an object at line 1 column 8\n5,\"{\"\"id\"\": 5}\",\n",
        ),
        ("raw", "--value-format json", "{\"id\": \"3\"}\n\n\n{\"id\": 5}\n"),
    ] {
        for folder in ["out", "checkpoint"] {
            drop(std::fs::remove_dir_all(root.join(folder)));
        }
        let all = format!("--sink {sink}:out --checkpoint checkpoint --on-poison null {flags}");
        let (code, _, said) = run(&broker, root, &all).await;
        assert_eq!(code, Some(0), "{said}");
        let text = written(root);
        assert!(text.contains(expected), "{all}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_shows_decoded_values_and_reasons() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let broker = documents(root).await;
    let (code, shown, said) =
        run(&broker, root, &format!("{TYPED} --on-poison null --columns value")).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(shown.starts_with("batch 0: 6 records\nvalue "), "{shown}");
    assert!(
        shown.contains("_error") && shown.contains("the value is not JSON of the schema"),
        "{shown}"
    );
    assert!(shown.contains("{\"id\":1,\"amount\":0.5,"), "{shown}");
    let (_, shown, _) = run(&broker, root, &format!("{TYPED} --on-poison skip")).await;
    assert!(shown.starts_with("batch 0: 4 records\n") && !shown.contains("_error"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_refused_before_anything_is_read() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let broker = documents(root).await;
    std::fs::write(root.join("bad.json"), r#"{"id": "Int64", "of": {"name": "String"}}"#).unwrap();
    for (flags, expected) in [
        (
            format!("--sink csv:out --checkpoint c {TYPED}"),
            "CSV cannot carry the fields of the column `value`",
        ),
        (
            format!("--sink raw:out --checkpoint c {TYPED}"),
            "raw cannot carry the fields of the column `value`",
        ),
        ("--value-schema schema.json".to_owned(), "--value-schema needs --value-format json"),
        ("--on-poison skip".to_owned(), "--on-poison needs something to decode"),
        (
            "--value-format json --columns key".to_owned(),
            "--value-format decodes the column `value`",
        ),
        (
            "--value-format json --value-schema none.json".to_owned(),
            "--value-schema none.json: No such file",
        ),
        (
            "--value-format json --value-schema bad.json".to_owned(),
            "--value-schema bad.json: field `of.name`: unknown type `String`; write Boolean",
        ),
    ] {
        let (code, _, said) = run(&broker, root, &flags).await;
        assert_eq!(code, Some(2), "{flags}: {said}");
        assert!(said.contains(expected), "{flags}: {said}");
        assert!(!root.join("out").exists() && !root.join("c").exists());
    }
}
