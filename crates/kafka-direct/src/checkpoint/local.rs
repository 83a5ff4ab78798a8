//! A checkpoint in a local folder.
//!
//! Contract: bytes go to a file in the folder `tmp`, which is synced; a hard link, which never
//! replaces a file, gives it its name; then the folder of the name is synced. So a name is durable only
//! after its bytes are. What a killed writer leaves in `tmp` is removed at the next start.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use uuid::Uuid;

use super::store::{CheckpointStore, CreateOutcome, StoreError, StoreFault, StoreFuture};

/// The folder of files that have no name yet.
const TEMPORARY_FOLDER: &str = "tmp";

/// A checkpoint in a folder of a local file system that has hard links.
///
/// Its methods need a tokio runtime. Several processes may use one folder at the same time.
#[derive(Debug, Clone)]
pub struct LocalCheckpoint {
    root: Arc<Path>,
    /// Folders of this checkpoint whose own names are durable.
    ready: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl LocalCheckpoint {
    /// The checkpoint in this folder, which is created with the first file.
    #[must_use]
    pub fn at(folder: impl AsRef<Path>) -> Self {
        Self { root: Arc::from(folder.as_ref()), ready: Arc::default() }
    }

    /// Runs blocking file operations outside the runtime's workers. They continue when the returned
    /// future is dropped.
    fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        let this = self.clone();
        Box::pin(async move {
            let task = tokio::task::spawn_blocking(move || operation(&this));
            let stopped = |error| StoreError::new(StoreFault::Unavailable, "running", error);
            task.await.map_err(stopped)?
        })
    }

    fn create_file(&self, path: &Path, bytes: &[u8]) -> Result<CreateOutcome, StoreError> {
        let folder = path.parent().unwrap_or(&self.root);
        let temporaries = self.root.join(TEMPORARY_FOLDER);
        self.prepare(folder)?;
        self.prepare(&temporaries)?;
        loop {
            let temporary = temporaries.join(Uuid::new_v4().to_string());
            let linked = write_synced(&temporary, bytes).map(|()| fs::hard_link(&temporary, path));
            drop(fs::remove_file(&temporary));
            let outcome = match linked? {
                Ok(()) => CreateOutcome::Created,
                Err(_) if path.exists() => CreateOutcome::Exists,
                // A process that started at this moment has emptied `tmp`.
                Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => {
                    continue;
                }
                Err(error) => return Err(failed("linking (hard links are needed)")(error)),
            };
            // Also for a file of another writer, which may have been killed before it did this.
            sync_folder(folder)?;
            return Ok(outcome);
        }
    }

    /// Creates a folder and makes its name durable, once a process.
    fn prepare(&self, folder: &Path) -> Result<(), StoreError> {
        if self.ready.lock().contains(folder) {
            return Ok(());
        }
        let missing = folder.ancestors().take_while(|ancestor| !ancestor.is_dir()).count();
        fs::create_dir_all(folder).map_err(failed("creating the folder"))?;
        // The checkpoint's own folders are synced even if they exist: who created them may have been
        // killed before the sync.
        let own =
            folder.ancestors().take_while(|ancestor| ancestor.starts_with(&self.root)).count();
        for created in folder.ancestors().take(missing.max(own)) {
            sync_folder(created.parent().unwrap_or(created))?;
        }
        self.ready.lock().insert(folder.to_owned());
        Ok(())
    }

    fn list_files(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        // What another process is writing just now it writes again.
        for entry in fs::read_dir(self.root.join(TEMPORARY_FOLDER)).into_iter().flatten().flatten()
        {
            drop(fs::remove_file(entry.path()));
        }
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("listing"))?,
        };
        let names = entries
            .map(|entry| Ok(entry?.file_name().into_string().ok()))
            .filter_map(Result::transpose)
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed("listing"))?;
        sync_folder(folder)?;
        Ok(names)
    }
}

impl CheckpointStore for LocalCheckpoint {
    fn location(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    fn create<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> StoreFuture<'a, CreateOutcome> {
        let (path, bytes) = (self.root.join(name), bytes.to_vec());
        self.run(move |this| this.create_file(&path, &bytes))
    }

