//! Counts instructions and allocations of the kernels, and compares them with a baseline.
//!
//! `benches/kernels/guard.sh` runs it.
//!
//! - Callgrind counts instructions: it runs this program again, and writes a count on each entry of
//!   `phase_ends`. A case runs once, then twice more. The difference of the two phases is one run,
//!   without start-up and first-run costs.
//! - Checksums are subtracted, because the processor determines the code that computes them.
//! - Codecs and `memcpy` depend on the processor too. Valgrind emulates the same processor for
//!   every program, x86-64 with AVX2, so instructions are compared only there.
//! - The allocator counts allocations; a reallocation counts as another. They are the same on any
//!   machine.
//! - Time is not measured.

mod accepted;
mod cases;
mod counting;

use std::{error::Error, path::PathBuf, process::ExitCode};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: counted BASELINE.json [--accept]";

fn main() -> Result<ExitCode, BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (file, accept) = match arguments.as_slice() {
        ["--under-callgrind"] => {
            println!("{}", serde_json::to_string(&counting::run_cases()?)?);
            return Ok(ExitCode::SUCCESS);
        }
        [file] => (PathBuf::from(file), false),
        [file, "--accept"] => (PathBuf::from(file), true),
        _ => return Err(USAGE.into()),
    };
    let measured = counting::measure()?;
    if accept {
        return accepted::write(&file, &measured).map(|()| ExitCode::SUCCESS);
    }
    let report = accepted::compare(&accepted::read(&file)?, &measured);
    print!("{}", report.text);
    if report.is_ok { Ok(ExitCode::SUCCESS) } else { Ok(ExitCode::FAILURE) }
}
