//! How a range is decoded.

use std::time::Duration;

use crate::Columns;

/// Columns and sizes of the Arrow batches, and the bound on one Kafka batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeOptions {
    /// The columns to build. Default: all but headers.
    pub columns: Columns,
    /// Most rows of one Arrow batch, at least 1. Default: 8192.
    pub max_rows: usize,
    /// Key, value and header bytes, of the columns asked for, at which an Arrow batch is closed; the
    /// record that reaches the bound is still in it. At least 1. Default: 8 MiB.
    ///
    /// It is also closed when the responses and the decompressed Kafka batches that it keeps alive reach
    /// the bound together, here of at most 1 GiB, so that few bytes of many do not pin them all. They
    /// are kept whole: an Arrow batch may keep this many bytes alive, and one response and one
    /// decompressed Kafka batch more. One that goes on in a compressed Kafka batch, where the Arrow
    /// batch before ended, also keeps what that one kept of decompressed ones.
    pub max_bytes: usize,
    /// Most bytes one Kafka batch may decompress to, at least 1 and at most
    /// [`DecodeOptions::MAX_BATCH_BYTES`]. A larger one is refused as `Invalid`. Default: 64 MiB.
    pub max_batch_bytes: usize,
    pub(crate) clock: Option<Clock>,
}

/// A clock that the decoder's owner lends it, which has none of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(fn() -> Duration);

impl Clock {
    pub(crate) fn now(self) -> Duration {
        (self.0)()
    }
}

/// Equal if both ask the same function, as far as addresses tell.
impl PartialEq for Clock {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for Clock {}

impl DecodeOptions {
    /// Most rows of one Arrow batch where nothing else is asked for.
    pub(crate) const DEFAULT_MAX_ROWS: usize = 8192;
    /// The highest bound on one Kafka batch: 1 GiB.
    pub const MAX_BATCH_BYTES: usize = 1 << 30;

    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            columns: Columns::all().without(crate::Column::Headers),
            max_rows: Self::DEFAULT_MAX_ROWS,
            max_bytes: 8 << 20,
            max_batch_bytes: 64 << 20,
            clock: None,
        }
    }

    /// Sets the columns to build.
    #[must_use]
    pub const fn with_columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    /// Sets the most rows of one Arrow batch; 0 counts as 1.
    #[must_use]
    pub const fn with_max_rows(mut self, rows: usize) -> Self {
        self.max_rows = rows;
        self
    }

    /// Sets the bytes at which an Arrow batch is closed; 0 counts as 1.
    #[must_use]
    pub const fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the most bytes of one decompressed Kafka batch; values outside
    /// `1..=MAX_BATCH_BYTES` count as the nearest inside.
    #[must_use]
    pub const fn with_max_batch_bytes(mut self, bytes: usize) -> Self {
        self.max_batch_bytes = bytes;
        self
    }

    /// Measures [`Counts::decompress_time`](crate::Counts::decompress_time) by `now`: the time since
    /// a moment that stays the same, by a clock that never goes back. Default: nothing is measured.
    #[must_use]
    pub const fn with_clock(mut self, now: fn() -> Duration) -> Self {
        self.clock = Some(Clock(now));
        self
    }

    /// The same options with every number inside its bounds.
    pub(crate) fn clamped(self) -> Self {
        Self {
            columns: self.columns,
            max_rows: self.max_rows.max(1),
            max_bytes: self.max_bytes.max(1),
            max_batch_bytes: self.max_batch_bytes.clamp(1, Self::MAX_BATCH_BYTES),
            clock: self.clock,
        }
    }
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self::new()
    }
}
