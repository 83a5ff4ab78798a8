//! SIGINT and SIGTERM: the work is dropped, which cancels it, and the exit code tells why.

use std::{future::Future, time::Duration};

use crate::exit::Failure;

/// How long a run that was told to stop may take to clean up.
const GRACE: Duration = Duration::from_millis(500);

const SIGINT: u8 = 2;
#[cfg(unix)]
const SIGTERM: u8 = 15;

/// `work`, unless a signal comes first. Work that waits for a signal itself sees it first.
pub(crate) async fn or_interrupted(
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    tokio::spawn(async {
        let signal = stopped().await;
        tokio::time::sleep(GRACE).await;
        leave(signal);
    });
    tokio::select! {
        biased;
        result = work => result,
        signal = stopped() => Err(Failure::Signalled { signal }),
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
