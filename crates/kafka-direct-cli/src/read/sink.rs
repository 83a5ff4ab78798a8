//! Where the records of many tasks meet on their way to stdout or one file.
//!
//! Contract: blocks of different tasks are never mixed within a record; no more tasks decode and
//! format at once than the machine has cores, and none of them blocks a thread; a file appears when
//! [`Sink::end`] was told that all is there and not otherwise.

use std::sync::atomic::{AtomicU64, Ordering};

use kafka_direct::{Columns, arrow::array::RecordBatch};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use super::writer::{Target, Unfinished, Writer};
use crate::{
    cli::{Format, ReadArgs},
    exit::Failure,
    format::Encoder,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Sink {
    format: Format,
    columns: Columns,
    /// Whether tasks format by themselves.
    apart: bool,
    /// The encoder of forms that have one for the whole stream: who holds it is next to write.
    encoder: Mutex<Encoder>,
    writer: Writer,
    turns: Semaphore,
    records: AtomicU64,
}

impl Sink {
    /// Opens what the flags name.
    pub(super) fn open(args: &ReadArgs) -> Result<Self, Failure> {
        let (format, columns) = (args.output.format, args.output.columns());
        if format == Format::Raw && !columns.contains(kafka_direct::Column::Value) {
            return Err(Failure::usage(
                "--format raw writes values; leave `value` among the --columns",
            ));
        }
        let encoder = Encoder::new(format, columns)?;
        let target = Target::open(args.output.output.as_deref())?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            format,
            columns,
            apart: encoder.is_stateless(),
            encoder: Mutex::new(encoder),
            writer: Writer::start(target)?,
            turns: Semaphore::new(cores),
            records: AtomicU64::new(0),
        })
    }

    /// What gives the file up if the sink is not ended.
    pub(super) fn unfinished(&self) -> Unfinished {
        Unfinished::new(&self.writer)
    }

    /// Waits until this task may decode and write.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Writes what stands before the first record.
    pub(super) async fn start(&self) -> Result<(), Failure> {
        let mut encoder = self.encoder.lock().await;
        let mut block = self.writer.buffer();
        encoder.start(&mut block)?;
        self.writer.write(block).await
    }

    /// Formats every row of `batch` and hands it to the writer; waits while that is behind.
    pub(super) async fn write(&self, batch: &RecordBatch) -> Result<(), Failure> {
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

    /// Waits until everything is written. If all was `read`, what stands after the last record is
    /// too, and a file gets its name. A failure to write comes before the reader's, which it caused.
    pub(super) async fn end(&self, read: Result<(), Failure>) -> Result<(), Failure> {
        let finished = match read {
            Ok(()) => self.finish_encoding().await,
            failed => failed,
        };
        self.writer.end(finished.is_ok()).await?;
        finished
    }

    async fn finish_encoding(&self) -> Result<(), Failure> {
        let mut encoder = self.encoder.lock().await;
        let mut block = self.writer.buffer();
        encoder.finish(&mut block)?;
        self.writer.write(block).await
    }

    /// How many records were written.
    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}
