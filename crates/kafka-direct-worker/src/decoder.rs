//! The decoder of one planned range, which turns fetched bytes into Arrow batches.

use std::ops::Range;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_schema::SchemaRef;
use kafka_direct_core::{BATCH_HEADER_BYTES, BufferPool, Codec, Fetched, Offset, PlannedRange};

use crate::{
    Counts, DecodeOptions, WorkerError,
    arena::Arena,
    cursor::{Cursor, Facts},
    input::{Input, KafkaBatch, MAX_BUFFER_BYTES, Scope},
    options::Clock,
    record,
    rows::{MAX_INLINE_BYTES, Origin, Rows, Source},
};

/// Decodes the responses of one range into Arrow batches.
///
/// Push a response, take batches until there is none, then push the next response. After the last
/// response, call [`RangeDecoder::flush`].
///
/// Keeps INV-3: a record outside the range is never delivered. A record inside it that exists and
/// is visible is delivered exactly once per read.
///
/// - Batches are in offset order and hold [`DecodeOptions::max_rows`] rows, or fewer if
///   [`DecodeOptions::max_bytes`] is reached first. One batch combines many small Kafka batches and
///   responses.
/// - The decoder drops records outside the range, records below the response's fetch offset, and
///   records that it decoded already.
/// - Keys, values and headers are views: a batch keeps the bytes of its responses alive.
/// - On an error, the decoder drops the response. Rows decoded before the error stay pending. The
///   decoder then accepts the next response, from an offset that the caller chooses.
#[derive(Debug)]
pub struct RangeDecoder {
    scope: Scope,
    rows: Rows,
    max_bytes: usize,
    needs_bytes: bool,
    needs_records: bool,
    input: Option<Input>,
    open: Option<Open>,
    arena: Arena,
    arena_history: ArenaHistory,
    /// Every visible record of the range below this offset was delivered or is pending.
    position: Offset,
    counts: Counts,
    clock: Option<Clock>,
}

/// The bound of a decoder's own pool, lent buffers included: enough for the arenas of a few Arrow
/// batches.
const OWN_POOL_BYTES: usize = 24 << 20;
/// The largest estimate of an arena's size; an arena that needs more grows.
const MAX_ESTIMATE_BYTES: usize = 64 << 20;

/// How much more space than it fills a codec may request: one block of zstd, or of LZ4 with the
/// usual block size.
const MAX_OVERSHOOT_BYTES: usize = 128 << 10;

/// A Kafka batch whose records are being turned into rows.
#[derive(Debug)]
struct Open {
    base: Offset,
    /// The fetch position after the batch.
    next: Offset,
    body: Body,
    size: Size,
    facts: Facts,
    cursor: Cursor,
    /// Whether views point into the batch.
    is_referenced: bool,
}

/// The record count of a Kafka batch, and its size in the response, header included.
#[derive(Debug, Clone, Copy)]
struct Size {
    records: usize,
    bytes: usize,
}

/// Where the records of the open batch are.
#[derive(Debug)]
enum Body {
    /// The records are not read: the options need only their number.
    Counted { left: usize },
    /// A part of the response's bytes.
    Fetched(Range<usize>),
    /// A part of the arena.
    Arena(Range<usize>),
    /// A part of the former arena, which became a buffer when an Arrow batch was returned.
    Frozen(Buffer),
}

/// The sizes of the last decompressed Kafka batch, which estimate the arena that the next need.
#[derive(Debug, Default)]
struct ArenaHistory {
    compressed_bytes: usize,
    plain_bytes: usize,
    records: usize,
}

impl RangeDecoder {
    /// A decoder for this range with a buffer pool of its own.
    ///
    /// Options outside their bounds count as the nearest value inside.
    #[must_use]
    pub fn new(planned: &PlannedRange, options: DecodeOptions) -> Self {
        Self::with_pool(planned, options, BufferPool::new(OWN_POOL_BYTES))
    }

    /// A decoder that takes memory for decompressed batches from `pool`, which decoders may share.
    #[must_use]
    pub fn with_pool(planned: &PlannedRange, options: DecodeOptions, pool: BufferPool) -> Self {
        let options = options.clamped();
        Self {
            scope: Scope::new(planned, options.max_batch_bytes),
            rows: Rows::new(planned.topic_partition(), &options),
            max_bytes: options.max_bytes,
            needs_bytes: options.columns.need_bytes(),
            needs_records: options.columns.need_records(),
            input: None,
            open: None,
            arena: Arena::new(pool),
            arena_history: ArenaHistory::default(),
            position: planned.range().from(),
            counts: Counts::default(),
            clock: options.clock,
        }
    }

