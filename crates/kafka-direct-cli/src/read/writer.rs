//! The thread that owns stdout or one file and writes what tasks have formatted.
//!
//! Contract: blocks are written whole, in the order in which they were handed over; a few wait at
//! most, and who hands over another waits without a thread; the first failure ends the writing and
//! comes out of [`Writer::end`]; a file appears when the writing was ended well and not otherwise.
//! A target that blocks holds up this thread alone.

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

use crate::{exit::Failure, output};

/// Blocks that wait for the thread.
const WAITING: usize = 4;

/// A place for bytes.
#[derive(Debug)]
pub(super) enum Target {
    Stdout,
    /// A file that appears when it is complete.
    File(AtomicFile),
    /// A device or a named pipe, which nothing may replace.
    Device(File),
    /// Finished or given up.
    Closed,
}

impl Target {
    /// Opens what `--output` names; nothing and `-` are stdout.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            return Ok(Self::Stdout);
        };
        let failed = |source| Failure::io(format!("opening {}", path.display()), source);
        match path.metadata() {
            Ok(metadata) if !metadata.is_file() => {
                OpenOptions::new().write(true).open(path).map(Self::Device).map_err(failed)
            }
            _ => AtomicFile::create(path).map(Self::File).map_err(failed),
        }
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

    /// Gives a file its name.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        match std::mem::replace(self, Self::Closed) {
            Self::File(file) => {
                file.commit().map_err(|source| Failure::io("finishing the output file", source))
            }
            Self::Stdout | Self::Device(_) | Self::Closed => Ok(()),
        }
    }
}

/// What the thread is told.
#[derive(Debug)]
enum Message {
    Block(Vec<u8>),
    /// Nothing more comes; whether a file gets its name.
    End {
        whole: bool,
    },
}

/// The tasks' end of the thread.
#[derive(Debug)]
pub(super) struct Writer {
    messages: mpsc::Sender<Message>,
    buffers: Arc<Buffers>,
    target: Arc<Mutex<Target>>,
    /// What became of it all.
    outcome: Mutex<Option<oneshot::Receiver<Result<(), Failure>>>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(target: Target) -> Result<Self, Failure> {
        let (messages, mut inbox) = mpsc::channel(WAITING);
        let (done, outcome) = oneshot::channel();
        let (target, buffers) = (Arc::new(Mutex::new(target)), Arc::new(Buffers::default()));
        let (shared, spare) = (Arc::clone(&target), Arc::clone(&buffers));
        let work = move || {
            let result = write_all(&mut inbox, &shared, &spare);
            // Closed before the outcome is known, so that nobody who learns of it still waits.
            drop(inbox);
            drop(done.send(result));
        };
        let started = thread::Builder::new().name("writer".to_owned()).spawn(work);
        started.map_err(|source| Failure::io("starting the thread that writes", source))?;
        Ok(Self { messages, buffers, target, outcome: Mutex::new(Some(outcome)) })
    }

    /// An empty buffer for the next block.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.buffers.take()
    }

    /// Hands a block over; waits while too many do. It fails if the writing has ended: why comes out
    /// of [`Writer::end`].
    pub(super) async fn write(&self, block: Vec<u8>) -> Result<(), Failure> {
        if block.is_empty() {
            self.buffers.give_back(block);
            return Ok(());
        }
        self.messages.send(Message::Block(block)).await.map_err(|_| ended())
    }

    /// Waits until everything handed over is written, and with `whole` gives a file its name.
    pub(super) async fn end(&self, whole: bool) -> Result<(), Failure> {
        // A thread that is gone has left its reason.
        drop(self.messages.send(Message::End { whole }).await);
        let Some(outcome) = self.outcome.lock().take() else { return Err(ended()) };
        outcome.await.unwrap_or_else(|_| Err(ended()))
    }
}

fn ended() -> Failure {
    Failure::unmet("the thread that writes the output has ended; report this")
}

/// Writes until the end, or until nobody is left to say more.
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

/// Gives an unfinished file up when dropped: tasks that were told to stop may hold the writer a
/// little longer, and the file must be gone when the process is.
#[derive(Debug)]
pub(super) struct Unfinished(Option<Arc<Mutex<Target>>>);

impl Unfinished {
    pub(super) fn new(writer: &Writer) -> Self {
        let is_file = matches!(*writer.target.lock(), Target::File(_));
        Self(is_file.then(|| Arc::clone(&writer.target)))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Whoever writes to a file is done soon; nobody knows that of a pipe.
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

    /// Many times what a pipe takes.
    const BLOCK: usize = 1 << 20;

    /// A pipe and the writer into it.
    fn piped() -> (std::io::PipeReader, Writer) {
        let (reader, target) = std::io::pipe().unwrap();
        let target = Target::Device(File::from(OwnedFd::from(target)));
        (reader, Writer::start(target).unwrap())
    }

    /// Hands blocks over until one has to wait; gives how many did not.
    async fn fill(writer: &Writer) -> u8 {
        for number in 0..=u8::MAX {
            let mut write = pin!(writer.write(vec![number; BLOCK]));
            let polled = std::future::poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx)));
            match polled.await {
                Poll::Pending => return number,
                Poll::Ready(written) => written.unwrap(),
            }
        }
        panic!("a target that takes nothing was handed everything");
    }

    #[tokio::test]
    async fn a_target_that_takes_nothing_is_handed_a_few_blocks() {
        let (mut reader, writer) = piped();
        let taken = fill(&writer).await;
        // One may be in the thread's hands.
        assert!(usize::from(taken) <= WAITING + 1, "{taken}");
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
    async fn a_target_that_fails_says_why_at_the_end() {
        let (reader, writer) = piped();
        fill(&writer).await;
        drop(reader);
        while writer.write(vec![0; BLOCK]).await.is_ok() {}
        assert!(matches!(writer.end(true).await, Err(Failure::ClosedPipe)));
    }

    #[tokio::test]
    async fn a_file_appears_at_its_end_and_only_if_it_is_whole() {
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
