//! The file of one range while it is written.
//!
//! Contract: a file with its final name is complete, on disk and described by a receipt. The file is
//! closed between two writes, so that a job of thousands of ranges does not need thousands of
//! descriptors. Dropping an unfinished file removes it.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    sync::Arc,
};

use kafka_direct::RangeSummary;

use super::{
    durable,
    folder::JobFolder,
    receipt::{Content, FileReceipt, RangeReceipt},
};
use crate::Error;

/// A range's file under its temporary name.
#[derive(Debug)]
pub(crate) struct RangeFile {
    folder: Arc<JobFolder>,
    name: String,
    temporary: PathBuf,
    content: Content,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Absent,
    Temporary,
    Renamed,
}

impl RangeFile {
    /// The file `name` of `folder`. Nothing is created yet.
    pub(crate) fn new(folder: Arc<JobFolder>, name: String) -> Self {
        let temporary = durable::temporary(&folder.file(&name), "");
        Self { folder, name, temporary, content: Content::new(), state: State::Absent }
    }

    fn open(&mut self) -> Result<File, Error> {
        self.folder.crash.step()?;
        let mut options = File::options();
        match self.state {
            State::Absent => options.write(true).create_new(true),
            State::Temporary | State::Renamed => options.append(true),
        };
        let file = options.open(&self.temporary).map_err(durable::failed(
            "opening the temporary file of",
            &self.folder.file(&self.name),
        ))?;
        self.state = State::Temporary;
        Ok(file)
    }

    /// Adds `bytes` at the end.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.open()?.write_all(bytes);
        written.map_err(durable::failed("writing", &self.folder.file(&self.name)))?;
        self.content.update(bytes);
        Ok(())
    }

    /// Writes the receipt of `range` and gives the file its final name.
    pub(crate) fn finish(mut self, range: RangeSummary) -> Result<FileReceipt, Error> {
        let path = self.folder.file(&self.name);
        let synced = self.open()?.sync_all();
        synced.map_err(durable::failed("syncing", &path))?;
        let file = FileReceipt {
            name: self.name.clone(),
            bytes: self.content.bytes(),
            crc32: self.content.crc32(),
        };
        self.folder.note(&RangeReceipt { file: file.clone(), range })?;
        self.folder.crash.step()?;
        fs::rename(&self.temporary, &path).map_err(durable::failed("renaming to", &path))?;
        self.state = State::Renamed;
        self.folder.crash.step()?;
        durable::sync_parent(&path)?;
        Ok(file)
    }
}

impl Drop for RangeFile {
    fn drop(&mut self) {
        if self.state == State::Temporary && !self.folder.crash.has_crashed() {
            drop(fs::remove_file(&self.temporary));
        }
    }
}
