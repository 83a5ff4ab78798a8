//! Flags of `read` and `plan`.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use kafka_direct::{Column, Columns};

use super::{ConnectionArgs, SelectionArgs, selection::OFFSETS_HELP};
use crate::{exit::Failure, list::List, size};

const READ_HELP: &str = "\
JSON lines carry topic, partition, offset, timestamp (milliseconds, null if the record has none),
timestamp_type (0 set by the producer, 1 by the broker), key, value and headers. A key or value that
is not UTF-8 is null, and key_base64 or value_base64 holds it. Records of one partition stay in
order; partitions are interleaved.

Arrow IPC has a file format, in which readers seek, and a stream format. --format arrow writes the
file format into files (FILE.arrow, and every file in DIR/) and the stream format to stdout, pipes and
devices. --format arrows always writes the stream format. The suffix of FILE decides nothing.

With --json-values a value that is JSON is embedded: on one line, otherwise unchanged. A string in
the output is then a text, or a JSON string without its quotes and escapes: nothing tells which. The
JSON text null stays the string \"null\", so that null is always a tombstone. JSON nested deeper than
100 levels, or with half of a surrogate pair, stays a string too. Write such lines back with
`produce --json --json-values`.

A table on a terminal is as wide as the terminal, or as COLUMNS says. Topics, keys, values and
headers that are too wide end in an ellipsis; --no-truncate shows them whole.

Examples:
  kafka-direct read -b localhost:9092 -t orders
  kafka-direct read -b localhost:9092 -t orders -o -10 --format table
  kafka-direct read -b localhost:9092 -t orders --from @2025-01-01T00:00:00Z --output day.jsonl
  kafka-direct read -b localhost:9092 -t orders --plan job.json --output out/";

/// Flags of `read`.
#[derive(Debug, Clone, Args)]
#[command(after_help = format!("{OFFSETS_HELP}\n\n{READ_HELP}"))]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Flags for what is printed, where, and when to stop.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Jsonl, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Columns: key, value, topic, partition, offset, timestamp, timestamp_type, headers
    /// [default: what the format needs]
    #[arg(long, value_name = "C[,C2..]")]
    pub(crate) columns: Vec<List<Column>>,
    /// Types of text and bytes in Arrow IPC [default: plain in files, view on stdout and in pipes]
    #[arg(long, value_enum, value_name = "TYPES")]
    pub(crate) arrow_types: Option<ArrowTypes>,
    /// With --format jsonl: write a value that is JSON as JSON, not as a string
    #[arg(long)]
    pub(crate) json_values: bool,
    /// With --format table: show keys, values and headers whole, however long the lines become
    #[arg(long)]
    pub(crate) no_truncate: bool,
    /// Stop after this many records; partitions are read one after the other
    #[arg(short = 'c', long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) limit: Option<u64>,
    /// Write to this file, which appears only when it is complete. With a trailing slash, or if it
    /// is a folder: write one file per planned range, and skip files that are complete
    #[arg(long, value_name = "FILE|DIR/")]
    pub(crate) output: Option<PathBuf>,
    /// Plan file: if it exists, read exactly its ranges; if not, save the plan to it
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Read everything again even if the output folder is complete
    #[arg(long)]
    pub(crate) force: bool,
    /// Maximum number of ranges read at the same time [default: one per partition, and at least two
    /// per core; with --output DIR/ and --format parquet 8]
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<NonZeroUsize>,
    /// Stop with an error after this time: `30s`, `5m`, `2h`
    #[arg(long, value_parser = size::duration, value_name = "D")]
    pub(crate) deadline: Option<Duration>,
    /// Exit with code 1 if no record was read; --output FILE then creates no file
    #[arg(long)]
    pub(crate) fail_if_empty: bool,
    /// Print only errors on stderr: no progress and no remarks
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Flags of `plan`.
#[derive(Debug, Clone, Args)]
#[command(after_help = OFFSETS_HELP)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Plan file: if it exists, show its plan, without asking a broker; if not, save the plan to it
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Print the plan as JSON, as `read --plan FILE` takes it
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object per record and line
    Jsonl,
    /// A table to read on screen; shows 1000 records unless --limit is given. Lines fit the terminal;
    /// elsewhere keys, values and headers are cut at 60 columns. `…` marks what is cut
    Table,
    /// Values only, each followed by a line feed; a null value is an empty line
    Raw,
    /// Comma-separated values with a header line
    Csv,
    /// Arrow IPC: the file format in files, the stream format on stdout (needs the feature `full`)
    Arrow,
    /// Arrow IPC in the stream format, also in files (needs the feature `full`)
    Arrows,
    /// Parquet with zstd, into files (needs the feature `full`)
    Parquet,
}

