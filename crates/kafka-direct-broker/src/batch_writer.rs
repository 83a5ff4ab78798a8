//! Writes record batches in format v2, uncompressed: plain batches, transactional batches,
//! transaction markers, and batches with holes as compaction leaves them.

use bytes::Bytes;
use kafka_direct_core::BATCH_HEADER_BYTES;

use crate::{BrokerError, Record, varint};

const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
/// Bytes of a batch that its length field does not count: the base offset and the length field.
const PREFIX_BYTES: usize = 12;
/// Index of the first byte that the CRC covers.
const CRC_FROM: usize = 21;

/// A transaction marker: how the transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// The transaction is aborted; its records are void.
    Abort,
    /// The transaction is committed; its records are valid.
    Commit,
}

/// Encodes one record batch, for [`Broker::append_raw`](crate::Broker::append_raw).
///
/// ```
/// use kafka_direct_broker::{BatchWriter, Marker, Record};
/// let part = BatchWriter::new().transaction(7, 0).write(&[Record::new("void")])?;
/// let end = BatchWriter::new().transaction(7, 0).marker(Marker::Abort)?;
/// assert!(part.len() > 61 && end.len() > 61);
/// # Ok::<(), kafka_direct_broker::BrokerError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct BatchWriter {
    base_offset: i64,
    attributes: i16,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    deltas: Option<Vec<i32>>,
    last_offset_delta: Option<i32>,
}

impl Default for BatchWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchWriter {
    /// A batch at base offset 0 without a producer id or a transaction.
    pub const fn new() -> Self {
        Self {
            base_offset: 0,
            attributes: 0,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            deltas: None,
            last_offset_delta: None,
        }
    }

    /// Sets the base offset of the batch.
    ///
    /// [`RawOffsets`](crate::RawOffsets) decides whether `append_raw` keeps it.
    pub const fn base_offset(mut self, offset: i64) -> Self {
        self.base_offset = offset;
        self
    }

    /// Makes the batch part of the open transaction of the producer with this id and epoch.
    pub const fn transaction(mut self, id: i64, epoch: i16) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.attributes |= TRANSACTIONAL;
        self
    }

    /// Sets each record's offset relative to the base offset, as in a compacted batch. Default: 0,
    /// 1, 2, ….
    ///
    /// The deltas must be strictly increasing, start at 0 or above, and match the number of
    /// records.
    pub fn offset_deltas(mut self, deltas: impl Into<Vec<i32>>) -> Self {
        self.deltas = Some(deltas.into());
        self
    }

    /// Sets the batch's last offset delta, as in a batch whose last record was compacted away.
    /// Default: the last record's delta.
    pub const fn last_offset_delta(mut self, delta: i32) -> Self {
        self.last_offset_delta = Some(delta);
        self
    }

    /// Encodes the batch, including its CRC.
    ///
    /// # Errors
    /// [`BrokerError::Unencodable`] for more than 2 GiB, for deltas that do not match the records,
    /// or for no records without [`BatchWriter::last_offset_delta`].
    pub fn write(&self, records: &[Record]) -> Result<Bytes, BrokerError> {
        let refuse = |reason| Err(BrokerError::Unencodable { reason });
        let (Ok(count), Ok(dense)) =
            (i32::try_from(records.len()), i32::try_from(records.len().saturating_sub(1)))
        else {
            return refuse("there are more records than an offset delta can count");
        };
        if let Some(deltas) = &self.deltas {
            if deltas.len() != records.len() {
                return refuse("there are not as many offset deltas as records");
            }
            if !deltas.is_sorted_by(|a, b| a < b) || deltas.first().is_some_and(|d| *d < 0) {
                return refuse("offset deltas must be strictly increasing and start at 0 or above");
            }
        }
        let last_delta = self.deltas.as_ref().and_then(|d| d.last().copied()).unwrap_or(dense);
        let last_offset_delta = self.last_offset_delta.unwrap_or(last_delta);
        if records.is_empty() && self.last_offset_delta.is_none() {
            return refuse("a batch without records needs a last offset delta");
        }
        if last_offset_delta < last_delta {
            return refuse("the last offset delta is below the last record's delta");
        }
        let base_timestamp = records.first().map_or(-1, |r| r.timestamp);
        let max_timestamp = records.iter().map(|r| r.timestamp).max().unwrap_or(-1);
        let mut out =
            Vec::with_capacity(BATCH_HEADER_BYTES + records.iter().map(max_size).sum::<usize>());
        out.extend(self.base_offset.to_be_bytes());
        out.extend([0; 4]);
        out.extend((-1i32).to_be_bytes());
        out.push(2);
        out.extend([0; 4]);
        out.extend(self.attributes.to_be_bytes());
        out.extend(last_offset_delta.to_be_bytes());
        out.extend(base_timestamp.to_be_bytes());
        out.extend(max_timestamp.to_be_bytes());
        out.extend(self.producer_id.to_be_bytes());
        out.extend(self.producer_epoch.to_be_bytes());
        out.extend(self.base_sequence.to_be_bytes());
        out.extend(count.to_be_bytes());
        for (delta, record) in (0i32..).zip(records) {
            let index = usize::try_from(delta).unwrap_or(0);
            let delta = self.deltas.as_ref().and_then(|d| d.get(index)).copied().unwrap_or(delta);
            put_record(&mut out, record, i64::from(delta), base_timestamp);
        }
        let Ok(length) = i32::try_from(out.len() - PREFIX_BYTES) else {
            return refuse("they take more than 2 GiB");
        };
        if let Some(field) = out.get_mut(8..PREFIX_BYTES) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        let crc = crc_of(&out);
        if let Some(field) = out.get_mut(17..CRC_FROM) {
            field.copy_from_slice(&crc.to_be_bytes());
        }
        Ok(Bytes::from(out))
    }

    /// Encodes the control batch that ends the transaction set by [`BatchWriter::transaction`].
    ///
    /// # Errors
    /// The same as [`BatchWriter::write`]; none in practice.
    pub fn marker(&self, marker: Marker) -> Result<Bytes, BrokerError> {
        let kind: &[u8; 4] = match marker {
            Marker::Abort => &[0, 0, 0, 0],
            Marker::Commit => &[0, 0, 0, 1],
        };
        // The value holds version 0 and coordinator epoch 0.
        let record = Record::new(&[0u8; 6][..]).with_key(kind.as_slice());
        let control = Self { attributes: self.attributes | CONTROL, ..self.clone() };
        control.write(&[record])
    }
}

