//! Arrow views over bytes that are not copied.
//!
//! A view has 16 bytes and begins with the length. If the bytes are 12 or fewer, the view holds
//! them. Otherwise it holds their first four bytes, the index of their buffer, and their offset in
//! it.

use std::{
    ops::{BitAnd, BitOr},
    sync::{Arc, LazyLock},
};

use arrow_array::BinaryViewArray;
use arrow_buffer::{Buffer, ScalarBuffer};
use arrow_schema::ArrowError;

use super::nulls::null_buffer;
use crate::DecodeOptions;

/// The most bytes that a view holds itself.
pub(crate) const MAX_INLINE_BYTES: usize = 12;

/// A part of a buffer, over which views are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) body: &'a [u8],
    /// The upper half of a view at the start of `body`: buffer index, and offset in that buffer.
    start: u64,
}

impl<'a> Source<'a> {
    /// A source for `body`, which is at `offset` of the buffer with this index.
    ///
    /// `offset + body.len()` must fit 31 bits. The code that makes the buffers ensures this.
    pub(crate) const fn new(body: &'a [u8], buffer: u32, offset: usize) -> Self {
        Self { body, start: buffer as u64 | (offset as u64) << 32 }
    }

    /// The view over the `length` bytes of `body` at `at`.
    #[inline(always)]
    pub(super) fn view(&self, at: usize, length: usize) -> u128 {
        let rest = self.body.get(at..).unwrap_or_default();
        if length <= MAX_INLINE_BYTES {
            return inline(rest, length);
        }
        let prefix = rest.first_chunk::<4>().map_or(0, |prefix| u32::from_le_bytes(*prefix));
        let lower = length as u64 | u64::from(prefix) << 32;
        let upper = self.start.wrapping_add((at as u64) << 32);
        u128::from(lower) | u128::from(upper) << 64
    }
}

/// A key or a value: its position and length in a source, or null.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Field {
    at: usize,
    length: usize,
}

impl Field {
    pub(crate) const NULL: Self = Self { at: 0, length: usize::MAX };

    #[inline(always)]
    pub(crate) const fn new(at: usize, length: usize) -> Self {
        Self { at, length }
    }

    const fn is_null(self) -> bool {
        self.length == usize::MAX
    }

    /// The start and the length of the field; `None` if it is null.
    #[inline(always)]
    pub(crate) const fn extent(self) -> Option<(usize, usize)> {
        if self.is_null() { None } else { Some((self.at, self.length)) }
    }
}

/// The view that holds the first `length` of `bytes` itself; `length` is at most 12.
#[inline(always)]
pub(super) fn inline(bytes: &[u8], length: usize) -> u128 {
    // It is faster to load a fixed number of bytes and mask them than to copy a variable number.
    let kept = match bytes.first_chunk::<16>() {
        Some(chunk) => u128::from_le_bytes(*chunk) & ((1 << (8 * length)) - 1),
        None => bytes.iter().take(length).rev().fold(0, |kept, b| kept << 8 | u128::from(*b)),
    };
    length as u128 | kept << 32
}

/// A column of views that is being filled. While all its rows are null, it holds only their count.
#[derive(Debug, Default)]
pub(crate) struct Views {
    /// How many null rows are before the first view.
    leading_nulls: usize,
    /// One view per row, as soon as one row is not null.
    views: Vec<u128>,
    /// The null rows after the leading ones; their views are zero.
    nulls: Vec<usize>,
    bytes: u64,
    longest: usize,
}

/// A former end of a column, to which [`Views::rewind`] can return.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    len: usize,
    longest: usize,
}

impl Views {
    /// Adds one row: a view over `(start, length)` of the source, or a null.
    #[inline(always)]
    pub(crate) fn push(&mut self, source: &Source<'_>, field: Option<(usize, usize)>) {
        match field {
            Some((at, length)) => {
                if self.views.is_empty() && self.leading_nulls > 0 {
                    self.views.resize(self.leading_nulls, 0);
                }
                self.views.push(source.view(at, length));
                self.bytes += length as u64;
                self.longest = self.longest.max(length);
            }
            None if self.views.is_empty() => self.leading_nulls += 1,
            None => {
                self.nulls.push(self.views.len());
                self.views.push(0);
            }
        }
    }

    /// Adds one row for each field.
    #[inline(always)]
    pub(crate) fn extend(
        &mut self,
        source: &Source<'_>,
        fields: impl ExactSizeIterator<Item = Field> + Clone,
    ) {
        // The length of a null has all bits set.
        let lengths = || fields.clone().map(|field| field.length);
        if lengths().fold(0, BitOr::bitor) < Field::NULL.length {
            if self.views.is_empty() && self.leading_nulls > 0 {
                self.views.resize(self.leading_nulls, 0);
            }
            let (mut bytes, mut longest) = (0, self.longest);
            self.views.extend(fields.map(|field| {
                bytes += field.length as u64;
                longest = longest.max(field.length);
                source.view(field.at, field.length)
            }));
            self.bytes += bytes;
            self.longest = longest;
        } else if self.views.is_empty()
            && lengths().fold(usize::MAX, BitAnd::bitand) == Field::NULL.length
        {
            self.leading_nulls += fields.len();
        } else {
            for field in fields {
                self.push(source, field.extent());
            }
        }
    }

