//! Selection flags: `--from`, `--to`, maps, partitions, patterns, isolation.

use kafka_direct_broker::{ApiKey, BatchWriter, Broker, Fault, Marker, RawOffsets, Record};

use crate::driven::{at, broker, fill, values};

async fn read(broker: &Broker, args: &[&str]) -> Vec<String> {
    let args = [&["read", "-f", "raw"][..], args].concat();
    at(broker, &args).await.sorted_lines()
}

fn sorted(parts: &[Vec<String>]) -> Vec<String> {
    let mut all = parts.concat();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_and_ends_select_what_the_help_describes() {
    let broker = broker("t", 2).await;
    fill(&broker, "t", 2, 20);
    let both =
        |offsets: std::ops::Range<i64>| sorted(&[values(0, offsets.clone()), values(1, offsets)]);
    for (flags, expected) in [
        (&["--from", "5", "--to", "8"][..], both(5..8)),
        (&["-o", "-3"], both(17..20)),
        (&["-o", "-300"], both(0..20)),
        (&["-o", "earliest", "--to", "-18"], both(0..2)),
        (&["-o", "latest"], both(0..0)),
        (&["--to", "earliest"], both(0..0)),
        (&["-o", "beginning", "--to", "end"], both(0..20)),
        (&["--from", "@1004", "--to", "@1006"], both(4..6)),
        (&["--from", "@1970-01-01T00:00:01.018Z"], both(18..20)),
        (&["--from", "@1019", "--to", "@9999999"], both(19..20)),
        (&["-p", "1", "--from", "18"], values(1, 18..20)),
        (&["--from", "0:18,1:-1"], sorted(&[values(0, 18..20), values(1, 19..20)])),
        (&["--from", "0:18,*:latest"], values(0, 18..20)),
        (
            &["--from", "0:@1010,1:earliest", "--to", "0:12,1:1"],
            sorted(&[values(0, 10..12), values(1, 0..1)]),
        ),
        (&["--from", "@2000", "--on-no-match", "latest"], both(0..0)),
    ] {
        let args = [&["-t", "t"][..], flags].concat();
        assert_eq!(read(&broker, &args).await, expected, "{flags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_name_partitions_of_several_topics() {
    let broker = broker("orders", 2).await;
    broker.create_topic("logs", 1).unwrap();
    fill(&broker, "orders", 2, 10);
    broker.append("logs", 0, [Record::new("log 0"), Record::new("log 1")]).unwrap();
    let lines =
        read(&broker, &["-t", "orders,logs", "--from", "orders:0:9,orders:1:-2,logs:0:1"]).await;
    assert_eq!(lines, ["0/9", "1/8", "1/9", "log 1"]);
    let args = ["read", "-t", "orders,logs", "--from", "0:9,*:earliest"];
    let unclear = at(&broker, &args).await.failed(2);
    assert!(unclear.contains("orders:0:9"), "{unclear}");
    let args = ["read", "-t", "orders", "--from", "0:9"];
    let left_out = at(&broker, &args).await.failed(2);
    assert!(left_out.contains("orders-1"), "{left_out}");
    let args = ["read", "-t", "orders", "--from", "0:9,1:1,7:0"];
    let too_many = at(&broker, &args).await.failed(2);
    assert!(too_many.contains("orders-7"), "{too_many}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_matches_full_names() {
    let broker = broker("orders-eu", 1).await;
    broker.create_topic("orders-us", 1).unwrap();
    broker.create_topic("old-orders-eu", 1).unwrap();
    for topic in ["orders-eu", "orders-us", "old-orders-eu"] {
        broker.append(topic, 0, [Record::new(topic)]).unwrap();
    }
    let lines = read(&broker, &["--topic-pattern", "orders-(eu|us)"]).await;
    assert_eq!(lines, ["orders-eu", "orders-us"]);
    for (pattern, named) in [("nothing", "no topic"), ("(", "regular expression")] {
        let failed = at(&broker, &["read", "--topic-pattern", pattern]).await.failed(2);
        assert!(failed.contains(named), "{failed}");
    }
}

/// Appends plain records, an aborted transaction and an open one to `t`.
fn transactions(broker: &Broker) {
    let append = |batch| broker.append_raw("t", 0, batch, RawOffsets::Assign).unwrap();
    let aborted = BatchWriter::new().transaction(7, 0);
    append(BatchWriter::new().write(&[Record::new("plain")]).unwrap());
    append(aborted.clone().write(&[Record::new("aborted")]).unwrap());
    append(aborted.marker(Marker::Abort).unwrap());
    append(BatchWriter::new().transaction(8, 0).write(&[Record::new("open")]).unwrap());
    append(BatchWriter::new().write(&[Record::new("after")]).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn open_transactions_are_withheld_and_reported() {
    let broker = broker("t", 1).await;
    transactions(&broker);
    let committed = at(&broker, &["read", "-t", "t", "-f", "raw"]).await;
    assert_eq!((committed.code, &committed.stdout[..]), (Some(0), &b"plain\n"[..]));
    assert_eq!(committed.stderr, "t-0: open transactions withhold 2 offsets, [3, 5)\n");
    assert_eq!(at(&broker, &["read", "-t", "t", "-f", "raw", "--quiet"]).await.ok(), "plain\n");
    let all = at(&broker, &["read", "-t", "t", "-f", "raw", "--isolation", "read_uncommitted"]);
    assert_eq!(all.await.ok(), "plain\naborted\nopen\nafter\n");
}

/// Three records of day 1, a transaction of day 1 that stays open, five more records of day 1, and one
/// of day 2. A day is 1000 ms.
fn two_days(broker: &Broker) {
    let day_1 = |text: &str| Record::new(text.to_owned()).with_timestamp(1);
    let open = BatchWriter::new().transaction(8, 0).write(&[day_1("open")]).unwrap();
    broker.append("t", 0, ["a", "b", "c"].map(day_1)).unwrap();
    broker.append_raw("t", 0, open, RawOffsets::Assign).unwrap();
    broker.append("t", 0, ["d", "e", "f", "g", "h"].map(day_1)).unwrap();
    broker.append("t", 0, [Record::new("next day").with_timestamp(1000)]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_whose_records_open_transactions_withhold_is_not_complete() {
    let broker = broker("t", 1).await;
    two_days(&broker);
    let day_1 = ["read", "-t", "t", "-f", "raw", "--from", "@0", "--to", "@1000"];
    for policy in ["fail", "resume"] {
        let args = [&day_1[..], &["--on-data-loss", policy]].concat();
        let failed = at(&broker, &args).await.failed(7);
        for word in
            ["t-0", "[3, 10)", "end is offset 9", "timestamp 1 ms", "--wait-for-transactions"]
        {
            assert!(failed.contains(word), "{word} in {failed}");
        }
    }
    let by_offset = ["read", "-t", "t", "-f", "raw", "--to", "9"];
    assert!(at(&broker, &by_offset).await.failed(7).contains("end is offset 9"));
    let day_2 = ["read", "-t", "t", "-f", "raw", "--from", "@1000"];
    assert!(at(&broker, &day_2).await.failed(7).contains("start is offset 9"));
    // `latest` ends where the transaction begins, and says so.
    let latest = at(&broker, &["read", "-t", "t", "-f", "raw"]).await;
    assert_eq!((latest.code, &latest.stdout[..]), (Some(0), &b"a\nb\nc\n"[..]));
    // A bounded wait is not longer than allowed, and ends when the transaction does.
    let short = [&day_1[..], &["--wait-for-transactions", "300ms"]].concat();
    at(&broker, &short).await.failed(7);
    let long = [&day_1[..], &["--wait-for-transactions", "60s"]].concat();
    let asked = broker.requests(ApiKey::ListOffsets);
    let waiting = at(&broker, &long);
    let ended = async {
        while broker.requests(ApiKey::ListOffsets) < asked + 8 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let commit = BatchWriter::new().transaction(8, 0).marker(Marker::Commit).unwrap();
        broker.append_raw("t", 0, commit, RawOffsets::Assign).unwrap();
    };
    let (read, ()) = tokio::join!(waiting, ended);
    assert_eq!(read.ok(), "a\nb\nc\nopen\nd\ne\nf\ng\nh\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn withheld_offsets_begin_at_the_log_start_if_it_is_above_the_last_stable_offset() {
    let broker = broker("t", 1).await;
    two_days(&broker);
    broker.trim("t", 0, 5).unwrap();
    let read = at(&broker, &["read", "-t", "t", "-f", "raw"]).await;
    assert_eq!(read.stderr, "t-0: open transactions withhold 5 offsets, [5, 10)\n");
    let plan = at(&broker, &["plan", "-t", "t"]).await.ok();
    assert!(plan.contains("open transactions withhold 5 offsets, [5, 10)"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_offsets_stop_the_read_or_are_skipped_and_reported() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 20);
    broker.trim("t", 0, 5).unwrap();
    let from = ["read", "-t", "t", "-f", "raw", "--from", "2", "--to", "7"];
    let failed = at(&broker, &from).await.failed(3);
    assert!(failed.contains("t-0") && failed.contains("start offset 2"), "{failed}");
    assert!(failed.contains("--on-data-loss resume"), "{failed}");
    let resumed = at(&broker, &[&from[..], &["--on-data-loss", "resume"]].concat()).await;
    assert_eq!((resumed.code, &resumed.stdout[..]), (Some(0), &b"0/5\n0/6\n"[..]));
    assert_eq!(resumed.stderr, "t-0: offsets [2, 5) do not exist and are skipped\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_after_all_records_is_fixed_when_it_is_first_looked_up() {
    let broker = broker("t", 1).await;
    let open = |id| BatchWriter::new().transaction(id, 0);
    let append = |batch| broker.append_raw("t", 0, batch, RawOffsets::Assign).unwrap();
    let record = [Record::new("x").with_timestamp(1)];
    append(open(0).write(&record).unwrap());
    let args = ["read", "-t", "t", "-f", "raw", "--to", "@1000", "--wait-for-transactions", "60s"];
    let reading = at(&broker, &args);
    // At every moment a transaction is open.
    let traffic = async {
        for id in 1.. {
            append(open(id).write(&record).unwrap());
            append(open(id - 1).marker(Marker::Commit).unwrap());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let read = tokio::select! {
        read = reading => read,
        () = traffic => unreachable!(),
    };
    assert_eq!(read.code, Some(0), "{}", read.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_finds_no_record_of_a_time_is_not_believed_if_the_log_ends_with_one() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 20);
    // The response to `@1005` becomes "none".
    let none = Fault::corrupt(|response| {
        let found = [1005i64.to_be_bytes(), 5i64.to_be_bytes()].concat();
        if let Some(at) = response.windows(16).position(|window| window == found) {
            response[at..at + 16].fill(0xff);
        }
    });
    broker.faults().every(ApiKey::ListOffsets, none);
    for flags in [
        &["--from", "@1005"][..],
        &["--from", "@1005", "--on-no-match", "latest"],
        &["--to", "@1005"],
    ] {
        let failed = at(&broker, &[&["read", "-t", "t"], flags].concat()).await.failed(2);
        assert!(failed.contains("t-0: the broker found no record"), "{flags:?}: {failed}");
    }
    broker.faults().clear();
    let later = ["read", "-t", "t", "--from", "@1020", "--on-no-match", "latest"];
    assert_eq!(at(&broker, &later).await.ok(), "");
    let failed = at(&broker, &["read", "-t", "t", "--from", "@1020"]).await.failed(2);
    assert!(failed.contains("(1970-01-01T00:00:01.020Z)"), "{failed}");
    assert!(failed.contains("hint: `--on-no-match latest`"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_offsets_is_named_before_the_fallback_is_read() {
    let broker = broker("t", 2).await;
    fill(&broker, "t", 2, 3);
    let read = at(&broker, &["read", "-t", "t", "-f", "raw", "--from", "group:nobody"]).await;
    assert_eq!((read.code, read.stdout.len()), (Some(0), 6 * 4));
    let said = "group `nobody` has committed no offset for 2 of 2 partitions, such as t-0";
    assert!(read.stderr.contains(said), "{}", read.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_topic_is_an_error_that_names_the_similar_one() {
    let broker = broker("orders", 1).await;
    broker.create_topic("payments", 1).unwrap();
    for command in ["read", "plan", "offsets"] {
        let failed = at(&broker, &[command, "-t", "order"]).await.failed(2);
        assert!(failed.contains("there is a topic `orders`"), "{failed}");
        let failed = at(&broker, &[command, "-t", "clicks"]).await.failed(2);
        assert!(!failed.contains("there is a topic"), "{failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_a_limit_reads_no_further_than_the_limit() {
    let broker = broker("t", 2).await;
    broker.append("t", 0, ["a", "b"].map(Record::new)).unwrap();
    broker
        .append_raw(
            "t",
            1,
            bytes::Bytes::from_static(&[7; 100]),
            RawOffsets::Unchecked { base: 0, next: 5 },
        )
        .unwrap();
    let args = ["read", "-t", "t", "--limit", "2", "--format"];
    for format in ["jsonl", "table"] {
        let read = at(&broker, &[&args[..], &[format]].concat()).await;
        assert_eq!(read.code, Some(0), "{format}: {}", read.stderr);
    }
    let failed = at(&broker, &["read", "-t", "t", "--limit", "3", "--format", "table"]).await;
    assert_eq!(failed.code, Some(5), "{}", failed.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_in_the_future_is_remarked_on_and_swapped_times_are_refused() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 5);
    let read = at(&broker, &["read", "-t", "t", "-f", "raw", "--to", "2999-01-01"]).await;
    assert_eq!((read.code, read.stdout.len()), (Some(0), 5 * 4));
    assert!(read.stderr.contains("--to: 2999-01-01T00:00:00Z is in the future"), "{}", read.stderr);
    for flags in [
        &["--from", "@1003", "--to", "@1001"][..],
        &["--from", "@5003", "--to", "@5001", "--on-no-match", "latest"],
        &["--from", "@3", "--to", "@1"],
    ] {
        let failed = at(&broker, &[&["plan", "-t", "t"], flags].concat()).await.failed(2);
        assert!(failed.contains("is after the end"), "{flags:?}: {failed}");
    }
}
