//! `read`: prints every record once, in every format.

use bytes::Bytes;
use kafka_direct_broker::{ApiKey, Record};
use serde_json::Value;

use crate::driven::{at, broker, corrupt, fed, fill, values};

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_hold_every_kind_of_key_value_and_header() {
    let broker = broker("shapes", 1).await;
    let bytes = |bytes: &'static [u8]| Bytes::from_static(bytes);
    broker
        .append(
            "shapes",
            0,
            [
                Record::new("plain").with_key("k").with_timestamp(1_700_000_000_123),
                Record::tombstone("gone").with_timestamp(5),
                Record::new("").with_timestamp(5),
                Record::new(bytes(b"\xff\x00")).with_key(bytes(b"\x80")).with_timestamp(5),
                Record::new("quote \" slash \\ tab \t bell \u{7} é \u{1f600} \u{2028}"),
                Record::new("v")
                    .with_header("h", Some(bytes(b"1")))
                    .with_header("h", Some(bytes(b"")))
                    .with_header("none", None)
                    .with_header("bin", Some(bytes(b"\xfe")))
                    .with_header(bytes(b"bad\xff"), None),
            ],
        )
        .unwrap();
    let read = at(&broker, &["read", "-t", "shapes"]).await.ok();
    let start = |offset: i64, timestamp: &str| {
        format!(
            r#"{{"topic":"shapes","partition":0,"offset":{offset},"timestamp":{timestamp},"timestamp_type":0,"#
        )
    };
    let expected = [
        start(0, "1700000000123") + r#""key":"k","value":"plain","headers":[]}"#,
        start(1, "5") + r#""key":"gone","value":null,"headers":[]}"#,
        start(2, "5") + r#""key":null,"value":"","headers":[]}"#,
        start(3, "5")
            + r#""key":null,"key_base64":"gA==","value":null,"value_base64":"/wA=","headers":[]}"#,
        start(4, "null")
            + "\"key\":null,\"value\":\"quote \\\" slash \\\\ tab \\t bell \\u0007 é \u{1f600} \u{2028}\",\"headers\":[]}",
        start(5, "null")
            + r#""key":null,"value":"v","headers":[{"key":"h","value":"1"},{"key":"h","value":""},{"key":"none","value":null},{"key":"bin","value":null,"value_base64":"/g=="},{"key":"bad"#
            + "\u{fffd}"
            + r#"","value":null}]}"#,
    ];
    assert_eq!(read.lines().collect::<Vec<_>>(), expected);
    for line in read.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_of_many_partitions_is_read_once_and_in_order() {
    let broker = broker("many", 40).await;
    fill(&broker, "many", 40, 100);
    let read = at(&broker, &["read", "-t", "many"]).await.ok();
    let mut next = [0i64; 40];
    for line in read.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let partition = usize::try_from(line["partition"].as_i64().unwrap()).unwrap();
        assert_eq!(line["offset"], next[partition]);
        assert_eq!(line["value"], format!("{partition}/{}", next[partition]));
        next[partition] += 1;
    }
    assert_eq!(next, [100; 40]);
}

