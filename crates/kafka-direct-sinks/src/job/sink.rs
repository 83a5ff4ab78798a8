//! The job folder as a sink of the engine: a file per range, committed by one receipt.
//!
//! Contract: no file work runs on the runtime's threads. A task that is stopped may leave one piece of
//! file work running: [`FolderSink::wait_until_idle`] waits for it, so that the folder's lock is
//! released after the last write.

use std::sync::{Arc, OnceLock};

use kafka_direct::{
    BatchContext, BoxError, RangeSummary, RangeWriter, Sink, TaskReceipt, WriteTask,
    arrow::array::RecordBatch,
};

use super::{
    folder::JobFolder,
    range_file::RangeFile,
    receipt::{RangeReceipt, Receipt},
};
use crate::{
    Error,
    files::{EncodedFile, FileReceipt, FileWork, Output},
};

/// See the module.
#[derive(Debug)]
pub(super) struct FolderSink {
    files: Vec<String>,
    output: Output,
    plan_text: String,
    folder: Arc<JobFolder>,
    work: Arc<FileWork>,
    receipt: OnceLock<Receipt>,
}

impl FolderSink {
    pub(super) fn new(
        folder: Arc<JobFolder>,
        files: Vec<String>,
        output: Output,
        plan_text: String,
    ) -> Self {
        let work = Arc::new(FileWork::new());
        Self { files, output, plan_text, folder, work, receipt: OnceLock::new() }
    }

    /// Waits until no file work runs.
    pub(super) async fn wait_until_idle(&self) {
        self.work.wait_until_idle().await;
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
        let (folder, file) = (Arc::clone(&self.folder), self.file(task)?);
        // A file is open while it is checked, and descriptors are few.
        let found = self.work.run_few(move || folder.finished(&file)).await??;
        Ok(found.map(|RangeReceipt { file, range }| TaskReceipt::new(vec![range], file)))
    }

    async fn writer(&self, task: &WriteTask) -> Result<FileWriter, BoxError> {
        let file = RangeFile::new(Arc::clone(&self.folder), self.file(task)?);
        Ok(FileWriter(EncodedFile::new(&self.output, file, Arc::clone(&self.work))?))
    }

    async fn commit(
        &self,
        batch: &BatchContext,
        receipts: &[TaskReceipt<FileReceipt>],
    ) -> Result<(), BoxError> {
        // Each range is a group of its own, so that a receipt has one.
        let ranges = receipts.iter().flat_map(|TaskReceipt { ranges, receipt, .. }| {
            let receipt =
                |range: &RangeSummary| RangeReceipt { file: receipt.clone(), range: range.clone() };
            ranges.iter().map(receipt).collect::<Vec<_>>()
        });
        let (plan, text) = (&batch.plan, &self.plan_text);
        let receipt = Receipt::new(plan, text, &self.output, ranges.collect());
        let (folder, finished) = (Arc::clone(&self.folder), receipt.clone());
        self.work.run(move || folder.finish(&finished)).await??;
        drop(self.receipt.set(receipt));
        Ok(())
    }
}

/// Writes one range into its file.
#[derive(Debug)]
pub(super) struct FileWriter(EncodedFile<RangeFile>);

impl RangeWriter for FileWriter {
    type Receipt = FileReceipt;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        Ok(self.0.write(&batch).await?)
    }

    async fn finish(self, ranges: &[RangeSummary]) -> Result<FileReceipt, BoxError> {
        let none = || Error::Internal { message: "a file without a range".to_owned() };
        let range = ranges.first().cloned().ok_or_else(none)?;
        Ok(self.0.finish(move |file| file.finish(range)).await?)
    }
}
