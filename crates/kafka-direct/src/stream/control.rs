//! Controls a running stream from elsewhere: stop, pause, resume, and its progress.

use std::{future::Future, sync::Arc};

use tokio::sync::watch;

use super::progress::{StreamProgress, StreamState};

/// What the handle has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Run,
    Pause,
    Stop,
    StopNow,
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

    /// Ends the stream after the batch in hand: it is committed, and no other is planned.
    pub fn stop(&self) {
        self.want(Wanted::Stop);
    }

    /// Ends the stream without the batch in hand: what has begun of it is aborted in the sink, and it
    /// runs again after a restart. A commit that has begun is finished first.
    ///
    /// A batch of [`DirectStream::next`](super::DirectStream::next) is its caller's to drop. A sink or
    /// closure that blocks its thread is waited for.
    pub fn stop_now(&self) {
        self.want(Wanted::StopNow);
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
            let changes = match *now {
                Wanted::Run | Wanted::Pause => *now != wanted,
                Wanted::Stop => wanted == Wanted::StopNow,
                Wanted::StopNow => false,
            };
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

    pub(super) fn is_stopped(&self) -> bool {
        matches!(*self.wanted.borrow(), Wanted::Stop | Wanted::StopNow)
    }

    pub(super) fn is_stopped_now(&self) -> bool {
        *self.wanted.borrow() == Wanted::StopNow
    }

    /// Waits until the stream is to stop, or to stop at once.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        wait_for(self.wanted(), |wanted| matches!(wanted, Wanted::Stop | Wanted::StopNow))
    }

    /// Waits until the stream is to stop at once.
    pub(super) fn stopped_now(&self) -> impl Future<Output = ()> + Send + use<> {
        wait_for(self.wanted(), |wanted| *wanted == Wanted::StopNow)
    }

    /// The output of `work`; `None` if the stream is to stop at once before.
    pub(super) async fn unless_stopped_now<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stopped_now() => None,
            output = work => Some(output),
        }
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

async fn wait_for(mut wanted: watch::Receiver<Wanted>, is: fn(&Wanted) -> bool) {
    if wanted.wait_for(is).await.is_err() {
        // Without a handle nobody can stop the stream.
        std::future::pending::<()>().await;
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
        handle.stop_now();
        handle.stop();
        assert_eq!(*wanted.borrow(), Wanted::StopNow);
    }
}
