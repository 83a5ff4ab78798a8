//! Runs the cases under callgrind and reads its counts.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{
    BoxError,
    cases::{self, Case},
};

/// Number of phases of a case, each of which ends with a call of [`phase_ends`].
///
/// They are the setup, the work once, the work twice, its uncounted part once, and that part twice.
const PHASES: usize = 5;

/// The counts of one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) case: String,
    /// Instructions per record, or per partition of a plan. `None` if the processor is not the
    /// baseline's.
    pub(crate) instructions_per_record: Option<f64>,
    pub(crate) allocations_per_1000_records: f64,
}

/// The output of the run under callgrind.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ran {
    /// Whether the processor that valgrind emulates is the baseline's.
    usual_processor: bool,
    cases: Vec<RanCase>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RanCase {
    name: String,
    items: usize,
    allocations: u64,
}

/// Marks the end of a phase: callgrind writes its counts on entry, and starts again from 0.
#[inline(never)]
fn phase_ends() {
    std::hint::black_box(());
}

/// Runs all cases under callgrind.
pub(crate) fn run_cases() -> Result<Ran, BoxError> {
    let mut cases = Vec::new();
    for case in cases::all()? {
        phase_ends();
        let allocations = run(&case)?;
        cases.push(RanCase { name: case.name.to_owned(), items: case.items, allocations });
    }
    Ok(Ran { usual_processor: is_usual_processor(), cases })
}

/// Runs the case's phases and returns the allocations of one run.
fn run(case: &Case) -> Result<u64, BoxError> {
    let mut failed = None;
    let mut allocations = [0; 4];
    for (phase, counted) in allocations.iter_mut().enumerate() {
        let (is_work, times) = (phase < 2, phase % 2 + 1);
        let phase = allocation_counter::measure(|| {
            for _ in 0..times {
                if is_work {
                    failed = case.run().err().or(failed.take());
                } else {
                    case.run_uncounted();
                }
            }
        });
        *counted = phase.count_total;
        phase_ends();
    }
    failed.map_or_else(|| Ok(of_one_run(allocations)), Err)
}

/// Returns the count of the second run, minus that of its uncounted part.
fn of_one_run([once, twice, uncounted, uncounted_twice]: [u64; 4]) -> u64 {
    let work = twice.saturating_sub(once);
    work.saturating_sub(uncounted_twice.saturating_sub(uncounted))
}

#[cfg(target_arch = "x86_64")]
fn is_usual_processor() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
const fn is_usual_processor() -> bool {
    false
}

/// Counts all cases.
pub(crate) fn measure() -> Result<Vec<Counted>, BoxError> {
    let this = env::current_exe()?;
    let folder = this.with_extension("callgrind");
    // Files of an interrupted run would be read as counts of this one.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir(&folder)?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--dump-before=*phase_ends*"])
        .arg(format!("--callgrind-out-file={}", folder.join("counts").display()))
        .arg(&this)
        .arg("--under-callgrind")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start valgrind: {error}"))?;
    if !output.status.success() {
        return Err(format!("the run under valgrind failed: {}", output.status).into());
    }
    let Ran { usual_processor, cases } = serde_json::from_slice(&output.stdout)?;
    let mut all = Vec::new();
    for (index, RanCase { name, items, allocations }) in cases.into_iter().enumerate() {
        let mut instructions = [0; 4];
        for (phase, counted) in (1..).zip(&mut instructions) {
            // Files are numbered from 1, and the first file of a case is the setup.
            *counted = count_in(&folder.join(format!("counts.{}", index * PHASES + phase + 1)))?;
        }
        let per = |count: u64, items: f64| (count as f64 / items * 1000.0).round() / 1000.0;
        all.push(Counted {
            case: name,
            instructions_per_record: usual_processor
                .then(|| per(of_one_run(instructions), items as f64)),
            allocations_per_1000_records: per(allocations, items as f64 / 1000.0),
        });
    }
    fs::remove_dir_all(&folder)?;
    Ok(all)
}

/// Returns the sum of a file that callgrind wrote.
fn count_in(file: &Path) -> Result<u64, BoxError> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let sum = text.lines().find_map(|line| line.strip_prefix("summary: "));
    let sum = sum.ok_or_else(|| format!("{} has no sum", file.display()))?;
    Ok(sum.trim().parse()?)
}
