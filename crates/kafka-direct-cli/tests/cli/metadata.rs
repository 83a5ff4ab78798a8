//! `plan`, `offsets`, `topics`: show metadata without reading a record.

use kafka_direct_broker::{ApiKey, BatchWriter, Broker, RawOffsets, Record};
use serde_json::{Value, json};

use crate::driven::{Outcome, at, broker, commit, fill, run, values};

fn parsed(outcome: Outcome) -> Value {
    serde_json::from_str(&outcome.ok()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_as_json_has_its_ranges_in_order_and_reads_nothing() {
    let broker = broker("t", 3).await;
    fill(&broker, "t", 1, 10);
    broker.append("t", 2, [Record::new("x")]).unwrap();
    let plan = parsed(at(&broker, &["plan", "-t", "t", "--json"]).await);
    assert_eq!((&plan["version"], &plan["isolation"]), (&json!(1), &json!("read_committed")));
    assert_eq!(plan["cluster"], broker.cluster_id());
    let ranges = plan["ranges"].as_array().unwrap();
    let bounds =
        |range: &Value| ["topic", "partition", "from", "until"].map(|field| range[field].clone());
    let expected =
        [[json!("t"), json!(0), json!(0), json!(10)], [json!("t"), json!(2), json!(0), json!(1)]];
    assert_eq!(ranges.iter().map(bounds).collect::<Vec<_>>(), expected);
    let split = parsed(at(&broker, &["plan", "-t", "t", "--json", "--min-partitions", "5"]).await);
    assert!(split["ranges"].as_array().unwrap().len() >= 4, "{split}");
    assert_eq!(broker.requests(ApiKey::Fetch), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_as_a_table_names_partitions_with_nothing_to_read() {
    let broker = broker("t", 2).await;
    fill(&broker, "t", 1, 10);
    let text = at(&broker, &["plan", "-t", "t", "--from", "4"]).await;
    assert_eq!(text.code, Some(3), "offset 4 does not exist in t-1");
    let text = at(&broker, &["plan", "-t", "t", "--from", "0:4,1:0"]).await.ok();
    let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["t", "0", "4", "10", "6"]);
    assert!(text.contains("nothing to read: t-1") && text.ends_with("span 6\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_show_bounds_and_withheld_offsets() {
    let broker = broker("t", 2).await;
    fill(&broker, "t", 2, 10);
    broker.trim("t", 0, 3).unwrap();
    let open = BatchWriter::new().transaction(7, 0).write(&[Record::new("open")]).unwrap();
    broker.append_raw("t", 1, open, RawOffsets::Assign).unwrap();
    let offsets = parsed(at(&broker, &["offsets", "-t", "t", "--json"]).await);
    let expected = json!([
        {"topic":"t","partition":0,"log_start":3,"last_stable":10,"high":10,"withheld":0},
        {"topic":"t","partition":1,"log_start":0,"last_stable":10,"high":11,"withheld":1},
    ]);
    assert_eq!(offsets, expected);
    let text = at(&broker, &["offsets", "-t", "t"]).await.ok();
    let rows: Vec<Vec<&str>> =
        text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["t", "0", "3", "10", "10", "0"], ["t", "1", "0", "10", "11", "1"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_committed_nothing_has_no_lag_and_starts_at_earliest() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 10);
    let offsets = parsed(at(&broker, &["offsets", "-t", "t", "--group", "g", "--json"]).await);
    let expected = json!([{"topic":"t","partition":0,"log_start":0,"last_stable":10,"high":10,
        "withheld":0,"committed":null,"lag":null}]);
    assert_eq!(offsets, expected);
    let text = at(&broker, &["offsets", "-t", "t", "-G", "g"]).await.ok();
    assert!(text.lines().next().unwrap().ends_with("committed  lag"), "{text}");
    let read = ["read", "-t", "t", "-o", "group:g", "--log-level", "error"];
    assert_eq!(at(&broker, &read).await.ok().lines().count(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_a_lag_to_the_high_watermark_and_a_read_starts_there() {
    let broker = broker("t", 3).await;
    fill(&broker, "t", 3, 10);
    commit(&broker, "g", "t", &[4, 10]).await;
    let text = at(&broker, &["offsets", "-t", "t", "-G", "g"]).await.ok();
    let positions: Vec<Vec<&str>> =
        text.lines().skip(1).map(|line| line.split_whitespace().skip(6).collect()).collect();
    assert_eq!(positions, [["4", "6"], ["10", "0"], ["-", "-"]]);
    let from = "0:group:g,1:group:g,2:latest";
    let read = at(&broker, &["read", "-t", "t", "-f", "raw", "-o", from]).await.sorted_lines();
    assert_eq!(read, values(0, 4..10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_leader_is_shown_as_such() {
    let broker = broker("t", 2).await;
    fill(&broker, "t", 2, 10);
    broker.set_leader("t", 1, None).unwrap();
    let offsets = parsed(at(&broker, &["offsets", "-t", "t", "--json"]).await);
    assert_eq!((&offsets[0]["high"], &offsets[1]["high"]), (&json!(10), &Value::Null));
    let topics = at(&broker, &["topics"]).await.ok();
    assert!(topics.contains("2 (1 without leader)"), "{topics}");
    let args = ["read", "-t", "t", "--retry-timeout", "300ms"];
    let read = at(&broker, &args).await.failed(7);
    assert!(read.contains("t-1"), "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_listed_by_name() {
    let broker = broker("b", 2).await;
    broker.create_topic("a", 1).unwrap();
    let text = at(&broker, &["topics"]).await.ok();
    let rows: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(rows, [["topic", "partitions", "replicas"], ["a", "1", "1"], ["b", "2", "1"]]);
    let topics = parsed(at(&broker, &["topics", "--json"]).await);
    assert_eq!(topics[1]["topic"], "b");
    assert_eq!(topics[1]["partitions"], 2);
    assert_eq!(topics[1]["id"], broker.topic_id("b").unwrap().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_offsets_are_selected_by_name_or_pattern() {
    let broker = broker("orders-eu", 2).await;
    for topic in ["orders-us", "old-orders-eu"] {
        broker.create_topic(topic, 1).unwrap();
    }
    let names = async |command: &str, flags: &[&str]| {
        let lines = parsed(at(&broker, &[&[command, "--json"], flags].concat()).await);
        let lines = lines.as_array().unwrap().clone();
        let names = lines.iter().map(|line| line["topic"].as_str().unwrap().to_owned());
        let mut names: Vec<String> = names.collect();
        names.dedup();
        names
    };
    let topics: [(&[&str], &[&str]); 5] = [
        (&["-t", "orders-us, orders-eu"], &["orders-us", "orders-eu"]),
        (&["--topic-pattern", "orders-.*"], &["orders-eu", "orders-us"]),
        (&["--topic-pattern", "orders-.*", "--leaders"], &["orders-eu", "orders-us"]),
        (&["--topic-pattern", ".*eu"], &["old-orders-eu", "orders-eu"]),
        (&["-t", "old-orders-eu"], &["old-orders-eu"]),
    ];
    for (flags, expected) in topics {
        assert_eq!(names("topics", flags).await, expected, "{flags:?}");
    }
    assert_eq!(
        names("offsets", &["--topic-pattern", "orders-.*"]).await,
        ["orders-eu", "orders-us"]
    );
    for command in ["topics", "offsets"] {
        for (flags, named) in [
            (&["-t", "orders-eu,nope"][..], "nope"),
            (&["--topic-pattern", "orders"], "no topic's whole name matches `orders`"),
            (&["--topic-pattern", "("], "no regular expression"),
            (&["--topic-pattern", "o.*", "-t", "orders-eu"], "cannot be used with"),
        ] {
            let failed = at(&broker, &[&[command], flags].concat()).await.failed(2);
            assert!(failed.contains(named), "{command} {flags:?}: {failed}");
        }
    }
    assert!(at(&broker, &["offsets"]).await.failed(2).contains("--topic <T[,T2..]>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_are_shown_by_partition() {
    let broker = Broker::builder().nodes(3).start().await.unwrap();
    broker.create_topic("a", 2).unwrap();
    broker.create_topic("b", 1).unwrap();
    broker.set_leader("a", 1, None).unwrap();
    let lines = parsed(at(&broker, &["topics", "--leaders", "--json"]).await);
    let lines = lines.as_array().unwrap();
    assert_eq!(lines.len(), 3);
    let fields: Vec<&String> = lines[0].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["in_sync", "leader", "partition", "replicas", "topic"]);
    let leader = lines[0]["leader"].as_i64().unwrap();
    assert!(lines[0]["in_sync"].as_array().unwrap().contains(&json!(leader)));
    assert_eq!(lines[1]["leader"], Value::Null);
    let text = at(&broker, &["topics", "--leaders", "-t", "a"]).await.ok();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["topic", "partition", "leader", "replicas", "in", "sync"]);
    assert_eq!(rows[1][..3], ["a", "0", &leader.to_string()]);
    assert_eq!(rows[2][..3], ["a", "1", "-"]);
    assert_eq!(rows.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_file_is_made_once_then_shown_without_a_broker() {
    let broker = broker("t", 2).await;
    fill(&broker, "t", 2, 10);
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("p.json");
    let file = file.to_str().unwrap();
    let made = at(&broker, &["plan", "-t", "t", "--from", "-3", "--plan", file]).await.ok();
    fill(&broker, "t", 2, 10);
    for again in [&["plan", "--plan", file][..], &["plan", "-t", "t", "--plan", file]] {
        assert_eq!(run(again).await.ok(), made);
    }
    assert_eq!(at(&broker, &["read", "--plan", file]).await.ok().lines().count(), 6);
    // Every flag that differs from the plan is refused, also one that it was made without.
    for (flags, named) in [
        (&["--from", "-4"][..], "made with --from -3, but --from is now -4"),
        (&["--to", "5"], "made without --to, but --to is now 5"),
        (&["-p", "1"], "made without --partitions"),
        (&["--min-partitions", "4"], "made without --min-partitions"),
        (&["--isolation", "read_uncommitted"], "isolation level read_committed"),
        (&["-t", "u"], "reads topic t"),
        (&["-t", "t,u"], "--topic names u, which the plan does not have"),
        (&["--topic-pattern", "t"], "made without --topic-pattern"),
    ] {
        for command in ["read", "plan"] {
            let args = [&[command, "--plan", file], flags].concat();
            let failed = at(&broker, &args).await.failed(2);
            assert!(failed.contains(named), "{flags:?}: {failed}");
        }
    }
    let same = ["read", "-t", "t", "--from", "-3", "--isolation", "read_committed", "--plan", file];
    assert_eq!(at(&broker, &same).await.ok().lines().count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ranges_smaller_than_a_batch_are_remarked_on() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 200);
    let args = ["plan", "-t", "t", "--max-records-per-partition", "2"];
    let plan = at(&broker, &args).await;
    assert!(plan.stderr.contains("100 ranges of 2 offsets on average"), "{}", plan.stderr);
    let args = ["plan", "-t", "t", "--max-records-per-partition", "20"];
    at(&broker, &args).await.ok();
}
