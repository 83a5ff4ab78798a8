//! Where a stream's state is, and the names of its files.
//!
//! Layout, in the folder that the stream writes into:
//!
//! ```text
//! batch-<batch>-<stream>-<topic>-<partition>-<from>-<until>.<extension>
//! batch-<batch>-<stream>-group-<index>.<extension>
//! topic=<topic>/date=<date>/hour=<hour>/batch-...
//! .kafka-direct/streams/<stream>/<batch>.json
//! .kafka-direct/streams/<stream>/tmp/.<batch>-<group>-<generation>-<attempt>.<random>.kafka-direct-tmp
//! .kafka-direct/streams/<stream>/tmp/.<batch>-<group>-<generation>-<attempt>.<random>.commit.kafka-direct-tmp
//! ```
//!
//! Temporary files are in a folder of their own: a batch job that is started in the same folder by
//! mistake removes only temporary files that it could have made itself.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::{Path, PathBuf},
};

use kafka_direct::{
    StreamBatch, WriteTask,
    checkpoint::{BatchId, Generation, StreamId},
};

use crate::{
    Error,
    files::{STATE_FOLDER, durable, file_name},
};

const STREAMS_FOLDER: &str = "streams";
const TEMPORARY_FOLDER: &str = "tmp";
const CLAIMED: &str = ".commit";
const MANIFEST_EXTENSION: &str = ".json";

/// The paths of one stream in one folder.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The folder that the stream writes into.
    pub(super) root: PathBuf,
    /// The folder of its manifests.
    pub(super) manifests: PathBuf,
    /// The folder of its temporary files.
    pub(super) temporaries: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path, stream: StreamId) -> Self {
        let manifests = streams_folder(root).join(stream.to_string());
        let temporaries = manifests.join(TEMPORARY_FOLDER);
        Self { root: root.to_owned(), manifests, temporaries }
    }

    pub(super) fn manifest(&self, batch: BatchId) -> PathBuf {
        self.manifests.join(format!("{}{MANIFEST_EXTENSION}", file_name::number(batch)))
    }
}

/// The folder with one folder per stream.
pub(super) fn streams_folder(root: &Path) -> PathBuf {
    root.join(STATE_FOLDER).join(STREAMS_FOLDER)
}

/// The batch of a manifest with this name.
pub(super) fn batch_of_manifest(name: &str) -> Option<BatchId> {
    file_name::number_in(name.strip_suffix(MANIFEST_EXTENSION)?)
}

/// The batch of a temporary file with this name: one of a range, or of a manifest.
pub(super) fn batch_of_temporary(name: &str) -> Option<BatchId> {
    if !durable::is_temporary(name) {
        return None;
    }
    file_name::number_in(name.get(1..=file_name::DIGITS)?)
}

/// What the temporary names of an attempt begin with.
pub(super) fn attempt_prefix(task: &WriteTask, batch: StreamBatch) -> String {
    let (group, attempt, generation) = (task.index, task.attempt, batch.generation);
    let batch = file_name::number(batch.batch);
    format!(".{batch}-{group}-{generation}-{attempt}.")
}

/// A temporary name with this prefix. No other writer has it, whatever its generation is.
pub(super) fn temporary_name(prefix: &str) -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("{prefix}{random:016x}{}", durable::TEMPORARY_SUFFIX)
}

/// The generation of the driver that writes this temporary file of a group. `None` for a file of
/// which a commit has taken possession, and for other names.
pub(super) fn generation_of_unclaimed(name: &str) -> Option<Generation> {
    if !durable::is_temporary(name) || is_claimed(name) {
        return None;
    }
    let attempt = name.strip_prefix('.')?.split('.').next()?;
    attempt.split('-').nth(2)?.parse().ok().map(Generation::new)
}

/// Whether a commit has taken possession of this temporary file.
pub(super) fn is_claimed(name: &str) -> bool {
    name.ends_with(&format!("{CLAIMED}{}", durable::TEMPORARY_SUFFIX))
}

/// The name of a temporary file of which a commit has taken possession.
pub(super) fn claimed_name(temporary: &str) -> String {
    let name = temporary.strip_suffix(durable::TEMPORARY_SUFFIX).unwrap_or(temporary);
    format!("{name}{CLAIMED}{}", durable::TEMPORARY_SUFFIX)
}

/// A name from a receipt or a manifest, as a path in `folder`.
///
/// # Errors
/// [`Error::Invalid`] for a name that leads out of the folder.
pub(super) fn file_in(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    if Path::new(name).file_name().is_none_or(|file| file != name) {
        return Err(Error::invalid(format!(
            "`{name}` is not the name of a file in {}: the receipt or manifest was changed",
            folder.display()
        )));
    }
    Ok(folder.join(name))
}

/// A final name from a manifest, as a path below `root`: a file, or one in folders `<key>=<value>`.
///
/// # Errors
/// [`Error::Invalid`] for a name that leads out of the folder, or into one that is not a stream's.
pub(super) fn final_path(root: &Path, name: &str) -> Result<PathBuf, Error> {
    match name.rsplit_once('/') {
        Some((folders, file)) if folders.split('/').all(is_partition) => {
            file_in(&root.join(folders), file)
        }
        _ => file_in(root, name),
    }
}

/// Whether this is the name of a folder of a layout by topic or time.
fn is_partition(folder: &str) -> bool {
    folder.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty())
        && !folder.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_batch_of_every_name_is_known_and_of_other_names_it_is_not() {
        let layout = Layout::new(Path::new("out"), StreamId::random());
        let manifest = layout.manifest(BatchId::new(7));
        let name = manifest.file_name().unwrap().to_str().unwrap();
        assert_eq!(batch_of_manifest(name), Some(BatchId::new(7)));
        let temporary = durable::temporary(&manifest, ".0123");
        let temporary = temporary.file_name().unwrap().to_str().unwrap();
        assert_eq!(batch_of_temporary(temporary), Some(BatchId::new(7)));
        assert_eq!(batch_of_manifest(temporary), None);
        for other in ["", "7.json", ".x.kafka-direct-tmp", "tmp", name] {
            assert_eq!(batch_of_temporary(other), None, "{other}");
        }
    }

    #[test]
    fn a_commit_takes_a_file_out_of_the_reach_of_newer_drivers() {
        let temporary = temporary_name(".00000000000000000007-0-12-3.");
        assert_eq!(batch_of_temporary(&temporary), Some(BatchId::new(7)));
        assert_eq!(generation_of_unclaimed(&temporary), Some(Generation::new(12)));
        let claimed = claimed_name(&temporary);
        assert_eq!(batch_of_temporary(&claimed), Some(BatchId::new(7)));
        assert_eq!(generation_of_unclaimed(&claimed), None);
    }

    #[test]
    fn a_name_that_leads_out_of_the_folder_is_refused() {
        let folder = Path::new("out");
        assert_eq!(file_in(folder, "a.jsonl").unwrap(), Path::new("out/a.jsonl"));
        for name in ["../a", "a/b", "/a", "..", "", "a/"] {
            assert!(matches!(file_in(folder, name), Err(Error::Invalid { .. })), "{name}");
            assert!(matches!(final_path(folder, name), Err(Error::Invalid { .. })), "{name}");
        }
        assert_eq!(final_path(folder, "a=1/b=2/x").unwrap(), Path::new("out/a=1/b=2/x"));
        for name in ["a=1/../x", "../a=1/x", "/a=1/x", "a=1//x", ".a=1/x", "a=/x", "a=1/", "a=1/.."]
        {
            assert!(matches!(final_path(folder, name), Err(Error::Invalid { .. })), "{name}");
        }
    }
}
