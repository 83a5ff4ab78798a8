//! Where a checkpoint is stored: the trait [`CheckpointStore`], and its errors.
//!
//! Contract of a store: small objects under relative names such as `offsets/00000000000000000042`. An
//! object appears complete or not at all, is never changed, and of all that create it one succeeds.
//! In steady state a stream needs two creates and four reads a batch, and no listing.

use std::{fmt, future::Future, pin::Pin};

use kafka_direct_core::ErrorKind;

use crate::BoxError;

/// What a store's methods return.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What became of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The object was absent, and now has these bytes.
    Created,
    /// The object existed, and was not changed. It may hold the same bytes, if an earlier create
    /// failed after it had stored them.
    Exists,
}

/// Stores the objects of a checkpoint: a local folder, a bucket, memory.
///
/// A method fails with a [`StoreError`], whose [`StoreFault`] decides what the stream does.
///
/// Cancel safety: a create or remove whose future is dropped may still take effect, also later.
pub trait CheckpointStore: fmt::Debug + Send + Sync + 'static {
    /// Where the object is, for messages: a path or a URL.
    fn location(&self, name: &str) -> String;

    /// Creates an object unless it exists.
    ///
    /// When it returns `Ok`, the object is durable, also where another writer has created it.
    ///
    /// # Errors
    /// [`StoreFault::Unavailable`] if it may have been stored or not: the caller creates it again.
    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> StoreFuture<'a, CreateOutcome>;

    /// The object's bytes; `None` if there is no such object.
    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<Vec<u8>>>;

    /// The names of the objects in `folder`, without the folder, in any order; none if there is no
    /// such folder. The listed objects are durable. It is called only at the start of a stream.
    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<String>>;

    /// Removes an object; one that does not exist is no error. It need not be durable.
    fn remove<'a>(&'a self, name: &'a str) -> StoreFuture<'a, ()>;
}

/// How an operation of a store failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFault {
    /// It may succeed later. A create may or may not have taken effect.
    Unavailable,
    /// It fails in the same way until a person changes something, for example a permission.
    Refused,
    /// The bytes were accepted and may not be durable, for example after a failed fsync. A read
    /// would show them from memory, so nothing that is read from this store is evidence any more.
    NotDurable,
}

/// Why an operation of a store failed.
#[derive(Debug, thiserror::Error)]
#[error("{action} failed")]
pub struct StoreError {
    fault: StoreFault,
    action: &'static str,
    source: BoxError,
}

impl StoreError {
    /// The error of `action`, one word or two such as `creating`.
    #[must_use]
    pub fn new(fault: StoreFault, action: &'static str, source: impl Into<BoxError>) -> Self {
        Self { fault, action, source: source.into() }
    }

    /// How it failed.
    #[must_use]
    pub const fn fault(&self) -> StoreFault {
        self.fault
    }

    /// What the caller of a stream should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self.fault {
            StoreFault::Unavailable => ErrorKind::Unavailable,
            StoreFault::Refused => ErrorKind::Invalid,
            StoreFault::NotDurable => ErrorKind::Corrupt,
        }
    }
}