    /// The schema of every batch, as [`schema`](crate::schema()) returns it for the requested
    /// columns.
    #[must_use]
    pub const fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    /// Whether all pushed bytes are decoded, so that [`RangeDecoder::push`] may be called.
    #[must_use]
    pub const fn needs_input(&self) -> bool {
        self.input.is_none()
    }

    /// How many decoded rows are not in a returned batch yet.
    #[must_use]
    pub const fn pending_rows(&self) -> usize {
        self.rows.len()
    }

    /// The totals of this decoder so far.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes the next response of the range, which [`RangeDecoder::next_batch`] then decodes.
    ///
    /// # Errors
    /// `Internal` if [`RangeDecoder::needs_input`] is false; `Invalid` if the response has 2 GiB or
    /// more.
    pub fn push(&mut self, fetched: Fetched) -> Result<(), WorkerError> {
        if self.input.is_some() {
            return Err(WorkerError::InputPending {
                range: self.scope.range.clone(),
                offset: fetched.fetch_offset,
            });
        }
        self.input = Some(Input::new(&self.scope, fetched, self.position)?);
        Ok(())
    }

    /// Decodes the next full batch and no further; `None` if all pushed bytes are decoded.
    ///
    /// Rows that do not fill a batch stay pending.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are corrupt; `Invalid` for message formats before v2 and for a Kafka
    /// batch that decompresses to more than [`DecodeOptions::max_batch_bytes`].
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, WorkerError> {
        let next = self.advance();
        if next.is_err() {
            self.abandon_input();
        }
        next
    }

    /// Returns the pending rows as a batch, even if they do not fill it; `None` if there are none.
    ///
    /// If all pushed bytes are decoded, the decoder afterwards holds no memory except what its pool
    /// keeps. Flush when there is nothing to push for some time.
    ///
    /// # Errors
    /// `Internal` only.
    pub fn flush(&mut self) -> Result<Option<RecordBatch>, WorkerError> {
        let flushed = if self.rows.len() == 0 { None } else { Some(self.finish_rows()?) };
        if self.needs_input() {
            self.arena.release();
        }
        Ok(flushed)
    }

    fn advance(&mut self) -> Result<Option<RecordBatch>, WorkerError> {
        loop {
            if self.rows.is_full() || (self.open.is_none() && self.holds_enough()) {
                return self.finish_rows().map(Some);
            }
            // A local variable until the rows are full: most batches of few records end before
            // that.
            let open = if let Some(open) = self.open.take() {
                open
            } else {
                let Some(input) = &mut self.input else { return Ok(None) };
                let Some(batch) = input.next_visible(&self.scope, &mut self.counts)? else {
                    self.drop_input();
                    continue;
                };
                self.open(&batch)?
            };
            self.fill(open)?;
        }
    }

    /// Whether the rows must be returned because the responses and decompressed bytes that they
    /// keep alive reach the bound. The size of the rows themselves does not count.
    fn holds_enough(&self) -> bool {
        let most = self.max_bytes.min(MAX_BUFFER_BYTES - DecodeOptions::MAX_BATCH_BYTES);
        let kept = self.arena.len().saturating_add(self.rows.sources.kept_bytes());
        self.rows.len() > 0 && kept >= most
    }

    /// Prepares a Kafka batch for parsing, and decompresses it if its records are read.
    #[inline]
    fn open(&mut self, batch: &KafkaBatch) -> Result<Open, WorkerError> {
        let body = if !self.needs_records && batch.inside {
            Body::Counted { left: batch.count as usize }
        } else if batch.codec == Codec::None {
            self.counts.decompressed_bytes += batch.body.len() as u64;
            Body::Fetched(batch.body.clone())
        } else {
            Body::Arena(self.decompress(batch)?)
        };
        let KafkaBatch { base, next, count, facts, .. } = *batch;
        let size = Size { records: count as usize, bytes: BATCH_HEADER_BYTES + batch.body.len() };
        let cursor = Cursor::new(count);
        Ok(Open { base, next, body, size, facts, cursor, is_referenced: false })
    }

