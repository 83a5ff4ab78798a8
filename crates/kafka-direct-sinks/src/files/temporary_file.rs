//! A file under a temporary name while it is written.
//!
//! Contract: the file is closed between two writes, so that thousands of ranges do not need thousands
//! of descriptors. Dropping a file that was not kept removes it.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use super::{Content, CrashPoint, durable};
use crate::Error;

/// A file under its temporary name.
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    path: PathBuf,
    /// The name that people know, for errors.
    shown: PathBuf,
    content: Content,
    state: State,
    crash: CrashPoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Created,
    Kept,
}

impl TemporaryFile {
    /// The file at `path`. Errors name it as `shown`. Nothing is created yet.
    pub(crate) fn new(path: PathBuf, shown: PathBuf, crash: CrashPoint) -> Self {
        Self { path, shown, content: Content::new(), state: State::Absent, crash }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Size and checksum of what was written.
    pub(crate) const fn content(&self) -> &Content {
        &self.content
    }

    fn open(&mut self) -> Result<File, Error> {
        self.crash.step()?;
        let mut options = File::options();
        match self.state {
            State::Absent => options.write(true).create_new(true),
            State::Created | State::Kept => options.append(true),
        };
        let file = options
            .open(&self.path)
            .map_err(durable::failed("opening the temporary file of", &self.shown))?;
        self.state = State::Created;
        Ok(file)
    }

    /// Adds `bytes` at the end.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.open()?.write_all(bytes);
        written.map_err(durable::failed("writing", &self.shown))?;
        self.content.update(bytes);
        Ok(())
    }

    /// Makes the bytes durable.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        let synced = self.open()?.sync_all();
        synced.map_err(durable::failed("syncing", &self.shown))
    }

    /// From now on, dropping it removes nothing.
    pub(crate) const fn keep(&mut self) {
        self.state = State::Kept;
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if self.state == State::Created && !self.crash.has_crashed() {
            // A file that cannot be removed stays; there is nobody to report it to.
            drop(fs::remove_file(&self.path));
        }
    }
}
