//! Arrow views over bytes that stay where they are.
//!
//! A view is 16 bytes: the length, then the bytes themselves if they are 12 or fewer, else their
//! first four, the index of their buffer and their offset in it.

use arrow_buffer::{NullBuffer, ScalarBuffer};

/// The most bytes a view holds itself.
pub(crate) const MAX_INLINE_BYTES: usize = 12;

/// Bytes that views are made over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) body: &'a [u8],
    /// Buffer index and the offset of `body` in that buffer, where a view has them.
    place: u128,
}

impl<'a> Source<'a> {
    /// `body` stands at `offset` of the buffer with this index. `offset + body.len()` must not
    /// exceed 31 bits, which those who make the buffers see to.
    pub(crate) const fn new(body: &'a [u8], buffer: u32, offset: usize) -> Self {
        Self { body, place: (buffer as u128) << 64 | (offset as u128) << 96 }
    }

    #[inline(always)]
    pub(super) fn view(&self, at: usize, length: usize) -> u128 {
        let rest = self.body.get(at..).unwrap_or_default();
        if length <= MAX_INLINE_BYTES {
            return inline(rest, length);
        }
        let prefix = rest.first_chunk::<4>().map_or(0, |prefix| u32::from_le_bytes(*prefix));
        length as u128 | u128::from(prefix) << 32 | (self.place + ((at as u128) << 96))
    }
}

/// The view that holds the first `length` of `bytes`.
#[inline(always)]
pub(super) fn inline(bytes: &[u8], length: usize) -> u128 {
    // Loading a fixed number of bytes and masking is faster than copying a variable number.
    let kept = match bytes.first_chunk::<16>() {
        Some(chunk) => u128::from_le_bytes(*chunk) & ((1 << (8 * length)) - 1),
        None => bytes.iter().take(length).rev().fold(0, |kept, b| kept << 8 | u128::from(*b)),
    };
    length as u128 | kept << 32
}

/// A column of views under construction.
#[derive(Debug, Default)]
pub(crate) struct Views {
    views: Vec<u128>,
    /// The rows that are null; their views are zero.
    nulls: Vec<usize>,
    bytes: u64,
    longest: usize,
}

impl Views {
    /// Adds the `(start, length)` in the source, or a null.
    #[inline(always)]
    pub(crate) fn push(&mut self, source: &Source<'_>, field: Option<(usize, usize)>) {
        match field {
            Some((at, length)) => self.push_view(source.view(at, length), length),
            None => {
                self.nulls.push(self.views.len());
                self.views.push(0);
            }
        }
    }

    /// Adds a view of `length` bytes.
    #[inline(always)]
    pub(super) fn push_view(&mut self, view: u128, length: usize) {
        self.views.push(view);
        self.bytes += length as u64;
        self.longest = self.longest.max(length);
    }

    pub(crate) fn reserve(&mut self, more: usize) {
        self.views.reserve(more);
    }

    pub(super) const fn len(&self) -> usize {
        self.views.len()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.views.truncate(len);
        while self.nulls.pop_if(|row| *row >= len).is_some() {}
    }

    /// The sum of the lengths.
    #[inline(always)]
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The longest since the last call, in bytes.
    pub(super) const fn take_longest(&mut self) -> usize {
        std::mem::replace(&mut self.longest, 0)
    }

    pub(super) fn take(&mut self) -> (ScalarBuffer<u128>, Option<NullBuffer>) {
        let Self { views, nulls, .. } = std::mem::take(self);
        let nulls = super::nulls(nulls, views.len());
        (views.into(), nulls)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Array as _, BinaryViewArray};
    use arrow_buffer::Buffer;

    use super::*;

    #[test]
    fn views_of_every_length_read_back_wherever_they_stand() {
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
        let (views, nulls) = views.take();
        let buffers: Arc<[Buffer]> = Arc::new([Buffer::default(), Buffer::from_vec(whole)]);
        let array = BinaryViewArray::try_new(views, buffers, nulls).unwrap();
        assert_eq!(array.null_count(), 41);
        assert_eq!(array.iter().collect::<Vec<_>>(), expected);
    }
}
