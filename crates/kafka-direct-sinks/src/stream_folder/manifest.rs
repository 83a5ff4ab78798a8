//! The manifest of a batch: the point at which the batch is committed.

use std::path::Path;

use kafka_direct::{
    SinkCommit, StreamBatch, TaskReceipt,
    checkpoint::{BatchId, Generation, StreamId},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    files::{FileReceipt, durable, parse},
};

/// The version of a manifest's JSON.
const MANIFEST_VERSION: u32 = 1;

/// A file that is durable under its temporary name, and the name that it gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StagedFile {
    /// Its temporary name.
    pub temporary: String,
    /// Its name once the batch is committed, its size and its checksum.
    #[serde(flatten)]
    pub file: FileReceipt,
}

impl StagedFile {
    pub(super) const fn new(temporary: String, file: FileReceipt) -> Self {
        Self { temporary, file }
    }
}

/// What `<batch>.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    version: u32,
    stream: StreamId,
    /// The driver that committed the batch.
    generation: Generation,
    /// The files of the batch. A range without records has none.
    pub(super) files: Vec<StagedFile>,
    /// The batch, and what was read of its ranges.
    #[serde(flatten)]
    pub(super) commit: SinkCommit,
}

impl Manifest {
    pub(super) fn new(batch: StreamBatch, receipts: &[TaskReceipt<Vec<StagedFile>>]) -> Self {
        Self {
            version: MANIFEST_VERSION,
            stream: batch.stream,
            generation: batch.generation,
            files: receipts.iter().flat_map(|receipt| receipt.receipt.clone()).collect(),
            commit: SinkCommit::new(batch.batch, receipts),
        }
    }

    /// One line: a batch may have thousands of ranges.
    pub(super) fn to_json(&self) -> Result<String, Error> {
        let text = serde_json::to_string(self).map_err(|error| Error::Internal {
            message: format!("a manifest could not be written as JSON: {error}"),
        })?;
        Ok(text + "\n")
    }

    /// The manifest of `batch` at `path`; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a file that is no manifest, one of a newer version, or one of another batch;
    /// [`Error::Io`].
    pub(super) fn read(
        path: &Path,
        stream: StreamId,
        batch: BatchId,
    ) -> Result<Option<Self>, Error> {
        let Some(text) = durable::read(path)? else { return Ok(None) };
        let manifest: Self = parse(&text, path, "the manifest of a batch")?;
        if manifest.version > MANIFEST_VERSION {
            return Err(Error::invalid(format!(
                "{} has version {}, newer than {MANIFEST_VERSION}; write into its folder with a newer kafka-direct",
                path.display(),
                manifest.version
            )));
        }
        if (manifest.stream, manifest.commit.batch) != (stream, batch) {
            return Err(Error::invalid(format!(
                "{} is the manifest of batch {} of stream {}: it was moved or changed",
                path.display(),
                manifest.commit.batch,
                manifest.stream
            )));
        }
        Ok(Some(manifest))
    }
}
