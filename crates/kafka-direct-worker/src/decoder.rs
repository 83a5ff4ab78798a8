//! The decoder of one planned range: bytes in, Arrow batches out, no more work than was asked for.

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

/// Decodes one range. Push a response, take batches until there are none, push the next; at the end
/// [`RangeDecoder::flush`].
///
/// Keeps INV-3: a record outside the range is never delivered. A record inside it that exists and is
/// visible is delivered exactly once per read.
///
/// - BatchWalker come in offset order and hold [`DecodeOptions::max_rows`] rows, fewer if
///   [`DecodeOptions::max_bytes`] is reached first; many small Kafka batches and responses are put
///   together.
/// - Records below the range, below the response's fetch offset, or already decoded are dropped, as
///   are those at or behind the range's end.
/// - Keys, values and headers are views: a batch keeps the bytes of the responses it came from alive.
/// - An error drops the response it was found in and leaves the rows decoded before as pending; the
///   decoder then takes the next response, from where the caller decides to go on.
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
    /// Every visible record of the range below it was handed out or is pending.
    position: Offset,
    counts: Counts,
    clock: Option<Clock>,
}

/// What a decoder's own pool keeps, lent ones included: arenas of a few Arrow batches.
const OWN_POOL_BYTES: usize = 24 << 20;
/// What one batch tells of an arena's size is believed up to this; a larger one grows.
const MAX_GUESS_BYTES: usize = 64 << 20;

/// How much more room than it fills a decoder may ask for: one block of zstd, or of LZ4 as usual.
const MAX_OVERSHOOT_BYTES: usize = 128 << 10;

/// A Kafka batch whose records are being turned into rows.
#[derive(Debug)]
struct Open {
    base: Offset,
    /// The position behind it.
    next: Offset,
    body: Body,
    size: Size,
    facts: Facts,
    cursor: Cursor,
    /// Whether views point into it.
    is_referenced: bool,
}

/// What a Kafka batch brings, and what of the response it takes.
#[derive(Debug, Clone, Copy)]
struct Size {
    records: usize,
    bytes: usize,
}

/// Where the records of the open batch stand.
#[derive(Debug)]
enum Body {
    /// Nowhere: only their number is wanted.
    Counted { left: usize },
    /// In the response's bytes.
    Fetched(Range<usize>),
    /// In the arena.
    Arena(Range<usize>),
    /// In what was the arena before an Arrow batch was handed out: its part of that.
    Frozen(Buffer),
}

/// What earlier decompression tells about the arena the next will need.
#[derive(Debug, Default)]
struct ArenaHistory {
    compressed_bytes: usize,
    plain_bytes: usize,
    records: usize,
}

impl RangeDecoder {
    /// A decoder for this range with a pool of its own. Options outside their bounds count as the
    /// nearest inside.
    #[must_use]
    pub fn new(planned: &PlannedRange, options: DecodeOptions) -> Self {
        Self::with_pool(planned, options, BufferPool::new(OWN_POOL_BYTES))
    }

    /// A decoder that takes memory for decompressed batches from `pool`, which many may share.
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

    /// The schema of every batch: that of [`schema`](crate::schema()) for the columns asked for.
    #[must_use]
    pub const fn schema(&self) -> &SchemaRef {
        self.rows.schema()
    }

    /// Whether everything pushed was decoded, so that [`RangeDecoder::push`] may be called.
    #[must_use]
    pub const fn needs_input(&self) -> bool {
        self.input.is_none()
    }

    /// How many rows wait for a full batch.
    #[must_use]
    pub const fn pending_rows(&self) -> usize {
        self.rows.len()
    }

    /// What was done so far.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes the next response of the range; its bytes are looked at by
    /// [`RangeDecoder::next_batch`].
    ///
    /// # Errors
    /// `Internal` if [`RangeDecoder::needs_input`] is false; `Invalid` if the response exceeds 2 GiB.
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

    /// The next full batch; `None` when everything pushed is decoded, where rows that do not fill a
    /// batch stay pending. Decodes no further than the batch it returns.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are broken; `Invalid` for message formats before v2 and for a Kafka
    /// batch that decompresses to more than [`DecodeOptions::max_batch_bytes`].
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, WorkerError> {
        let next = self.advance();
        if next.is_err() {
            self.abandon();
        }
        next
    }

    /// The pending rows as a batch, however few; `None` if there are none.
    ///
    /// If everything pushed is decoded, the decoder then holds no memory but what its pool keeps:
    /// flush where there is nothing to push for a while.
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
            // Kept here while it is worked on: most batches of few records are left at once.
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

    /// Whether one more Kafka batch or response would keep too much alive, whatever the rows' bytes.
    fn holds_enough(&self) -> bool {
        let most = self.max_bytes.min(MAX_BUFFER_BYTES - DecodeOptions::MAX_BATCH_BYTES);
        let kept = self.arena.len().saturating_add(self.rows.sources.kept_bytes());
        self.rows.len() > 0 && kept >= most
    }

