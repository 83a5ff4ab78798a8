//! The offsets that bound the readable part of a partition's log.

use serde::{Deserialize, Serialize};

use crate::{IsolationLevel, Offset};

/// The log start offset, last stable offset and high watermark of one partition.
///
/// The three come from separate responses. If the log is trimmed between them, `log_start` may be
/// above `last_stable`, so [`Watermarks::end`] is never below `log_start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermarks {
    /// The log start offset: the first offset that exists, inclusive.
    pub log_start: Offset,
    /// The last stable offset, exclusive: no open transaction has a record below it.
    pub last_stable: Offset,
    /// The high watermark: the end of the replicated records, exclusive.
    pub high: Offset,
}

impl Watermarks {
    /// The readable end of the log, exclusive; never below the log start offset.
    ///
    /// It is the last stable offset under read_committed, but at most the high watermark. It is the
    /// high watermark under read_uncommitted.
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

    /// How many offsets below the high watermark read_committed cannot read yet, because of open
    /// transactions.
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
    fn the_end_is_never_below_a_log_start_that_moved_between_the_requests() {
        let m = marks(7, 5, 6);
        assert_eq!(m.end(IsolationLevel::ReadCommitted), Offset::new(7));
        assert_eq!(m.withheld(), 0);
    }
}
