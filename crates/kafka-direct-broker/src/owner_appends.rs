//! Appends batches for the broker's owner, without the Produce API.

use bytes::{Bytes, BytesMut};
use kafka_direct_core::{BatchHeader, Offset, TopicPartition, walk};

use crate::{BatchWriter, BrokerError, Record, cluster::Cluster, log::Unplaced, shared::Shared};

/// Which offsets [`Broker::append_raw`](crate::Broker::append_raw) gives to batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawOffsets {
    /// The next offsets of the log. The leader epoch is written into the batches as well.
    Assign,
    /// The offsets in the batches; the bytes are not changed.
    ///
    /// Holes are allowed between batches and before the first one, as compaction leaves them.
    /// Offsets that go back are refused.
    Keep,
    /// The given range, for malformed batches: the bytes are not parsed.
    ///
    /// They are served as one batch over `[base, next)`. Their transactions and timestamps are
    /// ignored.
    Unchecked {
        /// The first offset, inclusive; at or above the log's end.
        base: i64,
        /// The end of the range, exclusive; above `base`.
        next: i64,
    },
}

pub(crate) fn records(
    shared: &Shared,
    topic: &str,
    partition: i32,
    records: &[Record],
) -> Result<Offset, BrokerError> {
    let bytes = BatchWriter::new().write(records)?;
    raw(shared, topic, partition, &bytes, RawOffsets::Assign)
}

pub(crate) fn raw(
    shared: &Shared,
    topic: &str,
    partition: i32,
    bytes: &Bytes,
    offsets: RawOffsets,
) -> Result<Offset, BrokerError> {
    let first = match offsets {
        RawOffsets::Unchecked { base, next } => {
            let mut cluster = shared.cluster.lock();
            let log = &mut cluster.owned(topic, partition)?.log;
            Cluster::inside(topic, partition, Offset::new(base), log.end(), i64::MAX - 1)?;
            Cluster::inside(topic, partition, Offset::new(next), base + 1, i64::MAX)?;
            log.push_unchecked(next, bytes.clone());
            base
        }
        RawOffsets::Keep => {
            let batches = split(topic, partition, bytes)?;
            let mut cluster = shared.cluster.lock();
            let log = &mut cluster.owned(topic, partition)?.log;
            let end = Offset::new(log.end());
            let first = batches.first().map_or(end, |(header, _)| header.base_offset);
            Cluster::inside(topic, partition, first, log.end(), i64::MAX)?;
            for (header, batch) in batches {
                log.push(&header, Bytes::copy_from_slice(batch));
            }
            first.get()
        }
        RawOffsets::Assign => {
            // The given offsets do not matter, so each batch is parsed without checking their
            // order.
            let mut batches = Vec::new();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (header, batch) = one(topic, partition, rest)?;
                batches.push(Unplaced { header, bytes: BytesMut::from(batch) });
                rest = rest.get(batch.len()..).unwrap_or_default();
            }
            let mut cluster = shared.cluster.lock();
            let owned = cluster.owned(topic, partition)?;
            owned.log.append(batches, owned.epoch)
        }
    };
    shared.wake();
    Ok(Offset::new(first))
}

fn one<'a>(
    topic: &str,
    partition: i32,
    bytes: &'a [u8],
) -> Result<(BatchHeader, &'a [u8]), BrokerError> {
    let source = match walk(bytes).next() {
        Some(Ok(first)) => return Ok(first),
        Some(Err(error)) => Some(error),
        None => None,
    };
    Err(BrokerError::Batches { topic_partition: TopicPartition::new(topic, partition), source })
}

fn split<'a>(
    topic: &str,
    partition: i32,
    bytes: &'a [u8],
) -> Result<Vec<(BatchHeader, &'a [u8])>, BrokerError> {
    let wrong = |source| BrokerError::Batches {
        topic_partition: TopicPartition::new(topic, partition),
        source,
    };
    let mut batches = walk(bytes);
    let found: Result<Vec<_>, _> = batches.by_ref().collect();
    let found = found.map_err(|error| wrong(Some(error)))?;
    if batches.rest_bytes() != 0 {
        return Err(wrong(None));
    }
    Ok(found)
}