    /// Prepares a Kafka batch for parsing: decompresses it if need be.
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
        let (source, behind) = match &self.input {
            Some(input) => (input.bytes(batch.body.clone()), input.rest_bytes()),
            None => Default::default(),
        };
        let is_first = self.arena_history.records == 0;
        if self.arena.is_unallocated() && !is_first {
            let rest = source.len().saturating_add(behind);
            self.arena_history.prepare(&mut self.arena, rest, self.rows.room(), self.max_bytes);
        }
        let KafkaBatch { base, codec, count, .. } = *batch;
        let began = self.clock.map(Clock::now);
        let plain = self.scope.decompress(base, codec, source, &mut self.arena)?;
        if let (Some(clock), Some(began)) = (self.clock, began) {
            self.counts.decompress_time += clock.now().saturating_sub(began);
        }
        self.arena_history.learn(source.len(), plain.len(), count as usize);
        if is_first {
            // Moves what one batch decompressed to, rather than all of it many times.
            let all = source.len().saturating_add(behind);
            self.arena_history.prepare(&mut self.arena, all, self.rows.room(), self.max_bytes);
        }
        self.counts.decompressed_bytes += plain.len() as u64;
        Ok(plain)
    }

    /// Turns records of the batch into rows until it ends or the rows are full; then it stays open.
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
            Ok(true) => self.leave_batch(&open),
            Ok(false) => self.open = Some(open),
            Err(reason) => {
                let error = self.scope.record_error(open.base, open.cursor.done(), reason);
                self.open = Some(open);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Leaves a batch of which nothing wanted is left.
    #[inline]
    fn leave_batch(&mut self, open: &Open) {
        self.position = self.position.max(open.next);
        self.leave_body(open);
    }

    #[inline]
    fn leave_body(&mut self, open: &Open) {
        match &open.body {
            // Without a view into it, what the batch decompressed to is not needed any more.
            Body::Arena(range) if !open.is_referenced => self.arena.truncate(range.start),
            Body::Frozen(_) => self.rows.sources.forget(Origin::Frozen),
            _ => {}
        }
    }

    /// Ends the walk over the response.
    fn drop_input(&mut self) {
        self.input = None;
        self.rows.sources.forget(Origin::Fetched);
    }

    /// Gives up the response; the position stays behind the last record that became a row. Whoever
    /// pushes the same broken bytes over and over keeps none of them alive that no row needs.
    fn abandon(&mut self) {
        if let Some(open) = self.open.take() {
            let parsed = open.base.saturating_add(open.cursor.next_delta());
            self.position = self.position.max(parsed);
            self.leave_body(&open);
        }
        self.drop_input();
        if self.rows.len() == 0 {
            self.rows.forget_sources();
            self.arena.release();
        }
    }

    fn finish_rows(&mut self) -> Result<RecordBatch, WorkerError> {
        let referenced = self.rows.sources.is_referenced(Origin::Arena);
        let frozen = referenced.then(|| self.arena.freeze());
        if !matches!(&self.open, Some(Open { body: Body::Arena(_), .. })) {
            // Values that fit into their views need none of it, and the reader may pause here.
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

/// The records of the open batch and what holds them.
struct Stored<'a> {
    body: &'a Body,
    size: Size,
    input: Option<&'a mut Input>,
    arena: &'a Arena,
    needs_bytes: bool,
}

/// Parses records into `rows`; `true` if nothing wanted of the batch is left. Beside it, how long the
/// longest view is that was made.
#[inline]
fn parse(
    rows: &mut Rows,
    stored: Stored<'_>,
    facts: &Facts,
    cursor: &mut Cursor,
) -> (Result<bool, &'static str>, usize) {
    let Stored { body, size, input, arena, needs_bytes } = stored;
    let behind = input.as_ref().map_or(0, |input| input.rest_bytes());
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
    // What stands behind in the response is likely to be like this batch, give or take a little. It
    // is a guess from lengths that may lie: beyond usual sizes columns grow as they are filled.
    let likely = || {
        let scaled = |by: usize, of: usize| {
            by.saturating_mul(size.records.min(most)).checked_div(of).unwrap_or(0)
        };
        let behind = scaled(behind, size.bytes).min(DecodeOptions::DEFAULT_MAX_ROWS);
        let likely = at_most.saturating_add(behind).min(scaled(room, bytes.len()));
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
    /// Notes what one Kafka batch decompressed to.
    const fn learn(&mut self, compressed: usize, plain: usize, records: usize) {
        self.compressed_bytes = compressed;
        self.plain_bytes = plain;
        self.records = records;
    }

    /// Gives an arena without memory as much as the next Arrow batch is likely to need: what
    /// `rest_bytes` decompress to, or `rows` need, or one Kafka batch beyond `max_bytes`.
    fn prepare(&self, arena: &mut Arena, rest_bytes: usize, rows: usize, max_bytes: usize) {
        let scaled = |by: usize, of: usize| {
            by.saturating_mul(self.plain_bytes).checked_div(of).unwrap_or_default()
        };
        let with_reserve = |bytes: usize| {
            let overshoot = (bytes / 4).min(MAX_OVERSHOOT_BYTES);
            bytes.saturating_add(bytes / 16).saturating_add(overshoot).min(MAX_GUESS_BYTES)
        };
        let by_rows = scaled(rows, self.records).min(max_bytes).saturating_add(self.plain_bytes);
        let rest = scaled(rest_bytes, self.compressed_bytes);
        arena.expect(with_reserve(rest.min(by_rows)), with_reserve(by_rows));
    }
}
