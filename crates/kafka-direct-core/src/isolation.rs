//! The isolation level: which records of transactions a read returns.

use serde::{Deserialize, Serialize};

/// Kafka's isolation level of a read.
///
/// Keeps INV-7: a range is read under exactly one isolation level, which its plan names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IsolationLevel {
    /// Aborted records are dropped, and the readable end is the last stable offset. The default.
    #[default]
    ReadCommitted,
    /// Every record below the high watermark is visible.
    ReadUncommitted,
}

impl IsolationLevel {
    /// The level's name in flags, plans and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read_committed",
            Self::ReadUncommitted => "read_uncommitted",
        }
    }

    /// The level's value on the wire (`isolation_level` of Fetch and ListOffsets).
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
