//! Invalid input: a clear error, the documented exit code, and no topic created.

use kafka_direct_broker::{ApiKey, AutoCreate, Broker, ErrorCode, Fault};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::driven::{at, broker, corrupt, fed, fill, run};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_topic_is_named_and_not_created() {
    let broker =
        Broker::builder().auto_create_topics(AutoCreate::Partitions(1)).start().await.unwrap();
    for args in [
        &["read", "-t", "nope"][..],
        &["plan", "-t", "nope"],
        &["offsets", "-t", "nope"],
        &["produce", "-t", "nope"],
    ] {
        let failed = fed(&broker, args, b"line\n").await.failed(2);
        assert!(failed.starts_with("error: ") && failed.contains("nope"), "{failed}");
        assert_eq!(broker.topic_id("nope"), None, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_cluster_names_the_addresses_and_the_cause() {
    let closed = [free_port().await, free_port().await];
    let brokers = closed.join(",");
    let failed = run(&["read", "-b", &brokers, "-t", "t"]).await.failed(7);
    for address in &closed {
        assert!(failed.contains(address), "{failed}");
    }
    assert!(failed.contains("refused") && failed.contains("after"), "{failed}");
    assert!(failed.contains("\nhint: "), "{failed}");
}

/// Returns an address with no listener.
async fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_other_than_kafka_has_another_code_than_no_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            drop(socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    let failed = run(&["topics", "-b", &address]).await.failed(2);
    assert!(failed.contains(&format!("{address} is an HTTP server")), "{failed}");
    serve.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_bounds_connecting_and_a_retry_timeout_the_first_connection() {
    // Accepts connections and never responds.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for output in [&[][..], &["--format", "table"]] {
        let args = [&["read", "-b", &address, "-t", "t", "--deadline", "200ms"], output].concat();
        let failed = run(&args).await.failed(7);
        assert!(failed.contains("200ms passed while connecting"), "{failed}");
    }
    let folder = tempfile::tempdir().unwrap();
    let output = format!("{}/", folder.path().display());
    let args = ["read", "-b", &address, "-t", "t", "--deadline", "200ms", "--output", &output];
    assert!(run(&args).await.failed(7).contains("200ms passed while connecting"));
    let args = ["topics", "-b", &address, "--connect-timeout", "100ms"];
    assert!(run(&args).await.failed(7).contains("connected, but no response"));
    // An output that nobody reads does not hold the run longer than a second more.
    let broker = broker("t", 1).await;
    let records: Vec<_> =
        (0..200).map(|_| kafka_direct_broker::Record::new(vec![b'x'; 5000])).collect();
    broker.append("t", 0, records).unwrap();
    let bootstrap = broker.bootstrap();
    let args = ["read", "-b", &bootstrap, "-t", "t", "--deadline", "300ms"];
    let mut child = crate::driven::command(&args).spawn().unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), child.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(7));
    let closed = free_port().await;
    let args = ["topics", "-b", &closed, "--retry-timeout", "400ms"];
    let failed = run(&args).await.failed(7);
    assert!(failed.contains("connecting failed 3 times"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_selections_have_the_documented_codes() {
    let broker = broker("t", 2).await;
    fill(&broker, "t", 2, 10);
    for (flags, code, named) in [
        (&["--from", "11"][..], 3, "offset 11"),
        (&["--to", "11"], 3, "offset 11"),
        (&["--from", "0:11,1:0"], 3, "t-0"),
        (&["--from", "8", "--to", "3"], 2, "after the end"),
        (&["--from", "@4102444800000"], 2, "4102444800000"),
        (&["-p", "2"], 2, "partition 2"),
        (&["--min-partitions", "0"], 2, "at least 1"),
        (&["--from", "sometime"], 2, "`sometime`"),
        (&["--to", "group:g"], 2, "cannot end at a group"),
        (&["--isolation", "none"], 2, "read_committed"),
        (&["--deadline", "soon"], 2, "`soon`"),
        (&["--limit", "some"], 2, "--limit"),
        (&["--no-such-flag"], 2, "--no-such-flag"),
        (&["--topic-pattern", "x"], 2, "--topic-pattern"),
        (&["--force"], 2, "--force"),
        (&["--fetch-connections", "0"], 2, "--fetch-connections: must be from 1 to 64"),
        (&["--memory-budget", "much"], 2, "`much`"),
    ] {
        let args = [&["read", "-t", "t"][..], flags].concat();
        let failed = at(&broker, &args).await.failed(code);
        assert!(failed.starts_with("error: ") && failed.contains(named), "{flags:?}: {failed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_topic_and_no_broker_are_usage_errors() {
    let failed = run(&["read", "-b", "127.0.0.1:1"]).await.failed(2);
    assert!(failed.contains("--topic"), "{failed}");
    let failed = run(&["read", "-t", "t"]).await.failed(2);
    assert!(failed.contains("KAFKA_DIRECT_BROKERS"), "{failed}");
    let failed = run(&["read", "-b", "nowhere:x", "-t", "t"]).await.failed(2);
    assert!(failed.contains("`nowhere:x` is not `host:port`"), "{failed}");
    let failed = run(&["read", "-b", "nowhere", "-t", "t"]).await.failed(7);
    assert!(failed.contains("nowhere:9092"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_may_have_blanks_and_empty_entries_everywhere() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 2);
    broker.create_topic("u", 1).unwrap();
    let brokers = format!(" {} , 127.0.0.1:1,", broker.bootstrap());
    for args in [
        &["read", "-b", &brokers, "-t", "t, u,", "--columns", "offset, value,"][..],
        &["read", "-b", &brokers, "-t", " t", "-t", "u ", "--columns", "offset,value"],
    ] {
        assert_eq!(
            run(args).await.ok(),
            "{\"offset\":0,\"value\":\"0/0\"}\n{\"offset\":1,\"value\":\"0/1\"}\n"
        );
    }
    let offsets = ["offsets", "-b", &brokers, "-t", "t, u,"];
    assert_eq!(run(&offsets).await.ok().lines().count(), 3);
    let args = ["produce", "-b", &brokers, "-t", "t"];
    let mut command = crate::driven::command(&args);
    command.stdin(std::process::Stdio::null());
    crate::driven::finish(command).await.wrote();
    let failed = run(&["read", "-b", &brokers, "-t", ","]).await.failed(2);
    assert!(failed.contains("`,` names nothing"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_records_stop_the_read() {
    let broker = broker("t", 1).await;
    corrupt(&broker, "t");
    let read = at(&broker, &["read", "-t", "t"]).await;
    assert_eq!(read.code, Some(5), "{}", read.stderr);
    assert!(read.stderr.contains("t-0") && read.stderr.contains("CRC"), "{}", read.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_reported() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 10);
    broker.faults().every(ApiKey::Fetch, Fault::ErrorCode(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let failed = at(&broker, &["read", "-t", "t"]).await.failed(6);
    assert!(failed.contains("TopicAuthorizationFailed") && failed.contains("ACL"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_deleted_during_a_read_is_data_loss() {
    let broker = broker("t", 1).await;
    fill(&broker, "t", 1, 10);
    broker.faults().every(ApiKey::Fetch, Fault::Delay(std::time::Duration::from_millis(300)));
    let bootstrap = broker.bootstrap();
    let args = ["read", "-b", &bootstrap, "-t", "t", "--retry-timeout", "2s"];
    let child = crate::driven::command(&args).spawn().unwrap();
    while broker.requests(ApiKey::Fetch) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    broker.delete_topic("t").unwrap();
    let outcome = crate::driven::outcome(child).await;
    assert!(matches!(outcome.code, Some(2 | 3)), "{outcome:?}");
    assert!(outcome.stderr.contains('t'), "{}", outcome.stderr);
}
