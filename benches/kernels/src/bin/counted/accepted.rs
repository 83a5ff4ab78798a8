//! The accepted counts (the baseline), and the comparison of the current ones with them.

use std::{fmt::Write as _, fs, path::Path};

use crate::{BoxError, counting::Counted};

/// Relative change: an increase by more fails, and a decrease by more should be accepted.
const TOLERANCE: f64 = 0.05;

const ACCEPT: &str = "benches/kernels/guard.sh --accept";

pub(crate) struct Report {
    pub(crate) is_ok: bool,
    pub(crate) text: String,
}

pub(crate) fn read(file: &Path) -> Result<Vec<Counted>, BoxError> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("{}: {error}; `{ACCEPT}` writes it", file.display()))?;
    serde_json::from_str(&text)
        .map_err(|error| format!("{}: {error}; `{ACCEPT}` writes it again", file.display()).into())
}

pub(crate) fn write(file: &Path, counted: &[Counted]) -> Result<(), BoxError> {
    if counted.iter().any(|case| case.instructions_per_record.is_none()) {
        return Err("the baseline can only be written on an x86-64 processor with AVX2".into());
    }
    fs::write(file, serde_json::to_string_pretty(counted)? + "\n")?;
    Ok(())
}

/// Reports one line per case, then the cases outside the tolerance and what to do about them.
pub(crate) fn compare(accepted: &[Counted], counted: &[Counted]) -> Report {
    let mut text = format!(
        "{:<36} {:>10} {:>10} {:>7}   {:>10} {:>10} {:>7}\n{:<36} {:>10} {:>10} {:>7}   {:>10} {:>10} {:>7}\n",
        "",
        "instr./",
        "record",
        "",
        "allocs./",
        "1000 rec.",
        "",
        "",
        "accepted",
        "now",
        "",
        "accepted",
        "now",
        "",
    );
    let (mut grown, mut shrunk) = (Vec::new(), Vec::new());
    for now in counted {
        let name = &now.case;
        let Some(then) = accepted.iter().find(|then| then.case == *name) else {
            grown.push(format!("{name}: is not in the baseline"));
            continue;
        };
        let _ = write!(text, "{name:<36}");
        for (what, then, now) in [
            ("instructions per record", then.instructions_per_record, now.instructions_per_record),
            (
                "allocations per 1000 records",
                Some(then.allocations_per_1000_records),
                Some(now.allocations_per_1000_records),
            ),
        ] {
            let (Some(then), Some(now)) = (then, now) else {
                let _ = write!(text, " {:>10} {:>10} {:>7}  ", "-", "-", "");
                continue;
            };
            let change = (now - then) / then.max(f64::MIN_POSITIVE);
            let _ = write!(text, " {then:>10.1} {now:>10.1} {:>+6.1}%  ", change * 100.0);
            let line = format!("{name}: {now} {what}, accepted: {then}");
            if change > TOLERANCE {
                grown.push(line);
            } else if change < -TOLERANCE {
                shrunk.push(line);
            }
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    let removed = accepted.iter().filter(|then| counted.iter().all(|now| now.case != then.case));
    grown.extend(removed.map(|then| format!("{}: is in the baseline, but not a case", then.case)));
    if counted.iter().any(|now| now.instructions_per_record.is_none()) {
        text.push_str("instructions are not compared: this is not x86-64 with AVX2\n");
    }
    for line in &shrunk {
        let _ = writeln!(text, "less than accepted: {line}");
    }
    if !shrunk.is_empty() {
        let _ = writeln!(text, "lower the baseline, to detect a later increase: {ACCEPT}");
    }
    for line in &grown {
        let _ = writeln!(text, "FAILED: {line}");
    }
    if !grown.is_empty() {
        let _ = writeln!(text, "if the change is intended, accept it: {ACCEPT}");
    }
    Report { is_ok: grown.is_empty(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, instructions: f64, allocations: f64) -> Counted {
        Counted {
            case: name.to_owned(),
            instructions_per_record: Some(instructions),
            allocations_per_1000_records: allocations,
        }
    }

    #[test]
    fn an_increase_over_five_percent_fails_by_name() {
        let accepted = [case("one", 100.0, 10.0), case("two", 100.0, 10.0)];
        for (now, is_ok) in [
            (case("two", 105.0, 10.0), true),
            (case("two", 105.1, 10.0), false),
            (case("two", 100.0, 11.0), false),
            (case("two", 50.0, 0.0), true),
        ] {
            let report = compare(&accepted, &[accepted[0].clone(), now]);
            assert_eq!(report.is_ok, is_ok, "{}", report.text);
            assert_eq!(report.text.contains("FAILED: two"), !is_ok, "{}", report.text);
        }
    }

    #[test]
    fn a_new_or_removed_case_fails_until_it_is_accepted() {
        let (one, two) = (case("one", 1.0, 1.0), case("two", 1.0, 1.0));
        assert!(!compare(&[one.clone()], &[one.clone(), two.clone()]).is_ok);
        assert!(!compare(&[one.clone(), two], &[one]).is_ok);
    }

    #[test]
    fn another_processor_compares_allocations_alone() {
        let elsewhere = |allocations| Counted {
            instructions_per_record: None,
            ..case("one", 0.0, allocations)
        };
        assert!(compare(&[case("one", 1.0, 10.0)], &[elsewhere(10.0)]).is_ok);
        assert!(!compare(&[case("one", 1.0, 10.0)], &[elsewhere(20.0)]).is_ok);
    }
}
