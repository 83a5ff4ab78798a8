//! Counts instructions and allocations per thousand records of the kernels and compares them with
//! what was accepted before: `benches/kernels/guard.sh` runs it.
//!
//! - Instructions are counted by callgrind, which runs this program again and writes a count each
//!   time `phase_ends` is entered. A case runs once, then twice more: what the second phase took
//!   beyond the first is one run, without start-up or what only a first run does.
//! - Checksums are taken off: which code computes them depends on the processor. The rest depends on
//!   it too, in the codecs and in `memcpy`; valgrind shows every program the same x86-64 processor
//!   with AVX2, so instructions are compared only where it does.
//! - Allocations are counted by the allocator; growing one counts as another. They are the same on
//!   any machine.
//! - Time is not looked at.

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
