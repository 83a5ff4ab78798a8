//! The crate's error: what failed, on which file or range, and what the caller should do.

use std::{io, path::PathBuf};

#[cfg(feature = "kafka")]
use kafka_direct::BoxError;
use kafka_direct::ErrorKind;

/// Why records could not be written, or a job could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The batch could not be planned or read.
    #[error(transparent)]
    Read(kafka_direct::Error),
    /// The request contradicts itself, or what is on disk.
    #[error("{message}")]
    Invalid {
        /// What is wrong, and what would be right.
        message: String,
    },
    /// Another process holds the job folder.
    #[error("another process is writing into {}; wait until it has ended, or choose another folder", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{action} failed")]
    Io {
        /// What was done to which file.
        action: String,
        /// What the system returned.
        source: io::Error,
    },
    /// Records could not be written to a topic.
    #[cfg(feature = "kafka")]
    #[error("writing to {target} failed")]
    Produce {
        /// The topic, or the topic and partition.
        target: String,
        /// What the caller should do.
        kind: ErrorKind,
        /// The error of the producing client.
        source: BoxError,
    },
    /// A bug of this crate.
    #[error("{message}; report this")]
    Internal {
        /// What happened.
        message: String,
    },
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into() }
    }

    pub(crate) fn io(action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read(error) => error.kind(),
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Busy { .. } => ErrorKind::Unavailable,
            #[cfg(feature = "kafka")]
            Self::Produce { kind, .. } => *kind,
            Self::Io { .. } | Self::Internal { .. } => ErrorKind::Internal,
        }
    }
}

/// Unwraps an error of this crate that the engine carried, for example in `Error::Sink`.
impl From<kafka_direct::Error> for Error {
    fn from(error: kafka_direct::Error) -> Self {
        use kafka_direct::Error as Engine;
        match error {
            Engine::Sink { range, attempts, source } => match source.downcast() {
                Ok(own) => *own,
                Err(source) => Self::Read(Engine::Sink { range, attempts, source }),
            },
            Engine::Commit { source } => match source.downcast() {
                Ok(own) => *own,
                Err(source) => Self::Read(Engine::Commit { source }),
            },
            other => Self::Read(other),
        }
    }
}
