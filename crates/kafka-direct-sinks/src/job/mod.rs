//! Offset-range batch jobs: one folder, one file per planned range, safe to kill and run again.
//!
//! **Promises:** a plan is resolved once and read verbatim ever after; a folder holds one file per
//! planned range, each complete and durable before it has its name; a job that is killed at any
//! moment and run again leaves the same records in the same files as an undisturbed one, and for
//! JSON lines, CSV and raw the same bytes; a job that is done reads nothing and asks no broker.
//!
//! **Out of scope:** schedules, other machines' jobs, how a record is formatted.

pub(crate) mod folder;
pub mod plan_file;
mod range_file;
mod receipt;
mod run;
mod settings;
mod sink;
#[cfg(test)]
mod tests;
mod verify;

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use kafka_direct::{BatchPlan, Columns};

pub use self::{
    folder::{PLAN_FILE, RECEIPT_FILE},
    receipt::{RangeReceipt, Receipt, Totals},
    run::JobOutcome,
    verify::{Mismatch, Problem, Verification, verify},
};
pub use crate::files::content::FileReceipt;
use crate::{ArrowTypes, Format, files::CrashPoint};

type PlanCheck = Arc<dyn Fn(&BatchPlan) -> Result<(), String> + Send + Sync>;

/// A batch job: reads a selection, or a plan from a file, into a folder.
///
/// The folder gets one file per planned range, `plan.json`, and at last `receipt.json`. Running the
/// same job again continues where a killed run ended: the plan is taken from the folder, and ranges
/// whose files are complete are not read again. One process at a time may write into a folder.
#[derive(Clone)]
#[must_use]
pub struct BatchJob {
    folder: PathBuf,
    format: Format,
    columns: Columns,
    arrow_types: ArrowTypes,
    plan_file: Option<PathBuf>,
    force: bool,
    selection: Option<BTreeMap<String, String>>,
    check: Option<PlanCheck>,
    crash: CrashPoint,
}

impl BatchJob {
    /// A job that writes into `folder`, which is created if it is missing.
    pub fn new(folder: impl Into<PathBuf>, format: Format) -> Self {
        Self {
            folder: folder.into(),
            format,
            columns: format.default_columns(),
            arrow_types: ArrowTypes::Plain,
            plan_file: None,
            force: false,
            selection: None,
            check: None,
            crash: CrashPoint::never(),
        }
    }

    /// The columns to write. Default: those of [`Format::default_columns`].
    pub const fn columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    /// The types of text and bytes in Arrow files; other formats ignore it. Default:
    /// [`ArrowTypes::Plain`].
    pub const fn arrow_types(mut self, types: ArrowTypes) -> Self {
        self.arrow_types = types;
        self
    }

    /// Keeps the plan in this file: if it exists, its plan is read and the selection is not; if it
    /// does not, the plan is written there first. Default: the plan is kept in the folder alone.
    pub fn plan_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.plan_file = Some(file.into());
        self
    }

    /// Reads ranges again whose files are complete. Default: they are left as they are.
    pub const fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// Describes the selection by names and values, for example `from` and `earliest`. A later run
    /// with another description is refused by what differs. Default: the description of the selection
    /// with [`BatchJob::run`], none with [`BatchJob::run_with`]. Without a description a later run
    /// continues with the plan in the folder, whatever it selects.
    pub fn selected_by(mut self, words: BTreeMap<String, String>) -> Self {
        self.selection = Some(words);
        self
    }

    /// Refuses plans, from a file or from the folder, for which `check` returns a reason.
    pub fn check_plan(
        mut self,
        check: impl Fn(&BatchPlan) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.check = Some(Arc::new(check));
        self
    }
}

impl fmt::Debug for BatchJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, format, columns, arrow_types, plan_file, force, .. } = self;
        f.debug_struct("BatchJob")
            .field("folder", folder)
            .field("format", format)
            .field("columns", columns)
            .field("arrow_types", arrow_types)
            .field("plan_file", plan_file)
            .field("force", force)
            .finish_non_exhaustive()
    }
}
