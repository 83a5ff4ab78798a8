//! Why bytes of a partition could not be decoded.

use arrow_schema::ArrowError;
use kafka_direct_core::{ErrorKind, HeaderError, Offset, OffsetRange, TopicPartition};

/// An error of the worker; each names the partition and the base offset of the Kafka batch.
///
/// The decoder that returned one has dropped the bytes it was given. Rows decoded before stay
/// right: [`flush`](crate::RangeDecoder::flush) hands them out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A batch header that cannot be true (`Corrupt`), or an old message format (`Invalid`).
    #[error("{range}: unreadable Kafka batch")]
    Header {
        /// The range being read.
        range: OffsetRange,
        /// What is wrong, at which offset.
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
        /// Where reading goes on without losing or doubling a record.
        resume_at: Offset,
        /// CRC-32C in the header.
        stored: u32,
        /// CRC-32C of the bytes.
        computed: u32,
    },
    /// The bytes end inside a batch (`Corrupt`).
    #[error(
        "{range}: the bytes end inside a Kafka batch, {rest_bytes} bytes behind offset {offset}"
    )]
    Truncated {
        /// The range being read.
        range: OffsetRange,
        /// Where the last whole batch ended, exclusive.
        offset: Offset,
        /// How many bytes are left over.
        rest_bytes: usize,
    },
    /// The compressed records cannot be decompressed (`Corrupt`).
    #[error("{range}: Kafka batch at offset {offset} is not sound {codec}: {reason}")]
    Decompress {
        /// The range being read.
        range: OffsetRange,
        /// Base offset of the batch.
        offset: Offset,
        /// The codec's name.
        codec: &'static str,
        /// What is wrong.
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
        /// What is wrong.
        reason: &'static str,
    },
    /// A batch decompresses to more than is allowed (`Invalid`).
    #[error(
        "{range}: Kafka batch at offset {offset} decompresses to more than {limit} bytes; raise `max_batch_bytes` (at most 1 GiB) if its writer is trusted"
    )]
    BatchTooLarge {
        /// The range being read.
        range: OffsetRange,
        /// Base offset of the batch.
        offset: Offset,
        /// The bound, in bytes.
        limit: usize,
    },
    /// More bytes in one piece than a view can point into (`Invalid`).
    #[error(
        "{range}: {bytes} bytes from offset {offset} in one response are too many; fetch less than 2 GiB at once"
    )]
    FetchTooLarge {
        /// The range being read.
        range: OffsetRange,
        /// The offset asked for.
        offset: Offset,
        /// Size of the response.
        bytes: usize,
    },
    /// Bytes were pushed before those pushed earlier were decoded (`Internal`).
    #[error("{range}: bytes from offset {offset} were pushed while others are being decoded")]
    InputPending {
        /// The range being read.
        range: OffsetRange,
        /// The offset asked for.
        offset: Offset,
    },
    /// Arrow refused columns that were built here (`Internal`).
    #[error("{topic_partition}: could not build a record batch before offset {offset}")]
    Arrow {
        /// The partition.
        topic_partition: TopicPartition,
        /// The position of the decoder.
        offset: Offset,
        /// Arrow's reason.
        #[source]
        source: ArrowError,
    },
    /// A name that is no column (`Invalid`).
    #[error(
        "`{name}` is no column; use key, value, topic, partition, offset, timestamp, timestamp_type or headers"
    )]
    UnknownColumn {
        /// The name that was given.
        name: String,
    },
}

impl WorkerError {
    /// What the caller should do.
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

    /// If a checksum did not match: the offset at which to fetch again. Every visible record of the
    /// range below it is handed out or pending, none at or above it is.
    #[must_use]
    pub const fn checksum_mismatch_at(&self) -> Option<Offset> {
        match self {
            Self::Checksum { resume_at, .. } => Some(*resume_at),
            _ => None,
        }
    }
}