    fn read<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Option<Vec<u8>>> {
        let path = self.root.join(name);
        self.run(move |_| match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("reading")(error)),
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<String>> {
        let path = self.root.join(folder);
        self.run(move |this| this.list_files(&path))
    }

    fn remove<'a>(&'a self, name: &'a str) -> StoreFuture<'a, ()> {
        let path = self.root.join(name);
        self.run(move |_| match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removing")(error)),
            _ => Ok(()),
        })
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file =
        File::options().write(true).create_new(true).open(path).map_err(failed("creating"))?;
    file.write_all(bytes).map_err(failed("writing"))?;
    file.sync_all().map_err(not_synced)
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    // Only Unix opens a folder as a file; elsewhere names are durable without.
    if cfg!(unix) {
        let opened = File::open(folder).map_err(failed("opening the folder"))?;
        opened.sync_all().map_err(not_synced)?;
    }
    Ok(())
}

fn not_synced(error: io::Error) -> StoreError {
    StoreError::new(StoreFault::NotDurable, "syncing", error)
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    move |error| {
        let fault = match error.kind() {
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::Unsupported => StoreFault::Refused,
            _ => StoreFault::Unavailable,
        };
        StoreError::new(fault, action, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "offsets/00000000000000000001";

    async fn created(store: &LocalCheckpoint, name: &str, text: &str) -> CreateOutcome {
        store.create(name, text.as_bytes()).await.unwrap()
    }

    #[tokio::test]
    async fn a_file_is_created_once_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalCheckpoint::at(folder.path().join("a/b"));
        assert_eq!(store.list("offsets").await.unwrap(), [""; 0]);
        assert_eq!(store.read(NAME).await.unwrap(), None);
        assert_eq!(created(&store, NAME, "one").await, CreateOutcome::Created);
        assert_eq!(created(&store, NAME, "two").await, CreateOutcome::Exists);
        assert_eq!(store.read(NAME).await.unwrap().unwrap(), b"one");
        assert_eq!(store.list("offsets").await.unwrap(), ["00000000000000000001"]);
        store.remove(NAME).await.unwrap();
        store.remove(NAME).await.unwrap();
        assert_eq!(store.list("offsets").await.unwrap(), [""; 0]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_writers_one_creates_although_others_sweep() {
        let folder = tempfile::tempdir().unwrap();
        let racers = (0..8).map(|racer| {
            let store = LocalCheckpoint::at(folder.path());
            tokio::spawn(async move {
                let outcome = created(&store, NAME, &racer.to_string().repeat(10_000)).await;
                store.list("offsets").await.unwrap();
                outcome == CreateOutcome::Created
            })
        });
        let outcomes = futures::future::join_all(racers.collect::<Vec<_>>()).await;
        let winners: Vec<usize> =
            (0..).zip(outcomes).filter_map(|(racer, won)| won.unwrap().then_some(racer)).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        let stored = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert_eq!(stored, winners[0].to_string().repeat(10_000));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_writer_whose_temporary_file_is_swept_writes_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalCheckpoint::at(folder.path());
        let other = LocalCheckpoint::at(folder.path());
        let sweeper = tokio::spawn(async move {
            loop {
                other.list("offsets").await.unwrap();
            }
        });
        for number in 0..100 {
            assert_eq!(
                created(&store, &format!("offsets/{number}"), "x").await,
                CreateOutcome::Created
            );
        }
        sweeper.abort();
    }

    #[tokio::test]
    async fn what_a_killed_writer_left_is_removed_at_the_start_and_is_no_entry() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalCheckpoint::at(folder.path());
        created(&store, NAME, "one").await;
        fs::write(folder.path().join("tmp/left"), "half").unwrap();
        assert_eq!(store.list("offsets").await.unwrap().len(), 1);
        assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_a_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let store = LocalCheckpoint::at(folder.path().join("file"));
        let error = store.create(NAME, b"").await.unwrap_err();
        assert_eq!(error.fault(), StoreFault::Refused, "{error:?}");
        assert!(store.location(NAME).ends_with("file/offsets/00000000000000000001"));
    }
}
