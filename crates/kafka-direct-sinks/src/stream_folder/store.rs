//! The commit protocol on disk: manifests, final names, and what is removed when.
//!
//! Contract: a batch is committed once its manifest exists. Carrying out a manifest gives its files
//! their final names, and makes these durable; anybody may do so, any number of times. Temporary files
//! of a batch are removed only after a manifest of it, or of a later batch, was carried out. So a
//! temporary file that a manifest names and that is missing has got its final name before.
//!
//! A newer driver removes the temporary files that older drivers left, once, before it writes its own.
//! An older driver may commit at that moment. So a commit first takes possession of its files by
//! renaming them: either the newer driver finds them no more, or the commit fails before its manifest
//! exists.
//!
//! Manifests are purged long after the temporary files of their batches were removed. So a driver that
//! sleeps in a commit until its batch was purged creates a manifest whose files are missing: it changes
//! nothing, and is purged itself.
//!
//! All functions block.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use kafka_direct::{
    SinkCommit, StreamBatch, TaskReceipt,
    checkpoint::{BatchId, Generation, StreamId},
};
use parking_lot::Mutex;

use super::{
    claim,
    layout::{
        Layout, batch_of_temporary, claimed_name, file_in, final_path, generation_of_unclaimed,
        is_claimed,
    },
    manifest::{Manifest, StagedFile},
};
use crate::{
    Error,
    files::{CrashPoint, durable},
};

/// How often the folder of a file is created while a reader removes it.
const MAX_LINK_TRIES: u32 = 100;
/// Manifests that are kept, the newest among them.
pub(super) const RETAINED_MANIFESTS: usize = 100;

/// The folder that streams write into.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) root: PathBuf,
    pub(super) append: bool,
    pub(super) crash: CrashPoint,
    /// The streams that may write here.
    claimed: Mutex<BTreeMap<StreamId, Claimed>>,
}

/// What this process has done for a stream.
#[derive(Debug, Clone, Copy, Default)]
struct Claimed {
    /// The newest batch that it has carried out.
    settled: Option<BatchId>,
    /// The generation for which it has removed what older ones left.
    writing: Option<Generation>,
}

impl Store {
    pub(super) fn new(root: PathBuf, append: bool, crash: CrashPoint) -> Self {
        Self { root, append, crash, claimed: Mutex::default() }
    }

    pub(super) fn layout(&self, stream: StreamId) -> Layout {
        Layout::new(&self.root, stream)
    }

    /// Checks, once, that `stream` may write here, and creates its folders.
    pub(super) fn claim(&self, stream: StreamId) -> Result<Layout, Error> {
        let layout = self.layout(stream);
        if !self.claimed.lock().contains_key(&stream) {
            self.refuse_others(&layout)?;
            claim::prepare(&layout, &self.crash)?;
            self.claimed.lock().entry(stream).or_default();
        }
        Ok(layout)
    }

    fn refuse_others(&self, layout: &Layout) -> Result<(), Error> {
        if self.append { Ok(()) } else { claim::refuse_others(layout) }
    }

    /// The newest committed batch of `stream`, whose files have their final names afterwards.
    pub(super) fn last_committed(&self, stream: StreamId) -> Result<Option<SinkCommit>, Error> {
        let layout = self.claim(stream)?;
        loop {
            let Some(newest) = claim::batches(&layout.manifests)?.pop() else { return Ok(None) };
            let path = layout.manifest(newest);
            // A process that commits at the same time may have purged it.
            let Some(manifest) = Manifest::read(&path, stream, newest)? else { continue };
            self.carry_out(&layout, &manifest)?;
            self.settled(stream, &layout, newest)?;
            return Ok(Some(manifest.commit));
        }
    }

    /// Commits a batch. See [`kafka_direct::Sink::commit`].
    pub(super) fn commit(
        &self,
        batch: StreamBatch,
        receipts: &[TaskReceipt<Vec<StagedFile>>],
    ) -> Result<(), Error> {
        let StreamBatch { stream, batch: id, .. } = batch;
        let layout = self.claim(stream)?;
        let newest = claim::batches(&layout.manifests)?.pop();
        if let Some(newest) = newest {
            self.settle(stream, &layout, newest)?;
        } else {
            // Another stream may have committed here since the claim.
            self.refuse_others(&layout)?;
        }
        if newest.is_some_and(|newest| newest >= id) {
            return Ok(());
        }
        self.create_manifest(&layout, Manifest::new(batch, receipts))?;
        self.settle(stream, &layout, id)
    }

