//! The options of decoding a range.

use std::time::Duration;

use crate::Columns;

/// The options of decoding: columns and sizes of Arrow batches, and a bound on each Kafka batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeOptions {
    /// The columns to build. Default: all but headers.
    pub columns: Columns,
    /// The most rows of one Arrow batch, at least 1. Default: 8192.
    pub max_rows: usize,
    /// The bytes of keys, values and headers at which an Arrow batch is closed, at least 1.
    /// Default: 8 MiB.
    ///
    /// - Only columns that are built count.
    /// - The record that reaches the bound is still in the batch.
    /// - An Arrow batch keeps each of its responses and decompressed Kafka batches alive as a
    ///   whole. So it is also closed when their sizes together reach this bound, here at most 1
    ///   GiB. Otherwise a few bytes of many responses would keep all of them alive.
    /// - An Arrow batch therefore keeps at most this many bytes alive, plus one response and one
    ///   decompressed Kafka batch.
    /// - If an Arrow batch ends inside a compressed Kafka batch, the next one starts there. It then
    ///   also keeps the decompressed bytes alive that the previous one kept.
    pub max_bytes: usize,
    /// The most bytes that one Kafka batch may decompress to, from 1 to
    /// [`DecodeOptions::MAX_BATCH_BYTES`]. A larger batch is an error of kind `Invalid`.
    /// Default: 64 MiB.
    pub max_batch_bytes: usize,
    pub(crate) clock: Option<Clock>,
}

/// The caller's clock. The decoder has none of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(fn() -> Duration);

impl Clock {
    pub(crate) fn now(self) -> Duration {
        (self.0)()
    }
}

/// Two clocks are equal if their functions have the same address.
impl PartialEq for Clock {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for Clock {}

impl DecodeOptions {
    /// The default of [`DecodeOptions::max_rows`].
    pub(crate) const DEFAULT_MAX_ROWS: usize = 8192;
    /// The highest value of [`DecodeOptions::max_batch_bytes`]: 1 GiB.
    pub const MAX_BATCH_BYTES: usize = 1 << 30;

    /// The default options.
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
    pub const fn columns(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    /// Sets [`DecodeOptions::max_rows`]; 0 counts as 1.
    #[must_use]
    pub const fn max_rows(mut self, rows: usize) -> Self {
        self.max_rows = rows;
        self
    }

    /// Sets [`DecodeOptions::max_bytes`], at which an Arrow batch is closed; 0 counts as 1.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets [`DecodeOptions::max_batch_bytes`], the bound on one decompressed Kafka batch. Values
    /// outside `1..=MAX_BATCH_BYTES` count as the nearest value inside.
    #[must_use]
    pub const fn max_batch_bytes(mut self, bytes: usize) -> Self {
        self.max_batch_bytes = bytes;
        self
    }

    /// Sets the clock that measures [`Counts::decompress_time`](crate::Counts::decompress_time).
    ///
    /// `now` returns the time since a fixed moment, and never less than before. Default: no clock,
    /// and nothing is measured.
    #[must_use]
    pub const fn clock(mut self, now: fn() -> Duration) -> Self {
        self.clock = Some(Clock(now));
        self
    }

    /// These options, with every number set to the nearest value inside its bounds.
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
