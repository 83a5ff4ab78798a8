//! Decides how many bytes a Fetch request asks for. All decisions are here, as pure functions.
//!
//! - [`FetchLimits::max_partitions`]: how many partitions are listed.
//! - [`FetchLimits::grant`]: how many bytes of the memory budget the request takes.
//! - [`PartitionLimits::bytes`]: how many bytes are requested of one partition.
//! - [`FetchLimits::max_response_bytes`]: the size above which a response is refused.
//!
//! With the default settings 512 KiB to 2 MiB are requested of a partition. The fewer partitions a
//! request has, the more bytes each gets.
//!
//! If 16 batches of a partition are larger than that, up to 4 MiB are requested. The condition is
//! that the budget has room for as much of every cursor. The reason is that the end of a response
//! cuts a batch, whose beginning is then fetched twice. A request always has room for one batch of
//! each partition, up to `partition_max_bytes`.

use super::partition_cursor::QUEUE_LENGTH;
use crate::config::ClusterConfig;

/// Fewest bytes requested of one partition. Smaller reads would need more requests.
const MIN_PARTITION_BYTES: usize = 512 << 10;
/// Fewest bytes requested under a quota. The broker sends a first batch whole in any case, and
/// requests have quotas too.
const MIN_QUOTA_BYTES: usize = 256 << 10;
/// How many partitions are listed per partition that the response has room for. Most partitions
/// have fewer bytes left than requested. More would cost both sides work for partitions that the
/// response has no room for.
const LISTED_PER_SERVED: usize = 4;
/// The most responses of one cursor that hold budget: those in its queue, and one in flight.
const RESPONSES_PER_CURSOR: usize = QUEUE_LENGTH + 1;
/// How many batches of a partition a response has room for, if there is memory. The end of a
/// response cuts a batch, of which half is fetched again on average. That is a quarter of two
/// batches, but 3 % of sixteen.
const BATCHES: usize = 16;
/// Room for fewer batches than this is not rounded down to whole batches. The rounding would lose
/// too much of it.
const MIN_ROUNDED_BATCHES: usize = 3;
/// Room after each batch for the marker that ends a transaction, a batch of 78 bytes. Without this
/// room the markers would cut the last batch.
const MARKER_BYTES: usize = 128;
/// Room in a response for the fields of one partition.
const PARTITION_FIELDS_BYTES: usize = 1 << 10;
/// Room in a response for all other fields, lists of aborted transactions included.
const RESPONSE_FIELDS_BYTES: usize = 4 << 20;

/// The limits of one Fetch request, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchLimits {
    fetch_max: usize,
    partition_max: usize,
    memory_budget: usize,
    max_batch: usize,
    /// The limit while a broker's quota refuses responses.
    quota: usize,
}

/// How many bytes of the memory budget a request takes, from `min` to `max`, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GrantLimits {
    /// The request waits until the budget has this many bytes.
    pub(super) min: usize,
    pub(super) max: usize,
}

/// The limits of one partition of a Fetch request, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartitionLimits {
    /// The partition's part of the request.
    request: usize,
    /// The partition's part of the memory budget, if all cursors have as much queued and in flight.
    budget: usize,
    /// The setting `partition_max_bytes`. Only large batches may use all of it, others use half.
    max: usize,
}

impl FetchLimits {
    /// The limits after a quota refused `refusals` responses. Each refusal halves the request (see
    /// [`quota`](super::quota)).
    pub(super) fn new(config: &ClusterConfig, refusals: u32) -> Self {
        let fetch_max = config.get_fetch_max_bytes();
        Self {
            fetch_max,
            partition_max: config.get_partition_max_bytes(),
            memory_budget: config.get_memory_budget_bytes(),
            max_batch: config.get_max_batch_bytes(),
            quota: fetch_max.checked_shr(refusals).unwrap_or(0).max(MIN_QUOTA_BYTES),
        }
    }

    /// The most partitions that the request lists.
    pub(super) fn max_partitions(self) -> usize {
        let served = self.quota / MIN_PARTITION_BYTES;
        served.saturating_mul(LISTED_PER_SERVED).max(LISTED_PER_SERVED)
    }

    /// The limits of each partition if the cluster has `cursor_count` cursors.
    pub(super) fn partition(self, cursor_count: usize) -> PartitionLimits {
        let responses = cursor_count.max(1).saturating_mul(RESPONSES_PER_CURSOR);
        let budget = self.memory_budget.checked_div(responses).unwrap_or(0);
        PartitionLimits { request: usize::MAX, budget, max: self.partition_max }
    }

    /// How much budget to take for a request. `largest_batches` has the largest batch of each
    /// partition, in bytes; 0 if it is not known.
    pub(super) fn grant(
        self,
        partition: PartitionLimits,
        largest_batches: impl Iterator<Item = usize>,
    ) -> GrantLimits {
        let wanted = largest_batches.map(|largest_batch| partition.bytes(largest_batch));
        let wanted = wanted.fold(0, usize::saturating_add);
        let max = wanted.min(self.quota).min(self.fetch_max);
        GrantLimits { min: MIN_PARTITION_BYTES.min(max).min(self.memory_budget), max }
    }

    /// The largest valid response to a request for `granted` bytes, in bytes. The broker sends the
    /// first batch whole, also if it is larger than the request allows.
    pub(super) fn max_response_bytes(self, granted: usize, partition_count: usize) -> usize {
        RESPONSE_FIELDS_BYTES
            .saturating_add(granted)
            .saturating_add(self.max_batch)
            .saturating_add(partition_count.saturating_mul(PARTITION_FIELDS_BYTES))
    }
}

