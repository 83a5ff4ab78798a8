//! What must always hold, by number. Tests, simulation and `debug_assert!`s refer to these names.
//!
//! INV-4, INV-5 and INV-9 speak of checkpoints and streams of batches; a single batch has none.

use crate::{Offset, OffsetRange, PlannedRange, TopicPartition};

/// A plan is a pure function of its inputs: the order in which metadata arrives never changes it.
pub const INV_1: &str = "INV-1 a plan is a pure function of its inputs";
/// The ranges of one partition have no gap and no overlap, except at a recorded reset.
pub const INV_2: &str = "INV-2 ranges of one partition have no gap and no overlap";
/// A record outside its range is never delivered; one inside that is visible exactly once.
pub const INV_3: &str = "INV-3 a record is delivered exactly once inside its range, never outside";
/// Reading stops on position, never on the last record seen nor on an empty answer.
pub const INV_6: &str = "INV-6 reading stops on position";
/// A range is read under one isolation level.
pub const INV_7: &str = "INV-7 a range is read under one isolation level";
/// Memory that the engine holds is bounded by a budget plus one oversize batch per lane.
pub const INV_8: &str =
    "INV-8 memory held is bounded by the budget plus one oversize batch per lane";

/// INV-2 inside one plan: ranges stand in order and none overlaps the one before; piece `n + 1` of
/// a partition starts where piece `n` ends. Piece 0 starts a range of its own, which explicitly
/// given ranges may do anywhere behind the last.
///
/// # Errors
/// The first partition that breaks it, and how.
pub fn pieces_are_contiguous(
    ranges: &[PlannedRange],
) -> Result<(), (TopicPartition, &'static str)> {
    let mut before: Option<&PlannedRange> = None;
    for this in ranges {
        let fail = |reason| Err((this.topic_partition().clone(), reason));
        let same = before.filter(|b| b.topic_partition() == this.topic_partition());
        if before.is_some_and(|b| b.topic_partition() > this.topic_partition()) {
            return fail("ranges are not ordered by topic and partition");
        }
        if same.is_some_and(|b| b.range().until() > this.range().from()) {
            return fail("ranges of one partition overlap or are out of order");
        }
        match same {
            _ if this.piece() == 0 => {}
            Some(b) if b.piece().checked_add(1) != Some(this.piece()) => {
                return fail("pieces of one partition are not numbered in order");
            }
            Some(b) if b.range().until() != this.range().from() => {
                return fail("pieces of one partition leave a gap");
            }
            Some(_) => {}
            None => return fail("the first piece of a partition is not number 0"),
        }
        before = Some(this);
    }
    Ok(())
}

/// INV-3 for one record about to be delivered.
#[must_use]
pub fn is_inside(range: &OffsetRange, offset: Offset) -> bool {
    range.contains(offset)
}

/// INV-6: a position only ever moves forward.
#[must_use]
pub fn moves_forward(old: Offset, new: Offset) -> bool {
    new > old
}
