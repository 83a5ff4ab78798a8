//! [`StreamFolderWriter`]: the files of one attempt at a group of ranges, one per folder.
//!
//! Contract: no file work runs on the runtime's threads; a file is closed between writes. At most
//! [`OPEN_FILES`] files are unfinished, or [`OPEN_ROW_GROUPS`]: before one more is begun, the one that
//! was not written to for longest is finished, and its folder may get another. Row groups of all files
//! together take about [`HELD_BYTES`] at most: the largest is ended early.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use kafka_direct::{BoxError, RangeSummary, RangeWriter, arrow::array::RecordBatch};

use super::{layout::temporary_name, manifest::StagedFile, partition_by::Levels, store::Store};
use crate::{
    Error, Format,
    files::{AppendFile, EncodedFile, FileWork, Output, TemporaryFile},
};

/// How many files with row groups a writer has unfinished at once: the hours of ten days.
const OPEN_ROW_GROUPS: usize = 256;
/// The same for other formats, of which little is in memory.
const OPEN_FILES: usize = 4096;
/// Bytes of memory that the row groups of a writer's files take together.
const HELD_BYTES: usize = 96 << 20;

/// How many files of a writer are unfinished at once.
pub(super) const fn open_files(format: Format) -> usize {
    if format.files_at_once().is_some() { OPEN_ROW_GROUPS } else { OPEN_FILES }
}

/// Writes the ranges of a group into temporary files. Dropped, it removes those that are not finished.
#[derive(Debug)]
pub struct StreamFolderWriter {
    pub(super) place: Place,
    /// The unfinished files, by folder.
    open: BTreeMap<String, OpenFile>,
    finished: Vec<StagedFile>,
    /// How many files each folder has got.
    begun: BTreeMap<String, usize>,
    /// How many times a file was chosen: the order of their last use.
    uses: u64,
}

/// Where the files of an attempt are, and how they are written.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) store: Arc<Store>,
    pub(super) work: Arc<FileWork>,
    pub(super) output: Output,
    pub(super) levels: Levels,
    /// How many files are unfinished at once.
    pub(super) open_files: usize,
    /// The folder of temporary files, and what their names begin with.
    pub(super) temporaries: PathBuf,
    pub(super) prefix: String,
    /// The final name without its extension.
    pub(super) name: String,
}

#[derive(Debug)]
struct OpenFile {
    temporary: String,
    name: String,
    file: EncodedFile<TemporaryFile>,
    used: u64,
}

impl StreamFolderWriter {
    pub(super) fn new(place: Place) -> Self {
        Self { place, open: BTreeMap::new(), finished: Vec::new(), begun: BTreeMap::new(), uses: 0 }
    }

    /// The unfinished file of a folder.
    async fn file(&mut self, folder: String) -> Result<&mut EncodedFile<TemporaryFile>, Error> {
        if !self.open.contains_key(&folder) && self.open.len() >= self.place.open_files {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.used);
            let oldest = oldest.map(|(folder, _)| folder.clone());
            if let Some(open) = oldest.and_then(|folder| self.open.remove(&folder)) {
                self.finished.push(open.finish().await?);
            }
        }
        self.uses = self.uses.saturating_add(1);
        let uses = self.uses;
        let open = match self.open.entry(folder) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => {
                let begun = self.begun.entry(free.key().clone()).or_default();
                let open = self.place.begin(free.key(), *begun)?;
                *begun = begun.saturating_add(1);
                free.insert(open)
            }
        };
        open.used = uses;
        Ok(&mut open.file)
    }

    /// Ends the largest row group if all together take too much memory.
    async fn bound_memory(&mut self) -> Result<(), Error> {
        let held = self.open.values().map(|open| open.file.held_bytes());
        if held.fold(0, usize::saturating_add) > HELD_BYTES {
            let largest = self.open.values_mut().max_by_key(|open| open.file.held_bytes());
            if let Some(largest) = largest {
                largest.file.flush().await?;
            }
        }
        Ok(())
    }
}

impl Place {
    /// File `number`, from 0, of this attempt in a folder.
    fn begin(&self, folder: &str, number: usize) -> Result<OpenFile, Error> {
        let extension = self.output.format.extension();
        let name = match number {
            0 => format!("{folder}{}.{extension}", self.name),
            _ => format!("{folder}{}-{number}.{extension}", self.name),
        };
        let temporary = temporary_name(&self.prefix);
        let shown = self.store.root.join(&name);
        let path = self.temporaries.join(&temporary);
        let file = TemporaryFile::new(path, shown, self.store.crash.clone());
        let file = EncodedFile::new(&self.output, file, Arc::clone(&self.work))?;
        Ok(OpenFile { temporary, name, file, used: 0 })
    }
}

impl OpenFile {
    /// Makes the file durable under its temporary name.
    async fn finish(self) -> Result<StagedFile, Error> {
        let Self { temporary, name, file, .. } = self;
        let sync = move |mut file: TemporaryFile| {
            file.sync()?;
            file.keep();
            Ok(StagedFile::new(temporary, file.content().receipt(name)))
        };
        file.finish(sync).await
    }
}

impl AppendFile for TemporaryFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.append(bytes)
    }
}

impl RangeWriter for StreamFolderWriter {
    type Receipt = Vec<StagedFile>;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        // A folder without a row is not named, and gets no file: small ones cost their readers much.
        let folders = self.place.levels.split(&batch)?;
        let batch = self.place.levels.for_files(batch)?;
        for (folder, runs) in folders {
            let file = self.file(folder).await?;
            for rows in runs {
                file.write(&batch.slice(rows.start, rows.len())).await?;
            }
            self.bound_memory().await?;
        }
        Ok(())
    }

    async fn finish(self, _ranges: &[RangeSummary]) -> Result<Vec<StagedFile>, BoxError> {
        let Self { open, mut finished, .. } = self;
        for file in open.into_values() {
            finished.push(file.finish().await?);
        }
        Ok(finished)
    }
}
