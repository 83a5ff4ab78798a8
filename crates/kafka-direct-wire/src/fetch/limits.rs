//! How many bytes a Fetch request asks for: all decisions in one place, as pure functions.
//!
//! - [`FetchLimits::max_partitions`]: how many partitions are listed.
//! - [`FetchLimits::grant`]: how many bytes of the memory budget the request takes.
//! - [`PartitionLimits::bytes`]: how many bytes are asked of one partition.
//! - [`FetchLimits::max_response_bytes`]: the size above which a response is refused.
//!
//! With the default settings a partition is asked for 512 KiB to 2 MiB: few partitions get large reads,
//! many share. Where 16 of its batches are larger, it is asked for up to 4 MiB if the budget has room for
//! as much of every partition, because the end of a response cuts a batch whose beginning is then fetched
//! twice. There is room for one batch in any case.

use super::partition_cursor::QUEUE_LENGTH;
use crate::config::ClusterConfig;

/// Fewest bytes asked of one partition: smaller reads cost more requests.
const MIN_PARTITION_BYTES: usize = 512 << 10;
/// Fewest bytes asked for under a quota. A batch comes whole anyway, and requests have quotas too.
const MIN_QUOTA_BYTES: usize = 256 << 10;
/// How many partitions are listed where a response has room for one: most have less left than they are
/// asked for. More would cost both sides work for partitions that this response cannot serve.
const LISTED_PER_SERVED: usize = 4;
/// Responses of a cursor that hold budget when it is served as fast as possible: those in its queue, and
/// one in flight.
const RESPONSES_PER_CURSOR: usize = QUEUE_LENGTH + 1;
/// How many batches of a partition a response has room for, if there is memory. On average half of the
/// batch that its end cuts is fetched again: a quarter of two batches, 3 % of sixteen.
const BATCHES: usize = 16;
/// Room for fewer batches than this is not rounded down to whole batches: too much would be lost.
const MIN_ROUNDED_BATCHES: usize = 3;
/// Room after each batch for the marker that ends a transaction, a batch of 78 bytes. Without it the
/// last of a whole number of batches would be cut.
const MARKER_BYTES: usize = 128;
/// Room in a response for the fields of one partition.
const PARTITION_FIELDS_BYTES: usize = 1 << 10;
/// Room in a response for everything else, lists of aborted transactions included.
const RESPONSE_FIELDS_BYTES: usize = 4 << 20;

/// The limits of one Fetch request, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchLimits {
    fetch_max: usize,
    partition_max: usize,
    memory_budget: usize,
    max_batch: usize,
    /// At most this much while a broker's quota refuses responses.
    quota: usize,
}

/// How many bytes of the memory budget a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GrantLimits {
    /// With less the request waits.
    pub(super) min: usize,
    pub(super) max: usize,
}

/// How many bytes may be asked of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartitionLimits {
    /// The partition's part of the request.
    request: usize,
    /// The partition's part of the memory budget, if every cursor had as much queued and in flight.
    budget: usize,
    /// The setting: all of it only for large batches, half of it otherwise.
    max: usize,
}

impl FetchLimits {
    /// The limits after `refusals` responses that a quota refused: each halves the request (see
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

    /// How many partitions the request lists.
    pub(super) fn max_partitions(self) -> usize {
        let served = self.quota / MIN_PARTITION_BYTES;
        served.saturating_mul(LISTED_PER_SERVED).max(LISTED_PER_SERVED)
    }

    /// The limits of each partition, where the cluster has `cursor_count` cursors.
    pub(super) fn partition(self, cursor_count: usize) -> PartitionLimits {
        let responses = cursor_count.max(1).saturating_mul(RESPONSES_PER_CURSOR);
        let budget = self.memory_budget.checked_div(responses).unwrap_or(0);
        PartitionLimits { request: usize::MAX, budget, max: self.partition_max }
    }

    /// How much budget to take for partitions whose batches are as large as `largest_batches`, in
    /// bytes; 0 where that is not known.
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

    /// The largest response to a request for `granted` bytes. The first batch comes whole, also if it
    /// is larger than the request allows.
    pub(super) fn max_response_bytes(self, granted: usize, partition_count: usize) -> usize {
        RESPONSE_FIELDS_BYTES
            .saturating_add(granted)
            .saturating_add(self.max_batch)
            .saturating_add(partition_count.saturating_mul(PARTITION_FIELDS_BYTES))
    }
}

