//! The buffer that compressed Kafka batches are decompressed into, one behind the other.
//!
//! Views point into it by offset, so it may grow while they are made; it becomes an Arrow buffer
//! when their batch is handed out, and its memory comes back to the pool when that is dropped.
//! Decoders write into initialised memory: what was zeroed once is kept.

use std::ops::Range;

use arrow_buffer::Buffer;
use kafka_direct_core::BufferPool;

/// Memory for the decompressed batches of one Arrow batch.
///
/// Keeps INV-8: what it holds is bounded by [`DecodeOptions`](crate::DecodeOptions), whatever a
/// compressed batch claims.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    /// Initialised memory; what counts ends at `used`.
    bytes: Vec<u8>,
    used: usize,
    /// How large it is likely to become.
    likely: usize,
    /// Where its memory is from; the allocator's if there is none.
    pool: Option<BufferPool>,
}

impl Arena {
    /// Empty, with the memory that `pool` has to give.
    pub(crate) const fn new(pool: BufferPool) -> Self {
        Self { bytes: Vec::new(), used: 0, likely: 0, pool: Some(pool) }
    }

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

    /// Says how large it is likely to become, so that it moves at most once while it is filled,
    /// and makes room for the first `bytes` of that.
    pub(crate) fn expect(&mut self, bytes: usize, likely: usize) {
        self.likely = likely;
        if bytes > self.bytes.capacity() {
            self.move_to(bytes);
        }
    }

    fn move_to(&mut self, capacity: usize) {
        let larger = match &self.pool {
            Some(pool) => pool.take_any(capacity),
            None => Vec::with_capacity(capacity),
        };
        let mut old = std::mem::replace(&mut self.bytes, larger);
        if self.used > 0 {
            old.truncate(self.used);
            self.bytes.clear();
            self.bytes.extend_from_slice(&old);
        }
        self.give(old);
    }

    fn give(&self, memory: Vec<u8>) {
        if let Some(pool) = &self.pool {
            pool.give(memory);
        }
    }

    fn grow(&mut self, end: usize) {
        if end > self.bytes.capacity() {
            self.move_to(end.max(self.likely).max(self.bytes.capacity().saturating_mul(2)));
        }
        if end > self.bytes.len() {
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
        let used = std::mem::take(&mut self.used);
        // Room that was never needed must not be pinned for as long as the batch lives.
        let is_much_larger = used < self.bytes.capacity() / 2;
        let mut bytes = if is_much_larger {
            let mut fitting = self.pool.as_ref().map(|pool| pool.take(used)).unwrap_or_default();
            fitting.clear();
            fitting.extend_from_slice(self.bytes.get(..used).unwrap_or_default());
            self.release();
            fitting
        } else {
            std::mem::take(&mut self.bytes)
        };
        if let Some(pool) = &self.pool {
            return Buffer::from(pool.lend(bytes, used));
        }
        bytes.truncate(used);
        Buffer::from_vec(bytes)
    }

    /// Gives the memory back; what was written is forgotten.
    pub(crate) fn release(&mut self) {
        self.used = 0;
        let bytes = std::mem::take(&mut self.bytes);
        self.give(bytes);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.release();
    }
}
