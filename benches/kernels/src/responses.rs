//! Fetch responses, and the kernels that read one.

use kafka_direct_core::{
    Fetched, IsolationLevel, Offset, OffsetRange, PlannedRange, TopicPartition, walk,
};
use kafka_direct_worker::{DecodeOptions, RangeDecoder, WorkerError, scan};

use crate::batches::{Batches, CHECKED_FROM};

/// One partition's part of a Fetch response, and the range that it covers.
#[derive(Debug, Clone)]
pub struct Response {
    pub planned: PlannedRange,
    pub fetched: Fetched,
    pub records: usize,
    pub plain_bytes: usize,
}

impl Response {
    /// Builds the response to a Fetch of all `batches` of partition `partition`.
    #[must_use]
    pub fn new(batches: Batches, partition: i32) -> Self {
        let Batches { bytes, records, plain_bytes } = batches;
        let (from, until) = (Offset::ZERO, Offset::new(records as i64));
        let topic_partition = TopicPartition::new("orders", partition);
        let range =
            OffsetRange::new(topic_partition, from, until).expect("the start is not after the end");
        let fetched = Fetched {
            fetch_offset: from,
            next: until,
            records: bytes,
            aborted: Vec::new(),
            high_watermark: until,
            last_stable: until,
            log_start: from,
            leader_epoch: None,
        };
        let planned = PlannedRange::new(range, IsolationLevel::ReadCommitted);
        Self { planned, fetched, records, plain_bytes }
    }

    /// Decodes the response with a new decoder, drops each Arrow batch, and returns the row count.
    ///
    /// # Errors
    /// Those of the decoder.
    pub fn decode(&self, options: &DecodeOptions) -> Result<usize, WorkerError> {
        let mut decoder = RangeDecoder::new(&self.planned, options.clone());
        decoder.push(self.fetched.clone())?;
        let mut rows = 0;
        while let Some(batch) = decoder.next_batch()? {
            rows += batch.num_rows();
        }
        Ok(rows + decoder.flush()?.map_or(0, |batch| batch.num_rows()))
    }

    /// Counts the records of the response.
    ///
    /// # Errors
    /// Those of `scan`.
    pub fn scan(&self, options: &DecodeOptions) -> Result<usize, WorkerError> {
        Ok(scan(&self.planned, &self.fetched, options)? as usize)
    }

    /// Computes the checksums of all batches, as every kernel that reads batches does.
    #[must_use]
    pub fn checksums(&self) -> u32 {
        walk(&self.fetched.records)
            .map_while(Result::ok)
            .map(|(_, batch)| crc_fast::crc32_iscsi(&batch[CHECKED_FROM..]))
            .fold(0, |all, one| all ^ one)
    }
}
