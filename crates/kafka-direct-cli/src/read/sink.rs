//! Where the records of many tasks meet: stdout or one file.
//!
//! Contract: blocks of different tasks are never mixed within a record; no more tasks decode and
//! format at once than the machine has cores; a file appears when [`Sink::finish`] has run and not
//! otherwise.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use kafka_direct::{Columns, arrow::array::RecordBatch};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    atomic_file::AtomicFile,
    cli::{Format, ReadArgs},
    exit::Failure,
    format::{Encoder, drained},
    output,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Sink {
    format: Format,
    columns: Columns,
    /// Whether tasks format by themselves.
    apart: bool,
    target: Mutex<Open>,
    turns: Semaphore,
    /// Buffers of those whose turn it is not.
    buffers: Mutex<Vec<Vec<u8>>>,
    records: AtomicU64,
}

/// The target with the encoder of forms that have one for the whole stream.
#[derive(Debug)]
struct Open {
    target: Target,
    encoder: Encoder,
    buffer: Vec<u8>,
}

/// A place for bytes.
#[derive(Debug)]
pub(super) enum Target {
    Stdout,
    /// A file that appears when it is complete.
    File(AtomicFile),
    /// A device or a named pipe, which nothing may replace.
    Device(File),
    /// Finished or given up.
    Closed,
}

impl Target {
    /// Opens what `--output` names; nothing and `-` are stdout.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            return Ok(Self::Stdout);
        };
        let failed = |source| Failure::io(format!("opening {}", path.display()), source);
        match path.metadata() {
            Ok(metadata) if !metadata.is_file() => {
                OpenOptions::new().write(true).open(path).map(Self::Device).map_err(failed)
            }
            _ => AtomicFile::create(path).map(Self::File).map_err(failed),
        }
    }

    pub(super) fn write(&mut self, block: &[u8]) -> Result<(), Failure> {
        let written = match self {
            Self::Stdout => return output::block(block),
            Self::File(file) => file.write_all(block),
            Self::Device(file) => file.write_all(block),
            Self::Closed => Ok(()),
        };
        written.map_err(|source| Failure::io("writing the output file", source))
    }

    /// Gives a file its name.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        match std::mem::replace(self, Self::Closed) {
            Self::File(file) => {
                file.commit().map_err(|source| Failure::io("finishing the output file", source))
            }
            Self::Stdout | Self::Device(_) | Self::Closed => Ok(()),
        }
    }
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
            target: Mutex::new(Open { target, encoder, buffer: Vec::new() }),
            turns: Semaphore::new(cores),
            buffers: Mutex::default(),
            records: AtomicU64::new(0),
        })
    }

    /// Waits until this task may decode and write.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Writes what stands before the first record.
    pub(super) fn start(&self) -> Result<(), Failure> {
        let open = &mut *self.target.lock();
        open.encoder.start(&mut open.buffer)?;
        drained(&mut open.buffer, &mut |block| open.target.write(block))
    }

    /// Writes every row of `batch`. Blocks the thread while the target does.
    pub(super) fn write(&self, batch: &RecordBatch) -> Result<(), Failure> {
        tokio::task::block_in_place(|| self.write_blocking(batch))?;
        let rows = u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        self.records.fetch_add(rows, Ordering::Relaxed);
        Ok(())
    }

    fn write_blocking(&self, batch: &RecordBatch) -> Result<(), Failure> {
        if self.apart {
            let mut encoder = Encoder::new(self.format, self.columns)?;
            let mut buffer = self.buffers.lock().pop().unwrap_or_default();
            let mut flush = |block: &mut Vec<u8>| self.target.lock().target.write(block);
            encoder.encode(batch, &mut buffer, &mut flush)?;
            drained(&mut buffer, &mut flush)?;
            self.buffers.lock().push(buffer);
            return Ok(());
        }
        let Open { target, encoder, buffer } = &mut *self.target.lock();
        encoder.encode(batch, buffer, &mut |block| target.write(block))?;
        drained(buffer, &mut |block| target.write(block))
    }

    /// Writes what stands after the last record and gives a file its name.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        let Open { target, encoder, buffer } = &mut *self.target.lock();
        encoder.finish(buffer)?;
        drained(buffer, &mut |block| target.write(block))?;
        target.finish()
    }

    /// How many records were written.
    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

/// Gives an unfinished file up when dropped: tasks that were told to stop may hold the sink a
/// little longer, and the file must be gone when the process is.
#[derive(Debug)]
pub(super) struct Unfinished(Option<Arc<Sink>>);

impl Unfinished {
    pub(super) fn new(sink: &Arc<Sink>) -> Self {
        let is_file = matches!(sink.target.lock().target, Target::File(_));
        Self(is_file.then(|| Arc::clone(sink)))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Whoever writes to a file is done soon; nobody knows that of a pipe.
        if let Some(sink) = &self.0 {
            sink.target.lock().target = Target::Closed;
        }
    }
}
