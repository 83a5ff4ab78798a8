//! The rows of the Arrow batch that is being filled, column by column.
//!
//! Columns that the read does not request cost nothing and stay empty. Nulls are stored as row
//! numbers. They become a bitmap when the batch is built, and only if there are any.

mod chunk;
mod constants;
mod headers;
mod nulls;
mod sources;
mod times;
mod views;

use std::sync::Arc;

use arrow_array::{ArrayRef, Int8Array, Int64Array, RecordBatch, RecordBatchOptions};
use arrow_buffer::Buffer;
use arrow_schema::{ArrowError, SchemaRef};
use kafka_direct_core::TopicPartition;

use crate::{Column, Columns, DecodeOptions, schema::schema};

use self::{chunk::Chunk, constants::Constants, headers::HeaderRows, times::Times, views::Views};
pub(crate) use self::{
    chunk::{CHUNK, Parsed},
    sources::{Origin, Sources},
    views::{Field, MAX_INLINE_BYTES, Source},
};

/// The requested columns that have a value per record.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "one per column, tested in the hot loop")]
pub(crate) struct Wants {
    pub(crate) key: bool,
    pub(crate) value: bool,
    pub(crate) headers: bool,
    pub(crate) offset: bool,
    pub(crate) timestamp: bool,
    /// Whether the columns are all of these except headers, as in most reads.
    pub(crate) usual: bool,
}

impl Wants {
    const fn new(columns: Columns) -> Self {
        let key = columns.contains(Column::Key);
        let value = columns.contains(Column::Value);
        let headers = columns.contains(Column::Headers);
        let offset = columns.contains(Column::Offset);
        let timestamp = columns.contains(Column::Timestamp);
        let usual = key && value && offset && timestamp && !headers;
        Self { key, value, headers, offset, timestamp, usual }
    }

    /// Whether any of the columns needs bytes of the records.
    #[inline(always)]
    pub(crate) const fn bytes(self) -> bool {
        self.key || self.value || self.headers
    }
}

/// The counts of a finished batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) records: usize,
    pub(crate) key_bytes: u64,
    pub(crate) value_bytes: u64,
}

/// The rows of the Arrow batch that is being filled.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) wants: Wants,
    pub(crate) keys: Views,
    pub(crate) values: Views,
    pub(crate) headers: HeaderRows,
    pub(crate) offsets: Vec<i64>,
    pub(crate) sources: Sources,
    pub(crate) chunk: Chunk,
    pub(crate) times: Times,
    timestamp_types: Vec<i8>,
    constants: Constants,
    schema: SchemaRef,
    columns: Columns,
    len: usize,
    max_rows: usize,
    max_bytes: u64,
    /// How many rows the columns have space for.
    reserved: usize,
    /// How many rows the previous batch had.
    expected: usize,
}

impl Rows {
    pub(crate) fn new(topic_partition: &TopicPartition, options: &DecodeOptions) -> Self {
        Self {
            wants: Wants::new(options.columns),
            keys: Views::default(),
            values: Views::default(),
            headers: HeaderRows::default(),
            offsets: Vec::new(),
            sources: Sources::default(),
            times: Times::default(),
            chunk: Chunk::default(),
            timestamp_types: Vec::new(),
            constants: Constants::new(topic_partition),
            schema: schema(options.columns),
            columns: options.columns,
            len: 0,
            max_rows: options.max_rows,
            max_bytes: options.max_bytes as u64,
            reserved: 0,
            expected: 0,
        }
    }

    pub(crate) const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// How many more rows fit into the batch.
    pub(crate) const fn room(&self) -> usize {
        self.max_rows.saturating_sub(self.len)
    }

    /// Whether the batch has reached `max_rows` or `max_bytes`.
    #[inline(always)]
    pub(crate) const fn is_full(&self) -> bool {
        self.len >= self.max_rows || self.bytes() >= self.max_bytes
    }

