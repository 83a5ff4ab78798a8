//! Sinks that hang: time-outs, and streams that are stopped at once.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kafka_direct::{
    BatchContext, BoxError, DirectStream, Error, RangeSummary, RangeWriter, Sink, SinkCommit,
    TaskReceipt, WriteTask, arrow::array::RecordBatch, checkpoint::MemoryCheckpoint,
    checkpoint::StreamId, stream::StreamState,
};
use kafka_direct_broker::{ApiKey, Fault};
use tokio::sync::watch;

use crate::{
    append, available, broker, connect, expected,
    memory_sink::{MemorySink, Writer},
};

/// A [`MemorySink`] of which the next calls of one method hang.
#[derive(Debug)]
struct HangingSink {
    inner: Arc<MemorySink>,
    hang: Arc<Hang>,
    aborted: Mutex<usize>,
}

#[derive(Debug)]
struct Hang {
    method: &'static str,
    times: Mutex<usize>,
    /// How many calls hang or have hung.
    hanging: watch::Sender<usize>,
    /// Whether those that hang go on.
    released: watch::Sender<bool>,
}

impl Hang {
    async fn at(&self, method: &str) {
        if method != self.method || *self.times.lock().unwrap() == 0 {
            return;
        }
        *self.times.lock().unwrap() -= 1;
        self.hanging.send_modify(|count| *count += 1);
        self.released.subscribe().wait_for(|released| *released).await.unwrap();
    }
}

impl HangingSink {
    fn new(method: &'static str, times: usize) -> Arc<Self> {
        let (hanging, released) = (watch::Sender::new(0), watch::Sender::new(false));
        let hang = Hang { method, times: Mutex::new(times), hanging, released };
        let (inner, hang) = (Arc::default(), Arc::new(hang));
        Arc::new(Self { inner, hang, aborted: Mutex::new(0) })
    }

    async fn hangs(&self) {
        self.hang.hanging.subscribe().wait_for(|count| *count > 0).await.unwrap();
    }
}

struct HangingWriter(Writer, Arc<Hang>);

impl Sink for HangingSink {
    type Receipt = Vec<String>;
    type Writer = HangingWriter;

    async fn last_committed(&self, stream: StreamId) -> Result<Option<SinkCommit>, BoxError> {
        self.hang.at("last_committed").await;
        self.inner.last_committed(stream).await
    }

    async fn writer(&self, task: &WriteTask) -> Result<HangingWriter, BoxError> {
        self.hang.at("writer").await;
        Ok(HangingWriter(self.inner.writer(task).await?, Arc::clone(&self.hang)))
    }

    async fn commit(
        &self,
        batch: &BatchContext,
        receipts: &[TaskReceipt<Vec<String>>],
    ) -> Result<(), BoxError> {
        self.hang.at("commit").await;
        self.inner.commit(batch, receipts).await
    }

    async fn abort(&self, _: &WriteTask) -> Result<(), BoxError> {
        *self.aborted.lock().unwrap() += 1;
        Ok(())
    }
}

impl RangeWriter for HangingWriter {
    type Receipt = Vec<String>;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        self.1.at("write").await;
        self.0.write(batch).await
    }

    async fn finish(self, ranges: &[RangeSummary]) -> Result<Vec<String>, BoxError> {
        self.1.at("finish").await;
        self.0.finish(ranges).await
    }
}

