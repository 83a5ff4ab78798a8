//! Files that jobs and streams share: durable writes, names, checksums, and encoded output.

pub(crate) mod content;
mod crash_point;
pub(crate) mod durable;
mod encoded_file;
pub(crate) mod file_name;
mod temporary_file;

use std::{fs, path::Path};

pub(crate) use self::{
    content::{Content, FileReceipt, parse, to_json},
    crash_point::CrashPoint,
    encoded_file::{AppendFile, EncodedFile, FileWork, Output},
    temporary_file::TemporaryFile,
};
use crate::Error;

/// The hidden folder for the state of jobs and streams, inside the folder they write into.
pub(crate) const STATE_FOLDER: &str = ".kafka-direct";

/// The first file of ranges in a folder, or in one below that is named after a topic or a time, for which
/// `is_foreign` is true; its path from `folder`. Names below are not asked about.
pub(crate) fn find_range_file(
    folder: &Path,
    is_foreign: impl Fn(&str) -> bool,
) -> Result<Option<String>, Error> {
    for name in names_in(folder)? {
        if file_name::is_range_file(&name) && is_foreign(&name) {
            return Ok(Some(name));
        }
        let below = folder.join(&name);
        if name.contains('=') && below.is_dir() {
            let all: fn(&str) -> bool = |_| true;
            if let Some(found) = find_range_file(&below, all)? {
                return Ok(Some(format!("{name}/{found}")));
            }
        }
    }
    Ok(None)
}

/// The names in a folder that are UTF-8: no job writes others.
pub(crate) fn names_in(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(folder).map_err(durable::failed("listing", folder))?;
    entries
        .filter_map(|entry| match entry {
            Ok(entry) => entry.file_name().into_string().ok().map(Ok),
            Err(error) => Some(Err(durable::failed("listing", folder)(error))),
        })
        .collect()
}