impl PartitionLimits {
    /// These limits if `partition_count` partitions share `granted` bytes.
    pub(super) fn sharing(self, granted: usize, partition_count: usize) -> Self {
        let request = granted.checked_div(partition_count).unwrap_or(0).max(MIN_PARTITION_BYTES);
        Self { request, ..self }
    }

    /// How many bytes to request if the largest batch has `largest_batch` bytes, 0 if unknown.
    ///
    /// There is room for at least one batch, up to `partition_max_bytes`. A batch that does not fit
    /// is sent only as the first of a response.
    pub(super) fn bytes(self, largest_batch: usize) -> usize {
        let Self { request, budget, max } = self;
        let for_batches = largest_batch.saturating_mul(BATCHES).min(budget).max(largest_batch);
        let bytes = request.min(max / 2).max(for_batches).clamp(1, max.max(1));
        // Full batches have equal sizes. Room for a part of one more would be wasted.
        match bytes.checked_rem(largest_batch) {
            Some(cut) if bytes / MIN_ROUNDED_BATCHES >= largest_batch => {
                let markers = (bytes / largest_batch).saturating_mul(MARKER_BYTES);
                bytes.saturating_sub(cut).saturating_add(markers).min(max.max(1))
            }
            _ => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;

    fn config() -> ClusterConfig {
        ClusterConfig::new(["h:1"])
    }

    #[test]
    fn large_batches_are_requested_by_the_dozen_up_to_the_partition_max() {
        let requested = |request, budget, max| {
            let limits = PartitionLimits { request, budget, max };
            [0, 100 * KIB, MIB].map(|largest_batch| limits.bytes(largest_batch))
        };
        // The size of `count` batches of 100 KiB or 1 MiB, with room for a marker after each.
        let of_100_kib = |count| (100 * KIB + MARKER_BYTES) * count;
        let of_a_mib = |count| (MIB + MARKER_BYTES) * count;
        assert_eq!(requested(16 * MIB, 16 * MIB, 4 * MIB), [2 * MIB, of_100_kib(20), 4 * MIB]);
        let much = [16 * MIB, of_100_kib(163), of_a_mib(16)];
        assert_eq!(requested(16 * MIB, 16 * MIB, 32 * MIB), much);
        // A whole number of batches, unless that is much less.
        assert_eq!(requested(0, 4 * MIB - 1, 4 * MIB), [1, of_100_kib(16), of_a_mib(3)]);
        assert_eq!(requested(0, 3 * MIB - 1, 4 * MIB), [1, of_100_kib(16), 3 * MIB - 1]);
        // There is room for one batch also if many cursors share the memory.
        assert_eq!(requested(MIB / 2, MIB, 4 * MIB), [MIB / 2, of_100_kib(10), MIB]);
        assert_eq!(requested(MIB / 2, 1000, 4 * MIB), [MIB / 2, of_100_kib(5), MIB]);
        assert_eq!(requested(MIB, MIB, 1000), [500, 1000, 1000]);
        assert_eq!(requested(MIB, MIB, 1), [1; 3]);
    }

    #[test]
    fn a_request_takes_the_sum_of_its_partitions_bytes_up_to_the_fetch_max() {
        let limits = FetchLimits::new(&config(), 0);
        let grant = |cursor_count, batches: &[usize]| {
            let GrantLimits { min, max } =
                limits.grant(limits.partition(cursor_count), batches.iter().copied());
            (min, max)
        };
        assert_eq!(grant(1, &[0]), (MIB / 2, 2 * MIB));
        assert_eq!(grant(3, &[0, 0, MIB]), (MIB / 2, 8 * MIB));
        // At most `fetch_max_bytes`.
        assert_eq!(grant(1000, &[0; 1000]), (MIB / 2, 16 * MIB));
        // Small settings bound both.
        let small = config().fetch_max_bytes(1000).memory_budget_bytes(10);
        let limits = FetchLimits::new(&small, 0);
        let grant = limits.grant(limits.partition(1), [0].into_iter());
        assert_eq!(grant, GrantLimits { min: 10, max: 1000 });
    }

    #[test]
    fn partitions_share_the_budget_by_cursor_and_the_request_by_partition() {
        let limits = FetchLimits::new(&config(), 0).partition(8);
        let max = 4 * MIB;
        assert_eq!(limits, PartitionLimits { request: usize::MAX, budget: 2 * MIB, max });
        assert_eq!(limits.sharing(16 * MIB, 4).request, 4 * MIB);
        assert_eq!(limits.sharing(16 * MIB, 100).request, MIN_PARTITION_BYTES);
        assert_eq!(FetchLimits::new(&config(), 0).partition(0).budget, 16 * MIB);
    }

    #[test]
    fn each_refusal_halves_the_request_down_to_a_minimum() {
        let requested = |refusals| {
            let limits = FetchLimits::new(&config(), refusals);
            let grant = limits.grant(limits.partition(1), [0; 100].into_iter());
            (grant.max, limits.max_partitions())
        };
        assert_eq!(requested(0), (16 * MIB, 128));
        assert_eq!(requested(1), (8 * MIB, 64));
        assert_eq!(requested(5), (MIB / 2, 4));
        for refusals in [6, 7, 100] {
            assert_eq!(requested(refusals), (MIN_QUOTA_BYTES, LISTED_PER_SERVED));
        }
    }

    #[test]
    fn a_response_may_be_larger_by_one_batch_and_the_fields() {
        let limits = FetchLimits::new(&config().max_batch_bytes(MIB), 0);
        assert_eq!(limits.max_response_bytes(2 * MIB, 1024), (4 + 2 + 1 + 1) * MIB);
    }
}
