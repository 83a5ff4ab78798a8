//! The thread that writes encoded blocks to stdout or one file.
//!
//! Contract: blocks are written whole, in the order in which they were sent. The queue is short; a
//! task that sends to a full queue waits without blocking its thread. The first failure ends the
//! writing, and [`Writer::end`] returns it. A file appears only if the writing succeeded. A target
//! that blocks, such as a full pipe, blocks only this thread.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    sync::Arc,
    thread,
};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use kafka_direct_sinks::{AtomicFile, format::Buffers};

use crate::{exit::Failure, output, shell};

/// Capacity of the queue to the thread, in blocks.
const QUEUED_BLOCKS: usize = 4;

/// Where the bytes are written.
#[derive(Debug)]
pub(super) enum Target {
    Stdout,
    /// A file that appears when it is complete.
    File(AtomicFile),
    /// A device or a named pipe, which must not be replaced by a file.
    Device(File),
    /// Finished or discarded; further blocks are ignored.
    Closed,
}

impl Target {
    /// Opens the target of `--output`; `None` and `-` are stdout.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            return Ok(Self::Stdout);
        };
        let failed = |source| Failure::io(format!("opening {}", path.display()), source);
        match path.metadata() {
            Ok(metadata) if !metadata.is_file() => {
                OpenOptions::new().write(true).open(path).map(Self::Device).map_err(failed)
            }
            _ => {
                in_a_folder(path)?;
                AtomicFile::create(path).map(Self::File).map_err(failed)
            }
        }
    }

    /// Whether it is a file that appears when it is complete.
    pub(super) const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    pub(super) fn write(&mut self, block: &[u8]) -> Result<(), Failure> {
        let written = match self {
            Self::Stdout => return output::block(block),
            Self::File(file) => file.write_all(block),
            Self::Device(file) => file.write_all(block),
            Self::Closed => Ok(()),
        };
        written.map_err(|source| Failure::io("writing the output file", source))
    }

    /// Closes the target; a file gets its final name.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        match std::mem::replace(self, Self::Closed) {
            Self::File(file) => {
                file.commit().map_err(|source| Failure::io("finishing the output file", source))
            }
            Self::Stdout | Self::Device(_) | Self::Closed => Ok(()),
        }
    }
}

/// Checks that the folder of the file `path` exists; a mistyped folder is not created.
fn in_a_folder(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Some(folder) = folder.filter(|folder| !folder.exists()) else { return Ok(()) };
    let (path, folder) = (path.display(), folder.display().to_string());
    Err(Failure::unmet(format!(
        "--output {path}: the folder {folder} does not exist; make it with `mkdir -p {}`",
        shell::quoted(&folder)
    )))
}

/// A message to the thread.
#[derive(Debug)]
enum Message {
    Block(Vec<u8>),
    /// The last message.
    End {
        /// Whether the output is complete, so that a file gets its final name.
        whole: bool,
    },
}

/// The handle to the thread, which the tasks share.
#[derive(Debug)]
pub(super) struct Writer {
    messages: mpsc::Sender<Message>,
    buffers: Arc<Buffers>,
    target: Arc<Mutex<Target>>,
    /// The result of the thread; `None` once it is taken.
    outcome: Mutex<Option<oneshot::Receiver<Result<(), Failure>>>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(target: Target) -> Result<Self, Failure> {
        let (messages, mut inbox) = mpsc::channel(QUEUED_BLOCKS);
        let (done, outcome) = oneshot::channel();
        let (target, buffers) = (Arc::new(Mutex::new(target)), Arc::new(Buffers::default()));
        let (shared, spare) = (Arc::clone(&target), Arc::clone(&buffers));
        let work = move || {
            let result = write_all(&mut inbox, &shared, &spare);
            // The queue is closed before the outcome is sent, so that no sender waits after it.
            drop(inbox);
            drop(done.send(result));
        };
        let started = thread::Builder::new().name("writer".to_owned()).spawn(work);
        started.map_err(|source| Failure::io("starting the writer thread", source))?;
        Ok(Self { messages, buffers, target, outcome: Mutex::new(Some(outcome)) })
    }

