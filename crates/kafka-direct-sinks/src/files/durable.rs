//! Files that appear complete or not at all, and survive a power cut once they have appeared.
//!
//! Contract: temporary names have a suffix of their own, so that the files a killed run left can be
//! removed. A file gets its final name after its bytes are on disk, and the call returns after the
//! name is on disk too.

use std::{
    fs::{self, File},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::CrashPoint;
use crate::{Error, atomic_file};

/// The suffix of every temporary name; no other program uses it.
pub(crate) const TEMPORARY_SUFFIX: &str = ".kafka-direct-tmp";

/// The temporary name beside `path`: hidden, and with `tag` if several processes may write at once.
pub(crate) fn temporary(path: &Path, tag: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{tag}{TEMPORARY_SUFFIX}"))
}

/// Whether this is a temporary name, which only a killed run leaves behind.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(TEMPORARY_SUFFIX)
}

/// Writes these bytes to `path` and replaces a file that exists. For folders that the caller has
/// locked.
pub(crate) fn replace(path: &Path, bytes: &[u8], crash: &CrashPoint) -> Result<(), Error> {
    let temporary = temporary(path, "");
    crash.step()?;
    let written = write(&temporary, path, bytes).and_then(|()| {
        crash.step()?;
        fs::rename(&temporary, path).map_err(failed("renaming to", path))
    });
    if written.is_err() && !crash.has_crashed() {
        drop(fs::remove_file(&temporary));
    }
    written?;
    sync_parent(path)
}

/// Writes these bytes to `path` unless it exists; returns whether it did. Of many processes that
/// race one succeeds, and no process sees a part of the file.
pub(crate) fn create_if_absent(
    path: &Path,
    bytes: &[u8],
    crash: &CrashPoint,
) -> Result<bool, Error> {
    let created = loop {
        // Each process has a temporary name of its own, so that none touches another's file.
        let tag = format!(".{:016x}", RandomState::new().build_hasher().finish());
        let temporary = temporary(path, &tag);
        crash.step()?;
        let linked = write(&temporary, path, bytes).and_then(|()| {
            crash.step()?;
            Ok(fs::hard_link(&temporary, path))
        });
        if !crash.has_crashed() {
            drop(fs::remove_file(&temporary));
        }
        match linked? {
            Ok(()) => break true,
            Err(_) if path.exists() => break false,
            // Another process removed the temporary file after it saw `path`, which is gone again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("creating", path)(error)),
        }
    };
    crash.step()?;
    sync_parent(path)?;
    Ok(created)
}

/// Removes the temporary files of `path` that killed runs left. Call it once `path` exists: then a
/// process that still races for it finds it.
pub(crate) fn sweep_temporaries_of(path: &Path) {
    let Some(name) = path.file_name() else { return };
    let prefix = format!(".{}.", name.to_string_lossy());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(folder.unwrap_or_else(|| Path::new("."))) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&prefix) && is_temporary(&name) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// Writes and syncs the temporary file of `path`. Errors name `path`, the name that people know.
fn write(temporary: &Path, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = File::create(temporary).map_err(failed("creating", path))?;
    file.write_all(bytes).map_err(failed("writing", path))?;
    file.sync_all().map_err(failed("syncing", path))
}

/// Removes a file durably; a missing file is no error.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("removing", path)(error))
        }
        _ => sync_parent(path),
    }
}

/// Syncs the folder of `path`, which makes the names in it durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    atomic_file::sync_folder_of(path).map_err(failed("syncing the folder of", path))
}

/// Syncs a folder, which makes the names in it durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    atomic_file::sync_folder(folder).map_err(failed("syncing the folder", folder))
}

/// The error of `action` on `path`.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::io(format!("{action} {}", path.display()), source)
}

/// The content of a file; `None` if there is none.
pub(crate) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("reading", path)(error)),
    }
}

/// The text of a file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("reading", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_that_race_one_creates_and_all_see_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plan.json");
        let results: Vec<(usize, bool, String)> = std::thread::scope(|scope| {
            let race = |racer: usize| {
                let text = format!("{racer}").repeat(10_000);
                let created =
                    create_if_absent(&path, text.as_bytes(), &CrashPoint::never()).unwrap();
                if racer.is_multiple_of(2) {
                    sweep_temporaries_of(&path);
                }
                (racer, created, read(&path).unwrap().unwrap())
            };
            let racers: Vec<_> = (0..8).map(|racer| scope.spawn(move || race(racer))).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winners: Vec<_> = results.iter().filter(|(_, created, _)| *created).collect();
        assert_eq!(winners.len(), 1);
        let expected = winners[0].0.to_string().repeat(10_000);
        assert!(results.iter().all(|(_, _, seen)| *seen == expected));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn replacing_leaves_the_old_or_the_new_file_at_every_step() {
        for steps in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("receipt.json");
            replace(&path, b"old", &CrashPoint::never()).unwrap();
            let died = replace(&path, b"new", &CrashPoint::before_step(steps)).is_err();
            let seen = read(&path).unwrap().unwrap();
            assert!(seen == "old" || seen == "new", "{seen}");
            if !died {
                assert_eq!(seen, "new");
                break;
            }
        }
    }
}
