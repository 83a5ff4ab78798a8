//! Parquet with zstd.
//!
//! Contract: a row group ends at [`GROUP_ROWS`] rows or [`GROUP_BYTES`] of encoded data, so that an
//! open file holds no more than that. Readers see plain types: the views and dictionaries of the
//! batches are not recorded in the file.

use std::sync::Arc;

use kafka_direct::arrow::{
    array::RecordBatch,
    schema::{DataType, Field, SchemaRef, TimeUnit},
};
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::Error;

/// Rows of a row group at most.
const GROUP_ROWS: usize = 1 << 20;
/// Bytes of encoded data that end a row group.
const GROUP_BYTES: usize = 16 << 20;

/// One file.
pub(super) struct File {
    writer: ArrowWriter<Vec<u8>>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").finish_non_exhaustive()
    }
}

impl File {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, Error> {
        if let Some(field) = schema.fields().iter().find_map(|field| seconds_in(field)) {
            return Err(Error::invalid(format!(
                "Parquet has no timestamps in seconds: give the field `{field}` the type Timestamp(ms)"
            )));
        }
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by(concat!("kafka-direct ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let options =
            ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), options);
        Ok(Self { writer: writer.map_err(failed)? })
    }

    pub(super) fn start(&mut self, out: &mut Vec<u8>) {
        self.drain(out);
    }

    pub(super) fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        self.writer.write(batch).map_err(failed)?;
        if self.writer.in_progress_size() >= GROUP_BYTES {
            self.writer.flush().map_err(failed)?;
        }
        self.drain(out);
        Ok(())
    }

    /// Bytes of memory that the open row group takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.writer.memory_size()
    }

    /// Ends the row group.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.writer.flush().map_err(failed)?;
        self.drain(out);
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.writer.finish().map_err(failed)?;
        self.drain(out);
        Ok(())
    }

    /// Moves what the writer has written to `out`. The writer counts file offsets by itself.
    fn drain(&mut self, out: &mut Vec<u8>) {
        out.append(self.writer.inner_mut());
    }
}

/// The first field inside this one that is a timestamp in seconds.
fn seconds_in(field: &Field) -> Option<&str> {
    match field.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => Some(field.name()),
        DataType::Struct(fields) => fields.iter().find_map(|field| seconds_in(field)),
        DataType::List(item) => seconds_in(item).map(|_| field.name().as_str()),
        _ => None,
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::io("encoding Parquet", std::io::Error::other(error))
}
