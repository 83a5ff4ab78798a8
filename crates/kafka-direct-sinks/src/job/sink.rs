//! The job folder as a sink of the engine: a file per range, committed by one receipt.
//!
//! Contract: at most as many files are synced at once as a disk does well; no file work runs on the
//! runtime's threads. A task that is stopped may leave one piece of file work running:
//! [`FolderSink::wait_until_idle`] waits for it, so that the folder's lock is released after the last
//! write.

use std::sync::{Arc, OnceLock};

use kafka_direct::{
    BatchContext, BoxError, Columns, RangeSummary, RangeWriter, Sink, TaskReceipt, WriteTask,
    arrow::array::RecordBatch,
};
use tokio::sync::Semaphore;

use super::{
    folder::JobFolder,
    range_file::RangeFile,
    receipt::{FileReceipt, RangeReceipt, Receipt},
};
use crate::{
    ArrowTypes, Error, Format,
    format::{Buffers, Encoder},
};

/// Files that are synced at the same time: enough for disks that sync many as fast as one.
const FINISHED_AT_ONCE: usize = 16;
/// More pieces of file work than can run at the same time.
const MAX_WORK: u32 = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct FolderSink {
    files: Vec<String>,
    output: Output,
    plan_text: String,
    shared: Arc<Shared>,
    receipt: OnceLock<Receipt>,
}

/// How the files are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(super) format: Format,
    pub(super) columns: Columns,
    pub(super) arrow_types: ArrowTypes,
}

/// What a sink and its writers share.
#[derive(Debug)]
struct Shared {
    folder: Arc<JobFolder>,
    buffers: Buffers,
    finish_permits: Arc<Semaphore>,
    /// One permit is taken by every piece of file work.
    work: Arc<Semaphore>,
}

impl Shared {
    /// Runs `work` where it may wait for a disk.
    async fn off_the_runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.work).acquire_owned().await;
        // The permit leaves with the result, so that it is released after the result is dropped: files
        // and the folder's lock may be in it.
        let done = tokio::task::spawn_blocking(move || (work(), permit)).await;
        let (result, _permit) = done.map_err(|_| Error::Internal {
            message: "a thread that writes a range panicked".to_owned(),
        })?;
        Ok(result)
    }
}

impl FolderSink {
    pub(super) fn new(
        folder: Arc<JobFolder>,
        files: Vec<String>,
        output: Output,
        plan_text: String,
    ) -> Self {
        let shared = Arc::new(Shared {
            folder,
            buffers: Buffers::default(),
            finish_permits: Arc::new(Semaphore::new(FINISHED_AT_ONCE)),
            work: Arc::new(Semaphore::new(usize::try_from(MAX_WORK).unwrap_or(usize::MAX))),
        });
        let receipt = OnceLock::new();
        Self { files, output, plan_text, shared, receipt }
    }

    /// Waits until no file work runs.
    pub(super) async fn wait_until_idle(&self) {
        drop(self.shared.work.acquire_many(MAX_WORK).await);
    }

    /// The receipt, once the batch is committed.
    pub(super) fn receipt(&self) -> Option<Receipt> {
        self.receipt.get().cloned()
    }

    fn file(&self, task: &WriteTask) -> Result<String, Error> {
        let unknown = || Error::Internal { message: format!("no file for range {}", task.index) };
        self.files.get(task.index).cloned().ok_or_else(unknown)
    }
}

impl Sink for FolderSink {
    type Receipt = FileReceipt;
    type Writer = FileWriter;

    async fn finished(
        &self,
        task: &WriteTask,
    ) -> Result<Option<TaskReceipt<FileReceipt>>, BoxError> {
        let (folder, file) = (Arc::clone(&self.shared.folder), self.file(task)?);
        // A file is open while it is checked, and descriptors are few.
        let _permit = self.shared.finish_permits.acquire().await;
        let found = self.shared.off_the_runtime(move || folder.finished(&file)).await??;
        Ok(found.map(|RangeReceipt { file, range }| TaskReceipt::new(range, file)))
    }

    async fn writer(&self, task: &WriteTask) -> Result<FileWriter, BoxError> {
        let Output { format, columns, arrow_types } = self.output;
        let mut encoder = Encoder::new(format, columns, arrow_types)?;
        let mut pending = Vec::new();
        encoder.start(&mut pending)?;
        let file = RangeFile::new(Arc::clone(&self.shared.folder), self.file(task)?);
        Ok(FileWriter { file: Some(file), encoder, pending, shared: Arc::clone(&self.shared) })
    }

    async fn commit(
        &self,
        batch: &BatchContext,
        receipts: &[TaskReceipt<FileReceipt>],
    ) -> Result<(), BoxError> {
        let ranges = receipts.iter().map(|TaskReceipt { range, receipt, .. }| RangeReceipt {
            file: receipt.clone(),
            range: range.clone(),
        });
        let (plan, text) = (&batch.plan, &self.plan_text);
        let receipt = Receipt::new(plan, text, self.output, ranges.collect());
        let (folder, finished) = (Arc::clone(&self.shared.folder), receipt.clone());
        self.shared.off_the_runtime(move || folder.finish(&finished)).await??;
        drop(self.receipt.set(receipt));
        Ok(())
    }
}

/// Writes one range into its file.
#[derive(Debug)]
pub(super) struct FileWriter {
    /// `None` while file work has it, and after file work that did not return it.
    file: Option<RangeFile>,
    encoder: Encoder,
    /// Bytes that precede the next block.
    pending: Vec<u8>,
    shared: Arc<Shared>,
}

impl FileWriter {
    fn take_file(&mut self) -> Result<RangeFile, Error> {
        let gone = || Error::Internal { message: "a file was used after it failed".to_owned() };
        self.file.take().ok_or_else(gone)
    }
}

impl RangeWriter for FileWriter {
    type Receipt = FileReceipt;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        let mut row = Some(0);
        while let Some(from) = row {
            let mut block = self.shared.buffers.take();
            block.append(&mut self.pending);
            row = self.encoder.encode(&batch, from, &mut block)?;
            if !block.is_empty() {
                let mut file = self.take_file()?;
                let append = move || (file.append(&block), file, block);
                let (appended, file, written) = self.shared.off_the_runtime(append).await?;
                appended?;
                (self.file, block) = (Some(file), written);
            }
            self.shared.buffers.give_back(block);
        }
        Ok(())
    }

    async fn finish(mut self, range: &RangeSummary) -> Result<FileReceipt, BoxError> {
        let mut file = self.take_file()?;
        let Self { mut encoder, mut pending, shared, .. } = self;
        let range = range.clone();
        let permit = Arc::clone(&shared.finish_permits).acquire_owned().await;
        let work = move || {
            let _permit = permit;
            encoder.finish(&mut pending)?;
            if !pending.is_empty() {
                file.append(&pending)?;
            }
            file.finish(range)
        };
        Ok(shared.off_the_runtime(work).await??)
    }
}