#[tokio::test(flavor = "multi_thread")]
async fn split_ranges_together_have_all_records_of_a_partition() {
    let broker = broker("t", 2).await;
    fill(&broker, "t", 2, 100);
    let whole = at(&broker, &["read", "-t", "t"]).await.sorted_lines();
    for split in [["--min-partitions", "9"], ["--max-records-per-partition", "13"]] {
        let args = [&["read", "-t", "t"][..], &split].concat();
        assert_eq!(at(&broker, &args).await.sorted_lines(), whole, "{split:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_values_are_embedded_and_can_be_written_back() {
    let broker = broker("from", 1).await;
    let big = "[1e400,123456789012345678901234567890]";
    let values = ["{\n  \"a\": 1,\n  \"a\": 2\n}", big, "no json", "null", "\"text\"", ""];
    broker.append("from", 0, values.map(Record::new)).unwrap();
    broker.append("from", 0, [Record::tombstone("k")]).unwrap();
    broker.append("from", 0, [Record::new(Bytes::from_static(b"\xff"))]).unwrap();
    let args = |topic: &'static str| ["read", "-t", topic, "--columns", "value", "--json-values"];
    let printed = at(&broker, &args("from")).await.ok();
    let expected = [
        r#"{"value":{"a": 1,"a": 2}}"#,
        &format!("{{\"value\":{big}}}"),
        r#"{"value":"no json"}"#,
        r#"{"value":"null"}"#,
        r#"{"value":"text"}"#,
        r#"{"value":""}"#,
        r#"{"value":null}"#,
        r#"{"value":null,"value_base64":"/w=="}"#,
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
    broker.create_topic("to", 1).unwrap();
    let produce = ["produce", "-t", "to", "--json"];
    let failed = fed(&broker, &produce, printed.as_bytes()).await.failed(2);
    assert!(failed.contains("line 1") && failed.contains("--json-values"), "{failed}");
    let produce = [&produce[..], &["--json-values"]].concat();
    fed(&broker, &produce, printed.as_bytes()).await.wrote();
    assert_eq!(at(&broker, &args("to")).await.ok(), printed);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_values_need_json_lines() {
    let broker = broker("t", 1).await;
    let folder = tempfile::tempdir().unwrap();
    let folder = format!("{}/", folder.path().display());
    for format in ["csv", "raw", "table", "parquet"] {
        let args = ["read", "-t", "t", "--json-values", "--format", format];
        for output in [&["--output", &folder][..], &[]] {
            let failed = at(&broker, &[&args[..], output].concat()).await.failed(2);
            assert!(failed.contains("--json-values works only with --format jsonl"), "{failed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_writes_values_and_an_empty_line_for_null() {
    let broker = broker("t", 1).await;
    let odd = Bytes::from_static(b"\xff{");
    broker.append("t", 0, [Record::new("a"), Record::tombstone("k"), Record::new(odd)]).unwrap();
    let read = at(&broker, &["read", "-t", "t", "--format", "raw"]).await;
    assert_eq!((read.code, read.stdout), (Some(0), b"a\n\n\xff{\n".to_vec()));
    let without = at(&broker, &["read", "-t", "t", "-f", "raw", "--columns", "key"]).await;
    assert!(without.failed(2).contains("`value`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_requested_columns_are_printed() {
    let broker = broker("t", 1).await;
    broker.append("t", 0, [Record::new("v").with_key("k")]).unwrap();
    for (columns, expected) in [
        ("value", r#"{"value":"v"}"#),
        ("headers,offset", r#"{"offset":0,"headers":[]}"#),
        ("key,topic,timestamp_type", r#"{"topic":"t","timestamp_type":0,"key":"k"}"#),
    ] {
        let read = at(&broker, &["read", "-t", "t", "--columns", columns]).await.ok();
        assert_eq!(read.trim_end(), expected);
    }
    let unknown = at(&broker, &["read", "-t", "t", "--columns", "value,nope"]).await.failed(2);
    assert!(unknown.contains("nope"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_takes_partitions_in_order_and_stops_early() {
    let broker = broker("t", 3).await;
    fill(&broker, "t", 3, 10);
    let read = ["read", "-t", "t", "-f", "raw", "--limit"];
    let limited = |limit: &'static str| [&read[..], &[limit]].concat();
    let taken = at(&broker, &limited("12")).await.ok();
    let expected = [values(0, 0..10), values(1, 0..2)].concat();
    assert_eq!(taken.lines().collect::<Vec<_>>(), expected);
    let before = broker.requests(ApiKey::Fetch);
    assert_eq!(at(&broker, &limited("0")).await.ok(), "");
    assert_eq!(broker.requests(ApiKey::Fetch), before, "nothing is fetched");
    assert_eq!(at(&broker, &limited("99")).await.ok().lines().count(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_shows_records_and_reports_that_it_is_cut() {
    let broker = broker("t", 2).await;
    fill(&broker, "t", 2, 501);
    let read = at(&broker, &["read", "-t", "t", "--format", "table"]).await;
    let (text, note) = (String::from_utf8(read.stdout).unwrap(), read.stderr);
    assert_eq!((read.code, text.lines().count()), (Some(0), 1001));
    assert!(note.contains("only the first 1000 records"), "{note}");
    let head: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["topic", "partition", "offset", "timestamp", "key", "value"]);
    let first: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(first, ["t", "0", "0", "1970-01-01T00:00:01.000Z", "∅", "0/0"]);
    let limited = at(&broker, &["read", "-t", "t", "-f", "table", "-c", "3"]).await.ok();
    assert_eq!(limited.lines().count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_terminal_cuts_values_unless_told_not_to() {
    let broker = broker("t", 1).await;
    let (long, short) = ("x".repeat(500), "x".repeat(60));
    broker.append("t", 0, [Record::new(long.clone()), Record::new(short.clone())]).unwrap();
    let read = ["read", "-t", "t", "-f", "table", "--columns", "value"];
    let cut = at(&broker, &read).await.ok();
    let ellipsis = "x".repeat(59) + "…";
    assert_eq!(cut.lines().collect::<Vec<_>>(), ["value", &ellipsis, &short]);
    let whole = at(&broker, &[&read[..], &["--no-truncate"]].concat()).await.ok();
    assert_eq!(whole.lines().collect::<Vec<_>>(), ["value", &long, &short]);
    let failed = at(&broker, &["read", "-t", "t", "--no-truncate"]).await.failed(2);
    assert!(failed.contains("--format table"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_topic_fails_only_with_fail_if_empty() {
    let broker = broker("t", 2).await;
    assert_eq!(at(&broker, &["read", "-t", "t"]).await.ok(), "");
    let failed = at(&broker, &["read", "-t", "t", "--fail-if-empty"]).await.failed(1);
    assert!(failed.contains("--fail-if-empty"), "{failed}");
    fill(&broker, "t", 1, 1);
    assert_eq!(at(&broker, &["read", "-t", "t", "--fail-if-empty"]).await.ok().lines().count(), 1);
}

#[cfg(not(feature = "full"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_format_that_is_not_in_this_build_names_the_feature() {
    let broker = broker("t", 1).await;
    let failed = at(&broker, &["read", "-t", "t", "--format", "arrow"]).await.failed(2);
    assert!(failed.contains("cargo install kafka-direct-cli --features full"), "{failed}");
}

#[cfg(feature = "full")]
#[tokio::test(flavor = "multi_thread")]
async fn an_arrow_stream_has_every_record_of_every_topic() {
    let broker = broker("a", 3).await;
    broker.create_topic("b", 1).unwrap();
    fill(&broker, "a", 3, 100);
    fill(&broker, "b", 1, 50);
    for (topics, rows) in [("a,b", 350), ("a", 300)] {
        let read = at(&broker, &["read", "-t", topics, "--format", "arrow"]).await;
        assert_eq!((read.code, read.stderr.as_str()), (Some(0), ""));
        let stream = arrow_ipc::reader::StreamReader::try_new(&read.stdout[..], None).unwrap();
        assert_eq!(stream.schema().fields().len(), 8);
        let read: usize = stream.map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(read, rows);
    }
    broker.create_topic("empty", 1).unwrap();
    let read = at(&broker, &["read", "-t", "empty", "--format", "arrow"]).await;
    let stream = arrow_ipc::reader::StreamReader::try_new(&read.stdout[..], None).unwrap();
    assert_eq!(stream.count(), 0);
}

/// The types of the topic and the value in the schema of a file or stream, and the number of rows.
#[cfg(feature = "full")]
fn ipc(output: &[u8]) -> (&'static str, String, usize) {
    use arrow_ipc::reader::{FileReader, StreamReader};
    let types = |schema: kafka_direct::arrow::schema::SchemaRef| {
        let name = |name| schema.field_with_name(name).unwrap().data_type().to_string();
        format!("{}, {}", name("topic"), name("value"))
    };
    if output.starts_with(b"ARROW1") {
        let reader = FileReader::try_new(std::io::Cursor::new(output), None).unwrap();
        return ("file", types(reader.schema()), reader.map(|b| b.unwrap().num_rows()).sum());
    }
    let reader = StreamReader::try_new(output, None).unwrap();
    ("stream", types(reader.schema()), reader.map(|b| b.unwrap().num_rows()).sum())
}

#[cfg(feature = "full")]
#[tokio::test(flavor = "multi_thread")]
async fn arrow_is_a_file_in_files_and_a_stream_elsewhere() {
    const VIEW: &str = "Dictionary(Int32, Utf8), BinaryView";
    const PLAIN: &str = "Utf8, Binary";
    let broker = broker("a", 2).await;
    broker.create_topic("b", 1).unwrap();
    fill(&broker, "a", 2, 10);
    fill(&broker, "b", 1, 10);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let file = path.display().to_string();
    let cases: [(&[&str], &str, &str); 6] = [
        (&["arrow"], "file", PLAIN),
        (&["arrow", "--arrow-types", "view"], "file", "Utf8, BinaryView"),
        (&["arrows"], "stream", PLAIN),
        (&["arrows", "--arrow-types", "view"], "stream", VIEW),
        (&["arrow", "--limit", "30"], "file", PLAIN),
        (&["arrow", "--arrow-types", "plain"], "file", PLAIN),
    ];
    for (flags, form, types) in cases {
        let args =
            [&["read", "-t", "a,b", "--quiet", "--output", &file, "--format"], flags].concat();
        assert_eq!(at(&broker, &args).await.ok(), "");
        let written = std::fs::read(&path).unwrap();
        assert_eq!(ipc(&written), (form, types.to_owned(), 30), "{flags:?}");
    }
    let cases: [(&[&str], &str); 4] = [
        (&["arrow"], VIEW),
        (&["arrows"], VIEW),
        (&["arrow", "--arrow-types", "plain"], PLAIN),
        (&["arrow", "--output", "-"], VIEW),
    ];
    for (flags, types) in cases {
        let args = [&["read", "-t", "a,b", "--format"], flags].concat();
        let read = at(&broker, &args).await;
        assert_eq!((read.code, read.stderr.as_str()), (Some(0), ""));
        assert_eq!(ipc(&read.stdout), ("stream", types.to_owned(), 30), "{flags:?}");
    }
}

#[cfg(all(feature = "full", unix))]
#[tokio::test(flavor = "multi_thread")]
async fn a_named_pipe_gets_a_stream() {
    let broker = broker("a", 1).await;
    fill(&broker, "a", 1, 10);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.arrow");
    let made = tokio::process::Command::new("mkfifo").arg(&path).status().await.unwrap();
    assert!(made.success());
    let (pipe, name) = (path.clone(), path.display().to_string());
    let reader = tokio::task::spawn_blocking(move || std::fs::read(pipe).unwrap());
    let args = ["read", "-t", "a", "--quiet", "--format", "arrow", "--output", &name];
    assert_eq!(at(&broker, &args).await.ok(), "");
    assert_eq!(ipc(&reader.await.unwrap()).0, "stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn arrow_types_are_refused_with_other_formats() {
    let broker = broker("t", 1).await;
    for format in ["jsonl", "table", "parquet"] {
        let args = ["read", "-t", "t", "--format", format, "--arrow-types", "view"];
        let failed = at(&broker, &args).await.failed(2);
        assert!(failed.contains("only with --format arrow or --format arrows"), "{failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_range_at_a_time_reads_partitions_in_order() {
    let broker = broker("t", 3).await;
    fill(&broker, "t", 3, 50);
    let args = ["read", "-t", "t", "-f", "raw", "--concurrency", "1"];
    let read = at(&broker, &args).await.ok();
    let expected: Vec<String> = (0..3).flat_map(|partition| values(partition, 0..50)).collect();
    assert_eq!(read.lines().collect::<Vec<_>>(), expected);
    for (flags, named) in [
        (&["0"][..], "--concurrency"),
        (&["2", "--limit", "3"], "one range after the other"),
        (&["2", "--format", "table"], "one range after the other"),
    ] {
        let args = [&["read", "-t", "t", "--concurrency"], flags].concat();
        let failed = at(&broker, &args).await.failed(2);
        assert!(failed.contains(named), "{flags:?}: {failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_starts_no_more_ranges_than_its_concurrency() {
    let broker = broker("t", 3).await;
    corrupt(&broker, "t");
    fill(&broker, "t", 3, 50);
    let root = tempfile::tempdir().unwrap();
    let folder = format!("{}/", root.path().display());
    let args = ["read", "-t", "t", "--concurrency", "1", "--output", &folder];
    at(&broker, &args).await.failed(5);
    let names = std::fs::read_dir(root.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with("t-")), "{names:?}");
}