    /// Makes space for `more` rows. If the columns have to grow, they grow to the rows that the
    /// batch is `likely` to get, so that they seldom move.
    #[inline]
    pub(crate) fn reserve(&mut self, more: usize, likely: impl FnOnce() -> usize) {
        let more = more.min(self.room());
        if self.len + more <= self.reserved {
            return;
        }
        // A batch that continues with a second response combines small ones, as the previous batch
        // did.
        let by_last = if self.len == 0 { 0 } else { self.expected.saturating_sub(self.len) };
        let rows = self.len.saturating_add(more.max(likely()).max(by_last));
        // Powers of two are few sizes, so the allocator is likely to have a used block of that
        // size.
        let rows = rows.checked_next_power_of_two().unwrap_or(rows).min(self.max_rows);
        let more = rows.saturating_sub(self.len);
        self.reserved = rows;
        if self.wants.key {
            self.keys.reserve(more);
        }
        if self.wants.value {
            self.values.reserve(more);
        }
        if self.wants.offset {
            self.offsets.reserve(more);
        }
        if self.wants.timestamp {
            self.times.reserve(more);
        }
    }

    /// How many more bytes of keys, values and headers fit into the batch.
    pub(crate) const fn bytes_room(&self) -> u64 {
        self.max_bytes.saturating_sub(self.bytes())
    }

    const fn bytes(&self) -> u64 {
        self.keys.bytes() + self.values.bytes() + self.headers.bytes()
    }

    /// Adds `rows` to the row count, after their values were added to the columns.
    #[inline(always)]
    pub(crate) const fn end_rows(&mut self, rows: usize) {
        self.len += rows;
    }

    /// Sets the timestamp type of all rows since the last call.
    #[inline]
    pub(crate) fn end_kafka_batch(&mut self, log_append_time: bool) {
        if self.columns.contains(Column::TimestampType) {
            self.timestamp_types.resize(self.len, i8::from(log_append_time));
        }
    }

    /// The length of the longest key, value or header since the last call, in bytes. A view holds
    /// up to 12 bytes itself.
    #[inline]
    pub(crate) const fn take_longest(&mut self) -> usize {
        let (key, value) = (self.keys.take_longest(), self.values.take_longest());
        let headers = self.headers.take_longest();
        let body = if key > value { key } else { value };
        if body > headers { body } else { headers }
    }

    /// Releases the buffers and replaced keys of records that did not become rows.
    pub(crate) fn clear_sources(&mut self) {
        self.sources.clear();
        drop(self.headers.take_replaced());
    }

    /// Builds the batch and removes all rows. `arena` is the former arena, if views point into it.
    pub(crate) fn finish(
        &mut self,
        arena: Option<Buffer>,
    ) -> Result<(RecordBatch, Held), ArrowError> {
        let len = std::mem::take(&mut self.len);
        let held =
            Held { records: len, key_bytes: self.keys.bytes(), value_bytes: self.values.bytes() };
        self.expected = len;
        self.reserved = 0;
        let replaced = self.headers.take_replaced();
        let buffers = self.sources.take(arena, replaced);
        let arrays = self.columns.iter().map(|column| self.array(column, len, &buffers));
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(len));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?;
        Ok((batch, held))
    }

    fn array(
        &mut self,
        column: Column,
        len: usize,
        buffers: &Arc<[Buffer]>,
    ) -> Result<ArrayRef, ArrowError> {
        Ok(match column {
            Column::Key => Arc::new(self.keys.take(buffers)?),
            Column::Value => Arc::new(self.values.take(buffers)?),
            Column::Headers => self.headers.take(buffers)?,
            Column::Topic => self.constants.topic(len)?,
            Column::Partition => self.constants.partition(len),
            Column::Offset => {
                Arc::new(Int64Array::new(std::mem::take(&mut self.offsets).into(), None))
            }
            Column::Timestamp => Arc::new(self.times.take()?),
            Column::TimestampType => {
                Arc::new(Int8Array::new(std::mem::take(&mut self.timestamp_types).into(), None))
            }
        })
    }
}
