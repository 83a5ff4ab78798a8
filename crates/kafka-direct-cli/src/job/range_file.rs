//! The file of one range while it is written.
//!
//! Contract: under its final name the file is whole, on disk and described by a receipt, or not
//! there. No file is held open between two pieces of work, so that a job of thousands of ranges
//! needs no thousands of descriptors. Dropped unfinished, the temporary file is removed.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    sync::Arc,
};

use super::{
    directory::JobDirectory,
    durable,
    receipt::{Content, RangeReceipt},
};
use crate::exit::Failure;

/// A range's file under its temporary name.
#[derive(Debug)]
pub(crate) struct RangeFile {
    directory: Arc<JobDirectory>,
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
    /// The file `name` of `directory`. Nothing is created yet.
    pub(crate) fn new(directory: Arc<JobDirectory>, name: String) -> Self {
        let temporary = durable::temporary(&directory.file(&name), "");
        Self { directory, name, temporary, content: Content::new(), state: State::Absent }
    }

    fn open(&mut self) -> Result<File, Failure> {
        self.directory.kill.step()?;
        let mut options = File::options();
        match self.state {
            State::Absent => options.write(true).create_new(true),
            State::Temporary | State::Renamed => options.append(true),
        };
        let file = options.open(&self.temporary).map_err(durable::failed(
            "opening the temporary file of",
            &self.directory.file(&self.name),
        ))?;
        self.state = State::Temporary;
        Ok(file)
    }

    /// Adds `bytes` at the end.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.open()?.write_all(bytes);
        written.map_err(durable::failed("writing", &self.directory.file(&self.name)))?;
        self.content.update(bytes);
        Ok(())
    }

    /// Gives the file its name, and writes `receipt`, filled in with name, size and checksum.
    pub(crate) fn finish(mut self, receipt: RangeReceipt) -> Result<RangeReceipt, Failure> {
        let path = self.directory.file(&self.name);
        let synced = self.open()?.sync_all();
        synced.map_err(durable::failed("syncing", &path))?;
        let receipt = RangeReceipt {
            file: self.name.clone(),
            file_bytes: self.content.bytes(),
            crc32: self.content.crc32(),
            ..receipt
        };
        self.directory.note(&receipt)?;
        self.directory.kill.step()?;
        fs::rename(&self.temporary, &path).map_err(durable::failed("renaming to", &path))?;
        self.state = State::Renamed;
        self.directory.kill.step()?;
        durable::sync_parent(&path)?;
        Ok(receipt)
    }
}

impl Drop for RangeFile {
    fn drop(&mut self) {
        if self.state == State::Temporary && !self.directory.kill.is_over() {
            drop(fs::remove_file(&self.temporary));
        }
    }
}
