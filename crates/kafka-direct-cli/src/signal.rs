//! Handles SIGINT and SIGTERM: drops the work, which cancels it, and exits with a code per signal.
//!
//! Work that has to clean up on a cluster calls [`allow_cleanup`] and waits for [`stopped`] itself.
//! It then has the time it asked for to finish; a second signal ends it earlier.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::exit::Failure;

/// How long a run may take to end after it was cancelled.
const CANCEL_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the cleanup on a cluster may take after a signal.
pub(crate) const CLEANUP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the work may go on after a signal, in milliseconds; 0 if it ends at once.
static CLEANUP_MILLIS: AtomicU64 = AtomicU64::new(0);

const SIGINT: u8 = 2;
#[cfg(unix)]
const SIGTERM: u8 = 15;

/// Gives the work this time to clean up, or to finish what it has in hand, after a signal.
pub(crate) fn allow_cleanup(limit: Duration) {
    let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    CLEANUP_MILLIS.store(millis, Ordering::Relaxed);
}

/// Waits until the time for cleanup is over or a second signal arrives.
///
/// Returns at once if [`allow_cleanup`] was not called.
async fn cleanup_over() {
    let millis = CLEANUP_MILLIS.load(Ordering::Relaxed);
    if millis > 0 {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(millis)) => {}
            _ = stopped() => {}
        }
    }
}

/// Runs `work` until it ends or a signal arrives.
///
/// Work that waits for a signal itself is polled first, so it can clean up.
pub(crate) async fn or_interrupted(
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    tokio::spawn(async {
        let signal = stopped().await;
        cleanup_over().await;
        tokio::time::sleep(CANCEL_TIMEOUT).await;
        exit(signal);
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
        () = cleanup_over() => Err(Failure::Signalled { signal }),
    }
}

/// Exits the process, because a thread that is blocked on stdout cannot be cancelled.
#[expect(clippy::exit, reason = "the thread that would return from `main` may be blocked")]
fn exit(signal: u8) {
    std::process::exit(i32::from(Failure::Signalled { signal }.code()));
}

/// Waits for a signal and returns its number.
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

/// Waits for a signal and returns its number.
#[cfg(not(unix))]
pub(crate) async fn stopped() -> u8 {
    interrupted().await
}

async fn interrupted() -> u8 {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the default action of the system ends the process.
        std::future::pending::<()>().await;
    }
    SIGINT
}