impl PartitionLimits {
    /// The same where `partition_count` partitions share `granted` bytes.
    pub(super) fn sharing(self, granted: usize, partition_count: usize) -> Self {
        let request = granted.checked_div(partition_count).unwrap_or(0).max(MIN_PARTITION_BYTES);
        Self { request, ..self }
    }

    /// How much to ask for where batches are as large as `largest_batch`: room for one of them at
    /// least, since a larger one comes only as the first of a response.
    pub(super) fn bytes(self, largest_batch: usize) -> usize {
        let Self { request, budget, max } = self;
        let for_batches = largest_batch.saturating_mul(BATCHES).min(budget).max(largest_batch);
        let bytes = request.min(max / 2).max(for_batches).clamp(1, max.max(1));
        // Full batches are equally large: a part of one more would be cut.
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
    fn large_batches_are_asked_for_by_the_dozen_and_no_partition_for_more_than_its_max() {
        let asked = |request, budget, max| {
            let limits = PartitionLimits { request, budget, max };
            [0, 100 * KIB, MIB].map(|largest_batch| limits.bytes(largest_batch))
        };
        // So many batches of 100 KiB or of a MiB, with room for a marker after each.
        let of_100_kib = |count| (100 * KIB + MARKER_BYTES) * count;
        let of_a_mib = |count| (MIB + MARKER_BYTES) * count;
        assert_eq!(asked(16 * MIB, 16 * MIB, 4 * MIB), [2 * MIB, of_100_kib(20), 4 * MIB]);
        let much = [16 * MIB, of_100_kib(163), of_a_mib(16)];
        assert_eq!(asked(16 * MIB, 16 * MIB, 32 * MIB), much);
        // A whole number of batches, unless that is a lot less.
        assert_eq!(asked(0, 4 * MIB - 1, 4 * MIB), [1, of_100_kib(16), of_a_mib(3)]);
        assert_eq!(asked(0, 3 * MIB - 1, 4 * MIB), [1, of_100_kib(16), 3 * MIB - 1]);
        // Where many share the memory there is room for one batch still.
        assert_eq!(asked(MIB / 2, MIB, 4 * MIB), [MIB / 2, of_100_kib(10), MIB]);
        assert_eq!(asked(MIB / 2, 1000, 4 * MIB), [MIB / 2, of_100_kib(5), MIB]);
        assert_eq!(asked(MIB, MIB, 1000), [500, 1000, 1000]);
        assert_eq!(asked(MIB, MIB, 1), [1; 3]);
    }

    #[test]
    fn a_request_takes_what_its_partitions_are_asked_for() {
        let limits = FetchLimits::new(&config(), 0);
        let grant = |cursor_count, batches: &[usize]| {
            let GrantLimits { min, max } =
                limits.grant(limits.partition(cursor_count), batches.iter().copied());
            (min, max)
        };
        assert_eq!(grant(1, &[0]), (MIB / 2, 2 * MIB));
        assert_eq!(grant(3, &[0, 0, MIB]), (MIB / 2, 8 * MIB));
        // No more than one Fetch may ask for.
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
    fn refusals_halve_the_request_down_to_its_least() {
        let asked = |refusals| {
            let limits = FetchLimits::new(&config(), refusals);
            let grant = limits.grant(limits.partition(1), [0; 100].into_iter());
            (grant.max, limits.max_partitions())
        };
        assert_eq!(asked(0), (16 * MIB, 128));
        assert_eq!(asked(1), (8 * MIB, 64));
        assert_eq!(asked(5), (MIB / 2, 4));
        for refusals in [6, 7, 100] {
            assert_eq!(asked(refusals), (MIN_QUOTA_BYTES, LISTED_PER_SERVED));
        }
    }

    #[test]
    fn a_response_may_be_larger_by_one_batch_and_the_fields() {
        let limits = FetchLimits::new(&config().max_batch_bytes(MIB), 0);
        assert_eq!(limits.max_response_bytes(2 * MIB, 1024), (4 + 2 + 1 + 1) * MIB);
    }
}
