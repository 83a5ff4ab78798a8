//! Which records of a transaction a read may see.

use serde::{Deserialize, Serialize};

/// Kafka's isolation levels.
///
/// Keeps INV-7: a range is read under exactly one isolation level, which its plan names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IsolationLevel {
    /// Aborted records are dropped and the readable end is the last stable offset. The default.
    #[default]
    ReadCommitted,
    /// Every record is visible up to the high watermark.
    ReadUncommitted,
}

impl IsolationLevel {
    /// The name used in flags, plans and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read_committed",
            Self::ReadUncommitted => "read_uncommitted",
        }
    }

    /// The value on the wire (Fetch and ListOffsets `isolation_level`).
    #[must_use]
    pub const fn wire(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

impl std::fmt::Display for IsolationLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
