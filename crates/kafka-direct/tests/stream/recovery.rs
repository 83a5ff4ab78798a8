//! A stream that is killed, fenced, or whose sink fails: nothing is lost and nothing doubled.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use kafka_direct::{Error, ErrorKind, checkpoint::MemoryCheckpoint};

use crate::{append, available, broker, connect, expected, memory_sink::MemorySink};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_the_sink_committed_before_a_crash_is_not_read_again() {
    let broker = broker().await;
    append(&broker, 0, 15);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::default();
    let sink = Arc::new(MemorySink::default());
    sink.dies_after_commit.store(true, Ordering::SeqCst);
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    let running = tokio::spawn(stream.run(Arc::clone(&sink)));
    while sink.values().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.abort();
    assert_eq!(sink.values().len(), 10);
    let restarted = sink.again();
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    assert_eq!(stream.log().pending().unwrap().batch.get(), 0);
    let progress = stream.run(Arc::clone(&restarted)).await.unwrap();
    assert_eq!(progress.batches, 2, "the first batch is not run again");
    assert_eq!(restarted.values(), expected(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_planned_before_a_crash_runs_again_with_its_ranges() {
    let broker = broker().await;
    append(&broker, 0, 15);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::default();
    let mut stream = available(&cluster, &checkpoint).build().await.unwrap();
    let planned = stream.next().await.unwrap().unwrap();
    assert!(!planned.is_repeated());
    let plan = planned.entry().plan.clone();
    drop(planned);
    drop(stream);
    append(&broker, 15, 30);
    let mut stream = available(&cluster, &checkpoint).build().await.unwrap();
    let again = stream.next().await.unwrap().unwrap();
    assert!(again.is_repeated());
    assert_eq!(again.entry().plan, plan);
    let values = again.rdd().count().await.unwrap();
    assert_eq!(values, 10);
    let progress = again.done().await.unwrap();
    assert_eq!((progress.batch, progress.span), (0, 10));
    let sink = Arc::new(MemorySink::default());
    assert_eq!(stream.run(Arc::clone(&sink)).await.unwrap().records, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_fails_gets_the_range_again_and_at_last_ends_the_stream_uncommitted() {
    let broker = broker().await;
    append(&broker, 0, 15);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::default();
    let sink = Arc::new(MemorySink::default());
    sink.failures.store(2, Ordering::SeqCst);
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    stream.run(Arc::clone(&sink)).await.unwrap();
    assert_eq!(sink.values(), expected(15));
    append(&broker, 15, 20);
    sink.failures.store(100, Ordering::SeqCst);
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    let error = stream.run(Arc::clone(&sink)).await.unwrap_err();
    assert!(matches!(error, Error::Sink { attempts: 3, .. }), "{error}");
    assert_eq!(sink.values(), expected(15));
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    stream.run(sink.again()).await.unwrap();
    assert_eq!(sink.values(), expected(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_drivers_the_newer_continues_and_the_older_is_fenced() {
    let broker = broker().await;
    append(&broker, 0, 15);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::default();
    let sink = Arc::new(MemorySink::default());
    let mut older = available(&cluster, &checkpoint).build().await.unwrap();
    let batch = older.next().await.unwrap().unwrap();
    let newer = available(&cluster, &checkpoint).build().await.unwrap();
    let error = batch.done().await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let error = older.run(Arc::clone(&sink)).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { .. }), "{error}");
    assert_eq!(sink.values().len(), 0);
    newer.run(Arc::clone(&sink)).await.unwrap();
    assert_eq!(sink.values(), expected(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_checkpoint_does_not_skip_what_the_sink_has() {
    let broker = broker().await;
    append(&broker, 0, 15);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::default();
    let sink = Arc::new(MemorySink::default());
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    let id = stream.log().stream_id();
    stream.run(Arc::clone(&sink)).await.unwrap();
    // The commits and plans are lost, and the stream's identity is not.
    let rest = MemoryCheckpoint::default();
    let name = "stream.json";
    rest.overwrite(name, checkpoint.objects().get(name).unwrap().clone());
    let stream = available(&cluster, &rest).build().await.unwrap();
    assert_eq!(stream.log().stream_id(), id);
    let error = stream.run(Arc::clone(&sink)).await.unwrap_err();
    assert!(matches!(error, Error::SinkAhead { .. }), "{error}");
    assert_eq!((error.kind(), sink.values()), (ErrorKind::Invalid, expected(15)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_a_stream_into_another_sink_is_refused() {
    let broker = broker().await;
    append(&broker, 0, 5);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::default();
    let into = |name: &str| available(&cluster, &checkpoint).sink_name(name);
    let sink = Arc::new(MemorySink::default());
    into("one").build().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
    let error = into("two").build().await.unwrap_err();
    assert!(matches!(error, Error::OtherSink { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    append(&broker, 5, 7);
    into("two").allow_other_sink().build().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
    assert!(matches!(into("one").build().await, Err(Error::OtherSink { .. })));
    into("two").build().await.unwrap();
}
