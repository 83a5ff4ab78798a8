//! Arrow batches encoded into one file, off the runtime's threads.
//!
//! Contract: no file work runs on the runtime's threads; at most as many files are synced at once as a
//! disk does well. A task that is stopped may leave one piece of file work running:
//! [`FileWork::wait_until_idle`] waits for it.

use std::sync::Arc;

use kafka_direct::arrow::{array::RecordBatch, schema::SchemaRef};
use tokio::sync::Semaphore;

use crate::{
    ArrowTypes, Error, Format,
    format::{Buffers, Encoder},
};

/// Files that are synced at the same time: enough for disks that sync many as fast as one.
const FINISHED_AT_ONCE: usize = 16;
/// Fewer bytes than this wait for the next batch: opening a file for each small batch costs more.
const SMALL_BYTES: usize = 8 * 1024;
/// More pieces of file work than can run at the same time.
const MAX_WORK: u32 = 1 << 20;

/// How the files are written.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) schema: SchemaRef,
    pub(crate) arrow_types: ArrowTypes,
}

impl Output {
    /// An encoder of one file.
    pub(crate) fn encoder(&self) -> Result<Encoder, Error> {
        Encoder::of_schema(self.format, &self.schema, self.arrow_types)
    }
}

/// The file work of a sink and its writers.
#[derive(Debug)]
pub(crate) struct FileWork {
    buffers: Buffers,
    finish_permits: Arc<Semaphore>,
    /// One permit is taken by every piece of file work.
    work: Arc<Semaphore>,
}

impl FileWork {
    pub(crate) fn new() -> Self {
        Self {
            buffers: Buffers::default(),
            finish_permits: Arc::new(Semaphore::new(FINISHED_AT_ONCE)),
            work: Arc::new(Semaphore::new(usize::try_from(MAX_WORK).unwrap_or(usize::MAX))),
        }
    }

    /// Runs `work` where it may wait for a disk.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.work).acquire_owned().await;
        // The permit leaves with the result, so that it is released after the result is dropped: files
        // and the folder's lock may be in it.
        let done = tokio::task::spawn_blocking(move || (work(), permit)).await;
        match done {
            Ok((result, _permit)) => Ok(result),
            // The runtime is shut down, and this future is about to be dropped.
            Err(stopped) if stopped.is_cancelled() => std::future::pending().await,
            Err(_) => {
                Err(Error::Internal { message: "a thread that writes files panicked".to_owned() })
            }
        }
    }

    /// The same for work that opens a file for long or syncs it: few run at once.
    pub(crate) async fn run_few<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.finish_permits).acquire_owned().await;
        let work = move || {
            let _permit = permit;
            work()
        };
        self.run(work).await
    }

    /// Waits until no file work runs.
    pub(crate) async fn wait_until_idle(&self) {
        drop(self.work.acquire_many(MAX_WORK).await);
    }
}

/// A file that takes bytes at its end.
pub(crate) trait AppendFile: Send + 'static {
    /// Adds `bytes` at the end.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error>;
}

/// Encodes batches into a file.
#[derive(Debug)]
pub(crate) struct EncodedFile<F> {
    /// `None` while file work has it, and after file work that did not return it.
    file: Option<F>,
    encoder: Encoder,
    /// Bytes that precede the next block, few.
    pending: Vec<u8>,
    work: Arc<FileWork>,
}

impl<F: AppendFile> EncodedFile<F> {
    pub(crate) fn new(output: &Output, file: F, work: Arc<FileWork>) -> Result<Self, Error> {
        let mut encoder = output.encoder()?;
        let mut pending = Vec::new();
        encoder.start(&mut pending)?;
        Ok(Self { file: Some(file), encoder, pending, work })
    }

    fn take_file(&mut self) -> Result<F, Error> {
        let gone = || Error::Internal { message: "a file was used after it failed".to_owned() };
        self.file.take().ok_or_else(gone)
    }

    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let mut row = Some(0);
        while let Some(from) = row {
            let mut block = self.work.buffers.take();
            block.append(&mut self.pending);
            row = self.encoder.encode(batch, from, &mut block)?;
            if row.is_none() && block.len() < SMALL_BYTES {
                self.pending.extend_from_slice(&block);
            } else if !block.is_empty() {
                let mut file = self.take_file()?;
                let append = move || (file.append(&block), file, block);
                let (appended, file, written) = self.work.run(append).await?;
                appended?;
                (self.file, block) = (Some(file), written);
            }
            self.work.buffers.give_back(block);
        }
        Ok(())
    }

    /// Bytes of memory that rows take which are not in the file yet.
    pub(crate) fn held_bytes(&self) -> usize {
        self.encoder.held_bytes()
    }

    /// Writes the rows that the encoder keeps.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        let mut block = std::mem::take(&mut self.pending);
        self.encoder.flush(&mut block)?;
        if block.is_empty() {
            return Ok(());
        }
        let mut file = self.take_file()?;
        let append = move || (file.append(&block), file);
        let (appended, file) = self.work.run(append).await?;
        appended?;
        self.file = Some(file);
        Ok(())
    }

    /// Appends what is pending, and runs `end` on the file.
    pub(crate) async fn finish<T: Send + 'static>(
        mut self,
        end: impl FnOnce(F) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mut file = self.take_file()?;
        let Self { mut encoder, mut pending, work, .. } = self;
        let finish = move || {
            encoder.finish(&mut pending)?;
            if !pending.is_empty() {
                file.append(&pending)?;
            }
            end(file)
        };
        work.run_few(finish).await?
    }
}
