//! What happens to records that cannot be decoded: `OnPoison`, and the seam for dead letters.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use kafka_direct::{BoxError, TopicPartition};

/// What happens to a record whose key or value cannot be decoded. Only that record is concerned.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum OnPoison {
    /// The batch fails with [`Error::Poison`](kafka_direct::Error::Poison), which names the record. It is
    /// not tried again, since the bytes stay the same.
    #[default]
    Fail,
    /// The record is left out, and counted.
    Skip,
    /// What cannot be decoded is null, and the column [`ERROR_COLUMN`](crate::ERROR_COLUMN) has the
    /// reason. Batches have this column also if nothing is wrong. The record is counted.
    Null,
    /// The record is sent there as it was read, left out, and counted.
    DeadLetter(Arc<dyn DeadLetters>),
}

impl OnPoison {
    /// What was done with the records, for a warning.
    pub(crate) const fn done(&self) -> &'static str {
        match self {
            Self::Fail | Self::Skip => "were left out",
            Self::Null => "are null with a reason",
            Self::DeadLetter(_) => "are dead letters",
        }
    }
}

impl fmt::Debug for OnPoison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "Fail",
            Self::Skip => "Skip",
            Self::Null => "Null",
            Self::DeadLetter(_) => "DeadLetter",
        })
    }
}

/// Takes records that cannot be decoded. It is called before the batch they are in is committed.
pub trait DeadLetters: Send + Sync + 'static {
    /// Keeps these records; it returns when they are durable. An error fails the attempt, which is then
    /// repeated as after any error of a sink. So a letter may arrive more than once.
    fn send(&self, letters: Vec<DeadLetter>) -> BoxFuture<'_, Result<(), BoxError>>;
}

/// A record that could not be decoded, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its topic and partition.
    pub topic_partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970-01-01 UTC; `None` if it has none.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers in order, duplicates included.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Why it could not be decoded.
    pub error: String,
}
