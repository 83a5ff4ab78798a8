//! Splits large ranges into pieces, so that one large partition does not delay a whole batch.
//!
//! The two stages and their rounding are those of Spark's `KafkaOffsetRangeCalculator`. A job that
//! moves from Spark therefore keeps its partitions.

use std::{collections::HashSet, num::NonZeroU64};

use kafka_direct_core::{CoreError, OffsetRange, PlannedRange, TopicPartition};

use crate::DriverError;

/// The largest number of ranges into which a batch is split.
///
/// Without this limit, a number in the input could make splitting use any amount of memory.
pub const MAX_PLANNED_RANGES: u64 = 1_000_000;

/// Splits `ranges` into pieces and drops empty ranges.
///
/// Keeps INV-2: the pieces of a range replace it in order, without gap or overlap. Each piece has
/// the topic id, leader epoch and isolation level of its range.
///
/// - `max_records_per_partition`: no piece spans more offsets than this. 0 counts as 1.
/// - `min_partitions`: if there are fewer ranges than this, large ones are split in proportion to
///   their span until there are *about* this many. Rounding may give a few less or more.
/// - With neither, or with enough ranges, every range stays whole.
///
/// Splitting adds at most about [`MAX_PLANNED_RANGES`] pieces. To stay within this limit, pieces
/// become larger than `max_records_per_partition`, and a larger `min_partitions` is lowered to the
/// limit. ([`plan`](crate::plan) refuses such limits instead.)
#[must_use]
pub fn split(
    ranges: Vec<PlannedRange>,
    min_partitions: Option<u64>,
    max_records_per_partition: Option<u64>,
) -> Vec<PlannedRange> {
    let total = total_span(&ranges);
    let smallest =
        u64::try_from(total.div_ceil(u128::from(MAX_PLANNED_RANGES))).unwrap_or(u64::MAX);
    let max = max_records_per_partition.map(|max| at_least_one(max.max(smallest)));
    let min = min_partitions.map(|min| min.min(MAX_PLANNED_RANGES));
    // Pieces of a valid range are valid, so `cut_all` does not fail here.
    cut_all(&ranges, min, max).unwrap_or(ranges)
}

/// Splits as [`split`], but fails for limits that `split` would relax.
pub(crate) fn try_split(
    mut ranges: Vec<PlannedRange>,
    min_partitions: Option<u64>,
    max_records_per_partition: Option<u64>,
) -> Result<Vec<PlannedRange>, DriverError> {
    ranges.retain(|planned| !planned.range().is_empty_span());
    if min_partitions.is_none() && max_records_per_partition.is_none() {
        return Ok(ranges);
    }
    let max = max_records_per_partition.map(at_least_one);
    if let Some(max) = max {
        let whole = u128::try_from(ranges.len()).unwrap_or(u128::MAX);
        let needed = ranges.iter().fold(0_u128, |sum, planned| {
            sum.saturating_add(u128::from(pieces_of_at_most(span(planned.range()), max)))
        });
        if needed > whole.max(u128::from(MAX_PLANNED_RANGES)) {
            return Err(DriverError::BadNumber {
                topic_partition: None,
                setting: "max_records_per_partition",
                value: max.get().into(),
                problem: "would split the batch into more than 1000000 ranges; choose a larger one",
            });
        }
    }
    Ok(cut_all(&ranges, min_partitions, max)?)
}

