//! The file of one range while it is written.
//!
//! Contract: a file with its final name is complete, on disk and described by a receipt. Dropping an
//! unfinished file removes it.

use std::{fs, sync::Arc};

use kafka_direct::RangeSummary;

use super::{folder::JobFolder, receipt::RangeReceipt};
use crate::{
    Error,
    files::{AppendFile, FileReceipt, TemporaryFile, durable},
};

/// A range's file under its temporary name.
#[derive(Debug)]
pub(crate) struct RangeFile {
    name: String,
    file: TemporaryFile,
    /// Dropped last: the folder's lock is held until the last file work has ended.
    folder: Arc<JobFolder>,
}

impl RangeFile {
    /// The file `name` of `folder`. Nothing is created yet.
    pub(crate) fn new(folder: Arc<JobFolder>, name: String) -> Self {
        let path = folder.file(&name);
        let temporary = durable::temporary(&path, "");
        let file = TemporaryFile::new(temporary, path, folder.crash.clone());
        Self { name, file, folder }
    }

    /// Writes the receipt of `range` and gives the file its final name.
    pub(crate) fn finish(mut self, range: RangeSummary) -> Result<FileReceipt, Error> {
        let path = self.folder.file(&self.name);
        self.file.sync()?;
        let file = self.file.content().receipt(self.name.clone());
        self.folder.note(&RangeReceipt { file: file.clone(), range })?;
        self.folder.crash.step()?;
        fs::rename(self.file.path(), &path).map_err(durable::failed("renaming to", &path))?;
        self.file.keep();
        self.folder.crash.step()?;
        durable::sync_parent(&path)?;
        Ok(file)
    }
}

impl AppendFile for RangeFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.append(bytes)
    }
}