/// Computes the CRC-32C for the header of `batch`.
pub(crate) fn crc_of(batch: &[u8]) -> u32 {
    let covered = batch.get(CRC_FROM..).unwrap_or_default();
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, covered);
    u32::try_from(crc).unwrap_or(0)
}

/// An upper bound of the record's encoded size in bytes.
fn max_size(record: &Record) -> usize {
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize =
        record.headers.iter().map(|(key, value)| key.len() + len(value) + 20).sum();
    len(&record.key) + len(&record.value) + headers + 45
}

fn put_record(out: &mut Vec<u8>, record: &Record, delta: i64, base_timestamp: i64) {
    let since = record.timestamp.wrapping_sub(base_timestamp);
    let count = signed(record.headers.len());
    let length = 1
        + varint::size(since)
        + varint::size(delta)
        + field_size(record.key.as_ref())
        + field_size(record.value.as_ref())
        + varint::size(count)
        + record
            .headers
            .iter()
            .map(|(key, value)| field_size(Some(key)) + field_size(value.as_ref()))
            .sum::<usize>();
    varint::put(out, signed(length));
    out.push(0);
    varint::put(out, since);
    varint::put(out, delta);
    put_field(out, record.key.as_ref());
    put_field(out, record.value.as_ref());
    varint::put(out, count);
    for (key, value) in &record.headers {
        put_field(out, Some(key));
        put_field(out, value.as_ref());
    }
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn field_size(field: Option<&Bytes>) -> usize {
    field.map_or(1, |bytes| varint::size(signed(bytes.len())) + bytes.len())
}

fn put_field(out: &mut Vec<u8>, field: Option<&Bytes>) {
    match field {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, signed(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_direct_core::walk;
    use kafka_protocol::records::RecordBatchDecoder;

    use super::*;

    #[test]
    fn kafka_protocols_record_decoder_reads_what_is_written() {
        let records = [
            Record::new("a").with_key("k").with_timestamp(1_000),
            Record::tombstone("dead").with_timestamp(900),
            Record::new(vec![7u8; 300]).with_header("h", None).with_timestamp(2_000),
        ];
        let mut bytes = BatchWriter::new().base_offset(40).write(&records).unwrap();
        let (header, whole) = walk(&bytes).next().unwrap().unwrap();
        assert_eq!(whole.len(), bytes.len());
        assert_eq!(header.crc, crc_of(&bytes));
        assert_eq!((header.max_timestamp, header.next_offset().get()), (2_000, 43));
        let found = RecordBatchDecoder::decode(&mut bytes).unwrap().records;
        let found: Vec<_> =
            found.into_iter().map(|r| (r.offset, r.timestamp, r.key, r.value)).collect();
        let expected: Vec<_> = (40..)
            .zip(&records)
            .map(|(offset, r)| (offset, r.timestamp, r.key.clone(), r.value.clone()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn holes_are_kept_and_invalid_deltas_are_refused() {
        let two = [Record::new("a"), Record::new("b")];
        let writer = BatchWriter::new().offset_deltas([2, 5]).last_offset_delta(9);
        let bytes = writer.write(&two).unwrap();
        let header = walk(&bytes).next().unwrap().unwrap().0;
        assert_eq!((header.count, header.next_offset().get()), (2, 10));
        assert!(BatchWriter::new().offset_deltas([2]).write(&two).is_err());
        assert!(BatchWriter::new().offset_deltas([5, 2]).write(&two).is_err());
        assert!(BatchWriter::new().last_offset_delta(0).write(&two).is_err());
        assert!(BatchWriter::new().write(&[]).is_err());
        assert_eq!(BatchWriter::new().last_offset_delta(3).write(&[]).unwrap().len(), 61);
    }
}
