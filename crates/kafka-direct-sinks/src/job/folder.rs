//! The folder a job writes into: which job owns it, and which ranges are finished.
//!
//! Layout: one file per planned range, `plan.json`, and `receipt.json` once all files exist. The
//! hidden folder `.kafka-direct` holds the lock, the job's settings and, until `receipt.json` is
//! written, one receipt per finished range.
//!
//! Contract: one process at a time. A range is finished if and only if its file exists *and* matches
//! its receipt byte for byte, so the order in which the disk stored the writes does not matter. A job
//! is done if and only if `receipt.json` exists.

use std::{
    collections::HashSet,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use kafka_direct::BatchPlan;

use super::{
    plan_file,
    receipt::{RangeReceipt, Receipt},
    settings::JobSettings,
};
use crate::{
    Error,
    files::{CrashPoint, STATE_FOLDER, durable, find_range_file, names_in, to_json},
};

/// The name of the plan in a job's folder.
pub const PLAN_FILE: &str = "plan.json";

/// The name of a job's settings in the hidden folder.
pub(crate) const SETTINGS_FILE: &str = "settings.json";

/// The name of the receipt in the folder of a finished job.
pub const RECEIPT_FILE: &str = "receipt.json";

/// A locked job folder.
#[derive(Debug)]
pub(crate) struct JobFolder {
    path: PathBuf,
    state: PathBuf,
    /// Held until the last task that writes to the folder has ended.
    _lock: File,
    pub(super) crash: CrashPoint,
}

impl JobFolder {
    /// Creates the folder where it is missing, locks it, and removes temporary files of runs
    /// that were killed.
    pub(crate) fn open(path: &Path, crash: CrashPoint) -> Result<Self, Error> {
        let state = path.join(STATE_FOLDER);
        if !state.is_dir() {
            crash.step()?;
            fs::create_dir_all(&state).map_err(durable::failed("creating", &state))?;
            durable::sync_parent(&state)?;
            durable::sync_parent(path)?;
        }
        let lock_path = state.join("lock");
        crash.step()?;
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(durable::failed("creating", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Busy { folder: path.to_owned() });
            }
            Err(TryLockError::Error(error)) => {
                return Err(durable::failed("locking", &lock_path)(error));
            }
        }
        let folder = Self { path: path.to_owned(), state, _lock: lock, crash };
        folder.sweep(&folder.path)?;
        folder.sweep(&folder.state)?;
        Ok(folder)
    }

    fn sweep(&self, folder: &Path) -> Result<(), Error> {
        for name in names_in(folder)? {
            if durable::is_temporary(&name) {
                self.crash.step()?;
                durable::remove(&folder.join(name))?;
            }
        }
        Ok(())
    }

    /// Refuses if the folder belongs to a job with other settings, or to another plan.
    pub(crate) fn refuse_others(
        &self,
        settings: &JobSettings,
        plan: Option<&BatchPlan>,
    ) -> Result<(), Error> {
        // A run that ended before it wrote the plan left settings only.
        let Some(here) = self.plan()? else { return Ok(()) };
        let path = self.settings_path();
        let begun = durable::read(&path)?.map(|text| JobSettings::from_json(&text, &path));
        let flags = begun.transpose()?.and_then(|begun| begun.difference(settings));
        let ranges = plan.and_then(|plan| plan_file::difference(&here, plan));
        match flags.or(ranges) {
            Some(difference) => Err(self.foreign(&difference)),
            None => Ok(()),
        }
    }

    /// Claims the folder for a job with these settings and this plan; returns the text of the plan
    /// that is in the folder then.
    pub(crate) fn claim(&self, settings: &JobSettings, plan: &BatchPlan) -> Result<String, Error> {
        let path = self.settings_path();
        let here = plan_file::read(&self.plan_path())?;
        if here.is_none() || durable::read(&path)?.is_none() {
            durable::replace(&path, to_json(settings).as_bytes(), &self.crash)?;
        }
        match here {
            Some((_, text)) => Ok(text),
            None => Ok(plan_file::create(&self.plan_path(), plan, &self.crash)?.1),
        }
    }

    fn settings_path(&self) -> PathBuf {
        self.state.join(SETTINGS_FILE)
    }

    fn plan_path(&self) -> PathBuf {
        self.path.join(PLAN_FILE)
    }

    /// The folder's plan, if it has one.
    pub(crate) fn plan(&self) -> Result<Option<BatchPlan>, Error> {
        Ok(plan_file::read(&self.plan_path())?.map(|(plan, _)| plan))
    }

    /// Refuses if the folder has a file of a range that is not among `ours`: a reader of the folder
    /// would take it for a part of this job.
    pub(crate) fn refuse_foreign_ranges(&self, ours: &[String]) -> Result<(), Error> {
        let ours: HashSet<&String> = ours.iter().collect();
        match find_range_file(&self.path, |name| !ours.contains(&name.to_owned()))? {
            Some(name) => Err(self.foreign(&format!("its file {name} is no range of the plan"))),
            None => Ok(()),
        }
    }

    fn foreign(&self, difference: &str) -> Error {
        Error::invalid(format!(
            "{} belongs to another job: {difference}; to continue it repeat its settings or leave out all that select offsets, else choose another folder",
            self.path.display()
        ))
    }

    /// The receipt of the whole job, if it is done.
    pub(crate) fn receipt(&self) -> Result<Option<Receipt>, Error> {
        let path = self.receipt_path();
        durable::read(&path)?.map(|text| Receipt::from_json(&text, &path)).transpose()
    }

    fn receipt_path(&self) -> PathBuf {
        self.path.join(RECEIPT_FILE)
    }

    /// Removes all receipts, so that no range counts as finished. Files stay until they are replaced.
    pub(crate) fn forget(&self) -> Result<(), Error> {
        self.crash.step()?;
        durable::remove(&self.receipt_path())?;
        self.remove_range_receipts()
    }

    /// The receipt of a range whose file is finished. A receipt that is torn, or a file that is missing
    /// or differs, is an unfinished range; a file that cannot be read is an error.
    pub(crate) fn finished(&self, file: &str) -> Result<Option<RangeReceipt>, Error> {
        let path = self.range_receipt_path(file);
        let Some(bytes) = durable::read_bytes(&path)? else { return Ok(None) };
        let Ok(receipt) = serde_json::from_slice::<RangeReceipt>(&bytes) else { return Ok(None) };
        if receipt.file.name != file {
            return Ok(None);
        }
        Ok(receipt.file.matches(&self.path.join(file))?.then_some(receipt))
    }

    fn range_receipt_path(&self, file: &str) -> PathBuf {
        self.state.join(format!("{file}.receipt"))
    }

    /// Writes the receipt of a range whose file is about to get its final name.
    pub(crate) fn note(&self, receipt: &RangeReceipt) -> Result<(), Error> {
        let path = self.range_receipt_path(&receipt.file.name);
        self.crash.step()?;
        // Not synced: a torn or lost receipt matches no file, and the range is read again.
        fs::write(&path, to_json(receipt)).map_err(durable::failed("writing", &path))
    }

    /// The path of the file with this name.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes `receipt.json`, which marks the job as done.
    pub(crate) fn finish(&self, receipt: &Receipt) -> Result<(), Error> {
        durable::replace(&self.receipt_path(), to_json(receipt).as_bytes(), &self.crash)?;
        self.remove_range_receipts()
    }

    /// Removes the ranges' own receipts, of which `receipt.json` holds copies.
    pub(crate) fn remove_range_receipts(&self) -> Result<(), Error> {
        for name in names_in(&self.state)? {
            if name.ends_with(".receipt") {
                self.crash.step()?;
                let path = self.state.join(name);
                fs::remove_file(&path).map_err(durable::failed("removing", &path))?;
            }
        }
        durable::sync_parent(&self.state.join("lock"))
    }
}
