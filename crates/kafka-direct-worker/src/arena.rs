//! The buffer that compressed Kafka batches are decompressed into, one behind the other.
//!
//! Views point into it by offset, so it may grow while they are made; it becomes an Arrow buffer
//! when their batch is handed out. Decoders write into initialised memory: what was zeroed once is
//! kept, and a fresh arena comes zeroed from the allocator, which for large ones costs nothing.

use std::ops::Range;

use arrow_buffer::Buffer;

#[derive(Debug, Default)]
pub(crate) struct Arena {
    /// Initialised memory; what counts ends at `used`.
    bytes: Vec<u8>,
    used: usize,
}

impl Arena {
    /// How many bytes were written.
    pub(crate) const fn len(&self) -> usize {
        self.used
    }

    /// Whether it holds no memory.
    pub(crate) const fn is_unallocated(&self) -> bool {
        self.bytes.capacity() == 0
    }

    /// What was written.
    pub(crate) fn get(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// Forgets what was written from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.used = self.used.min(len);
    }

    /// Adopts the memory of an earlier arena if nobody reads it any more.
    pub(crate) fn revive(&mut self, buffer: Buffer) {
        if let Ok(bytes) = buffer.into_vec() {
            *self = Self { bytes, used: 0 };
        }
    }

    /// Makes room for `bytes` altogether, so that filling the arena does not move it.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.grow(bytes);
    }

    fn grow(&mut self, end: usize) {
        if end <= self.bytes.len() {
            return;
        }
        if self.used == 0 && end > self.bytes.capacity() {
            self.bytes = Vec::new();
            self.bytes = vec![0; end];
        } else {
            self.bytes.resize(end, 0);
        }
    }

    /// Room for `bytes` more; what is written there counts after [`Arena::commit`].
    pub(crate) fn room(&mut self, bytes: usize) -> &mut [u8] {
        self.history_and_room(self.used, bytes).1
    }

    /// What was written from `from` on, and room for `bytes` more.
    pub(crate) fn history_and_room(&mut self, from: usize, bytes: usize) -> (&[u8], &mut [u8]) {
        let end = self.used.saturating_add(bytes);
        self.grow(end);
        let Some((written, room)) = self.bytes.split_at_mut_checked(self.used) else {
            return Default::default();
        };
        (written.get(from..).unwrap_or_default(), room.get_mut(..bytes).unwrap_or_default())
    }

    /// Counts `bytes` of the room as written.
    pub(crate) fn commit(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes).min(self.bytes.len());
    }

    /// Takes what was written as an Arrow buffer and leaves the arena empty.
    pub(crate) fn freeze(&mut self) -> Buffer {
        let Self { mut bytes, used } = std::mem::take(self);
        bytes.truncate(used);
        // Room that was never needed must not be pinned for as long as the batch lives.
        if used < bytes.capacity() / 2 {
            bytes.shrink_to_fit();
        }
        Buffer::from_vec(bytes)
    }
}
