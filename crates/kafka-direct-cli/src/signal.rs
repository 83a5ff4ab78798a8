//! SIGINT and SIGTERM: the work is dropped, which cancels it, and the exit code tells why.
//!
//! Work that has something to undo on a cluster says so with [`undoes_things`], waits for
//! [`stopped`] itself, and is then left time for it; a second signal ends that too.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::exit::Failure;

/// How long a run that was told to stop may take to clean up.
const GRACE: Duration = Duration::from_millis(500);

/// How long undoing things on a cluster may take.
const UNDOING: Duration = Duration::from_secs(10);

static UNDOES_THINGS: AtomicBool = AtomicBool::new(false);

const SIGINT: u8 = 2;
#[cfg(unix)]
const SIGTERM: u8 = 15;

/// Says that the work has to be left time after a signal.
pub(crate) fn undoes_things() {
    UNDOES_THINGS.store(true, Ordering::Relaxed);
}

/// Waits as long as work that was told to stop may take to undo things, or for a second signal.
async fn undone() {
    if UNDOES_THINGS.load(Ordering::Relaxed) {
        tokio::select! {
            () = tokio::time::sleep(UNDOING) => {}
            _ = stopped() => {}
        }
    }
}

/// `work`, unless a signal comes first. Work that waits for a signal itself sees it first.
pub(crate) async fn or_interrupted(
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    tokio::spawn(async {
        let signal = stopped().await;
        undone().await;
        tokio::time::sleep(GRACE).await;
        leave(signal);
    });
    let mut work = pin!(work);
    let signal = tokio::select! {
        biased;
        result = &mut work => return result,
        signal = stopped() => signal,
    };
    tokio::select! {
        biased;
        result = &mut work => result,
        () = undone() => Err(Failure::Signalled { signal }),
    }
}

/// Ends the process where a thread cannot: it waits for somebody to read stdout.
#[expect(clippy::exit, reason = "the thread that would return from `main` may be blocked")]
fn leave(signal: u8) {
    std::process::exit(i32::from(Failure::Signalled { signal }.code()));
}

/// Waits for a signal and gives its number.
#[cfg(unix)]
pub(crate) async fn stopped() -> u8 {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return interrupted().await;
    };
    tokio::select! {
        signal = interrupted() => signal,
        _ = terminate.recv() => SIGTERM,
    }
}

/// Waits for a signal and gives its number.
#[cfg(not(unix))]
pub(crate) async fn stopped() -> u8 {
    interrupted().await
}

async fn interrupted() -> u8 {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the system's own way of stopping a process is in force.
        std::future::pending::<()>().await;
    }
    SIGINT
}
