//! Whether a stream may write into a folder, and the folders that it needs.
//!
//! Contract: a folder with a manifest of the stream belongs to it. A folder with manifests of another
//! stream, a batch job, or data files of unknown origin is refused unless the caller appends. Nothing
//! is written into a folder that is refused.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kafka_direct::checkpoint::BatchId;

use super::layout::{Layout, batch_of_manifest, streams_folder};
use crate::{
    Error,
    files::{CrashPoint, STATE_FOLDER, durable, find_range_file, names_in},
    job::{PLAN_FILE, RECEIPT_FILE, folder::SETTINGS_FILE},
};

/// Refuses a folder that is none, or that a batch job wrote and no stream has committed to. Which
/// stream will write is not known yet.
pub(super) fn refuse_job(root: &Path, append: bool) -> Result<(), Error> {
    if root.exists() && !root.is_dir() {
        return Err(Error::invalid(format!("{} is not a folder", root.display())));
    }
    match job_file(root) {
        Some(found) if !append && streams_with_manifests(root)?.is_empty() => {
            Err(foreign(root, &found))
        }
        _ => Ok(()),
    }
}

/// Refuses a folder without a manifest of this stream, if it holds what somebody else wrote.
pub(super) fn refuse_others(layout: &Layout) -> Result<(), Error> {
    let root = &layout.root;
    let streams = streams_with_manifests(root)?;
    if streams.contains(&layout.manifests) {
        return Ok(());
    }
    if let Some(other) = streams.first() {
        let id = other.file_name().unwrap_or_default().display().to_string();
        return Err(foreign(root, &format!("the batches of stream {id}")));
    }
    let files = || {
        if root.is_dir() { find_range_file(root, |_| true) } else { Ok(None) }
    };
    let found = match job_file(root) {
        Some(found) => Some(found),
        None => files()?.map(|name| format!("the data file {name}")),
    };
    found.map_or(Ok(()), |found| Err(foreign(root, &found)))
}

/// A file that only a batch job writes.
fn job_file(root: &Path) -> Option<String> {
    let state = root.join(STATE_FOLDER).join(SETTINGS_FILE);
    let job = [root.join(PLAN_FILE), root.join(RECEIPT_FILE), state];
    let found = job.iter().find(|path| path.exists())?;
    Some(format!("the batch job of {}", found.display()))
}

fn foreign(root: &Path, found: &str) -> Error {
    Error::invalid(format!(
        "{} holds {found}, which this stream did not write: choose another folder, or pass --append to write beside it (a stream whose checkpoint was lost then reads everything again)",
        root.display()
    ))
}

/// The folders of streams that have committed a batch.
fn streams_with_manifests(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let streams = streams_folder(root);
    let mut found = Vec::new();
    for name in list(&streams)? {
        let stream = streams.join(name);
        if stream.is_dir() && !batches(&stream)?.is_empty() {
            found.push(stream);
        }
    }
    found.sort();
    Ok(found)
}

/// The batches that have a manifest in `manifests`, in ascending order.
pub(super) fn batches(manifests: &Path) -> Result<Vec<BatchId>, Error> {
    let mut batches: Vec<_> =
        list(manifests)?.iter().filter_map(|name| batch_of_manifest(name)).collect();
    batches.sort_unstable();
    Ok(batches)
}

/// The names in a folder; none if it does not exist.
pub(super) fn list(folder: &Path) -> Result<Vec<String>, Error> {
    match fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(durable::failed("listing", folder)(error)),
        Ok(_) => names_in(folder),
    }
}

/// Creates the stream's folders and makes their names durable.
pub(super) fn prepare(layout: &Layout, crash: &CrashPoint) -> Result<(), Error> {
    let (root, folder) = (&layout.root, &layout.temporaries);
    let missing = root.ancestors().take_while(|ancestor| !ancestor.is_dir()).count();
    let inside = folder.ancestors().take_while(|ancestor| *ancestor != root).count();
    crash.step()?;
    fs::create_dir_all(folder).map_err(durable::failed("creating", folder))?;
    crash.step()?;
    // Folders inside the root are synced even if they existed: the process that created them may have
    // been killed before it did so.
    folder.ancestors().take(inside.saturating_add(missing)).try_for_each(durable::sync_parent)
}