    /// Creates a manifest, after the names of its files are durable. Does nothing if the batch has one.
    fn create_manifest(&self, layout: &Layout, mut manifest: Manifest) -> Result<(), Error> {
        let path = layout.manifest(manifest.commit.batch);
        for staged in &mut manifest.files {
            final_path(&layout.root, &staged.file.name)?;
            match self.take_possession(layout, staged) {
                Ok(claimed) => staged.temporary = claimed,
                // Another driver has committed the batch, and has removed the file.
                Err(_) if path.exists() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        durable::sync_folder(&layout.temporaries)?;
        durable::create_if_absent(&path, manifest.to_json()?.as_bytes(), &self.crash)?;
        Ok(())
    }

    /// Renames a temporary file so that no newer driver removes it; returns its new name.
    fn take_possession(&self, layout: &Layout, staged: &StagedFile) -> Result<String, Error> {
        let temporary = file_in(&layout.temporaries, &staged.temporary)?;
        let name = claimed_name(&staged.temporary);
        let claimed = layout.temporaries.join(&name);
        self.crash.step()?;
        if let Err(error) = fs::rename(&temporary, &claimed) {
            // An earlier call for the same batch may have renamed it.
            if error.kind() != io::ErrorKind::NotFound || is_missing(&claimed)? {
                return Err(durable::failed("preparing the commit of", &temporary)(error));
            }
        }
        let found = fs::metadata(&claimed).map_err(durable::failed("checking", &claimed))?.len();
        if found != staged.file.bytes {
            return Err(Error::invalid(format!(
                "{} has the size {found} B, and {} B were written; the batch is not committed",
                claimed.display(),
                staged.file.bytes
            )));
        }
        Ok(name)
    }

    /// Carries out the manifest of `batch`, unless this process has done so, and tidies up.
    fn settle(&self, stream: StreamId, layout: &Layout, batch: BatchId) -> Result<(), Error> {
        let settled = self.claimed.lock().get(&stream).and_then(|claimed| claimed.settled);
        if settled.is_none_or(|settled| settled < batch) {
            // Without a manifest it was purged, hence carried out by another process.
            let path = layout.manifest(batch);
            if let Some(manifest) = Manifest::read(&path, stream, batch)? {
                self.carry_out(layout, &manifest)?;
            }
        }
        self.settled(stream, layout, batch)
    }

    /// Gives the files of a manifest their final names, and makes these durable.
    fn carry_out(&self, layout: &Layout, manifest: &Manifest) -> Result<(), Error> {
        // Also a manifest of another driver, which may have been killed before it did this: without it
        // nobody could finish what begins here.
        durable::sync_folder(&layout.manifests)?;
        let mut folders = BTreeSet::new();
        for staged in &manifest.files {
            let path = final_path(&layout.root, &staged.file.name)?;
            let temporary = file_in(&layout.temporaries, &staged.temporary)?;
            self.crash.step()?;
            // A link never replaces a file.
            match link(&layout.root, &temporary, &path) {
                Ok(()) => {}
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && is_missing(&temporary)? => {}
                Err(_) if staged.file.matches(&path)? => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(Error::invalid(format!(
                        "{} exists and is not the file of batch {}: move it to another folder and start again",
                        path.display(),
                        manifest.commit.batch
                    )));
                }
                Err(error) => {
                    let action = "linking (hard links are needed)";
                    return Err(durable::failed(action, &path)(error));
                }
            }
            let below = path.ancestors().skip(1).take_while(|folder| *folder != layout.root);
            folders.extend(below.map(Path::to_owned));
        }
        self.crash.step()?;
        // Also those that existed: the process that created them may have been killed before this.
        for folder in &folders {
            match durable::sync_folder(folder) {
                // A reader has moved its files away, and removed it.
                Err(_) if is_missing(folder)? => {}
                synced => synced?,
            }
        }
        durable::sync_folder(&layout.root)
    }

    /// Notes that `batch` was carried out, and removes what is not needed any more.
    fn settled(&self, stream: StreamId, layout: &Layout, batch: BatchId) -> Result<(), Error> {
        if let Some(claimed) = self.claimed.lock().get_mut(&stream) {
            claimed.settled = claimed.settled.max(Some(batch));
        }
        for folder in [&layout.temporaries, &layout.manifests] {
            for name in claim::list(folder)? {
                if batch_of_temporary(&name).is_some_and(|of| of <= batch) {
                    self.remove(&folder.join(name))?;
                }
            }
        }
        let batches = claim::batches(&layout.manifests)?;
        let purged = batches.len().saturating_sub(RETAINED_MANIFESTS);
        batches.into_iter().take(purged).try_for_each(|old| self.remove(&layout.manifest(old)))
    }

    /// Whether [`Store::open_for_writing`] was called for this driver.
    pub(super) fn is_writing(&self, batch: StreamBatch) -> bool {
        let claimed = self.claimed.lock().get(&batch.stream).copied();
        claimed.is_some_and(|claimed| claimed.writing >= Some(batch.generation))
    }

    /// Checks that the stream may write here, and removes what older drivers have left of batches that
    /// are not committed. Returns the folder for temporary files.
    pub(super) fn open_for_writing(&self, batch: StreamBatch) -> Result<PathBuf, Error> {
        let layout = self.claim(batch.stream)?;
        for name in claim::list(&layout.temporaries)? {
            if generation_of_unclaimed(&name).is_some_and(|of| of < batch.generation) {
                self.remove(&layout.temporaries.join(name))?;
            }
        }
        if let Some(claimed) = self.claimed.lock().get_mut(&batch.stream) {
            claimed.writing = claimed.writing.max(Some(batch.generation));
        }
        Ok(layout.temporaries)
    }

    /// Removes what an attempt wrote.
    pub(super) fn abort(&self, stream: StreamId, prefix: &str) -> Result<(), Error> {
        let temporaries = self.layout(stream).temporaries;
        for name in claim::list(&temporaries)? {
            if name.starts_with(prefix) && !is_claimed(&name) {
                self.remove(&temporaries.join(name))?;
            }
        }
        Ok(())
    }

    /// Not durably: after a power cut the file is removed again.
    fn remove(&self, path: &Path) -> Result<(), Error> {
        self.crash.step()?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(durable::failed("removing", path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Gives a temporary file its final name. A reader may remove the folders below `root` at any moment.
fn link(root: &Path, temporary: &Path, path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != root);
    let mut tries = 0_u32;
    loop {
        let linked = fs::hard_link(temporary, path);
        let Some(folder) = folder else { return linked };
        let is_absent = matches!(&linked, Err(error) if error.kind() == io::ErrorKind::NotFound);
        tries = tries.saturating_add(1);
        if !is_absent || tries > MAX_LINK_TRIES || !temporary.try_exists()? {
            return linked;
        }
        match fs::create_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

fn is_missing(path: &Path) -> Result<bool, Error> {
    path.try_exists().map(|exists| !exists).map_err(durable::failed("checking", path))
}
