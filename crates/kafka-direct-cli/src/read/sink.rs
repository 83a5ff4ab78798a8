//! Stdout or one file as a sink of the engine: the records of many tasks in one stream.
//!
//! Contract: blocks of different tasks are never mixed within a record, and no task blocks a thread;
//! a file appears when [`StreamSink::end`] was told that all was read and not otherwise. What was
//! written to stdout cannot be taken back, so a range has one attempt.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kafka_direct::{
    BatchContext, BoxError, Columns, RangeSummary, RangeWriter, Sink, TaskReceipt, WriteTask,
    arrow::array::RecordBatch,
};
use kafka_direct_sinks::{Format, format::Encoder};
use tokio::sync::Mutex;

use super::writer::{Target, Unfinished, Writer};
use crate::{cli::ReadArgs, exit::Failure};

/// See the module.
#[derive(Debug)]
pub(super) struct StreamSink(Arc<Shared>);

/// What the sink and the writers of its ranges share.
#[derive(Debug)]
struct Shared {
    format: Format,
    columns: Columns,
    /// Whether tasks format by themselves.
    apart: bool,
    /// The encoder of forms that have one for the whole stream: who holds it is next to write.
    encoder: Mutex<Encoder>,
    writer: Writer,
    records: AtomicU64,
}

impl StreamSink {
    /// Opens what the flags name.
    pub(super) fn open(args: &ReadArgs) -> Result<Self, Failure> {
        let (format, columns) = (args.output.format.for_files()?, args.output.columns());
        if format == Format::Raw && !columns.contains(kafka_direct::Column::Value) {
            return Err(Failure::usage(
                "--format raw writes values; leave `value` among the --columns",
            ));
        }
        let encoder = Encoder::new(format, columns)?;
        let target = Target::open(args.output.output.as_deref())?;
        if format == Format::Parquet && matches!(target, Target::Stdout) {
            return Err(Failure::usage(
                "--format parquet is written to files: name one with --output",
            ));
        }
        Ok(Self(Arc::new(Shared {
            format,
            columns,
            apart: encoder.is_stateless(),
            encoder: Mutex::new(encoder),
            writer: Writer::start(target)?,
            records: AtomicU64::new(0),
        })))
    }

    /// What gives the file up if the sink is not ended.
    pub(super) fn unfinished(&self) -> Unfinished {
        Unfinished::new(&self.0.writer)
    }

    /// Writes what precedes the first record.
    pub(super) async fn start(&self) -> Result<(), Failure> {
        let mut encoder = self.0.encoder.lock().await;
        let mut block = self.0.writer.buffer();
        encoder.start(&mut block)?;
        self.0.writer.write(block).await
    }

    /// Formats every row of `batch` and hands it to the writer; waits while the writer is busy.
    pub(super) async fn write(&self, batch: &RecordBatch) -> Result<(), Failure> {
        self.0.write(batch).await
    }

    /// Waits until everything is written. If all was `read`, what stands after the last record is
    /// too, and a file gets its name. A failure to write comes before the reader's, which it caused.
    pub(super) async fn end(&self, read: Result<(), Failure>) -> Result<(), Failure> {
        let finished = match read {
            Ok(()) => self.finish_encoding().await,
            failed => failed,
        };
        self.0.writer.end(finished.is_ok()).await?;
        finished
    }

    async fn finish_encoding(&self) -> Result<(), Failure> {
        let mut encoder = self.0.encoder.lock().await;
        let mut block = self.0.writer.buffer();
        encoder.finish(&mut block)?;
        self.0.writer.write(block).await
    }

    /// How many records were written.
    pub(super) fn records(&self) -> u64 {
        self.0.records.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Formats every row of `batch` and hands it to the writer; waits while that is behind.
    async fn write(&self, batch: &RecordBatch) -> Result<(), Failure> {
        if self.apart {
            self.encode(&mut Encoder::new(self.format, self.columns)?, batch).await?;
        } else {
            self.encode(&mut *self.encoder.lock().await, batch).await?;
        }
        let rows = u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        self.records.fetch_add(rows, Ordering::Relaxed);
        Ok(())
    }

    async fn encode(&self, encoder: &mut Encoder, batch: &RecordBatch) -> Result<(), Failure> {
        let mut row = Some(0);
        while let Some(from) = row {
            let mut block = self.writer.buffer();
            row = encoder.encode(batch, from, &mut block)?;
            self.writer.write(block).await?;
        }
        Ok(())
    }
}

impl Sink for StreamSink {
    type Receipt = ();
    type Writer = StreamWriter;

    async fn writer(&self, _: &WriteTask) -> Result<StreamWriter, BoxError> {
        Ok(StreamWriter(Arc::clone(&self.0)))
    }

    /// The stream is ended by [`StreamSink::end`], which also has to hear of failures.
    async fn commit(&self, _: &BatchContext, _: &[TaskReceipt<()>]) -> Result<(), BoxError> {
        Ok(())
    }
}

/// One range's way into the stream.
#[derive(Debug)]
pub(super) struct StreamWriter(Arc<Shared>);

impl RangeWriter for StreamWriter {
    type Receipt = ();

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        Ok(self.0.write(&batch).await?)
    }

    async fn finish(self, _: &RangeSummary) -> Result<(), BoxError> {
        Ok(())
    }
}
