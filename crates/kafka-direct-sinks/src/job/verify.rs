//! Checks the folder of a finished job against its receipt, without a broker.
//!
//! Contract: nothing in the folder is changed, and no lock is taken. Every byte of every file is
//! read.

use std::{collections::HashSet, fmt, path::Path};

use serde::Serialize;

use super::{
    folder::{PLAN_FILE, RECEIPT_FILE},
    receipt::{Receipt, Totals},
};
use crate::{
    Error,
    files::{Content, FileReceipt, durable, file_name, names_in},
};

/// What [`verify`] found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Verification {
    /// The sums of the receipt.
    pub totals: Totals,
    /// The files that do not match the receipt: first those of the receipt in plan order, then
    /// `plan.json`, then data files that the receipt does not name, by name. Empty if all match.
    pub mismatches: Vec<Mismatch>,
}

/// A file that does not match the receipt. It displays as one sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mismatch {
    /// The name of the file in the folder.
    pub file: String,
    /// What is wrong with it.
    #[serde(flatten)]
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// It does not exist.
    Missing,
    /// Its size in bytes differs.
    Size {
        /// The size in the receipt.
        expected: u64,
        /// The size of the file.
        found: u64,
    },
    /// Its size is right and its CRC-32 differs.
    Checksum {
        /// The CRC-32 in the receipt, as eight hexadecimal digits.
        expected: String,
        /// The CRC-32 of the file.
        found: String,
    },
    /// It is named like the file of a range, or has the extension of one, and the receipt does not name
    /// it: who reads the folder by a pattern would read it too.
    Unexpected,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        match &self.problem {
            Problem::Missing => write!(f, "{file} is missing"),
            Problem::Size { expected, found } => {
                write!(f, "{file} has the size {found} B, and {expected} B in the receipt")
            }
            Problem::Checksum { expected, found } => {
                write!(f, "{file} has the CRC-32 {found}, and {expected} in the receipt")
            }
            Problem::Unexpected => write!(f, "{file} is not in the receipt"),
        }
    }
}

/// Checks that the files of the finished job in `folder` are those of its receipt.
///
/// Every file of the receipt must exist with the recorded size and CRC-32, and `plan.json` with its
/// CRC-32. There must be no other file that is named like the file of a range or has the extension of
/// one. Files that differ are in the result and are no error. Files with other names are ignored.
///
/// The files are read on the calling thread, one after the other.
///
/// # Errors
/// [`Error::Invalid`] if the folder has no receipt, because its job is not finished, or no valid
/// one; [`Error::Io`] if the folder or a file cannot be read.
pub fn verify(folder: &Path) -> Result<Verification, Error> {
    let path = folder.join(RECEIPT_FILE);
    let Some(text) = durable::read(&path)? else {
        let shown = folder.display();
        return Err(Error::invalid(match folder.is_dir() {
            true => format!(
                "{shown} has no {RECEIPT_FILE}: the job is not finished, or this is no job folder; run the job again to finish it"
            ),
            false => format!("the folder {shown} does not exist"),
        }));
    };
    let receipt = Receipt::from_json(&text, &path)?;
    let mut mismatches = Vec::new();
    for range in &receipt.ranges {
        let problem = file_problem(&range.file, folder)?;
        mismatches.extend(problem.map(|problem| mismatch(&range.file.name, problem)));
    }
    mismatches.extend(plan_mismatch(folder, receipt.plan_crc32())?);
    let named: HashSet<&str> =
        receipt.ranges.iter().map(|range| range.file.name.as_str()).collect();
    let mut others = names_in(folder)?;
    let extension = |name: &str| name.rsplit_once('.').map(|(_, extension)| extension.to_owned());
    let extensions: HashSet<String> = named.iter().filter_map(|name| extension(name)).collect();
    let is_ours = |name: &str| {
        file_name::is_range_file(name)
            || extension(name).is_some_and(|extension| extensions.contains(&extension))
    };
    others.retain(|name| {
        !name.starts_with('.')
            && ![PLAN_FILE, RECEIPT_FILE].contains(&name.as_str())
            && is_ours(name)
            && !named.contains(name.as_str())
    });
    others.sort();
    mismatches.extend(others.iter().map(|name| mismatch(name, Problem::Unexpected)));
    Ok(Verification { totals: receipt.totals, mismatches })
}

/// What differs between the file in `folder` and the one that `expected` was written for.
fn file_problem(expected: &FileReceipt, folder: &Path) -> Result<Option<Problem>, Error> {
    let Some(found) = Content::of(&folder.join(&expected.name))? else {
        return Ok(Some(Problem::Missing));
    };
    if found.bytes() != expected.bytes {
        return Ok(Some(Problem::Size { expected: expected.bytes, found: found.bytes() }));
    }
    let (expected, found) = (expected.crc32.clone(), found.crc32());
    Ok((found != expected).then_some(Problem::Checksum { expected, found }))
}

fn plan_mismatch(folder: &Path, expected: &str) -> Result<Option<Mismatch>, Error> {
    let Some(bytes) = durable::read_bytes(&folder.join(PLAN_FILE))? else {
        return Ok(Some(mismatch(PLAN_FILE, Problem::Missing)));
    };
    let mut content = Content::new();
    content.update(&bytes);
    let (expected, found) = (expected.to_owned(), content.crc32());
    Ok((found != expected).then(|| mismatch(PLAN_FILE, Problem::Checksum { expected, found })))
}

fn mismatch(file: &str, problem: Problem) -> Mismatch {
    Mismatch { file: file.to_owned(), problem }
}
