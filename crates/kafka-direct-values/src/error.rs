//! The crate's errors: a schema that is wrong, and a batch that is none of the engine.

use kafka_direct::{ErrorKind, arrow::schema::ArrowError};

/// Why keys and values could not be decoded at all. A single record that cannot be decoded is
/// [`Poison`](crate::Poison) instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text of a schema is wrong.
    #[error("{message}")]
    Schema {
        /// Which field is wrong, and what is allowed.
        message: String,
    },
    /// The batch has other column types than the engine builds.
    #[error("a batch with unexpected columns")]
    Batch(#[from] ArrowError),
}

impl Error {
    pub(crate) fn schema(message: impl Into<String>) -> Self {
        Self::Schema { message: message.into() }
    }

    /// What the caller should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Schema { .. } => ErrorKind::Invalid,
            Self::Batch(_) => ErrorKind::Internal,
        }
    }
}
