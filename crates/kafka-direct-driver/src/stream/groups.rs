//! [`group_ranges`]: which ranges of a batch one writer gets, so that a batch makes few files.

use std::{cmp::Reverse, num::NonZeroUsize};

use kafka_direct_core::PlannedRange;

/// Groups the ranges of a plan, as indices in the plan, into at most `groups` groups; without a number
/// each range is a group of its own.
///
/// All pieces of a partition are in one group, so that a piece that ends early can stop those after it.
/// Groups have about the same span: the largest partition goes first, each to the group with the least.
/// Groups are in the order of their first range, and so are the ranges of a group. The result depends on
/// the ranges and the number alone: a batch that runs again has the same groups.
#[must_use]
pub fn group_ranges(ranges: &[PlannedRange], groups: Option<NonZeroUsize>) -> Vec<Vec<usize>> {
    let Some(groups) = groups else { return (0..ranges.len()).map(|index| vec![index]).collect() };
    let mut partitions: Vec<(i64, Vec<usize>)> = Vec::new();
    let mut before = None;
    for (index, planned) in ranges.iter().enumerate() {
        let span = planned.range().span();
        match partitions.last_mut().filter(|_| before == Some(planned.topic_partition())) {
            Some((of_all, pieces)) => {
                *of_all = of_all.saturating_add(span);
                pieces.push(index);
            }
            None => partitions.push((span, vec![index])),
        }
        before = Some(planned.topic_partition());
    }
    let mut grouped = vec![(0_i64, Vec::new()); groups.get().min(partitions.len())];
    // A stable sort: partitions of one size keep their order.
    partitions.sort_by_key(|(span, _)| Reverse(*span));
    for (span, pieces) in partitions {
        if let Some((of_all, group)) = grouped.iter_mut().min_by_key(|(span, _)| *span) {
            *of_all = of_all.saturating_add(span);
            group.extend(pieces);
        }
    }
    let mut grouped: Vec<Vec<usize>> = grouped.into_iter().map(|(_, group)| group).collect();
    grouped.iter_mut().for_each(|group| group.sort_unstable());
    grouped.retain(|group| !group.is_empty());
    grouped.sort_unstable();
    grouped
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "numbers of tests are small")]
mod tests {
    use kafka_direct_core::{IsolationLevel, OffsetRange, TopicPartition};
    use proptest::prelude::*;

    use super::*;

    /// Ranges of partition and span, those of one partition one after the other.
    fn ranges(spans: &[(i32, i64)]) -> Vec<PlannedRange> {
        let (mut from, mut before) = (0, None);
        let mut planned = Vec::new();
        for (partition, span) in spans {
            from = if before == Some(partition) { from } else { 0 };
            before = Some(partition);
            let tp = TopicPartition::new("t", *partition);
            let range = OffsetRange::new(tp, from, from + span).unwrap();
            planned.push(PlannedRange::new(range, IsolationLevel::ReadCommitted));
            from += span;
        }
        planned
    }

    fn grouped(spans: &[(i32, i64)], groups: usize) -> Vec<Vec<usize>> {
        group_ranges(&ranges(spans), NonZeroUsize::new(groups))
    }

    #[test]
    fn groups_have_about_the_same_span_and_pieces_stay_together() {
        let spans = [(0, 10), (1, 90), (2, 30), (3, 30), (3, 30)];
        assert_eq!(grouped(&spans, 0), [[0], [1], [2], [3], [4]]);
        assert_eq!(grouped(&spans, 1), [[0, 1, 2, 3, 4]]);
        assert_eq!(grouped(&spans, 2), [vec![0, 1], vec![2, 3, 4]]);
        assert_eq!(grouped(&spans, 9), [vec![0], vec![1], vec![2], vec![3, 4]]);
        assert!(grouped(&[], 3).is_empty());
    }

    proptest! {
        #[test]
        fn every_range_is_in_one_group_with_the_other_pieces_of_its_partition(
            spans in prop::collection::vec((0..3_i32, 0..1000_i64), 0..40),
            groups in 1..9_usize,
        ) {
            let mut partition = 0;
            let spans: Vec<_> = spans.into_iter().map(|(step, span)| {
                partition += step;
                (partition, span)
            }).collect();
            let all = grouped(&spans, groups);
            prop_assert!(all.len() <= groups);
            let mut seen: Vec<usize> = all.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..spans.len()).collect::<Vec<_>>());
            for group in &all {
                prop_assert!(group.is_sorted() && !group.is_empty());
                let others = all.iter().filter(|other| *other != group).flatten();
                for other in others {
                    prop_assert!(group.iter().all(|index| spans[*index].0 != spans[*other].0));
                }
            }
        }
    }
}
