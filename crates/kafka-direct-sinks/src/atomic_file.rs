//! A file that appears under its name only when it is complete.
//!
//! Contract: bytes go to a temporary file beside the final one. [`AtomicFile::commit`] makes them
//! durable and renames the file. Without a commit the temporary file is removed on drop, and a file
//! that had the name before stays. A killed process leaves the temporary file.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Files that this process has created, for their temporary names.
static CREATED: AtomicU64 = AtomicU64::new(0);

/// A file that is being written and gets its name on [`AtomicFile::commit`].
#[derive(Debug)]
pub struct AtomicFile {
    file: Option<File>,
    temporary: PathBuf,
    path: PathBuf,
}

impl AtomicFile {
    /// Starts the file that will be `path`; its folder must exist.
    ///
    /// The temporary name is `.NAME.PID-N.tmp`, so that two writers do not write to the same file.
    ///
    /// # Errors
    /// As creating a file; `path` may not be a folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no file"));
        };
        if path.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        temporary.push(format!(".{}-{number}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary);
        let file = File::create(&temporary)?;
        Ok(Self { file: Some(file), temporary, path: path.to_owned() })
    }

    /// The name that the file will have.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the bytes durable and gives them their name, replacing a file that has it.
    ///
    /// # Errors
    /// As syncing and renaming a file.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.sync_all()?;
        }
        fs::rename(&self.temporary, &self.path)?;
        self.file = None;
        sync_folder_of(&self.path)
    }
}

/// Syncs the folder of `path`, which makes the names in it durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    sync_folder(path.parent().unwrap_or_else(|| Path::new("")))
}

/// Syncs a folder, which makes the names in it durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    // Only Unix opens a folder as a file; elsewhere renames are durable without.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // A file that cannot be removed stays; there is nobody to report it to.
            drop(fs::remove_file(&self.temporary));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn file_appears_only_when_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!path.exists());
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"half");
        assert_eq!(names(folder.path()), ["out.jsonl"]);
    }

    #[test]
    fn two_writers_of_one_name_do_not_meet_and_the_last_commit_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let mut one = AtomicFile::create(&path).unwrap();
        one.write_all(b"AAAA").unwrap();
        let mut other = AtomicFile::create(&path).unwrap();
        other.write_all(b"B").unwrap();
        one.write_all(b"AA").unwrap();
        one.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"AAAAAA");
        other.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"B");
        assert_eq!(names(folder.path()), ["out.jsonl"]);
    }

    #[test]
    fn dropped_file_leaves_nothing_and_keeps_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        fs::write(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["out.jsonl"]);
    }
}