    /// Makes space for `more` rows, unless all rows are null so far: the next are then likely to be
    /// null too.
    pub(crate) fn reserve(&mut self, more: usize) {
        if self.leading_nulls == 0 || !self.views.is_empty() {
            self.views.reserve(more);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.views.len().max(self.leading_nulls)
    }

    /// The current end of the column, for [`Views::rewind`].
    pub(super) fn mark(&self) -> Mark {
        Mark { len: self.len(), longest: self.longest }
    }

    /// Removes all rows that were added after `mark`, except that [`Views::bytes`] still counts
    /// them.
    pub(super) fn rewind(&mut self, mark: Mark) {
        let Mark { len, longest } = mark;
        self.longest = longest;
        self.views.truncate(len);
        self.leading_nulls = self.leading_nulls.min(len);
        while self.nulls.pop_if(|row| *row >= len).is_some() {}
    }

    /// The sum of the lengths of all fields, in bytes.
    #[inline(always)]
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The length of the longest field since the last call, in bytes.
    pub(super) const fn take_longest(&mut self) -> usize {
        std::mem::replace(&mut self.longest, 0)
    }

    /// Takes the views of a column without nulls.
    pub(super) fn take_views(&mut self) -> ScalarBuffer<u128> {
        std::mem::take(self).views.into()
    }

    /// Builds the column over `buffers` and removes all rows.
    pub(super) fn take(&mut self, buffers: &Arc<[Buffer]>) -> Result<BinaryViewArray, ArrowError> {
        let Self { leading_nulls, views, nulls, .. } = std::mem::take(self);
        if views.is_empty() {
            return Ok(all_null(leading_nulls));
        }
        let nulls = null_buffer(leading_nulls, &nulls, views.len());
        BinaryViewArray::try_new(views.into(), Arc::clone(buffers), nulls)
    }
}

/// A column of null rows.
///
/// Large columns share memory that is written once. Small ones do not, because the reported size of
/// an array includes all memory that it shares.
fn all_null(rows: usize) -> BinaryViewArray {
    const MOST: usize = DecodeOptions::DEFAULT_MAX_ROWS;
    static SHARED: LazyLock<BinaryViewArray> = LazyLock::new(|| BinaryViewArray::new_null(MOST));
    if (MOST / 8..=MOST).contains(&rows) {
        return SHARED.slice(0, rows);
    }
    BinaryViewArray::new_null(rows)
}

#[cfg(test)]
mod tests {
    use arrow_array::Array as _;

    use super::*;

    #[test]
    fn views_of_every_length_read_back_at_every_position() {
        let bytes: Vec<u8> = (1..=40).collect();
        let whole = [b"front".as_slice(), &bytes].concat();
        let source = Source::new(&bytes, 1, 5);
        let mut views = Views::default();
        let mut expected: Vec<Option<&[u8]>> = Vec::new();
        for length in 0..=40 {
            for at in 0..=40 - length {
                views.push(&source, Some((at, length)));
                expected.push(Some(&bytes[at..at + length]));
            }
            views.push(&source, None);
            expected.push(None);
        }
        let buffers: Arc<[Buffer]> = Arc::new([Buffer::default(), Buffer::from_vec(whole)]);
        let array = views.take(&buffers).unwrap();
        assert_eq!(array.null_count(), 41);
        assert_eq!(array.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nulls_are_kept_at_every_position() {
        let source = Source::new(b"x", 0, 0);
        for pattern in 0..32 {
            let is_null = |row: usize| pattern >> row & 1 == 0;
            let mut views = Views::default();
            for row in 0..5 {
                views.push(&source, (!is_null(row)).then_some((0, 1)));
                assert_eq!(views.len(), row + 1);
            }
            let expected = |row| (!is_null(row)).then_some(b"x".as_slice());
            for len in (0..=5).rev() {
                views.rewind(Mark { len, longest: 0 });
                assert_eq!(views.len(), len);
                let mut copy = Views {
                    leading_nulls: views.leading_nulls,
                    views: views.views.clone(),
                    nulls: views.nulls.clone(),
                    ..Views::default()
                };
                let array = copy.take(&(Arc::new([]) as Arc<[Buffer]>)).unwrap();
                let expected: Vec<_> = (0..len).map(expected).collect();
                assert_eq!(array.iter().collect::<Vec<_>>(), expected, "{pattern:b}");
            }
        }
    }
}
