//! Parses a Fetch response while it arrives.
//!
//! # References
//! - Kafka protocol, `FetchResponse` versions 4 to 17: topics by name up to 12, by id from 13
//!   (KIP-516); flexible from 12 (KIP-482).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_direct_core::{AbortedTransaction, BufferPool, Offset};

use super::frame::{FrameError, FrameReader};
use crate::transport::TransportStream;

/// The first version that names topics by id.
pub(super) const BY_ID: i16 = 13;
/// The first flexible version.
const FLEXIBLE: i16 = 12;

/// The key by which a request or response names a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum TopicKey {
    Name(Arc<str>),
    Id([u8; 16]),
}

/// The part of a response for one partition.
#[derive(Debug)]
pub(super) struct PartitionResponse {
    pub(super) partition: i32,
    pub(super) code: i16,
    pub(super) high_watermark: Offset,
    pub(super) last_stable: Offset,
    pub(super) log_start: Offset,
    pub(super) aborted: Vec<AbortedTransaction>,
    pub(super) records: Bytes,
}

/// A response whose header was read. The partitions are read one by one.
#[derive(Debug)]
pub(super) struct FetchResponse<'a, S: ?Sized> {
    frame: FrameReader<'a, S>,
    version: i16,
    topics_left: usize,
    partitions_left: usize,
    topic: TopicKey,
    pool: BufferPool,
    pub(super) throttle: Duration,
    pub(super) code: i16,
}

/// The properties of a response that are known before it is parsed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) correlation: i32,
    pub(super) version: i16,
    pub(super) limit: usize,
    pub(super) idle: Duration,
}

impl<'a, S: TransportStream + ?Sized> FetchResponse<'a, S> {
    /// Waits for a response and reads up to its list of topics. Record sets are read into buffers
    /// of `pool`.
    pub(super) async fn open(
        stream: &'a mut S,
        buffer: &'a mut Vec<u8>,
        pool: BufferPool,
        expected: Expected,
    ) -> Result<Self, FrameError> {
        let Expected { correlation, version, limit, idle } = expected;
        let flexible = version >= FLEXIBLE;
        let mut frame = FrameReader::open(stream, buffer, limit, idle).await?;
        if frame.i32().await? != correlation {
            return Err(FrameError::Malformed("the response belongs to another request"));
        }
        frame.skip_tags(flexible).await?;
        let throttle = Duration::from_millis(u64::try_from(frame.i32().await?).unwrap_or(0));
        let code = if version >= 7 { frame.i16().await? } else { 0 };
        if version >= 7 {
            frame.i32().await?;
        }
        let topics_left = frame.length(flexible).await?.unwrap_or(0);
        let topic = TopicKey::Id([0; 16]);
        Ok(Self { frame, version, topics_left, partitions_left: 0, topic, pool, throttle, code })
    }

    /// Bytes of the response that were not parsed yet.
    pub(super) fn left(&self) -> usize {
        self.frame.left()
    }

    const fn is_flexible(&self) -> bool {
        self.version >= FLEXIBLE
    }

    /// Reads the next partition and its topic; `None` after the last.
    pub(super) async fn partition(
        &mut self,
    ) -> Result<Option<(&TopicKey, PartitionResponse)>, FrameError> {
        while self.partitions_left == 0 {
            if self.topics_left == 0 {
                return Ok(None);
            }
            self.begin_topic().await?;
        }
        let response = self.read_partition().await?;
        self.partitions_left = self.partitions_left.saturating_sub(1);
        if self.partitions_left == 0 {
            self.frame.skip_tags(self.is_flexible()).await?;
        }
        Ok(Some((&self.topic, response)))
    }

    async fn begin_topic(&mut self) -> Result<(), FrameError> {
        let flexible = self.is_flexible();
        self.topic = if self.version >= BY_ID {
            TopicKey::Id(self.frame.uuid().await?)
        } else {
            let length = self.frame.string_length(flexible).await?;
            let name = String::from_utf8(self.frame.bytes(length).await?)
                .map_err(|_| FrameError::Malformed("a topic's name is not UTF-8"))?;
            TopicKey::Name(name.into())
        };
        self.topics_left = self.topics_left.saturating_sub(1);
        self.partitions_left = self.frame.length(flexible).await?.unwrap_or(0);
        if self.partitions_left == 0 {
            self.frame.skip_tags(flexible).await?;
        }
        Ok(())
    }

    async fn read_partition(&mut self) -> Result<PartitionResponse, FrameError> {
        let flexible = self.is_flexible();
        let frame = &mut self.frame;
        let partition = frame.i32().await?;
        let code = frame.i16().await?;
        let high_watermark = Offset::new(frame.i64().await?);
        let last_stable = Offset::new(frame.i64().await?);
        let log_start = Offset::new(if self.version >= 5 { frame.i64().await? } else { -1 });
        let count = frame.length(flexible).await?.unwrap_or(0);
        let mut aborted = Vec::new();
        for _ in 0..count {
            let producer_id = frame.i64().await?;
            let first_offset = Offset::new(frame.i64().await?);
            frame.skip_tags(flexible).await?;
            aborted.push(AbortedTransaction { producer_id, first_offset });
        }
        if self.version >= 11 {
            frame.i32().await?;
        }
        let records = match frame.length(flexible).await? {
            None | Some(0) => Bytes::new(),
            Some(length) => frame.record_set(length, &self.pool).await?,
        };
        frame.skip_tags(flexible).await?;
        Ok(PartitionResponse {
            partition,
            code,
            high_watermark,
            last_stable,
            log_start,
            aborted,
            records,
        })
    }

    /// Reads the end of the response. Fails if bytes are left.
    pub(super) async fn finish(mut self) -> Result<(), FrameError> {
        self.frame.skip_tags(self.is_flexible()).await?;
        self.frame.close()
    }
}
