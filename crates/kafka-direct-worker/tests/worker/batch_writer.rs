//! Writes Kafka batches as a producer and a broker do, or with wrong values in any field.

use std::io::Write as _;

use kafka_direct_core::{AbortedTransaction, Codec, Fetched, Offset, walk};

/// A record to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rec {
    pub(crate) delta: i32,
    pub(crate) time_delta: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Rec {
    pub(crate) fn value(delta: i32, value: impl Into<Vec<u8>>) -> Self {
        Self { delta, value: Some(value.into()), ..Self::default() }
    }

    /// The bytes of the record after its length.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut out = vec![0];
        varlong(&mut out, self.time_delta);
        varlong(&mut out, i64::from(self.delta));
        field(&mut out, self.key.as_deref());
        field(&mut out, self.value.as_deref());
        varlong(&mut out, i64::try_from(self.headers.len()).unwrap());
        for (key, value) in &self.headers {
            field(&mut out, Some(key));
            field(&mut out, value.as_deref());
        }
        out
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        encode_body(out, &self.body());
    }
}

/// Writes a record with this body, valid or not.
pub(crate) fn encode_body(out: &mut Vec<u8>, body: &[u8]) {
    varlong(out, i64::try_from(body.len()).unwrap());
    out.extend(body);
}

fn field(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varlong(out, bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap()));
    out.extend(bytes.unwrap_or_default());
}

pub(crate) fn varlong(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// A batch to write; every field may have a wrong value.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) base: i64,
    pub(crate) records: Vec<Rec>,
    pub(crate) codec: Codec,
    /// The attributes, except the codec.
    pub(crate) attributes: i16,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    /// The last offset delta; default: that of the last record.
    pub(crate) last_delta: Option<i32>,
    /// The record count; default: the length of `records`.
    pub(crate) count: Option<i32>,
    /// The uncompressed records; default: `records`, encoded.
    pub(crate) plain: Option<Vec<u8>>,
    /// The bytes after the header; default: the records, compressed.
    pub(crate) stored: Option<Vec<u8>>,
}

pub(crate) const LOG_APPEND_TIME: i16 = 0x08;
pub(crate) const TRANSACTIONAL: i16 = 0x10;
pub(crate) const CONTROL: i16 = 0x20;
pub(crate) const DELETE_HORIZON: i16 = 0x40;

impl Batch {
    pub(crate) fn new(base: i64, records: Vec<Rec>) -> Self {
        Self {
            base,
            records,
            codec: Codec::None,
            attributes: 0,
            base_timestamp: 1000,
            max_timestamp: 2000,
            producer_id: -1,
            last_delta: None,
            count: None,
            plain: None,
            stored: None,
        }
    }

    /// A batch of one record per value, with offset deltas from 0.
    pub(crate) fn of_values(base: i64, values: &[&str]) -> Self {
        let records = values.iter().zip(0..).map(|(value, delta)| Rec::value(delta, *value));
        Self::new(base, records.collect())
    }

    /// A transaction marker.
    pub(crate) fn marker(base: i64, producer_id: i64, commit: bool) -> Self {
        let key = vec![0, 0, 0, u8::from(commit)];
        let record = Rec { key: Some(key), value: Some(vec![0; 6]), ..Rec::default() };
        let batch = Self::new(base, vec![record]).with_producer(producer_id);
        Self { attributes: TRANSACTIONAL | CONTROL, ..batch }
    }

    pub(crate) fn with_codec(self, codec: Codec) -> Self {
        Self { codec, ..self }
    }

    /// Makes the batch part of this producer's transaction.
    pub(crate) fn with_producer(self, producer_id: i64) -> Self {
        Self { producer_id, attributes: self.attributes | TRANSACTIONAL, ..self }
    }

    pub(crate) fn last_delta(&self) -> i32 {
        self.last_delta.unwrap_or_else(|| self.records.last().map_or(0, |record| record.delta))
    }

    pub(crate) fn next(&self) -> i64 {
        self.base + i64::from(self.last_delta()) + 1
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let plain = self.plain.clone().unwrap_or_else(|| {
            let mut plain = Vec::new();
            self.records.iter().for_each(|record| record.encode(&mut plain));
            plain
        });
        let stored = self.stored.clone().unwrap_or_else(|| compress(self.codec, &plain));
        let count = self.count.unwrap_or_else(|| i32::try_from(self.records.len()).unwrap());
        let mut out = Vec::new();
        out.extend(self.base.to_be_bytes());
        out.extend(i32::try_from(49 + stored.len()).unwrap().to_be_bytes());
        out.extend(7i32.to_be_bytes());
        out.push(2);
        out.extend([0; 4]);
        out.extend((self.attributes | codec_bits(self.codec)).to_be_bytes());
        out.extend(self.last_delta().to_be_bytes());
        out.extend(self.base_timestamp.to_be_bytes());
        out.extend(self.max_timestamp.to_be_bytes());
        out.extend(self.producer_id.to_be_bytes());
        out.extend([0; 6]);
        out.extend(count.to_be_bytes());
        out.extend(stored);
        seal(&mut out);
        out
    }
}

/// Writes the correct checksum into a batch.
pub(crate) fn seal(batch: &mut [u8]) {
    let crc = crc_fast::crc32_iscsi(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn codec_bits(codec: Codec) -> i16 {
    match codec {
        Codec::None => 0,
        Codec::Gzip => 1,
        Codec::Snappy => 2,
        Codec::Lz4 => 3,
        Codec::Zstd => 4,
    }
}

/// Compresses bytes with a library of each format.
pub(crate) fn compress(codec: Codec, plain: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => plain.to_vec(),
        Codec::Gzip => {
            let level = flate2::Compression::new(6);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
    }
}

pub(crate) const CODECS: [Codec; 5] =
    [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// A response to a Fetch at `fetch_offset`.
pub(crate) fn fetched(fetch_offset: i64, records: Vec<u8>, aborted: &[(i64, i64)]) -> Fetched {
    let next = walk(&records).map_while(Result::ok).last();
    let next = next.map_or_else(|| Offset::new(fetch_offset), |(header, _)| header.next_offset());
    Fetched {
        fetch_offset: Offset::new(fetch_offset),
        next,
        records: records.into(),
        aborted: aborted
            .iter()
            .map(|(producer_id, first)| AbortedTransaction {
                producer_id: *producer_id,
                first_offset: Offset::new(*first),
            })
            .collect(),
        high_watermark: next,
        last_stable: next,
        log_start: Offset::ZERO,
        leader_epoch: None,
    }
}

pub(crate) fn encode_all(batches: &[Batch]) -> Vec<u8> {
    batches.iter().flat_map(Batch::encode).collect()
}
