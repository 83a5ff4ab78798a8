//! The totals of a decoder: records, bytes, Kafka batches and decompression time.

use std::time::Duration;

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
            decompress_time: self.decompress_time.saturating_add(other.decompress_time),
        }
    }
}
