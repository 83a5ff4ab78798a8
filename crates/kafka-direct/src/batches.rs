//! One planned range as a stream of Arrow batches.

use std::time::Duration;

use arrow_array::RecordBatch;
use futures::{Stream, stream};
use kafka_direct_core::{DataLossPolicy, Offset, OffsetRange, PlannedRange, Reset};
use kafka_direct_wire::{CarryOver, Cluster, FetchOptions, RangeFetch};
use kafka_direct_worker::{Columns, Counts, DecodeOptions, RangeDecoder, WorkerError};
use tokio::time::Instant;

use crate::{Error, RangeSummary, Records, RunEvent, decode::Decoder, event::Observer};

/// How ranges are read: the data-loss policy, a deadline, columns and batch sizes.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ReadOptions {
    /// What to do about offsets that no longer exist. Default: fail.
    pub on_data_loss: DataLossPolicy,
    /// When reading fails as `Unavailable`. Default: never.
    pub deadline: Option<Instant>,
    /// Columns and sizes of the Arrow batches.
    pub decode: DecodeOptions,
}

impl ReadOptions {
    /// The defaults: fail on data loss, no deadline, all columns but headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what to do about lost offsets.
    #[must_use]
    pub const fn on_data_loss(mut self, policy: DataLossPolicy) -> Self {
        self.on_data_loss = policy;
        self
    }

    /// Sets the total deadline.
    #[must_use]
    pub const fn deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets columns and sizes of the Arrow batches.
    #[must_use]
    pub fn decode(mut self, decode: DecodeOptions) -> Self {
        self.decode = decode;
        self
    }

    pub(crate) fn fetch(&self) -> FetchOptions {
        let Self { on_data_loss, deadline, .. } = self;
        FetchOptions::new().on_data_loss(*on_data_loss).deadline(*deadline)
    }
}

/// Reads one planned range, in any process that has a cluster connection. No request is sent before
/// the first batch is requested.
#[must_use]
pub fn read_range(cluster: &Cluster, planned: PlannedRange, options: &ReadOptions) -> Batches {
    Batches {
        fetch: cluster.fetch(planned.clone(), options.fetch()),
        decoder: RangeDecoder::with_pool(
            &planned,
            options.decode.clone(),
            cluster.buffer_pool().clone(),
        ),
        decode: options.decode.clone(),
        pushed_from: planned.range().from(),
        planned,
        attempt: 1,
        asked_again_at: None,
        finished: Counts::default(),
        times: ReadTimes::default(),
        failed: None,
        observer: Observer::default(),
        ended: false,
    }
}

/// Where the time of reading one range went, without what its reader does between calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReadTimes {
    /// Waiting for bytes in [`Batches::ready`] or [`Batches::try_next`], including the wait for a
    /// thread to continue. Calls that were dropped before they were done are not counted.
    pub waiting: Duration,
    /// Decoding bytes into batches, including decompression; see [`Counts::decompress_time`].
    pub decoding: Duration,
}

/// The Arrow batches of one range, in order, each record once. Dropping it cancels the read.
#[derive(Debug)]
pub struct Batches {
    fetch: RangeFetch,
    decoder: RangeDecoder,
    decode: DecodeOptions,
    planned: PlannedRange,
    attempt: u32,
    /// The offset of a corrupt batch that was fetched a second time.
    asked_again_at: Option<Offset>,
    /// Fetch offset of the response that is being decoded.
    pushed_from: Offset,
    /// Counts of decoders that were replaced.
    finished: Counts,
    times: ReadTimes,
    /// Set when the engine failed, so that the runner does not repeat the closure.
    failed: Option<std::sync::Arc<std::sync::atomic::AtomicBool>>,
    observer: Observer,
    /// Whether the end of the range was reported.
    ended: bool,
}

impl Batches {
    pub(crate) fn observed_by(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// Continues with what the batch before in a stream has fetched, and keeps the rest for the next
    /// one. A further attempt fetches all bytes anew.
    pub(crate) fn carry_over(mut self, store: Option<&CarryOver>, attempt: u32) -> Self {
        if let Some(store) = store {
            self.fetch = match attempt {
                1 => self.fetch.continue_from(store),
                _ => self.fetch.start_anew(store),
            };
        }
        self
    }

    pub(crate) fn with_attempt(
        mut self,
        attempt: u32,
        failed: std::sync::Arc<std::sync::atomic::AtomicBool>,
    ) -> Self {
        self.attempt = attempt;
        self.failed = Some(failed);
        self
    }

    /// The range these batches are from.
    #[must_use]
    pub const fn range(&self) -> &OffsetRange {
        self.planned.range()
    }

    /// The number of this attempt at the range, from 1. Above 1, the closure failed before, and what
    /// it did with the same records may have to be undone.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Counts of what was decoded so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.finished.plus(self.decoder.counts())
    }

    /// Where the time went so far.
    #[must_use]
    pub const fn times(&self) -> ReadTimes {
        self.times
    }

