//! The failures of a run, their exit codes, and their report on stderr.

use std::{error::Error as _, io, process::ExitCode};

use kafka_direct::{Error, ErrorKind};

use crate::output;

/// The exit code that a shell reports for a process ended by a closed pipe (128 + SIGPIPE).
const CLOSED_PIPE: u8 = 141;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The library could not plan or read.
    #[error(transparent)]
    Read(Error),
    /// A flag, a file or stdin has invalid input.
    #[error("{message}")]
    Usage {
        /// What is wrong, and how to correct it.
        message: String,
    },
    /// A file, stdin or stdout failed.
    #[error("{action} failed")]
    Io {
        /// The failed action and its file.
        action: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// An expectation or a verification failed.
    #[error("{message}")]
    Unmet {
        /// What was expected and what was found.
        message: String,
        /// The kind, which decides the exit code.
        kind: ErrorKind,
    },
    /// Writing records failed.
    #[error("writing to {target} failed")]
    Produce {
        /// Topic and partition.
        target: String,
        /// The error of the producing client.
        source: rskafka::client::error::Error,
    },
    /// The reader of stdout has closed it; nothing is reported.
    #[error("stdout was closed")]
    ClosedPipe,
    /// A signal stopped the run.
    #[error("stopped by signal {signal}")]
    Signalled {
        /// The number of the signal: 2 for SIGINT, 15 for SIGTERM.
        signal: u8,
    },
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into() }
    }

    /// A failed verification or expectation: exit code 1.
    pub(crate) fn unmet(message: impl Into<String>) -> Self {
        Self::Unmet { message: message.into(), kind: ErrorKind::Internal }
    }

    /// The failure of `action` on a file or stream; a closed pipe is [`Failure::ClosedPipe`].
    pub(crate) fn io(action: impl Into<String>, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Self::ClosedPipe;
        }
        Self::Io { action: action.into(), source }
    }

    /// The process's exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Read(error) => code(error.kind()),
            Self::Usage { .. } => 2,
            Self::Io { .. } => 1,
            Self::Unmet { kind, .. } => code(*kind),
            Self::Produce { source, .. } => code(crate::produce::kind(source)),
            Self::ClosedPipe => CLOSED_PIPE,
            Self::Signalled { signal } => signal.saturating_add(128),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        let kind = match self {
            Self::Read(Error::Withheld { .. }) => {
                return Some(
                    "`--wait-for-transactions 10m` waits until the transactions have ended",
                );
            }
            Self::Read(error) => error.kind(),
            Self::Produce { source, .. } => crate::produce::kind(source),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                return Some("free space and run the command again; no incomplete file is left");
            }
            // Their messages say what to do, or there is nothing to do.
            Self::Usage { .. }
            | Self::Unmet { .. }
            | Self::Io { .. }
            | Self::ClosedPipe
            | Self::Signalled { .. } => return None,
        };
        hint(kind)
    }
}

/// Unwraps a [`Failure`] that the engine returned as the source of its own error.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Closure { range, attempts, source } => match source.downcast::<Self>() {
                Ok(own) => *own,
                Err(source) => Self::Read(Error::Closure { range, attempts, source }),
            },
            Error::Sink { range, attempts, source } => match source.downcast::<Self>() {
                Ok(own) => *own,
                Err(source) => Self::Read(Error::Sink { range, attempts, source }),
            },
            other => Self::Read(other),
        }
    }
}

impl From<kafka_direct_sinks::Error> for Failure {
    fn from(error: kafka_direct_sinks::Error) -> Self {
        use kafka_direct_sinks::Error as Sinks;
        let (message, kind) = (error.to_string(), error.kind());
        match error {
            Sinks::Read(error) => error.into(),
            Sinks::Io { action, source } => Self::io(action, source),
            Sinks::Invalid { message } => Self::Usage { message },
            _ => Self::Unmet { message, kind },
        }
    }
}

const fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Invalid => 2,
        ErrorKind::OffsetLost => 3,
        ErrorKind::Fenced => 4,
        ErrorKind::Corrupt => 5,
        ErrorKind::Unauthorized => 6,
        ErrorKind::Unavailable => 7,
        ErrorKind::Cancelled => 130,
        _ => 1,
    }
}

const fn hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Unavailable => Some(
            "the same command may succeed later; check the addresses, the brokers and the network",
        ),
        ErrorKind::OffsetLost => Some(
            "`kafka-direct offsets` shows which offsets exist; `--on-data-loss resume` reads them and reports the skipped ones",
        ),
        ErrorKind::Fenced => {
            Some("the checkpoint or plan belongs to another driver, cluster or topic; do not retry")
        }
        ErrorKind::Unauthorized => Some("check the user's credentials and ACLs"),
        ErrorKind::Corrupt => Some(
            "the stored or received bytes are corrupt; check the broker's disk and log, or exclude the offset with --from and --to",
        ),
        _ => None,
    }
}

/// Reports `failure` on stderr, one line per cause, and returns its exit code.
pub(crate) fn report(failure: &Failure) -> ExitCode {
    if !matches!(failure, Failure::ClosedPipe | Failure::Signalled { .. }) {
        output::error(&format!("error: {failure}"));
        let mut last = failure.to_string();
        let mut cause = failure.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if text != last {
                output::error(&format!("caused by: {text}"));
            }
            last = text;
            cause = error.source();
        }
        if let Some(hint) = failure.hint() {
            output::error(&format!("hint: {hint}"));
        }
    }
    ExitCode::from(failure.code())
}

/// Prints help and version of clap on stdout, or its errors on stderr, and returns the exit code.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        output::error(error.render().to_string().trim_end());
        return ExitCode::from(2);
    }
    match output::data(&error.render().to_string()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_documented_code() {
        for (kind, expected) in [
            (ErrorKind::Internal, 1),
            (ErrorKind::Invalid, 2),
            (ErrorKind::OffsetLost, 3),
            (ErrorKind::Fenced, 4),
            (ErrorKind::Corrupt, 5),
            (ErrorKind::Unauthorized, 6),
            (ErrorKind::Unavailable, 7),
        ] {
            let failure = Failure::Unmet { message: String::new(), kind };
            assert_eq!(failure.code(), expected, "{kind}");
        }
        assert_eq!(Failure::Signalled { signal: 2 }.code(), 130);
        assert_eq!(Failure::Signalled { signal: 15 }.code(), 143);
        assert_eq!(Failure::usage("x").code(), 2);
    }
}
