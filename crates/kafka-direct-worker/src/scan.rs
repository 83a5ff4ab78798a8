//! How many visible records a response holds, read as cheaply as can be exact.

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
/// A Kafka batch that lies wholly inside the range is counted by its header, after its checksum;
/// only at the two edges are records decompressed, and only their offsets read. Of the options,
/// only [`DecodeOptions::max_batch_bytes`] matters.
///
/// # Errors
/// As for [`RangeDecoder::next_batch`](crate::RangeDecoder::next_batch), for what is looked at.
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
