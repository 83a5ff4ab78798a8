//! A local folder that a stream writes into: files of each batch, with each record once.
//!
//! **Promises:** a file has its final name only if its batch is committed, and it is complete and
//! durable then; a batch is committed at one moment, when its manifest exists; a batch that is
//! committed twice, by one driver or by two, has one set of files; a final file is never replaced.
//! After a crash at any moment, recovery finishes a committed batch without Kafka.
//!
//! **Out of scope:** object stores, and folders of file systems without hard links.

mod claim;
#[cfg(test)]
mod crash_tests;
mod layout;
mod manifest;
mod partition_by;
mod sink;
mod store;
#[cfg(test)]
mod test_driver;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use kafka_direct::{Columns, arrow::schema::SchemaRef};

use self::partition_by::Levels;
use self::store::Store;
pub use self::{manifest::StagedFile, partition_by::PartitionBy, writer::StreamFolderWriter};
use crate::{
    ArrowTypes, Error, Format,
    files::{CrashPoint, FileWork, Output},
};

/// A committing sink: a stream's records as files in a local folder.
///
/// Every range of a batch that has records gets one file, or every group of ranges, see
/// [`DirectStreamBuilder::coalesce`](kafka_direct::stream::DirectStreamBuilder::coalesce). Names begin with `batch-` and the batch's
/// number, so that they sort in the order of the batches. Uncommitted files are in the hidden folder
/// `.kafka-direct`, and so is one manifest per batch, of which the newest 100 are kept.
///
/// Several drivers may write into one folder: of the files of a batch, those of the driver that
/// commits first remain.
///
/// Readers may move or remove final files: these do not return. There is one exception. If a reader
/// removes a file at once and the driver is killed before its commit ends, recovery may bring the file
/// back.
///
/// Its methods need a tokio runtime. File work runs on the runtime's threads for blocking work.
///
/// # Errors
/// The methods of the trait [`Sink`](kafka_direct::Sink) return [`Error`]: [`Error::Invalid`] for a
/// folder that is refused, for a record that the format cannot carry, for a manifest that was changed, for
/// a final name that another program's file has, and for a batch that belongs to no stream;
/// [`Error::Io`] if the file system fails. Nothing of a batch is visible then unless it is committed.
///
/// # Cancel safety
/// When the future of a method is dropped, file work that has begun ends first. A commit may have
/// happened then or not; call it again. A dropped writer removes its file.
#[derive(Debug)]
pub struct StreamFolder {
    output: Output,
    levels: Levels,
    open_files: usize,
    columns: Columns,
    store: Arc<Store>,
    work: Arc<FileWork>,
}

impl StreamFolder {
    /// A sink that writes into `folder`, which is created when the stream starts.
    pub fn builder(folder: impl Into<PathBuf>, format: Format) -> StreamFolderBuilder {
        StreamFolderBuilder {
            folder: folder.into(),
            format,
            columns: format.default_columns(),
            schema: None,
            arrow_types: ArrowTypes::Plain,
            append: false,
            levels: Levels::default(),
            open_files: writer::open_files(format),
            crash: CrashPoint::never(),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.store.root
    }

    /// The columns that it writes: the stream must read these. With [`StreamFolderBuilder::schema`] the
    /// batches have the columns of that schema instead.
    #[must_use]
    pub const fn columns(&self) -> Columns {
        self.columns
    }
}

/// Sets up a [`StreamFolder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct StreamFolderBuilder {
    folder: PathBuf,
    format: Format,
    columns: Columns,
    schema: Option<SchemaRef>,
    arrow_types: ArrowTypes,
    append: bool,
    levels: Levels,
    open_files: usize,
    crash: CrashPoint,
}

impl StreamFolderBuilder {
    /// The columns to write. Default: those of [`Format::default_columns`].
    pub const fn columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    /// The schema of the batches, where keys or values are decoded before they are written, see
    /// [`Encoder::of_schema`](crate::format::Encoder::of_schema). Default: that of the columns.
    pub fn schema(mut self, schema: SchemaRef) -> Self {
        self.schema = Some(schema);
        self
    }

    /// The types of text and bytes in Arrow files; other formats ignore it. Default:
    /// [`ArrowTypes::Plain`].
    pub const fn arrow_types(mut self, types: ArrowTypes) -> Self {
        self.arrow_types = types;
        self
    }

    /// Writes into folders below, one level for each of these, as Hive and its readers name them:
    /// `date=2026-11-30/hour=09`. Default: none, all files are in the folder itself.
    ///
    /// A batch has a file in every folder that it has records for, and more where it has records for
    /// more than 4096 folders, or 256 in [`Format::Parquet`], whose open files hold a row group.
    pub fn partition_by(mut self, levels: impl IntoIterator<Item = PartitionBy>) -> Self {
        self.levels = Levels::new(levels.into_iter().collect());
        self
    }

    /// Accepts a folder that holds files of another stream or of a batch job. Default: it is refused.
    /// A stream's own folder is always accepted.
    pub const fn append(mut self) -> Self {
        self.append = true;
        self
    }

    /// Checks the settings, and that no batch job has written into the folder. It asks the file system
    /// for a few names on the calling thread, and writes nothing. Files of another stream are found when
    /// the stream starts, before it reads anything.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a format that this build leaves out, for columns that it cannot carry or
    /// that a level of folders needs, for a path that is no folder, and for the folder of a batch job. [`Error::Io`] if the folder cannot be
    /// listed.
    pub fn build(self) -> Result<StreamFolder, Error> {
        let Self {
            folder,
            format,
            columns,
            schema,
            arrow_types,
            append,
            levels,
            open_files,
            crash,
        } = self;
        let schema = schema.unwrap_or_else(|| kafka_direct::schema(columns));
        levels.check(columns)?;
        let schema = levels.schema_of_files(&schema);
        let output = Output { format, schema, arrow_types };
        output.encoder()?;
        claim::refuse_job(&folder, append)?;
        let store = Arc::new(Store::new(folder, append, crash));
        Ok(StreamFolder {
            output,
            columns,
            levels,
            open_files,
            store,
            work: Arc::new(FileWork::new()),
        })
    }
}
