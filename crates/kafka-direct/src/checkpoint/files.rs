//! Reads and creates the files of a checkpoint in any store.
//!
//! Contract: what is returned belongs to this stream, this build understands it, and its name is that
//! of its content. A create whose outcome is unknown is repeated once; then the stored bytes show whose
//! it was. After a write that may not be durable nothing is read or written any more.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use kafka_direct_core::ErrorKind;
use serde::Deserialize;

use super::{
    entry::{CHECKPOINT_VERSION, Entry},
    ids::{StreamId, number_of_name},
    store::{CheckpointStore, CreateOutcome, StoreError, StoreFault},
};
use crate::Error;

pub(crate) const META: &str = "stream.json";
pub(crate) const GENERATIONS: &str = "generations";
pub(crate) const OFFSETS: &str = "offsets";
pub(crate) const COMMITS: &str = "commits";

/// The files of a checkpoint.
#[derive(Debug)]
pub(crate) struct Files {
    store: Arc<dyn CheckpointStore>,
    /// Set after a write that may not be durable.
    stopped: AtomicBool,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl Files {
    pub(crate) fn new(store: Arc<dyn CheckpointStore>) -> Self {
        Self { store, stopped: AtomicBool::new(false) }
    }

    /// The entry in a file; `None` if there is no such file. Without `stream`, of any stream.
    pub(crate) async fn read<E: Entry>(
        &self,
        name: &str,
        stream: Option<StreamId>,
    ) -> Result<Option<E>, Error> {
        self.read_bytes(name).await?.map(|bytes| self.decode(name, &bytes, stream)).transpose()
    }

    pub(crate) async fn exists(&self, name: &str) -> Result<bool, Error> {
        Ok(self.read_bytes(name).await?.is_some())
    }

    /// Creates a file durably. Returns another entry that has the name already.
    pub(crate) async fn create<E: Entry>(
        &self,
        name: &str,
        entry: &E,
        stream: Option<StreamId>,
    ) -> Result<Option<E>, Error> {
        let bytes = self.encode(name, entry)?;
        let outcome = match self.create_once(name, &bytes).await {
            Err(error) if error.fault() == StoreFault::Unavailable => {
                self.create_once(name, &bytes).await
            }
            outcome => outcome,
        };
        match outcome.map_err(|error| self.failed(name, error))? {
            CreateOutcome::Created => return Ok(None),
            CreateOutcome::Exists => {}
        }
        match self.read_bytes(name).await? {
            Some(stored) if stored == bytes => Ok(None),
            Some(stored) => self.decode(name, &stored, stream).map(Some),
            None => {
                let reason = "it was removed while it was being created; start the stream again";
                Err(self.error(name, ErrorKind::Unavailable, reason))
            }
        }
    }

    async fn create_once(&self, name: &str, bytes: &[u8]) -> Result<CreateOutcome, StoreError> {
        self.check_not_stopped()?;
        let outcome = self.store.create(name, bytes).await;
        if matches!(&outcome, Err(error) if error.fault() == StoreFault::NotDurable) {
            self.stopped.store(true, Ordering::Release);
        }
        outcome
    }

    async fn read_bytes(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.check_not_stopped().map_err(|error| self.failed(name, error))?;
        self.store.read(name).await.map_err(|error| self.failed(name, error))
    }

    fn check_not_stopped(&self) -> Result<(), StoreError> {
        if !self.stopped.load(Ordering::Acquire) {
            return Ok(());
        }
        let reason = "an earlier write may not be durable";
        Err(StoreError::new(StoreFault::NotDurable, "using the checkpoint", reason))
    }

    /// The numbers of the files in a folder.
    pub(crate) async fn numbers(&self, folder: &str) -> Result<BTreeSet<u64>, Error> {
        let names = self.store.list(folder).await.map_err(|error| self.failed(folder, error))?;
        Ok(names.iter().filter_map(|name| number_of_name(name)).collect())
    }

    pub(crate) async fn remove(&self, name: &str) -> Result<(), Error> {
        self.store.remove(name).await.map_err(|error| self.failed(name, error))
    }

    fn encode<E: Entry>(&self, name: &str, entry: &E) -> Result<Vec<u8>, Error> {
        let mut bytes = serde_json::to_vec_pretty(entry).map_err(|error| Error::Checkpoint {
            location: self.location(name),
            reason: "it cannot be written as JSON".to_owned(),
            kind: ErrorKind::Internal,
            source: Some(error.into()),
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn decode<E: Entry>(
        &self,
        name: &str,
        bytes: &[u8],
        stream: Option<StreamId>,
    ) -> Result<E, Error> {
        let corrupt = |error: serde_json::Error| {
            Error::Checkpoint {
            location: self.location(name),
            reason: "the file is truncated or corrupt; restore it from a copy, or start a new checkpoint"
                .to_owned(),
            kind: ErrorKind::Corrupt,
            source: Some(error.into()),
        }
        };
        let VersionOnly { version } = serde_json::from_slice(bytes).map_err(corrupt)?;
        if version != CHECKPOINT_VERSION {
            let reason = format!(
                "it has version {version}, this build reads version {CHECKPOINT_VERSION}; use the version of kafka-direct that wrote it"
            );
            return Err(self.error(name, ErrorKind::Invalid, reason));
        }
        let entry: E = serde_json::from_slice(bytes).map_err(corrupt)?;
        if let Some(stream) = stream
            && entry.stream_id() != stream
        {
            let reason = format!(
                "it belongs to stream {}, this is stream {stream}; use a folder for each stream",
                entry.stream_id()
            );
            return Err(self.error(name, ErrorKind::Invalid, reason));
        }
        let expected = name.rsplit('/').next().and_then(number_of_name);
        if entry.number() != expected {
            let reason = "the file's name and its content have different numbers; restore its name";
            return Err(self.error(name, ErrorKind::Corrupt, reason));
        }
        Ok(entry)
    }

    pub(crate) fn location(&self, name: &str) -> String {
        self.store.location(name)
    }

    pub(crate) fn error(&self, name: &str, kind: ErrorKind, reason: impl Into<String>) -> Error {
        Error::Checkpoint {
            location: self.location(name),
            reason: reason.into(),
            kind,
            source: None,
        }
    }

    fn failed(&self, name: &str, error: StoreError) -> Error {
        let advice = match error.fault() {
            StoreFault::Unavailable => "the store failed; try again",
            StoreFault::Refused => "the store refuses it; check the path and its permissions",
            StoreFault::NotDurable => {
                "the store may have lost a write; check the disk, then start the stream again"
            }
        };
        Error::Checkpoint {
            location: self.location(name),
            reason: advice.to_owned(),
            kind: error.kind(),
            source: Some(error.into()),
        }
    }
}
