//! The errors of the worker.

use arrow_schema::ArrowError;
use kafka_direct_core::{ErrorKind, HeaderError, Offset, OffsetRange, TopicPartition};

/// An error of decoding or scanning a range, or an unknown column name.
///
/// Errors of a Kafka batch name the partition and the batch's base offset.
///
/// A decoder that returns an error drops the bytes that were pushed. Rows that were decoded before
/// the error stay valid: [`flush`](crate::RangeDecoder::flush) returns them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A batch header is invalid (`Corrupt`), or has an old message format (`Invalid`).
    #[error("{range}: cannot read a Kafka batch header")]
    Header {
        /// The range being read.
        range: OffsetRange,
        /// The fault and the offset of the batch.
        #[source]
        source: HeaderError,
    },
    /// The stored checksum does not match the bytes (`Corrupt`).
    #[error(
        "{range}: Kafka batch at offset {offset} fails its CRC-32C (stored {stored:08x}, computed {computed:08x}); fetch it again, then check the broker's disk"
    )]
    Checksum {
        /// The range being read.
        range: OffsetRange,
        /// Base offset of the batch.
        offset: Offset,
        /// The offset from which reading continues without losing or repeating a record, inclusive.
        resume_at: Offset,
        /// CRC-32C in the header.
        stored: u32,
        /// CRC-32C of the bytes.
        computed: u32,
    },
    /// The bytes end inside a batch (`Corrupt`).
    #[error(
        "{range}: response ends inside a Kafka batch, {rest_bytes} bytes after offset {offset}; fetch again"
    )]
    Truncated {
        /// The range being read.
        range: OffsetRange,
        /// The end of the last whole batch, exclusive.
        offset: Offset,
        /// How many bytes follow the last whole batch.
        rest_bytes: usize,
    },
    /// The compressed records cannot be decompressed (`Corrupt`).
    #[error("{range}: cannot decompress Kafka batch at offset {offset} as {codec}: {reason}")]
    Decompress {
        /// The range being read.
        range: OffsetRange,
        /// Base offset of the batch.
        offset: Offset,
        /// The codec's name.
        codec: &'static str,
        /// The fault in the compressed bytes.
        reason: &'static str,
    },
    /// A record contradicts its batch or itself (`Corrupt`).
    #[error("{range}: record {record} of the Kafka batch at offset {offset}: {reason}")]
    Record {
        /// The range being read.
        range: OffsetRange,
        /// Base offset of the batch.
        offset: Offset,
        /// The record's index in its batch, from 0.
        record: u64,
        /// The fault in the record.
        reason: &'static str,
    },
    /// A batch decompresses to more than `max_batch_bytes` (`Invalid`).
    #[error(
        "{range}: Kafka batch at offset {offset} decompresses to more than {limit} bytes; raise `max_batch_bytes` (at most 1 GiB) if its writer is trusted"
    )]
    BatchTooLarge {
        /// The range being read.
        range: OffsetRange,
        /// Base offset of the batch.
        offset: Offset,
        /// The value of `max_batch_bytes`.
        limit: usize,
    },
    /// A response has more bytes than a view can point into (`Invalid`).
    #[error(
        "{range}: response of {bytes} bytes from offset {offset} is too large; fetch less than 2 GiB at once"
    )]
    FetchTooLarge {
        /// The range being read.
        range: OffsetRange,
        /// The fetch offset of the response.
        offset: Offset,
        /// The size of the response.
        bytes: usize,
    },
    /// A response was pushed before the previous one was decoded (`Internal`).
    #[error(
        "{range}: response from offset {offset} was pushed before the previous one was decoded; call `next_batch` until it returns `None`"
    )]
    InputPending {
        /// The range being read.
        range: OffsetRange,
        /// The fetch offset of the response.
        offset: Offset,
    },
    /// Arrow rejected the columns that the decoder built (`Internal`).
    #[error("{topic_partition}: cannot build a record batch before offset {offset}")]
    Arrow {
        /// The partition.
        topic_partition: TopicPartition,
        /// The position of the decoder.
        offset: Offset,
        /// Arrow's error.
        #[source]
        source: ArrowError,
    },
    /// An unknown column name (`Invalid`).
    #[error(
        "unknown column `{name}`; use key, value, topic, partition, offset, timestamp, timestamp_type or headers"
    )]
    UnknownColumn {
        /// The unknown name.
        name: String,
    },
}

impl WorkerError {
    /// The kind of this error, which says what the caller should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Header { source: HeaderError::OldFormat { .. }, .. }
            | Self::BatchTooLarge { .. }
            | Self::FetchTooLarge { .. }
            | Self::UnknownColumn { .. } => ErrorKind::Invalid,
            Self::Header { .. }
            | Self::Checksum { .. }
            | Self::Truncated { .. }
            | Self::Decompress { .. }
            | Self::Record { .. } => ErrorKind::Corrupt,
            Self::InputPending { .. } | Self::Arrow { .. } => ErrorKind::Internal,
        }
    }

    /// The offset at which to fetch again, inclusive, if a checksum did not match; `None` for all
    /// other errors.
    ///
    /// Every visible record of the range below this offset is delivered or pending. No record at or
    /// above it is.
    #[must_use]
    pub const fn checksum_mismatch_at(&self) -> Option<Offset> {
        match self {
            Self::Checksum { resume_at, .. } => Some(*resume_at),
            _ => None,
        }
    }
}
