//! Counts the visible records of a response exactly, with as little decoding as possible.

use kafka_direct_core::{Codec, Fetched, PlannedRange};

use crate::{
    Counts, DecodeOptions, WorkerError,
    arena::Arena,
    input::{Input, KafkaBatch, Scope},
    record,
};

/// Counts the records of `fetched` that a [`RangeDecoder`](crate::RangeDecoder) of the same range
/// would deliver.
///
/// If a Kafka batch is entirely inside the range, the function checks its checksum and takes the
/// count from its header. Only batches at the two ends of the range are decompressed, and only the
/// offsets of their records are read. The only option that has an effect is
/// [`DecodeOptions::max_batch_bytes`].
///
/// # Errors
/// Those of [`RangeDecoder::next_batch`](crate::RangeDecoder::next_batch), for the bytes that are
/// read.
pub fn scan(
    planned: &PlannedRange,
    fetched: &Fetched,
    options: &DecodeOptions,
) -> Result<u64, WorkerError> {
    let scope = Scope::new(planned, options.clone().clamped().max_batch_bytes);
    let mut input = Input::new(&scope, fetched.clone(), planned.range().from())?;
    let mut counts = Counts::default();
    let mut arena = Arena::default();
    let mut visible = 0u64;
    while let Some(batch) = input.next_visible(&scope, &mut counts)? {
        let KafkaBatch { base, codec, count, .. } = batch;
        if batch.inside {
            visible = visible.saturating_add(u64::from(count));
            continue;
        }
        let stored = input.bytes(batch.body);
        arena.truncate(0);
        let plain = match codec {
            Codec::None => stored,
            _ => {
                let range = scope.decompress(base, codec, stored, &mut arena)?;
                arena.get(range)
            }
        };
        let wanted = record::count(plain, &batch.facts, count)
            .map_err(|(record, reason)| scope.record_error(base, record, reason))?;
        visible = visible.saturating_add(wanted);
    }
    Ok(visible)
}
