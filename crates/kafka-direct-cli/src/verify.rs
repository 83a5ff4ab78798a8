//! `verify`: checks the folder of a finished job against its receipt; asks no broker.

use kafka_direct_sinks::job::{self, Mismatch};
use serde::Serialize;

use crate::{cli::VerifyArgs, exit::Failure, output};

/// The result as JSON.
#[derive(Debug, Serialize)]
struct VerificationLine<'a> {
    folder: String,
    matches: bool,
    /// Records and files according to the receipt.
    records: u64,
    files: usize,
    mismatches: &'a [Mismatch],
}

/// Runs `verify`.
pub(crate) async fn run(args: VerifyArgs) -> Result<(), Failure> {
    let VerifyArgs { folder, json } = args;
    let shown = folder.display().to_string();
    let verified = tokio::task::spawn_blocking(move || job::verify(&folder)).await;
    let verified = verified.map_err(|_| Failure::unmet("a thread that reads files panicked"))??;
    let (totals, mismatches) = (verified.totals, verified.mismatches.as_slice());
    if json {
        output::json(&VerificationLine {
            folder: shown.clone(),
            matches: mismatches.is_empty(),
            records: totals.records,
            files: totals.ranges,
            mismatches,
        })?;
    }
    if mismatches.is_empty() {
        let line = format!("{shown}: {totals} match the receipt\n");
        return if json { Ok(()) } else { output::data(&line) };
    }
    let found: Vec<String> = mismatches.iter().map(ToString::to_string).collect();
    Err(Failure::unmet(format!(
        "{shown} does not match its receipt: {}; `read --output DIR/ --force` reads its ranges again",
        found.join("; ")
    )))
}
