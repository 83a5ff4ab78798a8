//! Describes a run in words: the result as a sentence, a warning, and the settings that matter.
//!
//! Contract: the texts name brokers and hold no secret. The command line is shown as it was given,
//! so no flag of `bench` may take a secret as its value.

use std::ffi::OsString;

use indicatif::HumanCount;

use super::{Document, figures::Figures};
use crate::shell;

/// Rounds that are shorter than this get a warning, in seconds.
const SHORT_ROUND_S: f64 = 1.0;
/// Maximum number of topics that the sentence names.
const MAX_TOPICS: usize = 3;

/// Returns what was read and how fast, by the medians.
pub(super) fn headline(document: &Document<'_>, median: &Figures) -> String {
    let subject = document.subject;
    let partitions = match subject.partitions {
        1 => "1 partition".to_owned(),
        count => format!("{} partitions", HumanCount(u64::try_from(count).unwrap_or(u64::MAX))),
    };
    let what = format!("Reading {} ({partitions})", topics(&subject.topics));
    if median.records == 0 {
        return format!("{what} found no record.");
    }
    let speed = format!("{} records a second", rounded(median.records_per_s));
    match median.cpu_us_per_record {
        Some(micros) => format!("{what} took {micros:.2} µs of CPU per record, at {speed}."),
        None => format!("{what} ran at {speed}."),
    }
}

/// Names the topics, or says how many there are.
pub(super) fn topics(topics: &[String]) -> String {
    match topics.len() {
        0..=MAX_TOPICS => topics.join(", "),
        many => format!("{many} topics"),
    }
}

/// Returns a warning if the rounds were too short to measure.
pub(super) fn warning(document: &Document<'_>, median: &Figures) -> Option<String> {
    let short = median.records > 0 && median.wall_s < SHORT_ROUND_S;
    let advice = match document.generated_records {
        Some(_) => "pass a larger --generate",
        None => "select more records, or measure a topic that has more",
    };
    // Rounding to tenths would show a round of 0.97 s as one of 1.0 s.
    let tenths = (median.wall_s * 10.0).floor() / 10.0;
    let length = if tenths > 0.0 { format!("{tenths:.1} s") } else { "under 0.1 s".to_owned() };
    short.then(|| format!("rounds of {length} are too short to trust; {advice}"))
}

/// Returns the names and values of what the result depends on.
pub(super) fn settings(document: &Document<'_>) -> Vec<(&'static str, String)> {
    let subject = document.subject;
    let span = HumanCount(u64::try_from(subject.span).unwrap_or(0));
    let range = if subject.ranges == 1 { "range" } else { "ranges" };
    let unknown = || "unknown".to_owned();
    vec![
        (
            "brokers",
            match (document.embedded_broker, &subject.brokers) {
                (true, _) => "the embedded broker, in the same process".to_owned(),
                (false, brokers) => brokers.clone().unwrap_or_else(unknown),
            },
        ),
        ("cluster id", subject.cluster.clone().unwrap_or_else(unknown)),
        ("topics", subject.topics.join(", ")),
        ("codecs", document.codecs.join(", ")),
        ("offsets", format!("{span} in {} {range}", subject.ranges)),
        (
            "rounds",
            format!("{}, after {} for warm-up", document.rounds.len(), subject.warmup_rounds),
        ),
        (
            "ranges at the same time",
            subject.concurrency.map_or_else(
                || "one per partition, at least two per core".to_owned(),
                |count| count.to_string(),
            ),
        ),
        ("columns", subject.columns.join(", ")),
        ("isolation", subject.isolation.clone()),
        ("machine", format!("{} cores, {}", document.cores, std::env::consts::ARCH)),
        ("version", format!("kafka-direct {}", document.version)),
    ]
}

/// Returns the command line, quoted for a POSIX shell.
pub(super) fn command_line(words: impl IntoIterator<Item = OsString>) -> String {
    let words = words.into_iter().skip(1).map(|word| shell::quoted(&word.to_string_lossy()));
    std::iter::once("kafka-direct".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Formats a rate with two digits: `1.9 million`, `850 thousand`, `620`.
fn rounded(rate: f64) -> String {
    let digits = |number: f64| match number < 9.95 {
        true => format!("{number:.1}"),
        false => format!("{number:.0}"),
    };
    match rate {
        _ if rate >= 999_500.0 => format!("{} million", digits(rate / 1e6)),
        _ if rate >= 999.5 => format!("{} thousand", digits(rate / 1e3)),
        _ => format!("{rate:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn rates_are_said_as_people_say_them() {
        for (rate, said) in [
            (0.0, "0"),
            (620.4, "620"),
            (999.6, "1.0 thousand"),
            (12_345.0, "12 thousand"),
            (850_000.0, "850 thousand"),
            (999_600.0, "1.0 million"),
            (1_940_000.0, "1.9 million"),
            (23_400_000.0, "23 million"),
        ] {
            assert_eq!(rounded(rate), said);
        }
    }

    #[test]
    fn a_shell_runs_the_shown_command() {
        let words = ["/bin/kafka-direct", "bench", "-t", "a b", "--topic-pattern", "it's", ""];
        let shown = command_line(words.map(OsString::from));
        assert_eq!(shown, r"kafka-direct bench -t 'a b' --topic-pattern 'it'\''s' ''");
    }

    #[test]
    fn no_flag_of_bench_takes_a_secret() {
        let cli = crate::cli::Cli::command();
        let bench = cli.find_subcommand("bench").unwrap();
        for flag in bench.get_arguments().filter_map(clap::Arg::get_long) {
            let secret = ["password", "secret", "token"].iter().any(|word| flag.contains(word));
            assert!(!secret || flag.ends_with("-file"), "--{flag} is shown in reports");
        }
    }
}
