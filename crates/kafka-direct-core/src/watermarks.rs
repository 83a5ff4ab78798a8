//! The three offsets that bound what a partition can give.

use serde::{Deserialize, Serialize};

use crate::{IsolationLevel, Offset};

/// Bounds of one partition's log at the moments they were asked for.
///
/// The three come from separate responses, so `log_start` may lie above `last_stable` when a log was
/// trimmed in between; [`Watermarks::end`] copes by never lying below `log_start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermarks {
    /// First offset that exists, inclusive.
    pub log_start: Offset,
    /// End of what is decided, exclusive: no open transaction lies below it.
    pub last_stable: Offset,
    /// End of what is replicated, exclusive.
    pub high: Offset,
}

impl Watermarks {
    /// The readable end, exclusive: the high watermark, or the last stable offset under
    /// read_committed; never below the log start.
    ///
    /// Keeps INV-7: a read_committed range ends at the last stable offset.
    #[must_use]
    pub fn end(&self, isolation: IsolationLevel) -> Offset {
        let end = match isolation {
            IsolationLevel::ReadCommitted => self.last_stable.min(self.high),
            IsolationLevel::ReadUncommitted => self.high,
        };
        end.max(self.log_start)
    }

    /// How many offsets open transactions withhold from read_committed.
    #[must_use]
    pub fn withheld(&self) -> i64 {
        self.high.distance_from(self.last_stable.max(self.log_start)).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(log_start: i64, last_stable: i64, high: i64) -> Watermarks {
        Watermarks {
            log_start: Offset::new(log_start),
            last_stable: Offset::new(last_stable),
            high: Offset::new(high),
        }
    }

    #[test]
    fn read_committed_ends_at_the_last_stable_offset() {
        let m = marks(0, 5, 9);
        assert_eq!(m.end(IsolationLevel::ReadCommitted), Offset::new(5));
        assert_eq!(m.end(IsolationLevel::ReadUncommitted), Offset::new(9));
        assert_eq!(m.withheld(), 4);
    }

    #[test]
    fn end_never_lies_below_a_log_start_that_moved_between_the_questions() {
        let m = marks(7, 5, 6);
        assert_eq!(m.end(IsolationLevel::ReadCommitted), Offset::new(7));
        assert_eq!(m.withheld(), 0);
    }
}
