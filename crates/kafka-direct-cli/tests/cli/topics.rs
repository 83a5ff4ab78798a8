//! `topics create` and `topics delete`.

use std::time::Duration;

use kafka_direct_broker::{ApiKey, Broker, ErrorCode, Fault};

use crate::driven::{at, broker, fill, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_created_and_deleted() {
    let broker = Broker::builder().nodes(3).start().await.unwrap();
    let create = ["topics", "create", "t", "--partitions", "3", "--replicas", "2"];
    let created = at(&broker, &create).await;
    assert_eq!((created.code, created.stderr.as_str()), (Some(0), "t created with 3 partitions\n"));
    fill(&broker, "t", 3, 1);
    assert_eq!(at(&broker, &["read", "-t", "t"]).await.ok().lines().count(), 3);
    let failed = at(&broker, &create).await.failed(2);
    assert!(failed.contains("topic `t` exists already"), "{failed}");
    let bootstrap = broker.bootstrap();
    // The connection flags may also follow the subcommand.
    let one = run(&["topics", "create", "-b", &bootstrap, "one", "--partitions", "1"]).await;
    assert_eq!(one.stderr, "one created with 1 partition\n");
    let deleted = run(&["topics", "delete", "t", "-b", &bootstrap]).await;
    assert_eq!((deleted.code, deleted.stderr.as_str()), (Some(0), "t deleted\n"));
    assert_eq!((broker.topic_id("t"), broker.topic_id("one").is_some()), (None, true));
    let failed = at(&broker, &["topics", "delete", "t"]).await.failed(2);
    assert!(failed.contains("topic `t` does not exist"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_created_or_deleted_has_the_documented_codes() {
    let broker = broker("t", 1).await;
    let new = ["create", "new", "--partitions", "1"];
    for (args, named) in [
        (&["create", "new"][..], "--partitions"),
        (&["create", "new", "--partitions", "0"], "--partitions"),
        (&["create", "a/b", "--partitions", "1"], "no legal topic name"),
        (&["create", "new", "--partitions", "1", "--replicas", "2"], "InvalidReplicationFactor"),
        (&["create", "new,b", "--partitions", "1"], "no legal topic name"),
        (&["delete"], "<NAME>"),
        (&["delete", "T"], "does not exist"),
        (&["delete", "t.*"], "no legal topic name"),
        (&["--json", "delete", "t"], "for listing topics"),
    ] {
        let failed = at(&broker, &[&["topics"], args].concat()).await.failed(2);
        assert!(failed.contains(named), "{args:?}: {failed}");
    }
    for (args, api) in [(&new[..], ApiKey::CreateTopics), (&["delete", "t"], ApiKey::DeleteTopics)]
    {
        let args = [&["topics"], args, &["--retry-timeout", "300ms"]].concat();
        for (code, expected) in
            [(ErrorCode::TOPIC_AUTHORIZATION_FAILED, 6), (ErrorCode::REQUEST_TIMED_OUT, 7)]
        {
            broker.faults().every(api, Fault::ErrorCode(code));
            let failed = at(&broker, &args).await.failed(expected);
            let action = format!("error: {}ing topic", args[1].trim_end_matches('e'));
            assert!(failed.starts_with(&action), "{failed}");
            broker.faults().clear();
        }
    }
    assert_eq!((broker.topic_id("new"), broker.topic_id("t").is_some()), (None, true));
    let failed = run(&["topics", "create", "-b", "127.0.0.1:1", "t", "--partitions", "1"]).await;
    assert!(failed.failed(7).contains("127.0.0.1:1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_does_not_respond_is_given_up() {
    let broker = broker("t", 1).await;
    broker.faults().every(ApiKey::DeleteTopics, Fault::Delay(Duration::from_secs(60)));
    let timeouts = ["--request-timeout", "200ms", "--retry-timeout", "200ms"];
    let args = [&["topics", "delete", "t"][..], &timeouts].concat();
    let failed = at(&broker, &args).await.failed(7);
    assert!(failed.contains("deleting topic `t` did not end within 400ms"), "{failed}");
}
