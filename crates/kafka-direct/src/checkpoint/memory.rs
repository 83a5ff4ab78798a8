//! A checkpoint in memory, for tests: it can fail in the ways in which real stores fail.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::store::{CheckpointStore, CreateOutcome, StoreError, StoreFault, StoreFuture};

/// How the next matching operation of a [`MemoryCheckpoint`] fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryFault {
    /// A create stores the object, and fails with [`StoreFault::Unavailable`].
    CreateStored,
    /// A create stores nothing, and fails with [`StoreFault::Unavailable`].
    CreateNotStored,
    /// A create stores the object, and fails with [`StoreFault::NotDurable`].
    CreateNotDurable,
    /// A read fails with [`StoreFault::Unavailable`].
    Read,
    /// A remove fails with [`StoreFault::Unavailable`].
    Remove,
}

/// A checkpoint in memory. Clones share its objects and its faults.
#[derive(Debug, Clone, Default)]
pub struct MemoryCheckpoint {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    faults: Vec<MemoryFault>,
}

impl State {
    /// Takes the oldest fault that `matches`.
    fn take(&mut self, matches: impl Fn(MemoryFault) -> bool) -> Option<MemoryFault> {
        let index = self.faults.iter().position(|fault| matches(*fault))?;
        Some(self.faults.remove(index))
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> Result<CreateOutcome, StoreError> {
        let fault = self.take(|fault| !matches!(fault, MemoryFault::Read | MemoryFault::Remove));
        if fault != Some(MemoryFault::CreateNotStored) && !self.objects.contains_key(name) {
            self.objects.insert(name.to_owned(), bytes.to_vec());
            if fault.is_none() {
                return Ok(CreateOutcome::Created);
            }
        }
        match fault {
            Some(MemoryFault::CreateNotDurable) => Err(injected(StoreFault::NotDurable, "syncing")),
            Some(_) => Err(injected(StoreFault::Unavailable, "creating")),
            None => Ok(CreateOutcome::Exists),
        }
    }
}

fn injected(fault: StoreFault, action: &'static str) -> StoreError {
    StoreError::new(fault, action, "injected by a test")
}

impl MemoryCheckpoint {
    /// An empty checkpoint.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the next matching operation fail. Of several faults that match, the oldest is used first.
    pub fn inject(&self, fault: MemoryFault) {
        self.state.lock().faults.push(fault);
    }

    /// Removes the injected faults that no operation has used.
    pub fn clear_faults(&self) {
        self.state.lock().faults.clear();
    }

    /// Everything that is stored, by name.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.lock().objects.clone()
    }

    /// Replaces or adds an object, as no writer of a checkpoint may: for tests of corrupt files.
    pub fn overwrite(&self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.state.lock().objects.insert(name.into(), bytes.into());
    }
}

fn ready<'a, T: Send + 'a>(result: Result<T, StoreError>) -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(result))
}

impl CheckpointStore for MemoryCheckpoint {
    fn location(&self, name: &str) -> String {
        format!("memory:{name}")
    }

    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> StoreFuture<'a, CreateOutcome> {
        ready(self.state.lock().create(name, bytes))
    }

    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        let mut state = self.state.lock();
        ready(match state.take(|fault| fault == MemoryFault::Read) {
            Some(_) => Err(injected(StoreFault::Unavailable, "reading")),
            None => Ok(state.objects.get(name).cloned()),
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<String>> {
        let state = self.state.lock();
        let in_folder =
            |name: &String| name.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned);
        ready(Ok(state.objects.keys().filter_map(in_folder).collect()))
    }

    fn remove<'a>(&'a self, name: &'a str) -> StoreFuture<'a, ()> {
        let mut state = self.state.lock();
        ready(match state.take(|fault| fault == MemoryFault::Remove) {
            Some(_) => Err(injected(StoreFault::Unavailable, "removing")),
            None => {
                state.objects.remove(name);
                Ok(())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_injected_fault_hits_the_next_matching_operation_only() {
        let store = MemoryCheckpoint::new();
        for fault in [MemoryFault::Read, MemoryFault::CreateStored, MemoryFault::CreateNotStored] {
            store.clone().inject(fault);
        }
        let bytes = b"x";
        assert!(store.create("a/1", bytes).await.is_err());
        assert!(store.create("a/2", bytes).await.is_err());
        assert_eq!(store.create("a/1", bytes).await.unwrap(), CreateOutcome::Exists);
        assert!(store.read("a/1").await.is_err());
        assert_eq!(store.read("a/1").await.unwrap(), Some(bytes.to_vec()));
        assert_eq!(store.list("a").await.unwrap(), ["1"]);
    }
}
