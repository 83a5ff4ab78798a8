//! Prints the results of a bench as tables or one JSON object, and writes its files.
//!
//! Contract: a file that cannot be created fails the run before anything is measured.

use std::{io::Write as _, num::NonZero, path::Path, thread};

use clap::ValueEnum as _;
use indicatif::HumanCount;
use kafka_direct::{Codecs, KafkaRdd};

use super::{Bench, Document, figures::Figures, report, summary, table};
use kafka_direct_sinks::AtomicFile;

use crate::{cli::BenchArgs, exit::Failure, output};

/// The requested output files; a file that is not committed leaves nothing on disk.
#[derive(Debug)]
pub(super) struct Files {
    json: Option<AtomicFile>,
    report: Option<AtomicFile>,
}

impl Files {
    pub(super) fn create(args: &BenchArgs) -> Result<Self, Failure> {
        let json = args.json.as_deref().filter(|path| *path != Path::new("-"));
        let report = args.report.as_deref();
        if json.is_some() && json == report {
            return Err(Failure::usage("--json and --report name the same file"));
        }
        let create = |path: Option<&Path>| {
            path.map(|path| {
                AtomicFile::create(path)
                    .map_err(|source| Failure::io(format!("writing {}", path.display()), source))
            })
            .transpose()
        };
        Ok(Self { json: create(json)?, report: create(report)? })
    }
}

impl Bench {
    /// Whether stdout carries only JSON.
    fn prints_json(&self) -> bool {
        self.args.json.as_deref() == Some(Path::new("-"))
    }

    fn print_line(&self, text: &str) -> Result<(), Failure> {
        if self.prints_json() { Ok(()) } else { output::data(&format!("{text}\n")) }
    }

    /// Prints what is written to which topic.
    pub(super) fn print_generating(&self) -> Result<(), Failure> {
        let generate = &self.args.generate;
        if self.embedded.is_some() {
            self.print_line(
                "No --brokers: this runs on the embedded broker in this process. CPU time and memory\nare those of client and broker together.",
            )?;
        }
        self.print_line(&format!(
            "Writing {} records of {} bytes, {}, into topic `{}`{}, which {}",
            HumanCount(generate.generate.map_or(0, NonZero::get)),
            generate.size,
            self.codec().filter(|codec| codec != "none").map_or_else(
                || "not compressed".to_owned(),
                |codec| format!("compressed with {codec}")
            ),
            self.args.selection.topics().join(","),
            match (&self.embedded, &self.connection.brokers) {
                (None, Some(brokers)) => format!(" on {brokers}"),
                _ => String::new(),
            },
            match (self.embedded.is_some(), generate.delete_after) {
                (true, _) => "is lost when this process ends",
                (false, true) => "is deleted at the end",
                (false, false) => "is kept",
            }
        ))
    }

    /// Prints what is read.
    pub(super) fn print_subject(&self, rdd: &KafkaRdd) -> Result<(), Failure> {
        let ranges = rdd.partitions().len();
        let span = HumanCount(u64::try_from(rdd.span()).unwrap_or(0));
        let rounds = &self.args.rounds;
        self.print_line(&format!(
            "Reading {span} offsets in {ranges} range{}: {}, {}",
            if ranges == 1 { "" } else { "s" },
            counted(rounds.warmup, "warm-up round"),
            counted(rounds.rounds.get(), "measured round"),
        ))
    }

    /// Prints and writes the results, if at least one round is finished.
    pub(super) fn show(&mut self, complete: bool) -> Result<(), Failure> {
        let Files { json, report } = &mut self.files;
        let (json, report) = (json.take(), report.take());
        let (Some(subject), Some(median)) = (&self.subject, Figures::median(&self.rounds)) else {
            return Ok(());
        };
        let all_codecs = self.rounds.iter().fold(Codecs::default(), |all, r| all.with(r.codecs));
        let command = summary::command_line(std::env::args_os());
        let document = Document {
            client: "kafka-direct",
            version: env!("CARGO_PKG_VERSION"),
            embedded_broker: self.embedded.is_some(),
            command: &command,
            subject,
            cores: thread::available_parallelism().map_or(1, NonZero::get),
            generated_records: self.args.generate.generate.map(NonZero::get),
            codec: self.codec(),
            codecs: all_codecs.names().collect(),
            complete,
            rounds: &self.rounds,
            median: Some(median),
        };
        if self.prints_json() {
            output::json(&document)?;
            if let Some(warning) = summary::warning(&document, &median) {
                output::note(&format!("warning: {warning}"));
            }
        } else {
            self.print_tables(&document, &median)?;
        }
        if let Some(file) = json {
            let text = serde_json::to_string_pretty(&document)
                .map_err(|error| Failure::io("writing JSON", std::io::Error::other(error)))?;
            write(file, &format!("{text}\n"))?;
        }
        if let Some(file) = report {
            write(file, &report::page(&document, &median)?)?;
        }
        Ok(())
    }

    fn print_tables(&self, document: &Document<'_>, median: &Figures) -> Result<(), Failure> {
        self.print_line(&format!("\n{}", table::rounds(&self.rounds, median)))?;
        if let Some(last) = self.rounds.last() {
            self.print_line(&format!("Partitions of round {}, slowest first:\n", last.round))?;
            self.print_line(&table::partitions(last))?;
        }
        for round in &self.rounds {
            if let Some(cut) = table::cut(round, document.subject.ranges) {
                self.print_line(&cut)?;
            }
        }
        self.print_line(&summary::headline(document, median))?;
        if let Some(warning) = summary::warning(document, median) {
            self.print_line(&format!("warning: {warning}"))?;
        }
        if !document.complete {
            self.print_line(&format!(
                "Only {} of {} rounds are finished.",
                self.rounds.len(),
                self.args.rounds.rounds
            ))?;
        }
        Ok(())
    }

    /// The codec of the generated topic; `None` without `--generate`.
    fn codec(&self) -> Option<String> {
        let generate = &self.args.generate;
        generate.generate?;
        Some(generate.codec.to_possible_value()?.get_name().to_owned())
    }
}

fn counted(count: u32, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn write(mut file: AtomicFile, text: &str) -> Result<(), Failure> {
    let action = format!("writing {}", file.path().display());
    let written = file.write_all(text.as_bytes()).and_then(|()| file.commit());
    written.map_err(|source| Failure::io(action, source))
}
