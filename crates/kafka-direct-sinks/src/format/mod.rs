//! Output formats: Arrow batches to bytes.
//!
//! Contract: every row of every batch comes out once, in order. Text formats hand buffers on at row
//! boundaries before they grow, so that memory does not follow the size of a batch; Arrow IPC does so
//! at megabytes; Parquet holds one row group per open file, see [`Format::Parquet`].

#[cfg(feature = "arrow-ipc")]
mod arrow;
mod arrow_types;
mod buffers;
mod cells;
mod csv;
mod json_object;
mod json_text;
mod json_values;
mod jsonl;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "arrow-ipc")]
mod plain;
mod raw;
mod rows;

use std::{num::NonZeroUsize, sync::Arc};

use kafka_direct::{
    Column, Columns,
    arrow::{array::RecordBatch, schema::SchemaRef},
};

pub use self::{
    arrow_types::ArrowTypes,
    buffers::Buffers,
    cells::Cells,
    rows::{COLUMN_ORDER, ERROR_COLUMN, Headers, Rows, Topics},
};
use crate::Error;

/// A buffer is full once it holds this many bytes.
const FULL_BYTES: usize = 256 * 1024;

/// How many files are written at once in a format whose files hold a row group each.
const ROW_GROUPS_AT_ONCE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// Whether a buffer is to be handed on.
const fn is_full(out: &[u8]) -> bool {
    out.len() >= FULL_BYTES
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One JSON object per record and line. Bytes that are not UTF-8 make their field null, and
    /// `<field>_base64` carries them.
    JsonLines,
    /// The same, but a value that is a JSON text is embedded as JSON, not as a string: on one line,
    /// otherwise unchanged. A value is a string of a JSON line if it is a JSON string or no JSON; the
    /// line does not tell which. The text `null` stays a string, so that null is always a tombstone.
    /// So do texts that are nested deeper than 100 levels or have half of a surrogate pair.
    JsonValues,
    /// Comma-separated values with a header line. A null is an empty field, an empty text is `""`.
    /// Headers are a JSON array. Keys and values must be UTF-8: others are an error that names the
    /// record, since CSV has no form for them.
    Csv,
    /// Values only, each followed by a line feed; a null value is an empty line.
    Raw,
    /// Arrow IPC in the file format, also called Feather version 2. Readers seek in it. Needs the
    /// feature `arrow-ipc`.
    Arrow,
    /// Arrow IPC in the stream format, which is read from front to back. Needs the feature
    /// `arrow-ipc`.
    ArrowStream,
    /// Parquet, compressed with zstd: keys and values are binary, timestamps milliseconds in UTC.
    /// A row group ends at 1,048,576 rows or 16 MiB of encoded data, and every open file holds one: a
    /// job writes 8 files at once unless told otherwise. Needs the feature `parquet`.
    Parquet,
}

impl Format {
    /// The extension of files in this format, which is also its name in settings and messages.
    /// [`Format::JsonValues`] has that of JSON lines.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::JsonLines | Self::JsonValues => "jsonl",
            Self::Csv => "csv",
            Self::Raw => "raw",
            Self::Arrow => "arrow",
            Self::ArrowStream => "arrows",
            Self::Parquet => "parquet",
        }
    }

    /// The columns that are written unless others are named: all, or the value alone for
    /// [`Format::Raw`].
    #[must_use]
    pub fn default_columns(self) -> Columns {
        match self {
            Self::JsonLines
            | Self::JsonValues
            | Self::Csv
            | Self::Arrow
            | Self::ArrowStream
            | Self::Parquet => Columns::all(),
            Self::Raw => Columns::none().with(Column::Value),
        }
    }

    /// How many files should be written at once, where an open file holds a row group in memory;
    /// `None` for formats whose open files hold little.
    #[must_use]
    pub const fn files_at_once(self) -> Option<NonZeroUsize> {
        match self {
            Self::JsonLines
            | Self::JsonValues
            | Self::Csv
            | Self::Raw
            | Self::Arrow
            | Self::ArrowStream => None,
            Self::Parquet => Some(ROW_GROUPS_AT_ONCE),
        }
    }

    /// Whether [`ArrowTypes`] decide what is written.
    #[must_use]
    pub const fn has_arrow_types(self) -> bool {
        matches!(self, Self::Arrow | Self::ArrowStream)
    }

    /// Whether this build can write it.
    #[must_use]
    pub const fn is_available(self) -> bool {
        match self {
            Self::JsonLines | Self::JsonValues | Self::Csv | Self::Raw => true,
            Self::Arrow | Self::ArrowStream => cfg!(feature = "arrow-ipc"),
            Self::Parquet => cfg!(feature = "parquet"),
        }
    }
}

/// Encodes one output stream.
#[derive(Debug)]
pub struct Encoder(Inner);

#[derive(Debug)]
enum Inner {
    JsonLines {
        embeds_values: bool,
    },
    Csv(SchemaRef),
    Raw,
    #[cfg(feature = "arrow-ipc")]
    Arrow(Box<arrow::Ipc>),
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::File>),
}

