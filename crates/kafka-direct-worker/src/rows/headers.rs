//! The headers column: every header of every record, in order, duplicates kept.
//!
//! A header is a key (varint length, never null) and a value (varint length, −1 for null). Keys are
//! views too, unless they are not UTF-8. U+FFFD then replaces the invalid bytes of the key, as in
//! Java.

use std::{ops::Range, sync::Arc};

use arrow_array::{ArrayRef, ListArray, StringViewArray, StructArray};
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

use super::views::{Source, Views};
use crate::{schema, varint::field};

const COUNT: &str = "it claims more headers than it has bytes for";
const KEY: &str = "a header key's length exceeds the record";
const VALUE: &str = "a header value's length exceeds the record";
const REST: &str = "bytes follow where the record should end";

/// The headers of the rows.
#[derive(Debug, Default)]
pub(crate) struct HeaderRows {
    /// Where each row's headers end.
    ends: Vec<i32>,
    keys: Views,
    values: Views,
    /// The bytes of all headers, which count towards `max_bytes`. Their length fields count too,
    /// because a header with an empty key and value would otherwise count as 0.
    bytes: u64,
    /// The replacements of keys that are not UTF-8.
    replaced: Vec<u8>,
    /// The buffer index of `replaced`, if it is set.
    replaced_index: Option<u32>,
}

impl HeaderRows {
    /// Adds one row of `count` headers, which fill `range` of the source. On an error no header is
    /// added.
    pub(crate) fn parse(
        &mut self,
        source: &Source<'_>,
        range: Range<usize>,
        count: i32,
    ) -> Result<(), &'static str> {
        let before = (self.keys.mark(), self.values.mark(), self.replaced.len());
        let parsed = self.parse_all(source, range, count);
        if parsed.is_err() {
            let (keys, values, replaced) = before;
            self.keys.rewind(keys);
            self.values.rewind(values);
            self.replaced.truncate(replaced);
        }
        parsed
    }

    fn parse_all(
        &mut self,
        source: &Source<'_>,
        range: Range<usize>,
        count: i32,
    ) -> Result<(), &'static str> {
        let mut at = range.start;
        let record = source.body.get(..range.end).ok_or(KEY)?;
        let count = usize::try_from(count).map_err(|_| COUNT)?;
        if count > range.len() / 2 {
            return Err(COUNT);
        }
        for _ in 0..count {
            let (start, length) = field(record, &mut at, KEY)?.ok_or(KEY)?;
            let value = field(record, &mut at, VALUE)?;
            let key = record.get(start..start + length).ok_or(KEY)?;
            match std::str::from_utf8(key) {
                Ok(_) => self.keys.push(source, Some((start, length))),
                Err(_) => self.push_replaced(key)?,
            }
            self.values.push(source, value);
        }
        if at != range.end {
            return Err(REST);
        }
        self.ends.push(i32::try_from(self.keys.len()).map_err(|_| COUNT)?);
        self.bytes += range.len() as u64;
        Ok(())
    }

    fn push_replaced(&mut self, key: &[u8]) -> Result<(), &'static str> {
        let text = String::from_utf8_lossy(key);
        let start = self.replaced.len();
        self.replaced.extend_from_slice(text.as_bytes());
        i32::try_from(self.replaced.len()).map_err(|_| KEY)?;
        let source = Source::new(&self.replaced, self.replaced_index.unwrap_or(0), 0);
        self.keys.push(&source, Some((start, text.len())));
        Ok(())
    }

    /// Sets the buffer index of replaced keys.
    pub(crate) const fn set_replaced_index(&mut self, index: u32) {
        self.replaced_index = Some(index);
    }

    #[inline(always)]
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn take_longest(&mut self) -> usize {
        let (key, value) = (self.keys.take_longest(), self.values.take_longest());
        if key > value { key } else { value }
    }

    /// Takes the replaced keys, which become the buffer with the index that was set.
    pub(super) fn take_replaced(&mut self) -> Vec<u8> {
        self.replaced_index = None;
        std::mem::take(&mut self.replaced)
    }

    pub(super) fn take(&mut self, buffers: &Arc<[Buffer]>) -> Result<ArrayRef, ArrowError> {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.append(&mut self.ends);
        self.bytes = 0;
        let keys = self.keys.take_views();
        let keys: ArrayRef = Arc::new(StringViewArray::try_new(keys, Arc::clone(buffers), None)?);
        let values: ArrayRef = Arc::new(self.values.take(buffers)?);
        let entries = StructArray::try_new(schema::header_fields(), vec![keys, values], None)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let list = ListArray::try_new(schema::header_item(), offsets, Arc::new(entries), None)?;
        Ok(Arc::new(list))
    }
}