impl Format {
    /// The corresponding format of files and streams.
    ///
    /// # Errors
    /// `Usage` for the table, and for a format that this build does not contain.
    fn for_files(self) -> Result<kafka_direct_sinks::Format, Failure> {
        use kafka_direct_sinks::Format as Sinks;
        let format = match self {
            Self::Table => {
                return Err(Failure::usage(
                    "--format table cannot be written to a folder; use jsonl, csv, raw, arrow, arrows or parquet",
                ));
            }
            Self::Jsonl => Sinks::JsonLines,
            Self::Csv => Sinks::Csv,
            Self::Raw => Sinks::Raw,
            Self::Arrow => Sinks::Arrow,
            Self::Arrows => Sinks::ArrowStream,
            Self::Parquet => Sinks::Parquet,
        };
        if format.is_available() {
            return Ok(format);
        }
        Err(Failure::usage(format!(
            "--format {} is not in this build; install it with `cargo install kafka-direct-cli --features full`",
            format.extension()
        )))
    }

    /// The columns to read if `--columns` is not given.
    pub(crate) fn default_columns(self) -> Columns {
        match self {
            Self::Jsonl | Self::Csv | Self::Arrow | Self::Arrows | Self::Parquet => Columns::all(),
            Self::Table => Columns::default().without(Column::TimestampType),
            Self::Raw => Columns::none().with(Column::Value),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArrowTypes {
    /// Binary and Utf8
    Plain,
    /// BinaryView and Utf8View, which need no copy; pyarrow does not filter, sort or take them
    View,
}

impl From<ArrowTypes> for kafka_direct_sinks::ArrowTypes {
    fn from(types: ArrowTypes) -> Self {
        match types {
            ArrowTypes::Plain => Self::Plain,
            ArrowTypes::View => Self::View,
        }
    }
}

impl OutputArgs {
    /// Refuses flags that do not work with the format.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let is_arrow = matches!(self.format, Format::Arrow | Format::Arrows);
        if self.arrow_types.is_some() && !is_arrow {
            return Err(Failure::usage(
                "--arrow-types works only with --format arrow or --format arrows",
            ));
        }
        if self.json_values && self.format != Format::Jsonl {
            return Err(Failure::usage("--json-values works only with --format jsonl"));
        }
        if self.no_truncate && self.format != Format::Table {
            return Err(Failure::usage(
                "--no-truncate works only with --format table; other formats cut nothing",
            ));
        }
        if self.concurrency.is_some() && (self.limit.is_some() || self.format == Format::Table) {
            return Err(Failure::usage(
                "--concurrency does not work with --limit or --format table, which read one range after the other",
            ));
        }
        Ok(())
    }

    /// The format of files and streams.
    ///
    /// # Errors
    /// As [`Format::for_files`].
    pub(crate) fn format_for_files(&self) -> Result<kafka_direct_sinks::Format, Failure> {
        match self.format.for_files()? {
            kafka_direct_sinks::Format::JsonLines if self.json_values => {
                Ok(kafka_direct_sinks::Format::JsonValues)
            }
            format => Ok(format),
        }
    }

    /// The columns to read.
    pub(crate) fn columns(&self) -> Columns {
        if self.columns.is_empty() {
            return self.format.default_columns();
        }
        List::flat(&self.columns).into_iter().collect()
    }

    /// The types of text and bytes in Arrow IPC; `default` if `--arrow-types` is not given.
    pub(crate) fn arrow_types(
        &self,
        default: kafka_direct_sinks::ArrowTypes,
    ) -> kafka_direct_sinks::ArrowTypes {
        self.arrow_types.map_or(default, Into::into)
    }
}
