//! A committing sink in memory, with faults: it shows what a stream has made visible.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use std::sync::Mutex;

use kafka_direct::{
    BatchContext, BoxError, RangeSummary, RangeWriter, Sink, SinkCommit, TaskReceipt, WriteTask,
    arrow::array::{RecordBatch, cast::AsArray as _},
    checkpoint::StreamId,
};

/// What is visible in the sink.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    pub(crate) values: Vec<String>,
    pub(crate) commits: Vec<(StreamId, SinkCommit)>,
}

/// A sink whose records are visible after their batch was committed.
#[derive(Debug, Default)]
pub(crate) struct MemorySink {
    pub(crate) visible: Arc<Mutex<Visible>>,
    /// How many of the next attempts fail.
    pub(crate) failures: Arc<AtomicUsize>,
    /// How many writers it has given.
    pub(crate) writers: AtomicUsize,
    /// Whether a commit stores its records and then never returns, as a process that dies there.
    pub(crate) dies_after_commit: AtomicBool,
}

impl MemorySink {
    /// Another sink over what is visible here, without faults: after a restart.
    pub(crate) fn again(&self) -> Arc<Self> {
        Arc::new(Self { visible: Arc::clone(&self.visible), ..Self::default() })
    }

    /// The visible values, in order.
    pub(crate) fn values(&self) -> Vec<String> {
        let mut values = self.visible.lock().unwrap().values.clone();
        values.sort();
        values
    }
}

pub(crate) struct Writer {
    values: Vec<String>,
    failures: Arc<AtomicUsize>,
}

impl Sink for MemorySink {
    type Receipt = Vec<String>;
    type Writer = Writer;

    async fn last_committed(&self, stream: StreamId) -> Result<Option<SinkCommit>, BoxError> {
        let visible = self.visible.lock().unwrap();
        let own = visible.commits.iter().rev().find(|(of, _)| *of == stream);
        Ok(own.map(|(_, commit)| commit.clone()))
    }

    async fn writer(&self, _: &WriteTask) -> Result<Writer, BoxError> {
        self.writers.fetch_add(1, Ordering::SeqCst);
        Ok(Writer { values: Vec::new(), failures: Arc::clone(&self.failures) })
    }

    async fn commit(
        &self,
        batch: &BatchContext,
        receipts: &[TaskReceipt<Vec<String>>],
    ) -> Result<(), BoxError> {
        let stream = batch.stream.unwrap();
        {
            let mut visible = self.visible.lock().unwrap();
            let own = visible.commits.iter().filter(|(of, _)| *of == stream.stream);
            if own.map(|(_, commit)| commit.batch).max().is_some_and(|last| last >= stream.batch) {
                return Ok(());
            }
            visible.commits.push((stream.stream, SinkCommit::new(stream.batch, receipts)));
            visible.values.extend(receipts.iter().flat_map(|one| one.receipt.clone()));
        }
        if self.dies_after_commit.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

impl RangeWriter for Writer {
    type Receipt = Vec<String>;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        let values = batch.column_by_name("value").unwrap().as_binary_view();
        let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
        self.values.extend(values.iter().map(text));
        Ok(())
    }

    async fn finish(self, _: &[RangeSummary]) -> Result<Vec<String>, BoxError> {
        let left = self.failures.load(Ordering::SeqCst);
        if left > 0 {
            self.failures.store(left - 1, Ordering::SeqCst);
            return Err("the disk is full".into());
        }
        Ok(self.values)
    }
}