const LIMIT: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_hangs_once_gets_the_range_again() {
    for method in ["writer", "write", "finish"] {
        let broker = broker().await;
        append(&broker, 0, 5);
        let cluster = connect(&broker).await;
        let sink = HangingSink::new(method, 1);
        let stream = available(&cluster, &MemoryCheckpoint::new()).sink_timeout(LIMIT);
        stream.build().await.unwrap().run(Arc::clone(&sink)).await.unwrap();
        assert_eq!(sink.inner.values(), expected(5), "{method}");
        assert_eq!(*sink.aborted.lock().unwrap(), 1, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_hangs_for_ever_ends_the_stream_by_name_and_uncommitted() {
    for method in ["writer", "write", "finish", "commit", "last_committed"] {
        let broker = broker().await;
        append(&broker, 0, 5);
        let cluster = connect(&broker).await;
        let checkpoint = MemoryCheckpoint::new();
        let sink = HangingSink::new(method, 100);
        let stream = available(&cluster, &checkpoint).sink_timeout(LIMIT).attempts(2);
        let error = stream.build().await.unwrap().run(Arc::clone(&sink)).await.unwrap_err();
        let (Error::Sink { source, .. } | Error::Commit { source }) = &error else {
            panic!("{error}");
        };
        let source = source.downcast_ref::<Error>().unwrap();
        let is_named = matches!(source, Error::SinkTimeout { call, limit }
            if *call == method && *limit == LIMIT);
        assert!(is_named, "{method}: {source}");
        assert_eq!(sink.inner.values().len(), 0);
        let stream = available(&cluster, &checkpoint).build().await.unwrap();
        assert_eq!(stream.log().last_committed(), None);
        stream.run(sink.inner.again()).await.unwrap();
        assert_eq!(sink.inner.values(), expected(5), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_stopped_at_once_aborts_its_batch_which_runs_again() {
    for method in ["writer", "write", "finish", "last_committed"] {
        let broker = broker().await;
        append(&broker, 0, 5);
        let cluster = connect(&broker).await;
        let checkpoint = MemoryCheckpoint::new();
        let sink = HangingSink::new(method, 100);
        let stream = available(&cluster, &checkpoint).build().await.unwrap();
        let handle = stream.handle();
        let running = tokio::spawn(stream.run(Arc::clone(&sink)));
        sink.hangs().await;
        handle.stop_now();
        let progress = running.await.unwrap().unwrap();
        assert_eq!((progress.batches, progress.state), (0, StreamState::Ended), "{method}");
        let begun = if method == "last_committed" { 0 } else { 1 };
        assert!(*sink.aborted.lock().unwrap() >= begun, "{method}");
        assert_eq!(sink.inner.values().len(), 0);
        let stream = available(&cluster, &checkpoint).build().await.unwrap();
        assert_eq!(stream.log().pending().is_some(), begun == 1, "{method}");
        stream.run(sink.inner.again()).await.unwrap();
        assert_eq!(sink.inner.values(), expected(5), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_has_begun_is_finished_by_a_stream_that_is_stopped_at_once() {
    let broker = broker().await;
    append(&broker, 0, 15);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::new();
    let sink = HangingSink::new("commit", 1);
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    let handle = stream.handle();
    let running = tokio::spawn(stream.run(Arc::clone(&sink)));
    sink.hangs().await;
    handle.stop_now();
    sink.hang.released.send_replace(true);
    assert_eq!(running.await.unwrap().unwrap().batches, 1);
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    assert_eq!(stream.log().last_committed().unwrap().get(), 0);
    stream.run(sink.inner.again()).await.unwrap();
    assert_eq!(sink.inner.values(), expected(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_is_dropped_when_its_stream_is_stopped_at_once() {
    let broker = broker().await;
    append(&broker, 0, 5);
    let cluster = connect(&broker).await;
    let checkpoint = MemoryCheckpoint::new();
    let stream = available(&cluster, &checkpoint).build().await.unwrap();
    let (handle, hang) = (stream.handle(), HangingSink::new("closure", 1));
    let inside = Arc::clone(&hang.hang);
    let running = tokio::spawn(stream.for_each_batch(move |_| {
        let inside = Arc::clone(&inside);
        async move {
            inside.at("closure").await;
            Ok(())
        }
    }));
    hang.hangs().await;
    handle.stop_now();
    assert_eq!(running.await.unwrap().unwrap().batches, 0);
    assert_eq!(Arc::strong_count(&hang.hang), 1, "the future is dropped");
    let again = available(&cluster, &checkpoint).build().await.unwrap();
    assert_eq!(again.for_each_batch(|_| async { Ok(()) }).await.unwrap().batches, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_waits_for_data_or_for_its_cluster_ends_when_it_is_stopped() {
    for now in [true, false] {
        for is_down in [true, false] {
            let broker = broker().await;
            let cluster = connect(&broker).await;
            if is_down {
                broker.faults().every(ApiKey::ListOffsets, Fault::Cut);
            }
            let stream = DirectStream::builder(&cluster).topic("t").build().await.unwrap();
            let handle = stream.handle();
            let mut progress = handle.progress();
            let running = tokio::spawn(stream.run(Arc::new(MemorySink::default())));
            let is_reached = |state: &StreamState| match state {
                StreamState::Unavailable(_) => is_down,
                state => *state == StreamState::Waiting && !is_down,
            };
            progress.wait_for(|progress| is_reached(&progress.state)).await.unwrap();
            if now {
                handle.stop_now()
            } else {
                handle.stop()
            }
            assert_eq!(running.await.unwrap().unwrap().state, StreamState::Ended);
        }
    }
}
