//! The buffer that holds decompressed Kafka batches, one after the other.
//!
//! Views point into it by offset, so it may grow while views are made. It becomes an Arrow buffer
//! when the Arrow batch is returned. Its memory returns to the pool when that buffer is dropped.
//! Codecs write into initialised memory, so the arena keeps memory that was zeroed once.

use std::ops::Range;

use arrow_buffer::Buffer;
use kafka_direct_core::BufferPool;

/// The memory of the decompressed Kafka batches of one Arrow batch.
///
/// Keeps INV-8: [`DecodeOptions`](crate::DecodeOptions) bounds its size, whatever a compressed
/// batch claims.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    /// Initialised memory, of which the first `used` bytes are written.
    bytes: Vec<u8>,
    used: usize,
    /// The expected size, in bytes.
    likely: usize,
    /// The pool of the memory; `None` for the allocator.
    pool: Option<BufferPool>,
}

impl Arena {
    /// An empty arena that takes its memory from `pool`.
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

    /// The written bytes in `range`.
    pub(crate) fn get(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    /// Discards all bytes after the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.used = self.used.min(len);
    }

    /// Makes space for `bytes`, and notes that the arena is likely to need `likely` bytes. If
    /// `likely` is right, the arena moves at most once while it is filled.
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

    /// Space for `bytes` more. Bytes written there count after [`Arena::commit`].
    pub(crate) fn room(&mut self, bytes: usize) -> &mut [u8] {
        self.history_and_room(self.used, bytes).1
    }

    /// The written bytes from `from` on, and space for `bytes` more.
    pub(crate) fn history_and_room(&mut self, from: usize, bytes: usize) -> (&[u8], &mut [u8]) {
        let end = self.used.saturating_add(bytes);
        self.grow(end);
        let Some((written, room)) = self.bytes.split_at_mut_checked(self.used) else {
            return Default::default();
        };
        (written.get(from..).unwrap_or_default(), room.get_mut(..bytes).unwrap_or_default())
    }

    /// Counts the first `bytes` of the space as written.
    pub(crate) fn commit(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes).min(self.bytes.len());
    }

    /// Takes the written bytes as an Arrow buffer and leaves the arena empty.
    pub(crate) fn freeze(&mut self) -> Buffer {
        let used = std::mem::take(&mut self.used);
        // The batch must not keep memory alive that was not needed.
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

    /// Returns the memory to the pool and discards the written bytes.
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