    fn decompress(&mut self, batch: &KafkaBatch) -> Result<Range<usize>, WorkerError> {
        let (source, unread) = match &self.input {
            Some(input) => (input.bytes(batch.body.clone()), input.rest_bytes()),
            None => Default::default(),
        };
        let is_first = self.arena_history.records == 0;
        if self.arena.is_unallocated() && !is_first {
            let rest = source.len().saturating_add(unread);
            self.arena_history.prepare(&mut self.arena, rest, self.rows.room(), self.max_bytes);
        }
        let KafkaBatch { base, codec, count, .. } = *batch;
        let began = self.clock.map(Clock::now);
        let plain = self.scope.decompress(base, codec, source, &mut self.arena)?;
        if let (Some(clock), Some(began)) = (self.clock, began) {
            self.counts.decompress_time += clock.now().saturating_sub(began);
        }
        self.arena_history.record(source.len(), plain.len(), count as usize);
        if is_first {
            // Moves the output of one batch here, instead of all output several times later.
            let all = source.len().saturating_add(unread);
            self.arena_history.prepare(&mut self.arena, all, self.rows.room(), self.max_bytes);
        }
        self.counts.decompressed_bytes += plain.len() as u64;
        Ok(plain)
    }

    /// Turns records of the batch into rows until the batch ends or the rows are full. If the rows
    /// are full first, the batch stays open.
    #[inline]
    fn fill(&mut self, mut open: Open) -> Result<(), WorkerError> {
        let parsed = match &mut open.body {
            Body::Counted { left } => {
                let rows = self.rows.room().min(*left);
                *left -= rows;
                self.rows.end_rows(rows);
                Ok(*left == 0)
            }
            body => {
                let (input, arena) = (self.input.as_mut(), &self.arena);
                let stored =
                    Stored { body, size: open.size, input, arena, needs_bytes: self.needs_bytes };
                let (parsed, longest) =
                    parse(&mut self.rows, stored, &open.facts, &mut open.cursor);
                open.is_referenced |= longest > MAX_INLINE_BYTES;
                parsed
            }
        };
        self.rows.end_kafka_batch(open.facts.is_log_append_time());
        match parsed {
            Ok(true) => self.close_batch(&open),
            Ok(false) => self.open = Some(open),
            Err(reason) => {
                let error = self.scope.record_error(open.base, open.cursor.done(), reason);
                self.open = Some(open);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Closes a batch after its last record of the range, and advances the position.
    #[inline]
    fn close_batch(&mut self, open: &Open) {
        self.position = self.position.max(open.next);
        self.release_body(open);
    }

    /// Releases the bytes of a batch, unless views point into them.
    #[inline]
    fn release_body(&mut self, open: &Open) {
        match &open.body {
            // No view points into the decompressed bytes, so they are not needed any more.
            Body::Arena(range) if !open.is_referenced => self.arena.truncate(range.start),
            Body::Frozen(_) => self.rows.sources.close(Origin::Frozen),
            _ => {}
        }
    }

    /// Drops the response.
    fn drop_input(&mut self) {
        self.input = None;
        self.rows.sources.close(Origin::Fetched);
    }

    /// Drops the response after an error. The position is then after the last record that became a
    /// row.
    ///
    /// All memory that no row needs is released, so pushing the same corrupt bytes repeatedly keeps
    /// none of them alive.
    fn abandon_input(&mut self) {
        if let Some(open) = self.open.take() {
            let parsed = open.base.saturating_add(open.cursor.next_delta());
            self.position = self.position.max(parsed);
            self.release_body(&open);
        }
        self.drop_input();
        if self.rows.len() == 0 {
            self.rows.clear_sources();
            self.arena.release();
        }
    }

    fn finish_rows(&mut self) -> Result<RecordBatch, WorkerError> {
        let referenced = self.rows.sources.is_referenced(Origin::Arena);
        let frozen = referenced.then(|| self.arena.freeze());
        if !matches!(&self.open, Some(Open { body: Body::Arena(_), .. })) {
            // Values that fit into their views need no arena, and the caller may pause after this
            // batch.
            self.arena.release();
        }
        if let Some(buffer) = &frozen
            && let Some(Open { body, .. }) = &mut self.open
            && let Body::Arena(range) = body
        {
            *body = Body::Frozen(buffer.slice_with_length(range.start, range.len()));
        }
        let (batch, held) = self.rows.finish(frozen).map_err(|source| WorkerError::Arrow {
            topic_partition: self.scope.range.topic_partition().clone(),
            offset: self.position,
            source,
        })?;
        self.counts.records += held.records as u64;
        self.counts.key_bytes += held.key_bytes;
        self.counts.value_bytes += held.value_bytes;
        Ok(batch)
    }
}

/// The records of the open batch, and the memory that holds them.
struct Stored<'a> {
    body: &'a Body,
    size: Size,
    input: Option<&'a mut Input>,
    arena: &'a Arena,
    needs_bytes: bool,
}

/// Parses records into `rows`. Returns `true` if no record of the range is left in the batch, and
/// the length of the longest view that was made, in bytes.
#[inline]
fn parse(
    rows: &mut Rows,
    stored: Stored<'_>,
    facts: &Facts,
    cursor: &mut Cursor,
) -> (Result<bool, &'static str>, usize) {
    let Stored { body, size, input, arena, needs_bytes } = stored;
    let unread = input.as_ref().map_or(0, |input| input.rest_bytes());
    let sources = &mut rows.sources;
    let (origin, index, start, bytes) = match body {
        Body::Fetched(range) => {
            let Some(input) = input else { return (Ok(true), 0) };
            let index = if needs_bytes {
                sources.index(Origin::Fetched, || Some(input.buffer()))
            } else {
                0
            };
            (Origin::Fetched, index, range.start, input.bytes(range.clone()))
        }
        Body::Arena(range) => {
            let index = sources.index(Origin::Arena, || None);
            (Origin::Arena, index, range.start, arena.get(range.clone()))
        }
        Body::Frozen(buffer) => {
            let index = sources.index(Origin::Frozen, || Some(buffer.clone()));
            (Origin::Frozen, index, 0, buffer.as_slice())
        }
        Body::Counted { .. } => return (Ok(true), 0),
    };
    if rows.wants.headers {
        let replaced = sources.index(Origin::Replaced, || None);
        rows.headers.set_replaced_index(replaced);
    }
    let most = bytes.len() / record::MIN_RECORD_BYTES;
    let at_most = (cursor.left() as usize).min(most);
    let room = usize::try_from(rows.bytes_room()).unwrap_or(usize::MAX);
    // The rest of the response is likely to be similar to this batch. The estimate uses lengths
    // that may be wrong, so it is bounded: beyond the usual sizes, columns grow as they are filled.
    let likely = || {
        let scaled = |by: usize, of: usize| {
            by.saturating_mul(size.records.min(most)).checked_div(of).unwrap_or(0)
        };
        let unread = scaled(unread, size.bytes).min(DecodeOptions::DEFAULT_MAX_ROWS);
        let likely = at_most.saturating_add(unread).min(scaled(room, bytes.len()));
        likely.saturating_add(likely / 16)
    };
    rows.reserve(at_most, likely);
    let source = Source::new(bytes, index, start);
    let parsed = record::parse(rows, &source, facts, cursor);
    let longest = rows.take_longest();
    rows.sources.note(origin, longest);
    if rows.wants.headers {
        rows.sources.note(Origin::Replaced, longest);
    }
    (parsed, longest)
}

impl ArenaHistory {
    /// Records the sizes of a Kafka batch before and after decompression.
    const fn record(&mut self, compressed: usize, plain: usize, records: usize) {
        self.compressed_bytes = compressed;
        self.plain_bytes = plain;
        self.records = records;
    }

    /// Reserves as much arena memory as the next Arrow batch is likely to need.
    ///
    /// This is the least of three estimates: what `rest_bytes` decompress to, what `rows` need, and
    /// `max_bytes`. One Kafka batch is added to the last two.
    fn prepare(&self, arena: &mut Arena, rest_bytes: usize, rows: usize, max_bytes: usize) {
        let scaled = |by: usize, of: usize| {
            by.saturating_mul(self.plain_bytes).checked_div(of).unwrap_or_default()
        };
        let with_reserve = |bytes: usize| {
            let overshoot = (bytes / 4).min(MAX_OVERSHOOT_BYTES);
            bytes.saturating_add(bytes / 16).saturating_add(overshoot).min(MAX_ESTIMATE_BYTES)
        };
        let by_rows = scaled(rows, self.records).min(max_bytes).saturating_add(self.plain_bytes);
        let rest = scaled(rest_bytes, self.compressed_bytes);
        arena.expect(with_reserve(rest.min(by_rows)), with_reserve(by_rows));
    }
}
