//! The totals of a decoder: records, bytes, Kafka batches, codecs and decompression time.

use std::time::Duration;

use kafka_direct_core::Codec;

/// The totals of one decoder since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Records in returned batches; pending rows do not count.
    pub records: u64,
    /// Key bytes of those records; 0 unless the key column is built.
    pub key_bytes: u64,
    /// Value bytes of those records; 0 unless the value column is built.
    pub value_bytes: u64,
    /// Record bytes after decompression, of every Kafka batch whose records were read.
    pub decompressed_bytes: u64,
    /// Kafka batches read, dropped ones included.
    pub kafka_batches: u64,
    /// Kafka batches dropped because their transaction was aborted.
    pub aborted_batches: u64,
    /// Control batches, which hold transaction markers.
    pub control_batches: u64,
    /// Codecs of the Kafka batches whose records were read.
    pub codecs: Codecs,
    /// Time spent decompressing; zero without
    /// [`DecodeOptions::clock`](crate::DecodeOptions::clock).
    pub decompress_time: Duration,
}

impl Counts {
    /// The sum of these totals and `other`.
    #[must_use]
    pub const fn plus(self, other: &Self) -> Self {
        Self {
            records: self.records.saturating_add(other.records),
            key_bytes: self.key_bytes.saturating_add(other.key_bytes),
            value_bytes: self.value_bytes.saturating_add(other.value_bytes),
            decompressed_bytes: self.decompressed_bytes.saturating_add(other.decompressed_bytes),
            kafka_batches: self.kafka_batches.saturating_add(other.kafka_batches),
            aborted_batches: self.aborted_batches.saturating_add(other.aborted_batches),
            control_batches: self.control_batches.saturating_add(other.control_batches),
            codecs: self.codecs.with(other.codecs),
            decompress_time: self.decompress_time.saturating_add(other.decompress_time),
        }
    }
}

/// A set of compression codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codecs(u8);

impl Codecs {
    const NAMES: [(Self, &str); 5] = [
        (Self::of(Codec::None), "none"),
        (Self::of(Codec::Gzip), "gzip"),
        (Self::of(Codec::Snappy), "snappy"),
        (Self::of(Codec::Lz4), "lz4"),
        (Self::of(Codec::Zstd), "zstd"),
    ];

    /// The set that has only `codec`.
    pub(crate) const fn of(codec: Codec) -> Self {
        Self(match codec {
            Codec::None => 1,
            Codec::Gzip => 2,
            Codec::Snappy => 4,
            Codec::Lz4 => 8,
            Codec::Zstd => 16,
        })
    }

    /// The codecs of this set and of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names of the codecs, as Kafka's `compression.type` has them; `none` is a batch that is
    /// not compressed.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = Self::NAMES.into_iter();
        all.filter(move |(codec, _)| self.0 & codec.0 != 0).map(|(_, name)| name)
    }
}
