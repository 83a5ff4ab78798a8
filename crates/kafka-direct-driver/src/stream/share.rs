//! Shares a limit among partitions in proportion to their lag, with Spark's rounding.

/// Shares `limit` offsets among partitions with `available` offsets each, in the same order.
///
/// The formula is that of Spark's `KafkaMicroBatchStream.rateLimit`: a share below 1 is rounded up,
/// every other share is rounded down, in f64. So a partition with offsets always gets some, and the
/// sum exceeds `limit` by at most one offset per partition.
pub(crate) fn share_by_lag(limit: u64, available: &[u64]) -> Vec<u64> {
    let total = available.iter().fold(0_u128, |sum, size| sum.saturating_add((*size).into()));
    if total <= u128::from(limit) {
        return available.to_vec();
    }
    let mut left = limit;
    let share = |size: &u64| {
        let size = *size;
        let share = limit as f64 * (size as f64 / total as f64);
        if share < 1.0 {
            return size.min(1);
        }
        // Above 2^53, f64 may round a share up. `left` keeps the sum within the limit.
        let share = whole(share).min(size).min(left).max(1);
        left = left.saturating_sub(share);
        share
    };
    available.iter().map(share).collect()
}

/// The rates that apply to every partition of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    /// The rate of the whole stream, in records per second.
    pub(crate) stream: Option<f64>,
    /// The rate below which the rate of the stream does not limit a partition.
    pub(crate) min_per_partition: f64,
    /// The highest rate of a partition.
    pub(crate) max_per_partition: Option<f64>,
}

impl Rates {
    /// The rate of a partition with `lag` offsets of a stream with `total_lag`; `None` if it has no
    /// limit.
    ///
    /// The formula is that of Spark's `DirectKafkaInputDStream.maxMessagesPerPartition`, except that the
    /// highest rate of a partition takes precedence over the lowest.
    pub(crate) fn of(&self, lag: u64, total_lag: u128) -> Option<f64> {
        let shared = self.stream.map(|rate| {
            let share = if lag == 0 { 0.0 } else { lag as f64 / total_lag as f64 * rate };
            share.max(self.min_per_partition)
        });
        match (shared, self.max_per_partition) {
            (Some(shared), Some(max)) => Some(shared.min(max)),
            (shared, max) => shared.or(max),
        }
    }
}

/// The integer part of a number that is not negative.
pub(crate) fn whole(number: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates, and the fraction is to be dropped"
    )]
    let whole = number as u64;
    whole
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_share_below_one_is_rounded_up_and_others_down() {
        assert_eq!(share_by_lag(10, &[101, 11, 1]), [8, 1, 1]);
        assert_eq!(share_by_lag(10, &[93, 10, 0]), [9, 1, 0]);
        assert_eq!(share_by_lag(10, &[84, 9, 0]), [9, 1, 0]);
        assert_eq!(share_by_lag(10, &[75, 8, 0]), [9, 1, 0]);
        assert_eq!(share_by_lag(3, &[1, 1, 1, 100]), [1, 1, 1, 2]);
        assert_eq!(share_by_lag(10, &[4, 6]), [4, 6]);
    }

    #[test]
    fn spark_limits_a_share_of_the_streams_rate_by_the_partitions_own_rate() {
        let rate = |max| {
            let (stream, max_per_partition) = (Some(1000.0), Some(max));
            Rates { stream, min_per_partition: 1.0, max_per_partition }.of(1000, 2000)
        };
        // Batches of 0.1 s: 5 and 10 offsets.
        assert_eq!((rate(50.0), rate(100.0)), (Some(50.0), Some(100.0)));
    }

    proptest! {
        #[test]
        fn shares_exceed_the_limit_by_at_most_one_per_partition_and_none_is_blocked(
            limit in prop_oneof![1..50_u64, any::<u64>(), Just(i64::MAX.unsigned_abs())],
            available in prop::collection::vec(
                prop_oneof![Just(0), 0..200_u64, 0..=i64::MAX.unsigned_abs()], 0..12,
            ),
        ) {
            let shares = share_by_lag(limit, &available);
            let sum: u128 = shares.iter().map(|share| u128::from(*share)).sum();
            prop_assert!(sum.saturating_sub(limit.into()) <= available.len() as u128);
            for (share, size) in shares.iter().zip(&available) {
                prop_assert!(share <= size);
                prop_assert!(*share > 0 || *size == 0);
            }
        }
    }
}