fn cut_all(
    ranges: &[PlannedRange],
    min: Option<u64>,
    max: Option<NonZeroU64>,
) -> Result<Vec<PlannedRange>, CoreError> {
    let mut pieces: Vec<PlannedRange> =
        ranges.iter().filter(|planned| !planned.range().is_empty_span()).cloned().collect();
    if let Some(max) = max {
        let mut cuts = Pieces::with_capacity(pieces.len());
        for whole in pieces {
            let count = pieces_of_at_most(span(whole.range()), max);
            cuts.cut(&whole, count)?;
        }
        pieces = cuts.done;
    }
    let enough = u64::try_from(pieces.len()).unwrap_or(u64::MAX);
    let Some(min) = min.filter(|min| *min > enough) else {
        return Ok(pieces);
    };
    let total = total_span(&pieces);
    let is_small = |planned: &PlannedRange| piece_count(span(planned.range()), total, min) == 1;
    let small: Vec<&PlannedRange> = pieces.iter().filter(|planned| is_small(planned)).collect();
    let small_total = small
        .iter()
        .fold(0_u128, |sum, planned| sum.saturating_add(u128::from(span(planned.range()))));
    let small_count = u64::try_from(small.len()).unwrap_or(u64::MAX);
    let large_total = total.saturating_sub(small_total);
    let large_min = min.saturating_sub(small_count).max(1);
    // By partition, not by range: if one piece of a partition is small, all its pieces stay whole.
    let small: HashSet<&TopicPartition> =
        small.into_iter().map(PlannedRange::topic_partition).collect();
    let mut cuts = Pieces::with_capacity(pieces.len());
    for whole in &pieces {
        let count = if small.contains(whole.topic_partition()) {
            1
        } else {
            piece_count(span(whole.range()), large_total, large_min)
        };
        cuts.cut(whole, count)?;
    }
    Ok(cuts.done)
}

/// Collects pieces in order and numbers them.
struct Pieces {
    done: Vec<PlannedRange>,
}

impl Pieces {
    fn with_capacity(ranges: usize) -> Self {
        Self { done: Vec::with_capacity(ranges) }
    }

    /// Cuts `whole` into `count` pieces that differ by at most one offset. Later ones are the
    /// larger.
    fn cut(&mut self, whole: &PlannedRange, count: u64) -> Result<(), CoreError> {
        let range = whole.range();
        let mut remaining = span(range);
        let mut from = range.from();
        let mut number = self.first_number(whole);
        for left in (1..=count.min(remaining)).rev() {
            let this = remaining.checked_div(left).unwrap_or(remaining);
            remaining = remaining.saturating_sub(this);
            let until = from.saturating_add(i64::try_from(this).unwrap_or(i64::MAX));
            let piece = OffsetRange::new(range.topic_partition().clone(), from, until)?;
            self.done.push(
                PlannedRange::new(piece, whole.isolation())
                    .with_topic_id(whole.topic_id())
                    .with_leader_epoch(whole.leader_epoch())
                    .with_piece(number),
            );
            number = number.saturating_add(1);
            from = until;
        }
        Ok(())
    }

    /// The number of the first piece of `whole`.
    ///
    /// A range that is a piece and continues the previous piece also continues its numbers.
    fn first_number(&self, whole: &PlannedRange) -> u32 {
        let continues = |before: &&PlannedRange| {
            whole.piece() > 0
                && before.topic_partition() == whole.topic_partition()
                && before.range().until() == whole.range().from()
        };
        self.done.last().filter(continues).map_or(0, |before| before.piece().saturating_add(1))
    }
}

fn at_least_one(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN)
}

fn span(range: &OffsetRange) -> u64 {
    u64::try_from(range.span()).unwrap_or(0)
}

fn total_span(ranges: &[PlannedRange]) -> u128 {
    ranges.iter().fold(0, |sum, planned| sum.saturating_add(span(planned.range()).into()))
}

fn pieces_of_at_most(span: u64, max: NonZeroU64) -> u64 {
    span.div_ceil(max.get())
}

/// The number of pieces, out of `wanted`, for a range of `span` offsets out of `total`.
///
/// At least 1, and rounded half up in f64, as in Spark.
fn piece_count(span: u64, total: u128, wanted: u64) -> u64 {
    let pieces = (span as f64 / total as f64 * wanted as f64).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates, and the number of pieces is between 0 and `wanted`"
    )]
    let pieces = pieces as u64;
    pieces.max(1)
}
