//! `bench`: its figures are correct, and it does not change the cluster.

use std::{path::Path, time::Duration};

use kafka_direct_broker::{ApiKey, Broker, Fault};
use serde_json::Value;

use crate::driven::{at, broker, fill, run};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Returns an integer field of a round.
fn number(round: &Value, name: &str) -> u64 {
    round[name].as_u64().unwrap_or_else(|| panic!("{name} in {round}"))
}

/// Returns the number of requests that change the broker.
fn changing_requests(broker: &Broker) -> u64 {
    let changing = [
        ApiKey::Produce,
        ApiKey::CreateTopics,
        ApiKey::DeleteTopics,
        ApiKey::DeleteRecords,
        ApiKey::OffsetCommit,
    ];
    changing.into_iter().map(|key| broker.requests(key)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_round_counts_all_records_and_changes_nothing() {
    let broker = broker("t", 3).await;
    fill(&broker, "t", 3, 1000);
    let args = ["bench", "-t", "t", "--rounds", "2", "--warmup", "0", "--json", "-"];
    let document = json(&at(&broker, &args).await.measured());
    let rounds = document["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 2);
    // `fill` writes `<partition>/<offset>`.
    let value_bytes: u64 = 3 * (10 * 3 + 90 * 4 + 900 * 5);
    for round in rounds.iter().chain([&document["median"]]) {
        assert_eq!(number(round, "records"), 3000);
        assert_eq!(number(round, "value_bytes"), value_bytes);
        assert!(number(round, "wire_bytes") > value_bytes, "{round}");
        assert!(number(round, "requests") > 0, "{round}");
    }
    for part in rounds[0]["partitions"].as_array().unwrap() {
        assert_eq!((number(part, "records"), number(part, "reached")), (1000, 1000));
    }
    assert_eq!((&document["complete"], &rounds[0]["cut"]), (&Value::Bool(true), &Value::Null));
    assert_eq!(changing_requests(&broker), 0);
    for partition in 0..3 {
        assert_eq!(broker.watermarks("t", partition).unwrap().high.get(), 1000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_has_every_field_that_floor_prints() {
    let floor = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/floor/src/main.rs");
    let source = std::fs::read_to_string(floor).unwrap();
    let line = source.lines().find(|line| line.contains("{{\\\"client\\\":")).unwrap();
    let names: Vec<&str> = line.split("\\\"").map(|word| word.trim_matches(',')).collect();
    let names: Vec<&str> =
        names.windows(2).filter(|pair| pair[1].starts_with(':')).map(|pair| pair[0]).collect();
    assert_eq!(names.len(), 10, "{names:?}");
    let printed =
        run(&["bench", "--generate", "500", "--rounds", "1", "--json", "-"]).await.measured();
    let document = json(&printed);
    for name in names {
        assert!(!document["rounds"][0][name].is_null(), "{name} in {document}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_selection_and_the_columns_are_read() {
    let broker = broker("t", 2).await;
    fill(&broker, "t", 2, 100);
    let args = ["bench", "-t", "t", "-p", "1", "--from", "10", "--to", "60", "--rounds", "1"];
    let some = [&args[..], &["--columns", "offset", "--concurrency", "1", "--json", "-"]].concat();
    let document = json(&at(&broker, &some).await.measured());
    let round = &document["rounds"][0];
    assert_eq!((number(round, "records"), number(round, "value_bytes")), (50, 0));
    assert_eq!((&document["ranges"], &document["span"]), (&Value::from(1), &Value::from(50)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_codec_is_written_and_read_back_whole() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let args = ["--size", "300", "--topic-partitions", "3", "--rounds", "1", "--json", "-"];
        let args = [&["bench", "--generate", "2000", "--codec", codec][..], &args].concat();
        let document = json(&run(&args).await.measured());
        let round = &document["rounds"][0];
        assert_eq!((number(round, "records"), number(round, "value_bytes")), (2000, 600_000));
        assert_eq!(number(round, "wire_bytes") > 600_000, codec == "none", "{codec}: {round}");
        let decompressing = round["reader_time_s"]["decompress"].as_f64().unwrap();
        assert_eq!(decompressing > 0.0, codec != "none", "{codec}: {round}");
        assert_eq!(document["embedded_broker"], Value::Bool(true));
        assert_eq!(document["codecs"], Value::from(vec![codec]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_exists_is_neither_written_nor_deleted() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 10);
    let args = ["bench", "-t", "t", "--generate", "10", "--delete-after"];
    let failed = at(&broker, &args).await.failed(2);
    assert!(failed.contains("topic `t` exists"), "{failed}");
    assert_eq!(changing_requests(&broker), 0);
    assert_eq!(broker.watermarks("t", 0).unwrap().high.get(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_topic_is_kept_without_delete_after() {
    let broker = Broker::start().await.unwrap();
    for (topic, flags) in [("kept", &[][..]), ("gone", &["--delete-after"])] {
        let args = ["bench", "-t", topic, "--generate", "100", "--rounds", "1"];
        let printed = at(&broker, &[&args[..], flags].concat()).await.ok();
        assert!(printed.contains("records per second"), "{printed}");
        assert_eq!(broker.topic_id(topic).is_some(), topic == "kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_topic_is_deleted_after_an_error() {
    let broker = Broker::start().await.unwrap();
    let args = ["bench", "-t", "t", "--generate", "100", "--delete-after", "--from", "5000"];
    let outcome = at(&broker, &args).await;
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert_eq!(broker.topic_id("t"), None);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_deletes_the_topic_and_shows_finished_rounds() {
    let broker = Broker::start().await.unwrap();
    let bootstrap = broker.bootstrap();
    let args = ["bench", "-b", &bootstrap, "-t", "t", "--generate", "100", "--delete-after"];
    let args = [&args[..], &["--warmup", "0", "--rounds", "1000000"]].concat();
    let child = crate::driven::command(&args).spawn().unwrap();
    // By then many rounds are finished.
    while broker.requests(ApiKey::Fetch) < 50 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    crate::stopping::signal(&child, "-INT").await;
    let outcome = crate::driven::outcome(child).await;
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(130), ""));
    let printed = String::from_utf8(outcome.stdout).unwrap();
    assert!(
        printed.contains("records per second") && printed.contains("of 1000000 rounds"),
        "{printed}"
    );
    assert_eq!(broker.topic_id("t"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_one_file_with_plots_and_no_external_reference() {
    let folder = tempfile::tempdir().unwrap();
    let (report, figures) = (folder.path().join("r.html"), folder.path().join("r.json"));
    let (report_arg, figures_arg) = (report.to_str().unwrap(), figures.to_str().unwrap());
    let args = ["bench", "--generate", "3000", "--report", report_arg, "--json", figures_arg];
    let printed = run(&args).await.ok();
    assert!(printed.contains("embedded broker"), "{printed}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    let page = std::fs::read_to_string(report).unwrap();
    assert_eq!(page.matches("<svg").count(), 4, "{page}");
    for outside in ["http://", "https://", "src=", "href=", "url(", "@import", "<script", "NaN"] {
        assert!(!page.contains(outside), "{outside} in {page}");
    }
    let document = json(&std::fs::read_to_string(figures).unwrap());
    assert_eq!(number(&document["rounds"][2], "records"), 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_what_was_measured_and_how() {
    let broker = broker("orders", 2).await;
    fill(&broker, "orders", 2, 500);
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("r.html");
    let args =
        ["bench", "-t", "orders", "--rounds", "2", "--columns", "value", "--concurrency", "1"];
    let args = [&args[..], &["--report", report.to_str().unwrap()]].concat();
    let printed = at(&broker, &args).await.ok();
    assert!(printed.contains("\nReading orders (2 partitions) took "), "{printed}");
    assert!(printed.contains("\nwarning: rounds of under 0.1 s are too short"), "{printed}");
    let page = std::fs::read_to_string(&report).unwrap();
    let command = format!("kafka-direct bench -b {} -t orders --rounds 2", broker.bootstrap());
    for part in [
        "<h1>Reading orders (2 partitions) took ",
        "Warning: rounds of under 0.1 s",
        &command,
        &format!("<dt>brokers</dt><dd>{}</dd>", broker.bootstrap()),
        &format!("<dt>cluster id</dt><dd>{}</dd>", broker.cluster_id()),
        "<dt>codecs</dt><dd>none</dd>",
        "<dt>rounds</dt><dd>2, after 1 for warm-up</dd>",
        "<dt>ranges at the same time</dt><dd>1</dd>",
        "<dt>columns</dt><dd>value</dd>",
        "<dt>isolation</dt><dd>read_committed</dd>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_records_is_read_like_the_others() {
    let broker = broker("t", 2).await;
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("r.html");
    let args = ["bench", "-t", "t", "--report", report.to_str().unwrap()];
    let printed = at(&broker, &args).await.ok();
    assert!(printed.contains("records"), "{printed}");
    assert!(!std::fs::read_to_string(report).unwrap().contains("NaN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_respected() {
    let broker = broker("t", 1).await;
    let values = std::iter::repeat_n("x".repeat(50_000), 60).map(kafka_direct_broker::Record::new);
    broker.append("t", 0, values.collect::<Vec<_>>()).unwrap();
    let args = ["bench", "-t", "t", "--max-mb-per-second", "4", "--warmup", "0", "--rounds", "1"];
    let document = json(&at(&broker, &[&args[..], &["--json", "-"]].concat()).await.measured());
    let round = &document["rounds"][0];
    assert!(round["wire_mb_per_s"].as_f64().unwrap() <= 4.1, "{round}");
    assert!(round["reader_time_s"]["paused"].as_f64().unwrap() > 0.0, "{round}");
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_by_a_quota_is_reported_only_if_it_happened() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 1000);
    let args = ["bench", "-t", "t", "--warmup", "0", "--rounds", "1"];
    assert!(!at(&broker, &args).await.ok().contains("quota"));
    broker.faults().next(ApiKey::Fetch, Fault::Throttle(Duration::from_millis(70)));
    let table = at(&broker, &args).await.ok();
    assert!(table.contains("throttled by the brokers' quota"), "{table}");
    broker.faults().next(ApiKey::Fetch, Fault::Throttle(Duration::from_millis(70)));
    let document = json(&at(&broker, &[&args[..], &["--json", "-"]].concat()).await.measured());
    assert_eq!(document["rounds"][0]["throttled_s"], 0.07);
    assert_eq!(number(&document["rounds"][0], "records"), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_flags_are_rejected() {
    let broker = broker("t", 1).await;
    for (args, named) in [
        (&["-t", "t", "--rounds", "0"][..], "--rounds"),
        (&["-t", "t", "--max-mb-per-second", "0"], "--max-mb-per-second"),
        (&["-t", "t", "--columns", "nope"], "nope"),
        (&["-t", "t", "--delete-after"], "--generate"),
        (&["-t", "t", "--codec", "lz4"], "--generate"),
        (&["-t", "a,b", "--generate", "1"], "one topic"),
        (&["--generate", "1"], "--topic"),
        (&[], "--topic"),
        (&["-t", "t", "--generate", "0"], "--generate"),
        (&["-t", "nope"], "nope"),
    ] {
        let failed = at(&broker, &[&["bench"], args].concat()).await.failed(2);
        assert!(failed.contains(named), "{args:?}: {failed}");
    }
    let failed = run(&["bench"]).await.failed(2);
    assert!(failed.contains("--generate"), "{failed}");
    let failed = run(&["bench", "-t", "t"]).await.failed(2);
    assert!(failed.contains("--brokers"), "{failed}");
    let failed = run(&["bench", "--generate", "1000000000"]).await.failed(2);
    assert!(failed.contains("in memory"), "{failed}");
    assert_eq!(changing_requests(&broker), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_have_the_same_codes_as_in_other_commands() {
    let failed = run(&["bench", "-b", "127.0.0.1:1", "-t", "t"]).await.failed(7);
    assert!(failed.contains("127.0.0.1:1"), "{failed}");
    let broker = broker("t", 1).await;
    crate::driven::corrupt(&broker, "t");
    assert_eq!(at(&broker, &["bench", "-t", "t"]).await.code, Some(5));
}