    /// Returns an empty buffer for the next block.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.buffers.take()
    }

    /// Sends a block to the thread; waits while the queue is full.
    ///
    /// It fails if the writing has ended; [`Writer::end`] returns the reason.
    pub(super) async fn write(&self, block: Vec<u8>) -> Result<(), Failure> {
        if block.is_empty() {
            self.buffers.give_back(block);
            return Ok(());
        }
        self.messages.send(Message::Block(block)).await.map_err(|_| ended())
    }

    /// Waits until all blocks are written; with `whole` a file gets its final name.
    pub(super) async fn end(&self, whole: bool) -> Result<(), Failure> {
        // If the thread has ended, sending fails and `outcome` has the reason.
        drop(self.messages.send(Message::End { whole }).await);
        let Some(outcome) = self.outcome.lock().take() else { return Err(ended()) };
        outcome.await.unwrap_or_else(|_| Err(ended()))
    }
}

fn ended() -> Failure {
    Failure::unmet("internal error: the writer thread has ended; report this")
}

/// Writes blocks until the last message, or until all senders are dropped.
fn write_all(
    inbox: &mut mpsc::Receiver<Message>,
    target: &Mutex<Target>,
    spare: &Buffers,
) -> Result<(), Failure> {
    while let Some(message) = inbox.blocking_recv() {
        match message {
            Message::Block(block) => {
                target.lock().write(&block)?;
                spare.give_back(block);
            }
            Message::End { whole: true } => return target.lock().finish(),
            Message::End { whole: false } => break,
        }
    }
    Ok(())
}

/// Discards an unfinished file when dropped.
///
/// Cancelled tasks may keep the writer a little longer, but the temporary file must be removed
/// before the process ends.
#[derive(Debug)]
pub(super) struct Unfinished(Option<Arc<Mutex<Target>>>);

impl Unfinished {
    pub(super) fn new(writer: &Writer) -> Self {
        let is_file = writer.target.lock().is_file();
        Self(is_file.then(|| Arc::clone(&writer.target)))
    }

    /// Whether there is a file to discard.
    pub(super) const fn is_file(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // The lock is free soon, because the target is a file; a write to a pipe may never end.
        if let Some(target) = &self.0 {
            *target.lock() = Target::Closed;
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{io::Read as _, os::fd::OwnedFd, pin::pin, task::Poll};

    use super::*;

    /// Size of a block, many times the capacity of a pipe.
    const BLOCK: usize = 1 << 20;

    /// Returns the reading end of a pipe, and a writer to it.
    fn piped() -> (std::io::PipeReader, Writer) {
        let (reader, target) = std::io::pipe().unwrap();
        let target = Target::Device(File::from(OwnedFd::from(target)));
        (reader, Writer::start(target).unwrap())
    }

    /// Sends blocks until one has to wait; returns the number of blocks before it.
    async fn fill(writer: &Writer) -> u8 {
        for number in 0..=u8::MAX {
            let mut write = pin!(writer.write(vec![number; BLOCK]));
            let polled = std::future::poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx)));
            match polled.await {
                Poll::Pending => return number,
                Poll::Ready(written) => written.unwrap(),
            }
        }
        panic!("a blocked target accepted every block");
    }

    #[tokio::test]
    async fn a_blocked_target_limits_the_queue() {
        let (mut reader, writer) = piped();
        let taken = fill(&writer).await;
        // The thread may hold one more block.
        assert!(usize::from(taken) <= QUEUED_BLOCKS + 1, "{taken}");
        let read = thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| bytes)
        });
        writer.end(true).await.unwrap();
        drop(writer);
        let expected: Vec<u8> = (0..taken).flat_map(|number| vec![number; BLOCK]).collect();
        assert!(read.join().unwrap().unwrap() == expected, "blocks are missing, torn or swapped");
    }

    #[tokio::test]
    async fn end_returns_the_failure_of_the_target() {
        let (reader, writer) = piped();
        fill(&writer).await;
        drop(reader);
        while writer.write(vec![0; BLOCK]).await.is_ok() {}
        assert!(matches!(writer.end(true).await, Err(Failure::ClosedPipe)));
    }

    #[tokio::test]
    async fn a_file_appears_only_after_a_complete_end() {
        let folder = tempfile::tempdir().unwrap();
        for (name, whole) in [("whole", true), ("part", false)] {
            let path = folder.path().join(name);
            let writer = Writer::start(Target::open(Some(&path)).unwrap()).unwrap();
            let unfinished = Unfinished::new(&writer);
            writer.write(b"block".to_vec()).await.unwrap();
            writer.end(whole).await.unwrap();
            drop(unfinished);
            assert_eq!(path.exists(), whole);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
