//! Writes Kafka batches (format v2) as Kafka's own producer does.

use std::io::{self, Write as _};

use bytes::Bytes;
use kafka_direct_core::Codec;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use crate::values::Values;

/// Index of the first byte that the CRC covers.
pub const CHECKED_FROM: usize = 21;
/// Bytes before the part that a batch's length field counts.
const PREFIX_BYTES: usize = 12;
/// Timestamp of the first record, in milliseconds since 1970-01-01 UTC; each next one is 1 ms
/// later.
const FIRST_TIMESTAMP: i64 = 1_767_225_600_000;
/// Bytes of a batch that Kafka's producer compresses into one snappy block.
const SNAPPY_BLOCK_BYTES: usize = 32 << 10;

/// The codec, values and number of records of the batches to write.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    pub values: Values,
    pub codec: Codec,
    /// Number of records in one batch.
    pub records_per_batch: usize,
}

/// Consecutive batches, like one partition's records in a Fetch response.
#[derive(Debug, Clone)]
pub struct Batches {
    pub bytes: Bytes,
    pub records: usize,
    /// Bytes of all records before compression.
    pub plain_bytes: usize,
}

impl Recipe {
    /// Writes `records` records from offset 0 on, in batches.
    ///
    /// # Errors
    /// Errors of the codec.
    pub fn write(&self, records: usize) -> io::Result<Batches> {
        let (mut bytes, mut plain_bytes) = (Vec::new(), 0);
        for base in (0..records).step_by(self.records_per_batch) {
            let count = self.records_per_batch.min(records - base);
            let plain = self.records(base, count);
            plain_bytes += plain.len();
            put_batch(&mut bytes, self.codec, base as i64, count, &compress(self.codec, plain)?);
        }
        Ok(Batches { bytes: bytes.into(), records, plain_bytes })
    }

    fn records(&self, base: usize, count: usize) -> Vec<u8> {
        let (mut out, mut body) = (Vec::new(), Vec::new());
        for delta in 0..count {
            let (key, value) = self.values.record((base + delta) as u64);
            body.clear();
            body.push(0);
            put_varint(&mut body, delta as i64);
            put_varint(&mut body, delta as i64);
            put_field(&mut body, key.as_deref());
            put_field(&mut body, Some(&value));
            put_varint(&mut body, 0);
            put_varint(&mut out, body.len() as i64);
            out.extend_from_slice(&body);
        }
        out
    }
}

fn put_batch(out: &mut Vec<u8>, codec: Codec, base: i64, count: usize, stored: &[u8]) {
    let start = out.len();
    let (attributes, last_delta) = (codec_bits(codec), count as i32 - 1);
    let first = FIRST_TIMESTAMP + base;
    out.extend(base.to_be_bytes());
    out.extend([0; 4]); // length
    out.extend((-1i32).to_be_bytes()); // leader epoch
    out.push(2);
    out.extend([0; 4]); // checksum
    out.extend(attributes.to_be_bytes());
    out.extend(last_delta.to_be_bytes());
    out.extend(first.to_be_bytes());
    out.extend((first + i64::from(last_delta)).to_be_bytes());
    out.extend((-1i64).to_be_bytes()); // producer
    out.extend((-1i16).to_be_bytes());
    out.extend((-1i32).to_be_bytes());
    out.extend((count as i32).to_be_bytes());
    out.extend_from_slice(stored);
    let batch = &mut out[start..];
    let length = (batch.len() - PREFIX_BYTES) as i32;
    batch[8..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&batch[CHECKED_FROM..]);
    batch[17..CHECKED_FROM].copy_from_slice(&crc.to_be_bytes());
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    put_varint(out, field.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(field.unwrap_or_default());
}

fn put_varint(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

const fn codec_bits(codec: Codec) -> i16 {
    match codec {
        Codec::None => 0,
        Codec::Gzip => 1,
        Codec::Snappy => 2,
        Codec::Lz4 => 3,
        Codec::Zstd => 4,
    }
}

/// Compresses records with the default levels and block sizes of Kafka's producer.
fn compress(codec: Codec, plain: Vec<u8>) -> io::Result<Vec<u8>> {
    match codec {
        Codec::None => Ok(plain),
        Codec::Gzip => {
            let level = flate2::Compression::new(6);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(&plain)?;
            encoder.finish()
        }
        Codec::Snappy => {
            let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
            for block in plain.chunks(SNAPPY_BLOCK_BYTES) {
                let packed = snap::raw::Encoder::new().compress_vec(block)?;
                out.extend((packed.len() as u32).to_be_bytes());
                out.extend(packed);
            }
            Ok(out)
        }
        Codec::Lz4 => {
            let frame =
                FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
            let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
            encoder.write_all(&plain)?;
            Ok(encoder.finish()?)
        }
        Codec::Zstd => zstd::bulk::compress(&plain, 3),
    }
}
