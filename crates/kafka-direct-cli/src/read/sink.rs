//! The sink that writes the records of many tasks as one stream to stdout or one file.
//!
//! Contract: output of different tasks is never mixed within a record. No task blocks a thread. A
//! file appears only if [`StreamSink::end`] is called after a complete read. Bytes on stdout cannot
//! be withdrawn, so a range has one attempt.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kafka_direct::{
    BatchContext, BoxError, Columns, RangeSummary, RangeWriter, Sink, TaskReceipt, WriteTask,
    arrow::array::RecordBatch,
};
use kafka_direct_sinks::{ArrowTypes, Format, format::Encoder};
use tokio::sync::Mutex;

use super::writer::{Target, Unfinished, Writer};
use crate::{cli::ReadArgs, exit::Failure};

/// A sink that writes all ranges as one stream to stdout or one file.
#[derive(Debug)]
pub(super) struct StreamSink(Arc<Shared>);

/// State that the sink and the writers of its ranges share.
#[derive(Debug)]
struct Shared {
    format: Format,
    columns: Columns,
    arrow_types: ArrowTypes,
    /// Whether each task has its own encoder, because the format needs no state.
    encodes_per_task: bool,
    /// The one encoder of a format with state; its lock gives the order of the blocks.
    encoder: Mutex<Encoder>,
    writer: Writer,
    records: AtomicU64,
}

impl StreamSink {
    /// Opens the output that the flags name.
    pub(super) fn open(args: &ReadArgs) -> Result<Self, Failure> {
        let (format, columns) = (args.output.format_for_files()?, args.output.columns());
        if format == Format::Raw && !columns.contains(kafka_direct::Column::Value) {
            return Err(Failure::usage("--format raw writes values; include `value` in --columns"));
        }
        let target = Target::open(args.output.output.as_deref())?;
        let (format, types) = match target {
            Target::File(_) => (format, ArrowTypes::Plain),
            _ => (for_pipes(format), ArrowTypes::View),
        };
        let types = args.output.arrow_types(types);
        let encoder = Encoder::new(format, columns, types)?;
        if format == Format::Parquet && matches!(target, Target::Stdout) {
            return Err(Failure::usage(
                "--format parquet cannot be written to stdout; pass a file with --output",
            ));
        }
        Ok(Self(Arc::new(Shared {
            format,
            columns,
            arrow_types: types,
            encodes_per_task: encoder.is_stateless(),
            encoder: Mutex::new(encoder),
            writer: Writer::start(target)?,
            records: AtomicU64::new(0),
        })))
    }

    /// Returns a guard that discards the file if the sink is not ended.
    pub(super) fn unfinished(&self) -> Unfinished {
        Unfinished::new(&self.0.writer)
    }

    /// Writes the header of the format, if it has one.
    pub(super) async fn start(&self) -> Result<(), Failure> {
        let mut encoder = self.0.encoder.lock().await;
        let mut block = self.0.writer.buffer();
        encoder.start(&mut block)?;
        self.0.writer.write(block).await
    }

    /// Encodes every row of `batch` and sends it to the writer; waits while its queue is full.
    pub(super) async fn write(&self, batch: &RecordBatch) -> Result<(), Failure> {
        self.0.write(batch).await
    }

    /// Waits until everything is written.
    ///
    /// After a successful `read` it writes the end of the format, and a file gets its final name.
    /// If both writing and reading failed, it returns the failure to write, which caused the other.
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

    /// Returns the number of written records.
    pub(super) fn records(&self) -> u64 {
        self.0.records.load(Ordering::Relaxed)
    }
}

/// The format that is written where readers cannot seek.
const fn for_pipes(format: Format) -> Format {
    match format {
        Format::Arrow => Format::ArrowStream,
        other => other,
    }
}

impl Shared {
    /// Encodes every row of `batch` and sends it to the writer; waits while its queue is full.
    async fn write(&self, batch: &RecordBatch) -> Result<(), Failure> {
        if self.encodes_per_task {
            let mut encoder = Encoder::new(self.format, self.columns, self.arrow_types)?;
            self.encode(&mut encoder, batch).await?;
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

    /// Does nothing: [`StreamSink::end`] ends the stream, also after failures.
    async fn commit(&self, _: &BatchContext, _: &[TaskReceipt<()>]) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Writes the batches of one range to the stream.
#[derive(Debug)]
pub(super) struct StreamWriter(Arc<Shared>);

impl RangeWriter for StreamWriter {
    type Receipt = ();

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        Ok(self.0.write(&batch).await?)
    }

    async fn finish(self, _: &[RangeSummary]) -> Result<(), BoxError> {
        Ok(())
    }
}