impl Encoder {
    /// An encoder of batches with these columns. `types` matters only to formats that have Arrow's
    /// types, see [`Format::has_arrow_types`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a format that this build leaves out, or for columns that the format
    /// cannot carry.
    pub fn new(format: Format, columns: Columns, types: ArrowTypes) -> Result<Self, Error> {
        Self::of_schema(format, &kafka_direct::schema(columns), types)
    }

    /// An encoder of batches whose keys and values may be decoded: `schema` is that of some columns of the
    /// engine, of which `key` and `value` may be `Utf8View` or `Struct`, and the column
    /// [`ERROR_COLUMN`] may follow.
    ///
    /// # Errors
    /// As [`Encoder::new`]; [`Error::Invalid`] also for a struct in CSV or raw.
    pub fn of_schema(format: Format, schema: &SchemaRef, types: ArrowTypes) -> Result<Self, Error> {
        let inner = match format {
            Format::JsonLines => Inner::JsonLines { embeds_values: false },
            Format::JsonValues => Inner::JsonLines { embeds_values: true },
            Format::Csv => {
                csv::check(schema)?;
                Inner::Csv(Arc::clone(schema))
            }
            Format::Raw => {
                raw::check(schema)?;
                Inner::Raw
            }
            #[cfg(feature = "arrow-ipc")]
            Format::Arrow => Inner::Arrow(Box::new(arrow::Ipc::file(schema, types)?)),
            #[cfg(feature = "arrow-ipc")]
            Format::ArrowStream => Inner::Arrow(Box::new(arrow::Ipc::stream(schema, types)?)),
            Format::Parquet if schema.fields().is_empty() => {
                return Err(Error::invalid("Parquet needs at least one column"));
            }
            #[cfg(feature = "parquet")]
            Format::Parquet => Inner::Parquet(Box::new(parquet::File::new(schema)?)),
            #[cfg(not(all(feature = "arrow-ipc", feature = "parquet")))]
            Format::Arrow | Format::ArrowStream | Format::Parquet => {
                let _ = types;
                return Err(Error::invalid(format!(
                    "the format {} is not in this build of kafka-direct-sinks: enable its feature",
                    format.extension()
                )));
            }
        };
        Ok(Self(inner))
    }

    /// Whether batches may be encoded apart from each other, each by an encoder of its own.
    #[must_use]
    pub const fn is_stateless(&self) -> bool {
        match self.0 {
            Inner::JsonLines { .. } | Inner::Csv(_) | Inner::Raw => true,
            #[cfg(feature = "arrow-ipc")]
            Inner::Arrow(_) => false,
            #[cfg(feature = "parquet")]
            Inner::Parquet(_) => false,
        }
    }

    /// Appends what precedes the first batch.
    ///
    /// # Errors
    /// [`Error::Io`] if the format's library fails.
    pub fn start(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        match &mut self.0 {
            Inner::JsonLines { .. } | Inner::Raw => {}
            Inner::Csv(schema) => csv::header(schema, out),
            #[cfg(feature = "arrow-ipc")]
            Inner::Arrow(ipc) => ipc.start(out),
            #[cfg(feature = "parquet")]
            Inner::Parquet(file) => file.start(out),
        }
        Ok(())
    }

    /// Appends rows of `batch` to `out`, from row `from` until `out` is full; returns the row to
    /// continue with, or `None` after the last. It may append nothing: formats of row groups keep
    /// rows until a group is complete.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a record that the format cannot carry; [`Error::Io`] if the format's
    /// library fails.
    pub fn encode(
        &mut self,
        batch: &RecordBatch,
        from: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, Error> {
        let next = match &mut self.0 {
            Inner::JsonLines { embeds_values } => jsonl::encode(batch, *embeds_values, from, out)?,
            Inner::Csv(_) => csv::encode(batch, from, out)?,
            Inner::Raw => raw::encode(batch, from, out)?,
            #[cfg(feature = "arrow-ipc")]
            Inner::Arrow(ipc) => ipc.encode(batch, from, out)?,
            #[cfg(feature = "parquet")]
            Inner::Parquet(file) => {
                file.encode(batch, out)?;
                batch.num_rows()
            }
        };
        Ok((next < batch.num_rows()).then_some(next))
    }

    /// Bytes of memory that rows take which are encoded and not appended yet; 0 for formats that keep
    /// none.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.0 {
            #[cfg(feature = "parquet")]
            Inner::Parquet(file) => file.held_bytes(),
            _ => 0,
        }
    }

    /// Appends the rows that are kept: it ends the row group.
    ///
    /// # Errors
    /// [`Error::Io`] if the format's library fails.
    pub fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        match &mut self.0 {
            #[cfg(feature = "parquet")]
            Inner::Parquet(file) => file.flush(out),
            _ => {
                let _ = out;
                Ok(())
            }
        }
    }

    /// Appends what follows the last batch.
    ///
    /// # Errors
    /// [`Error::Io`] if the format's library fails.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        match &mut self.0 {
            Inner::JsonLines { .. } | Inner::Csv(_) | Inner::Raw => {
                let _ = out;
                Ok(())
            }
            #[cfg(feature = "arrow-ipc")]
            Inner::Arrow(ipc) => ipc.finish(out),
            #[cfg(feature = "parquet")]
            Inner::Parquet(file) => file.finish(out),
        }
    }
}
