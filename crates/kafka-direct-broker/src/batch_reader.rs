//! Reads the records inside an uncompressed batch: finds the first one at or after a timestamp, and
//! decodes transaction markers.

use kafka_direct_core::{BATCH_HEADER_BYTES, BatchHeader, Codec};

use crate::{batch_writer::Marker, varint};

/// A record's offset and timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamped {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
}

/// The first record of `batch` with a timestamp of at least `timestamp` and an offset of at least
/// `from`.
///
/// A compressed batch is not decompressed. Its base offset (at least `from`) and its maximum
/// timestamp are returned instead.
pub(crate) fn first_at_or_after(
    header: &BatchHeader,
    batch: &[u8],
    timestamp: i64,
    from: i64,
) -> Option<Stamped> {
    if header.max_timestamp < timestamp {
        return None;
    }
    if header.codec() != Ok(Codec::None) {
        let offset = header.base_offset.get().max(from);
        return Some(Stamped { offset, timestamp: header.max_timestamp });
    }
    records(header, batch).find(|record| record.timestamp >= timestamp && record.offset >= from)
}

/// Decodes the transaction marker in a control batch; `None` for another kind of control batch.
pub(crate) fn marker(batch: &[u8]) -> Option<Marker> {
    let mut rest = batch.get(BATCH_HEADER_BYTES..)?;
    skip_to_key(&mut rest)?;
    let length = usize::try_from(varint::take(&mut rest)?).ok()?;
    match rest.get(..length)?.get(2..4)? {
        [0, 0] => Some(Marker::Abort),
        [0, 1] => Some(Marker::Commit),
        _ => None,
    }
}

/// The offsets and timestamps of the records of an uncompressed batch, up to the first malformed
/// record.
fn records<'a>(header: &'a BatchHeader, batch: &'a [u8]) -> impl Iterator<Item = Stamped> + 'a {
    let mut rest = batch.get(BATCH_HEADER_BYTES..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::try_from(varint::take(&mut rest)?).ok()?;
        let (mut record, after) = rest.split_at_checked(length)?;
        rest = after;
        record.split_off_first()?;
        let since = varint::take(&mut record)?;
        let delta = varint::take(&mut record)?;
        let timestamp = if header.is_log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.wrapping_add(since)
        };
        Some(Stamped { offset: header.base_offset.saturating_add(delta).get(), timestamp })
    })
}

fn skip_to_key(rest: &mut &[u8]) -> Option<()> {
    varint::take(rest)?;
    rest.split_off_first()?;
    varint::take(rest)?;
    varint::take(rest)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use kafka_direct_core::walk;

    use super::*;
    use crate::{BatchWriter, Record};

    #[test]
    fn first_record_at_or_after_a_time_is_found_inside_the_batch() {
        let records = [10, 30, 20, 40].map(|t| Record::new("v").with_timestamp(t));
        let bytes = BatchWriter::new().base_offset(100).write(&records).unwrap();
        let header = walk(&bytes).next().unwrap().unwrap().0;
        let at = |t, from| first_at_or_after(&header, &bytes, t, from).map(|s| s.offset);
        assert_eq!(
            [at(0, 0), at(11, 0), at(31, 0), at(41, 0)],
            [Some(100), Some(101), Some(103), None]
        );
        assert_eq!(at(11, 102), Some(102));
    }

    #[test]
    fn markers_are_distinguished() {
        for kind in [Marker::Abort, Marker::Commit] {
            let bytes = BatchWriter::new().transaction(1, 0).marker(kind).unwrap();
            assert_eq!(marker(&bytes), Some(kind));
        }
        assert_eq!(marker(&[0; 61]), None);
    }
}
