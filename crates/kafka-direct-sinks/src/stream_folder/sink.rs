//! [`StreamFolder`] as a sink of the engine.
//!
//! Contract: no file work runs on the runtime's threads.

use std::{path::PathBuf, sync::Arc};

use kafka_direct::{
    BatchContext, BoxError, Sink, SinkCommit, StreamBatch, TaskReceipt, WriteTask,
    checkpoint::StreamId,
};

use super::{
    StreamFolder,
    layout::attempt_prefix,
    manifest::StagedFile,
    writer::{Place, StreamFolderWriter},
};
use crate::{Error, files::file_name};

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
        Ok(StreamFolderWriter::new(Place {
            name: file_name::batch_file(batch, task.index, &task.ranges)?,
            temporaries: self.open_for_writing(batch).await?,
            prefix: attempt_prefix(task, batch),
            store: Arc::clone(&self.store),
            work: Arc::clone(&self.work),
            output: self.output.clone(),
            levels: self.levels.clone(),
            open_files: self.open_files,
        }))
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

/// Which batch of which stream this is.
fn stream_batch(batch: &BatchContext) -> Result<StreamBatch, Error> {
    batch.stream.ok_or_else(|| {
        Error::invalid("a stream's folder takes batches of a stream only; use a batch job instead")
    })
}
