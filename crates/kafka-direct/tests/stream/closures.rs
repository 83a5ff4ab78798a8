//! `for_each_batch`: attempts, panics, faults of the cluster, and time-outs of a closure.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use kafka_direct::{
    BoxError, DirectStream, Error, ErrorKind,
    checkpoint::MemoryCheckpoint,
    stream::{BatchInHand, StreamState},
};
use kafka_direct_broker::{ApiKey, Fault};

use crate::{append, available, broker, connect};

/// Batch, attempt, and first offsets of every call of a closure.
type Calls = Arc<Mutex<Vec<(u64, u32, Vec<i64>)>>>;

/// A closure that logs its calls, reads the batch, and then returns what `end` returns.
fn closure<F, Fut>(
    calls: &Calls,
    end: F,
) -> impl Fn(BatchInHand) -> std::pin::Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>
+ Send
+ Sync
+ use<F, Fut>
where
    F: Fn(BatchInHand) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let calls = Arc::clone(calls);
    move |batch| {
        let starts = batch.rdd().partitions().iter().map(|planned| planned.range().from().get());
        calls.lock().unwrap().push((batch.id().get(), batch.attempt(), starts.collect()));
        let end = end.clone();
        Box::pin(async move {
            batch.rdd().count().await?;
            end(batch).await
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_batch_reaches_the_closure_once_and_is_reported() {
    let broker = broker().await;
    append(&broker, 0, 15);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::new();
    let (calls, reported) = (Calls::default(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&reported);
    let stream = available(&cluster, &checkpoint)
        .on_batch(move |batch| seen.lock().unwrap().push((batch.batch, batch.span)))
        .build()
        .await
        .unwrap();
    let (id, generation) = (stream.log().stream_id(), stream.log().generation());
    let progress = stream.for_each_batch(closure(&calls, move |batch| async move {
        let of = batch.stream_batch();
        assert_eq!((of.stream, of.batch, of.generation), (id, batch.id(), generation));
        Ok(())
    }));
    let progress = progress.await.unwrap();
    assert_eq!((progress.batches, progress.state), (3, StreamState::Ended));
    assert_eq!(
        *calls.lock().unwrap(),
        [(0, 0), (1, 5), (2, 10)].map(|(n, from)| (n, 1, vec![from; 2]))
    );
    assert_eq!(*reported.lock().unwrap(), [(0, 10), (1, 10), (2, 10)]);
    // Another start continues there.
    append(&broker, 15, 16);
    let again = available(&cluster, &checkpoint).build().await.unwrap();
    again.for_each_batch(closure(&calls, |_| async { Ok(()) })).await.unwrap();
    assert_eq!(calls.lock().unwrap().last().unwrap(), &(3, 1, vec![15, 15]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_that_fails_gets_the_identical_ranges_again_and_at_last_ends_the_stream() {
    let broker = broker().await;
    append(&broker, 0, 10);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::new();
    let calls = Calls::default();
    let fails_below = |attempt| {
        move |batch: BatchInHand| async move {
            if batch.attempt() < attempt { Err("the table is locked".into()) } else { Ok(()) }
        }
    };
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    let error = stream.for_each_batch(closure(&calls, fails_below(4))).await.unwrap_err();
    assert!(matches!(error, Error::BatchClosure { attempts: 3, .. }), "{error}");
    assert_eq!(*calls.lock().unwrap(), [1, 2, 3].map(|attempt| (0, attempt, vec![0, 0])));
    calls.lock().unwrap().clear();
    append(&broker, 10, 20);
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    assert_eq!(stream.log().last_committed(), None);
    stream.for_each_batch(closure(&calls, fails_below(3))).await.unwrap();
    let calls = calls.lock().unwrap();
    assert_eq!(calls[..3], [1, 2, 3].map(|attempt| (0, attempt, vec![0, 0])));
    assert_eq!(calls[3..6], [1, 2, 3].map(|attempt| (1, attempt, vec![5, 5])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_that_panics_ends_the_stream_and_its_batch_runs_again() {
    let broker = broker().await;
    append(&broker, 0, 5);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::new();
    let calls = Calls::default();
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    let panics = closure(&calls, |_| async { panic!("no column `x`") });
    let error = stream.for_each_batch(panics).await.unwrap_err();
    let is_named = matches!(&error, Error::BatchClosurePanicked { batch, message }
        if batch.get() == 0 && message == "no column `x`");
    assert!(is_named, "{error}");
    assert_eq!(calls.lock().unwrap().len(), 1);
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    stream.for_each_batch(closure(&calls, |_| async { Ok(()) })).await.unwrap();
    assert_eq!(*calls.lock().unwrap(), [(0, 1, vec![0, 0]), (0, 1, vec![0, 0])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_cluster_is_no_failure_of_the_closure() {
    let broker = broker().await;
    append(&broker, 0, 5);
    let cluster = connect(&broker).await;
    let calls = Calls::default();
    broker.faults().every(ApiKey::Fetch, Fault::Cut);
    let stream = DirectStream::builder(&cluster).topic("t").build().await.unwrap();
    let handle = stream.handle();
    let mut progress = handle.progress();
    // Counting alone shows no records in the progress: this reads them.
    let reads = closure(&calls, |batch| async move {
        batch.rdd().collect().await?;
        Ok(())
    });
    let running = tokio::spawn(stream.for_each_batch(reads));
    let is_down = |state: &StreamState| matches!(state, StreamState::Unavailable(_));
    progress.wait_for(|progress| is_down(&progress.state)).await.unwrap();
    broker.faults().clear();
    progress.wait_for(|progress| progress.records == 10).await.unwrap();
    handle.stop();
    running.await.unwrap().unwrap();
    let calls = calls.lock().unwrap();
    assert!(calls.len() > 1 && calls.iter().all(|call| *call == (0, 1, vec![0, 0])), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_that_hangs_is_ended_by_the_time_out() {
    let broker = broker().await;
    append(&broker, 0, 5);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::new();
    let limited = available(&cluster, &checkpoint).sink_timeout(Duration::from_millis(200));
    let (calls, alive) = (Calls::default(), Arc::new(()));
    let held = Arc::clone(&alive);
    let hangs = closure(&calls, move |_| {
        let held = Arc::clone(&held);
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(())
        }
    });
    let stream = limited.attempts(2).build().await.unwrap();
    let error = stream.for_each_batch(hangs).await.unwrap_err();
    let Error::BatchClosure { attempts: 2, source, .. } = &error else { panic!("{error}") };
    let source = source.downcast_ref::<Error>().unwrap();
    assert!(matches!(source, Error::SinkTimeout { call: "closure", .. }), "{source}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(Arc::strong_count(&alive), 1, "no attempt is left");
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    stream.for_each_batch(closure(&calls, |_| async { Ok(()) })).await.unwrap();
    let attempts = [(0, 1), (0, 2), (0, 1)].map(|(batch, attempt)| (batch, attempt, vec![0, 0]));
    assert_eq!(*calls.lock().unwrap(), attempts);
}