    /// The fetch position: every record below this offset was fetched, and most were delivered. At
    /// the end of the range it is the achieved end.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.fetch.position()
    }

    /// Skips over lost offsets under the policy `resume`.
    #[must_use]
    pub fn resets(&self) -> &[Reset] {
        self.fetch.resets()
    }

    /// A summary of what was read so far. At the end of the range, keep it with the results.
    #[must_use]
    pub fn summary(&self) -> RangeSummary {
        let mut summary = RangeSummary::new(&self.planned);
        let (counts, resets) = (self.counts(), self.resets());
        summary.reached = self.position();
        summary.records = counts.records;
        summary.value_bytes = counts.value_bytes;
        summary.skipped_offsets = resets.iter().map(Reset::skipped).fold(0, i64::saturating_add);
        summary.resets = resets.to_vec();
        summary
    }

    /// The next batch; `None` at the end of the range.
    ///
    /// # Errors
    /// Those of [`RangeFetch::ready`] and [`WorkerError`], by kind. Batches that were returned before
    /// stay valid.
    ///
    /// # Cancel safety
    /// Safe: no record is lost when the future is dropped.
    pub async fn try_next(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            self.fetch.let_fetch().await;
            if let Some(batch) = self.next_buffered()? {
                return Ok(Some(batch));
            }
            if !self.ready().await? {
                return Ok(None);
            }
        }
    }

    /// Waits until [`Batches::next_buffered`] has something to decode (`true`) or the range has
    /// ended (`false`). It holds nothing decoded while it waits.
    ///
    /// A reader of many partitions can wait for all of them and decode a few at a time.
    ///
    /// # Errors
    /// As [`Batches::try_next`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ready(&mut self) -> Result<bool, Error> {
        self.fetch.let_fetch().await;
        if !self.decoder.needs_input() || self.decoder.pending_rows() > 0 {
            return Ok(true);
        }
        let began = Instant::now();
        let ready = self.fetch.ready().await;
        self.times.waiting = self.times.waiting.saturating_add(began.elapsed());
        let ready = ready.map_err(|error| self.fail(error))?;
        if !ready {
            self.report_end();
        }
        Ok(ready)
    }

    fn report_end(&mut self) {
        if !self.observer.is_set() || std::mem::replace(&mut self.ended, true) {
            return;
        }
        let (range, summary) = (&self.planned, &self.summary());
        self.report_advance();
        self.observer.report(&RunEvent::Read { range, summary });
    }

    fn report_advance(&self) {
        let (range, position, counts) = (&self.planned, self.position(), self.counts());
        self.observer.report(&RunEvent::Advanced { range, position, counts });
    }

    /// The next batch of the bytes that have arrived; `None` when no more bytes are here or the range
    /// has ended. Rows that do not fill a batch are returned and not kept.
    ///
    /// # Errors
    /// As [`Batches::try_next`].
    pub fn next_buffered(&mut self) -> Result<Option<RecordBatch>, Error> {
        let began = Instant::now();
        let next = self.decode_buffered();
        self.times.decoding = self.times.decoding.saturating_add(began.elapsed());
        if self.observer.is_set() && matches!(next, Ok(Some(_))) {
            self.report_advance();
        }
        next
    }

    fn decode_buffered(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            match self.decoder.next_batch() {
                Ok(Some(batch)) => return Ok(Some(batch)),
                Ok(None) => {}
                Err(error) => {
                    if let Some(batch) = self.ask_again(error)? {
                        return Ok(Some(batch));
                    }
                    continue;
                }
            }
            if let Some(fetched) = self.fetch.try_next() {
                self.pushed_from = fetched.fetch_offset;
                let pushed = self.decoder.push(fetched);
                pushed.map_err(|error| self.fail_decoding(error))?;
                continue;
            }
            let flushed = self.decoder.flush();
            return flushed.map_err(|error| self.fail_decoding(error));
        }
    }

    /// Fetches a batch whose checksum does not match once more: the network may have changed it.
    /// Returns the rows that were decoded before it.
    fn ask_again(&mut self, error: WorkerError) -> Result<Option<RecordBatch>, Error> {
        let Some(offset) = error.checksum_mismatch_at() else {
            return Err(self.fail_decoding(error));
        };
        if self.asked_again_at.replace(offset) == Some(offset) {
            return Err(self.fail_decoding(error));
        }
        tracing::warn!(range = %self.range(), %error, "fetching a corrupt batch again");
        let flushed = self.decoder.flush();
        let rest = flushed.map_err(|error| self.fail(error))?;
        self.finished = self.counts();
        let pool = self.fetch.buffer_pool().clone();
        self.decoder = RangeDecoder::with_pool(&self.planned, self.decode.clone(), pool);
        self.fetch.seek(offset);
        Ok(rest)
    }

    /// Seeks back to the start of the broken response, so that the next call finds the fault again and
    /// no record after it is delivered. The decoder drops the records it has delivered already.
    fn fail_decoding(&mut self, error: WorkerError) -> Error {
        self.fetch.seek(self.pushed_from);
        self.fail(error)
    }

    fn fail(&self, error: impl Into<Error>) -> Error {
        if let Some(failed) = &self.failed {
            failed.store(true, std::sync::atomic::Ordering::Release);
        }
        error.into()
    }

    /// The same batches as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Result<RecordBatch, Error>> + Send {
        stream::try_unfold(self, |mut batches| async move {
            Ok(batches.try_next().await?.map(|batch| (batch, batches)))
        })
    }

    /// The same records, typed: keys decoded by `K`, values by `V`. Read
    /// [`decode::columns`](crate::decode::columns).
    #[must_use]
    pub fn into_records<K, V>(self) -> Records<K, V>
    where
        K: Decoder + Default,
        V: Decoder + Default,
    {
        Records::of_range(self)
    }

    /// The schema of the batches.
    #[must_use]
    pub fn schema(&self) -> arrow_schema::SchemaRef {
        kafka_direct_worker::schema(self.columns())
    }

    const fn columns(&self) -> Columns {
        self.decode.columns
    }
}
