//! Faults of one range in a row, and how many of each kind are believed.

use crate::retry::Retry;

/// Answers that make no sense, in a row, before they are believed.
pub(super) const NONSENSE_LIMIT: u32 = 3;
/// Empty answers in a row, each to a request that asked for the range first and served nobody else,
/// before the rest of the range is believed to be a hole.
pub(super) const HOLE_ANSWERS: u32 = 3;
/// Looks at a log that ends before the position, in a row, before it is believed to be truncated.
pub(super) const SHORT_LIMIT: u32 = 5;
/// Looks for a topic that vanished: metadata may lag, after a restart for seconds.
pub(super) const VANISHED_LIMIT: u32 = 8;

/// Faults in a row, without a byte of progress between them.
#[derive(Debug, Default)]
pub(super) struct Streak {
    pub(super) retry: Option<Retry>,
    pub(super) nonsense: u32,
    pub(super) vanished: u32,
    pub(super) empty: u32,
    pub(super) short: u32,
}

impl Streak {
    /// Progress was made.
    pub(super) fn clear(&mut self) {
        let Self { retry, nonsense, vanished, empty, short } = self;
        if retry.is_some() || [nonsense, vanished, empty, short].iter().any(|count| **count > 0) {
            *self = Self::default();
        }
    }
}
