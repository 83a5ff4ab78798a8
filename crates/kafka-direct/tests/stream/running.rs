//! A stream that runs undisturbed: limits, triggers, its handle and its progress.

use std::{sync::Arc, time::Duration};

use kafka_direct::{
    DataLossPolicy, DirectStream, ErrorKind, StartOffset, Trigger, checkpoint::MemoryCheckpoint,
    stream::StreamState,
};
use kafka_direct_broker::{ApiKey, ErrorCode, Fault, Record};

use crate::{append, available, broker, connect, expected, memory_sink::MemorySink};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_available_is_read_once_in_batches_within_the_limit_and_the_stream_ends() {
    let broker = broker().await;
    append(&broker, 0, 25);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::default();
    let sink = Arc::new(MemorySink::default());
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    let progress = stream.run(Arc::clone(&sink)).await.unwrap();
    assert_eq!(sink.values(), expected(25));
    assert_eq!((progress.batches, progress.records), (5, 50));
    assert_eq!(progress.state, StreamState::Ended);
    let last = progress.last.unwrap();
    assert_eq!((last.span, last.records, last.lag, last.ranges), (10, 10, 0, 2));
    // Another run continues there, and has nothing to do without new records.
    let again = available(&cluster, &checkpoint).build().await.unwrap();
    assert_eq!(again.run(Arc::clone(&sink)).await.unwrap().batches, 0);
    append(&broker, 25, 27);
    let again = available(&cluster, &checkpoint).build().await.unwrap();
    assert_eq!(again.run(Arc::clone(&sink)).await.unwrap().records, 4);
    assert_eq!(sink.values(), expected(27));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_arrive_are_read_until_the_stream_is_stopped() {
    let broker = broker().await;
    let cluster = connect(&broker).await;
    let sink = Arc::new(MemorySink::default());
    let stream = DirectStream::builder(&cluster).topic("t").build().await.unwrap();
    let handle = stream.handle();
    let mut progress = handle.progress();
    let running = tokio::spawn(stream.run(Arc::clone(&sink)));
    for n in 0..5 {
        append(&broker, n * 10, n * 10 + 10);
        let records = u64::try_from((n + 1) * 20).unwrap();
        progress.wait_for(|progress| progress.records == records).await.unwrap();
    }
    handle.pause();
    progress.wait_for(|progress| progress.state == StreamState::Paused).await.unwrap();
    append(&broker, 50, 51);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sink.values(), expected(50), "a paused stream reads nothing");
    handle.resume();
    progress.wait_for(|progress| progress.records == 102).await.unwrap();
    handle.stop();
    let progress = running.await.unwrap().unwrap();
    assert_eq!((progress.records, progress.state), (102, StreamState::Ended));
    assert_eq!(sink.values(), expected(51));
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_on_an_idle_topic_is_kept_over_a_restart() {
    let broker = broker().await;
    append(&broker, 0, 10);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::default();
    let sink = Arc::new(MemorySink::default());
    let stream = || available(&cluster, &checkpoint).start(StartOffset::Latest).build();
    assert_eq!(stream().await.unwrap().run(Arc::clone(&sink)).await.unwrap().batches, 0);
    append(&broker, 10, 12);
    let progress = stream().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
    assert_eq!(progress.records, 4);
    assert_eq!(sink.values(), ["0/10", "0/11", "1/10", "1/11"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_topic_of_a_pattern_is_followed() {
    let broker = broker().await;
    append(&broker, 0, 2);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::default();
    let sink = Arc::new(MemorySink::default());
    let stream = || {
        let builder = DirectStream::builder(&cluster).pattern("t.*").checkpoint(checkpoint.clone());
        builder.trigger(Trigger::AvailableNow).build()
    };
    stream().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
    broker.create_topic("t-new", 1).unwrap();
    broker.append("t-new", 0, [Record::new("new")]).unwrap();
    stream().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
    assert_eq!(sink.values(), ["0/0", "0/1", "1/0", "1/1", "new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_the_stream_writes_to_is_not_matched_and_refused_by_name() {
    let broker = broker().await;
    append(&broker, 0, 2);
    broker.create_topic("out", 1).unwrap();
    broker.append("out", 0, [Record::new("out")]).unwrap();
    let cluster = connect(&broker).await;
    let sink = Arc::new(MemorySink::default());
    let builder = || DirectStream::builder(&cluster).trigger(Trigger::AvailableNow);
    let stream = builder().pattern(".*").exclude_topics(["out"]).build().await.unwrap();
    stream.run(Arc::clone(&sink)).await.unwrap();
    assert_eq!(sink.values(), expected(2));
    let named = builder().topics(["t", "out"]).exclude_topics(["out"]).build().await;
    let error = named.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("writes to `out`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_bounds_the_number_of_batches() {
    let broker = broker().await;
    let cluster = connect(&broker).await;
    let sink = Arc::new(MemorySink::default());
    let trigger = Trigger::Interval(Duration::from_millis(200));
    let stream = DirectStream::builder(&cluster).topic("t").trigger(trigger).build().await.unwrap();
    let handle = stream.handle();
    let running = tokio::spawn(stream.run(Arc::clone(&sink)));
    for n in 0..50 {
        append(&broker, n, n + 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut progress = handle.progress();
    progress.wait_for(|progress| progress.records == 100).await.unwrap();
    handle.stop();
    assert!(running.await.unwrap().unwrap().batches <= 6);
    assert_eq!(sink.values(), expected(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_does_not_exist_or_is_deleted_ends_the_stream_by_name() {
    let broker = broker().await;
    append(&broker, 0, 1);
    let cluster = connect(&broker).await;
    let sink = Arc::new(MemorySink::default());
    let unknown = DirectStream::builder(&cluster).topic("nope").build().await.unwrap();
    let error = unknown.run(Arc::clone(&sink)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("nope"), "{error}");
    let checkpoint = MemoryCheckpoint::default();
    available(&cluster, &checkpoint).build().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
    broker.delete_topic("t").unwrap();
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    let error = stream.run(sink).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost, "{error}");
    assert!(error.to_string().contains("t-0"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_cluster_does_not_end_a_running_stream() {
    let broker = broker().await;
    append(&broker, 0, 5);
    let cluster = connect(&broker).await;
    let sink = Arc::new(MemorySink::default());
    let stream = DirectStream::builder(&cluster).topic("t").build().await.unwrap();
    let handle = stream.handle();
    let mut progress = handle.progress();
    let running = tokio::spawn(stream.run(Arc::clone(&sink)));
    progress.wait_for(|progress| progress.records == 10).await.unwrap();
    for api in [ApiKey::ListOffsets, ApiKey::Fetch] {
        broker.faults().every(api, Fault::Cut);
        append(
            &broker,
            if api == ApiKey::Fetch { 6 } else { 5 },
            if api == ApiKey::Fetch { 7 } else { 6 },
        );
        let is_down = |state: &StreamState| matches!(state, StreamState::Unavailable(_));
        progress.wait_for(|progress| is_down(&progress.state)).await.unwrap();
        broker.faults().clear();
        let records = if api == ApiKey::Fetch { 14 } else { 12 };
        progress.wait_for(|progress| progress.records == records).await.unwrap();
    }
    handle.stop();
    running.await.unwrap().unwrap();
    assert_eq!(sink.values(), expected(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_re_created_before_the_start_is_read_whole_under_resume() {
    for count in [3, 10, 25] {
        let broker = broker().await;
        append(&broker, 0, 10);
        let cluster = connect(&broker).await;
        let checkpoint = MemoryCheckpoint::default();
        let sink = Arc::new(MemorySink::default());
        available(&cluster, &checkpoint).build().await.unwrap().run(sink).await.unwrap();
        broker.delete_topic("t").unwrap();
        broker.create_topic("t", 2).unwrap();
        append(&broker, 0, count);
        let sink = Arc::new(MemorySink::default());
        let stream = available(&cluster, &checkpoint).build().await.unwrap();
        let error = stream.run(Arc::clone(&sink)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OffsetLost, "{error}");
        let resume = available(&cluster, &checkpoint).on_data_loss(DataLossPolicy::Resume);
        resume.build().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
        assert_eq!(sink.values(), expected(count), "{count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_while_a_stream_runs_follows_the_policy() {
    for policy in [DataLossPolicy::Fail, DataLossPolicy::Resume] {
        let broker = broker().await;
        append(&broker, 0, 5);
        broker.create_topic("t-other", 1).unwrap();
        let cluster = connect(&broker).await;
        let sink = Arc::new(MemorySink::default());
        let stream = DirectStream::builder(&cluster).pattern("t.*").on_data_loss(policy);
        let stream = stream.build().await.unwrap();
        let handle = stream.handle();
        let mut progress = handle.progress();
        let running = tokio::spawn(stream.run(Arc::clone(&sink)));
        progress.wait_for(|progress| progress.records == 10).await.unwrap();
        broker.delete_topic("t").unwrap();
        if policy == DataLossPolicy::Fail {
            let error = running.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OffsetLost, "{error}");
            continue;
        }
        broker.append("t-other", 0, [Record::new("other")]).unwrap();
        progress.wait_for(|progress| progress.records == 11).await.unwrap();
        handle.stop();
        running.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_re_created_while_a_stream_runs_costs_a_few_batches() {
    let broker = broker().await;
    append(&broker, 0, 5);
    let cluster = connect(&broker).await;
    let sink = Arc::new(MemorySink::default());
    let stream = DirectStream::builder(&cluster).topic("t").on_data_loss(DataLossPolicy::Resume);
    let stream = stream.build().await.unwrap();
    let handle = stream.handle();
    let mut progress = handle.progress();
    let running = tokio::spawn(stream.run(Arc::clone(&sink)));
    progress.wait_for(|progress| progress.records == 10).await.unwrap();
    broker.recreate_topic("t").unwrap();
    append(&broker, 5, 20);
    progress.wait_for(|progress| progress.records == 40).await.unwrap();
    handle.stop();
    let batches = running.await.unwrap().unwrap().batches;
    assert!(batches < 8, "{batches} batches");
    assert_eq!(sink.values(), expected(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_truncated_and_grew_again_follows_the_policy_after_a_restart() {
    for policy in [DataLossPolicy::Fail, DataLossPolicy::Resume] {
        let broker = broker().await;
        append(&broker, 0, 5);
        append(&broker, 5, 10);
        let cluster = connect(&broker).await;
        let checkpoint = MemoryCheckpoint::default();
        let sink = Arc::new(MemorySink::default());
        let stream = || available(&cluster, &checkpoint).on_data_loss(policy).build();
        stream().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
        for partition in 0..2 {
            broker.truncate("t", partition, 5).unwrap();
        }
        append(&broker, 10, 30);
        let ended = stream().await.unwrap().run(Arc::clone(&sink)).await;
        match policy {
            DataLossPolicy::Fail => {
                let error = ended.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::OffsetLost, "{error}");
            }
            DataLossPolicy::Resume => {
                ended.unwrap();
                assert_eq!(sink.values(), expected(30), "offsets 5 to 9 have other records now");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_whose_only_topic_is_deleted_follows_the_policy() {
    for policy in [DataLossPolicy::Fail, DataLossPolicy::Resume] {
        let broker = broker().await;
        append(&broker, 0, 5);
        let cluster = connect(&broker).await;
        let checkpoint = MemoryCheckpoint::default();
        let sink = Arc::new(MemorySink::default());
        let of = |pattern| {
            let stream = DirectStream::builder(&cluster).pattern(pattern).on_data_loss(policy);
            stream.trigger(Trigger::AvailableNow).checkpoint(checkpoint.clone())
        };
        of("t").build().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
        broker.delete_topic("t").unwrap();
        let ended = of("t").build().await.unwrap().run(Arc::clone(&sink)).await;
        match (policy, ended) {
            (DataLossPolicy::Fail, Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::OffsetLost, "{error}");
            }
            (_, ended) => assert_eq!(ended.unwrap().batches, 0),
        }
        // A stream that follows nothing yet has a wrong pattern.
        let error = DirectStream::builder(&cluster).pattern("t").build().await.unwrap();
        let error = error.run(Arc::clone(&sink)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_do_not_exist_are_an_error_at_the_first_start() {
    let broker = broker().await;
    let cluster = connect(&broker).await;
    let stream = DirectStream::builder(&cluster).topic("t").partitions([1, 9]).build();
    let error = stream.await.unwrap().run(Arc::new(MemorySink::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("partition 9"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_publication_never_holds_a_stream_up() {
    let broker = broker().await;
    append(&broker, 0, 25);
    let refused = Fault::ErrorCode(ErrorCode::GROUP_AUTHORIZATION_FAILED);
    broker.faults().every(ApiKey::OffsetCommit, refused);
    let cluster = connect(&broker).await;
    let sink = Arc::new(MemorySink::default());
    let stream = available(&cluster, &MemoryCheckpoint::default()).publish_to_group("lag");
    let progress = stream.build().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
    assert_eq!((sink.values(), progress.state), (expected(25), StreamState::Ended));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_available_is_not_complete_without_a_leader() {
    let broker = broker().await;
    append(&broker, 0, 5);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::default();
    let sink = Arc::new(MemorySink::default());
    broker.set_leader("t", 1, None).unwrap();
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    let error = stream.run(Arc::clone(&sink)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("t-1"), "{error}");
    broker.set_leader("t", 1, Some(1)).unwrap();
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    stream.run(Arc::clone(&sink)).await.unwrap();
    assert_eq!(sink.values(), expected(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_leader_keeps_the_start_of_the_stream() {
    let broker = broker().await;
    append(&broker, 0, 5);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::default();
    let sink = Arc::new(MemorySink::default());
    broker.set_leader("t", 1, None).unwrap();
    let stream = DirectStream::builder(&cluster).topic("t").start(StartOffset::Latest);
    let stream = stream.checkpoint(checkpoint.clone()).build().await.unwrap();
    let handle = stream.handle();
    let mut progress = handle.progress();
    let running = tokio::spawn(stream.run(Arc::clone(&sink)));
    // The start of the other partition is durable once a batch is done.
    let mut number = 5;
    while progress.borrow_and_update().records == 0 {
        broker.append("t", 0, vec![Record::new(format!("0/{number}"))]).unwrap();
        number += 1;
        tokio::time::timeout(Duration::from_millis(200), progress.changed()).await.ok();
    }
    handle.stop();
    running.await.unwrap().unwrap();
    broker.set_leader("t", 1, Some(1)).unwrap();
    let again = || available(&cluster, &checkpoint).start(StartOffset::Latest).build();
    again().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
    broker.append("t", 1, vec![Record::new("1/5")]).unwrap();
    again().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
    let of_1: Vec<_> = sink.values().into_iter().filter(|value| value.starts_with("1/")).collect();
    assert_eq!(of_1, ["1/5"]);
}
