//! [`StreamFolder`] as a sink of the engine.
//!
//! Contract: no file work runs on the runtime's threads; a writer's file is closed between writes.

use std::{path::PathBuf, sync::Arc};

use kafka_direct::{
    BatchContext, BoxError, RangeSummary, RangeWriter, Sink, SinkCommit, StreamBatch, TaskReceipt,
    WriteTask, arrow::array::RecordBatch, checkpoint::StreamId,
};

use super::{
    StreamFolder,
    layout::{attempt_prefix, temporary_name},
    manifest::StagedFile,
};
use crate::{
    Error,
    files::{AppendFile, EncodedFile, TemporaryFile, file_name},
};

/// Writes the ranges of a group into a temporary file. Dropped unfinished, it removes the file.
#[derive(Debug)]
pub struct StreamFolderWriter {
    temporary: String,
    name: String,
    file: EncodedFile<TemporaryFile>,
}

impl StreamFolder {
    /// The folder for temporary files of the batch.
    async fn open_for_writing(&self, batch: StreamBatch) -> Result<PathBuf, Error> {
        if self.store.is_writing(batch) {
            return Ok(self.store.layout(batch.stream).temporaries);
        }
        let store = Arc::clone(&self.store);
        self.work.run(move || store.open_for_writing(batch)).await?
    }
}

impl Sink for StreamFolder {
    /// The files of a group of ranges; none if they have no records.
    type Receipt = Vec<StagedFile>;
    type Writer = StreamFolderWriter;

    async fn writer(&self, task: &WriteTask) -> Result<StreamFolderWriter, BoxError> {
        let batch = stream_batch(&task.batch)?;
        let name = file_name::batch_file(batch, task.index, &task.ranges)?;
        let name = format!("{name}.{}", self.output.format.extension());
        let folder = self.open_for_writing(batch).await?;
        let temporary = temporary_name(&attempt_prefix(task, batch));
        let shown = self.store.root.join(&name);
        let file = TemporaryFile::new(folder.join(&temporary), shown, self.store.crash.clone());
        let file = EncodedFile::new(&self.output, file, Arc::clone(&self.work))?;
        Ok(StreamFolderWriter { temporary, name, file })
    }

    async fn last_committed(&self, stream: StreamId) -> Result<Option<SinkCommit>, BoxError> {
        let store = Arc::clone(&self.store);
        Ok(self.work.run(move || store.last_committed(stream)).await??)
    }

    async fn commit(
        &self,
        batch: &BatchContext,
        receipts: &[TaskReceipt<Vec<StagedFile>>],
    ) -> Result<(), BoxError> {
        let batch = stream_batch(batch)?;
        let (store, receipts) = (Arc::clone(&self.store), receipts.to_vec());
        Ok(self.work.run(move || store.commit(batch, &receipts)).await??)
    }

    async fn abort(&self, task: &WriteTask) -> Result<(), BoxError> {
        let batch = stream_batch(&task.batch)?;
        let prefix = attempt_prefix(task, batch);
        let store = Arc::clone(&self.store);
        Ok(self.work.run(move || store.abort(batch.stream, &prefix)).await??)
    }
}

impl AppendFile for TemporaryFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.append(bytes)
    }
}

impl RangeWriter for StreamFolderWriter {
    type Receipt = Vec<StagedFile>;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        Ok(self.file.write(&batch).await?)
    }

    async fn finish(self, _ranges: &[RangeSummary]) -> Result<Vec<StagedFile>, BoxError> {
        let Self { temporary, name, file } = self;
        if !file.has_rows() {
            // Small files cost their readers much, and an empty one says nothing.
            return Ok(Vec::new());
        }
        let sync = move |mut file: TemporaryFile| {
            file.sync()?;
            file.keep();
            Ok(StagedFile::new(temporary, file.content().receipt(name)))
        };
        Ok(vec![file.finish(sync).await?])
    }
}

/// Which batch of which stream this is.
fn stream_batch(batch: &BatchContext) -> Result<StreamBatch, Error> {
    batch.stream.ok_or_else(|| {
        Error::invalid("a stream's folder takes batches of a stream only; use a batch job instead")
    })
}
