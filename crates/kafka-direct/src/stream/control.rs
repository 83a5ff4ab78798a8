//! Controls a running stream from elsewhere: stop, pause, resume, and its progress.

use std::sync::Arc;

use tokio::sync::watch;

use super::progress::{StreamProgress, StreamState};

/// What the handle has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Run,
    Pause,
    Stop,
}

/// Controls a stream, also from other tasks. Clones control the same stream.
#[derive(Debug, Clone)]
pub struct StreamHandle {
    wanted: Arc<watch::Sender<Wanted>>,
    progress: Arc<watch::Sender<StreamProgress>>,
}

impl StreamHandle {
    pub(super) fn new() -> Self {
        Self {
            wanted: Arc::new(watch::Sender::new(Wanted::Run)),
            progress: Arc::new(watch::Sender::new(StreamProgress::default())),
        }
    }

    /// Ends the stream after the batch in hand: it is committed, and no other is planned. To stop at
    /// once, drop the future that runs the stream: the batch in hand runs again after a restart.
    pub fn stop(&self) {
        self.wanted.send_replace(Wanted::Stop);
    }

    /// Plans no batch until [`StreamHandle::resume`] is called. A stream that was stopped stays stopped.
    pub fn pause(&self) {
        self.want(Wanted::Pause);
    }

    /// Goes on after [`StreamHandle::pause`].
    pub fn resume(&self) {
        self.want(Wanted::Run);
    }

    fn want(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|now| {
            let changes = *now != Wanted::Stop && *now != wanted;
            if changes {
                *now = wanted;
            }
            changes
        });
    }

    /// The progress of the stream: the present one at once, and each change.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<StreamProgress> {
        self.progress.subscribe()
    }

    pub(super) fn wanted(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }

    pub(super) fn set_state(&self, state: StreamState) {
        self.progress.send_if_modified(|progress| {
            let changes = progress.state != state;
            if changes {
                progress.state = state;
            }
            changes
        });
    }

    pub(super) fn report(&self, change: impl FnOnce(&mut StreamProgress)) {
        self.progress.send_modify(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_stream_stays_stopped() {
        let handle = StreamHandle::new();
        let wanted = handle.wanted();
        handle.pause();
        assert_eq!(*wanted.borrow(), Wanted::Pause);
        handle.resume();
        assert_eq!(*wanted.borrow(), Wanted::Run);
        handle.stop();
        handle.resume();
        handle.pause();
        assert_eq!(*wanted.borrow(), Wanted::Stop);
    }
}
