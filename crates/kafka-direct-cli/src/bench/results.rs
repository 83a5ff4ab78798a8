//! What a bench says: tables on stdout, or one JSON object, and files.
//!
//! Contract: a file that cannot be written is told before anything is measured.

use std::{io::Write as _, num::NonZero, path::Path, thread};

use clap::ValueEnum as _;
use indicatif::HumanCount;
use kafka_direct::KafkaRdd;

use super::{Bench, Document, figures::Figures, report, table};
use kafka_direct_sinks::AtomicFile;

use crate::{cli::BenchArgs, exit::Failure, output};

/// The files that were asked for; what is not written in the end leaves nothing behind.
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
    /// Whether stdout is for JSON alone.
    fn prints_json(&self) -> bool {
        self.args.json.as_deref() == Some(Path::new("-"))
    }

    fn say(&self, text: &str) -> Result<(), Failure> {
        if self.prints_json() { Ok(()) } else { output::data(&format!("{text}\n")) }
    }

    /// Says what is written where.
    pub(super) fn say_generating(&self) -> Result<(), Failure> {
        let generate = &self.args.generate;
        if self.embedded.is_some() {
            self.say(
                "No --brokers: this runs on the embedded broker, in this process. CPU and memory\nbelow are those of client and broker together.",
            )?;
        }
        self.say(&format!(
            "Writing {} records of {} bytes, {}, into topic `{}`{}, which {}",
            HumanCount(generate.generate.map_or(0, NonZero::get)),
            generate.size,
            self.codec().filter(|codec| codec != "none").map_or_else(
                || "not compressed".to_owned(),
                |codec| format!("compressed with {codec}")
            ),
            self.args.selection.topics.join(","),
            match (&self.embedded, &self.connection.brokers) {
                (None, Some(brokers)) => format!(" on {brokers}"),
                _ => String::new(),
            },
            match (self.embedded.is_some(), generate.delete_after) {
                (true, _) => "ends with this process",
                (false, true) => "is deleted at the end",
                (false, false) => "is left there",
            }
        ))
    }

    /// Says what is read.
    pub(super) fn say_subject(&self, rdd: &KafkaRdd) -> Result<(), Failure> {
        let ranges = rdd.partitions().len();
        let span = HumanCount(u64::try_from(rdd.span()).unwrap_or(0));
        let rounds = &self.args.rounds;
        self.say(&format!(
            "Reading {span} offsets in {ranges} range{}, {} to warm up and {} measured",
            if ranges == 1 { "" } else { "s" },
            counted(rounds.warmup, "round"),
            counted(rounds.rounds.get(), "round"),
        ))
    }

    /// Prints and writes what was measured, if anything was.
    pub(super) fn show(&mut self, complete: bool) -> Result<(), Failure> {
        let Files { json, report } = &mut self.files;
        let (json, report) = (json.take(), report.take());
        let (Some(subject), Some(median)) = (&self.subject, Figures::median(&self.rounds)) else {
            return Ok(());
        };
        let document = Document {
            client: "kafka-direct",
            version: env!("CARGO_PKG_VERSION"),
            embedded_broker: self.embedded.is_some(),
            subject,
            cores: thread::available_parallelism().map_or(1, NonZero::get),
            generated_records: self.args.generate.generate.map(NonZero::get),
            codec: self.codec(),
            complete,
            rounds: &self.rounds,
            median: Some(median),
        };
        if self.prints_json() {
            output::json(&document)?;
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
        self.say(&format!("\n{}", table::rounds(&self.rounds, median)))?;
        if let Some(last) = self.rounds.last() {
            self.say(&format!("The partitions of round {}, the slowest first:\n", last.round))?;
            self.say(&table::partitions(last))?;
        }
        for round in &self.rounds {
            if let Some(cut) = table::cut(round, document.subject.ranges) {
                self.say(&cut)?;
            }
        }
        if !document.complete {
            self.say(&format!(
                "Only {} of {} rounds were finished.",
                self.rounds.len(),
                self.args.rounds.rounds
            ))?;
        }
        Ok(())
    }

    /// The codec that was written with, if anything was.
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
