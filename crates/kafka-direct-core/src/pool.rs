//! Byte buffers that are used again: record sets and decompressed batches live and die by the
//! thousand, and memory that was touched lately is in the processor's caches and needs no page
//! from the operating system.
//!
//! Contract: a buffer is lent as [`Bytes`] and comes back when the last of their clones is dropped;
//! what lies unused is bounded. Newest first: it is the likeliest to be in a cache.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

/// Below this a buffer is the allocator's affair.
const SMALLEST_BYTES: usize = 32 << 10;
/// Capacities are multiples of this, so that buffers of nearly the same size serve one another.
const STEP_BYTES: usize = 16 << 10;

/// Unused buffers, shared by all clones.
#[derive(Debug, Clone)]
pub struct BufferPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    unused: Mutex<Unused>,
    keep_bytes: usize,
    /// The capacities of all that is lent.
    lent_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Unused {
    /// Oldest first.
    buffers: Vec<Vec<u8>>,
    /// The sum of their capacities.
    bytes: usize,
}

/// A buffer under way.
struct Lent {
    buffer: Vec<u8>,
    used: usize,
    pool: BufferPool,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.used).unwrap_or(&self.buffer)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.0.lent_bytes.fetch_sub(self.buffer.capacity(), Ordering::Relaxed);
        self.pool.give(std::mem::take(&mut self.buffer));
    }
}

impl BufferPool {
    /// A pool that keeps buffers of up to `keep_bytes` altogether while nobody uses them.
    #[must_use]
    pub fn new(keep_bytes: usize) -> Self {
        let (unused, lent_bytes) = (Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(Shared { unused, keep_bytes, lent_bytes }))
    }

    /// A buffer whose capacity is at least `capacity`, and at most `waste` more if it was used
    /// before. Its length says how much of it is initialised, with bytes that mean nothing.
    #[must_use]
    pub fn take(&self, capacity: usize, waste: usize) -> Vec<u8> {
        if capacity < SMALLEST_BYTES {
            return Vec::with_capacity(capacity);
        }
        let most = capacity.saturating_add(waste.max(STEP_BYTES));
        let mut unused = self.0.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |buffer: &Vec<u8>| (capacity..=most).contains(&buffer.capacity());
        if let Some(place) = unused.buffers.iter().rposition(fits) {
            let buffer = unused.buffers.remove(place);
            unused.bytes = unused.bytes.saturating_sub(buffer.capacity());
            return buffer;
        }
        drop(unused);
        Vec::with_capacity(capacity.checked_next_multiple_of(STEP_BYTES).unwrap_or(capacity))
    }

    /// The first `used` bytes of `buffer`, which comes back here when nobody holds them any more.
    #[must_use]
    pub fn lend(&self, buffer: Vec<u8>, used: usize) -> Bytes {
        if buffer.capacity() < SMALLEST_BYTES {
            let mut buffer = buffer;
            buffer.truncate(used);
            return Bytes::from(buffer);
        }
        self.0.lent_bytes.fetch_add(buffer.capacity(), Ordering::Relaxed);
        Bytes::from_owner(Lent { buffer, used, pool: self.clone() })
    }

    /// Bytes of the buffers that are lent and not back yet, whoever holds them; those too small to be
    /// kept are not counted.
    #[must_use]
    pub fn lent_bytes(&self) -> usize {
        self.0.lent_bytes.load(Ordering::Relaxed)
    }

    /// Takes a buffer back. The oldest go if there are too many.
    pub fn give(&self, buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity < SMALLEST_BYTES || capacity > self.0.keep_bytes {
            return;
        }
        let mut unused = self.0.unused.lock().unwrap_or_else(PoisonError::into_inner);
        unused.bytes = unused.bytes.saturating_add(capacity);
        unused.buffers.push(buffer);
        let mut gone = Vec::new();
        while unused.bytes > self.0.keep_bytes && !unused.buffers.is_empty() {
            let oldest = unused.buffers.remove(0);
            unused.bytes = unused.bytes.saturating_sub(oldest.capacity());
            gone.push(oldest);
        }
        // Freeing takes a while; nobody has to wait for it.
        drop(unused);
        drop(gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn unused_bytes(pool: &BufferPool) -> usize {
        pool.0.unused.lock().unwrap().bytes
    }

    #[test]
    fn a_lent_buffer_comes_back_when_its_last_holder_is_gone() {
        let pool = BufferPool::new(4 * MIB);
        let mut buffer = pool.take(MIB, 0);
        buffer.resize(MIB, 7);
        let address = buffer.as_ptr();
        let lent = pool.lend(buffer, 3);
        let part = lent.slice(1..);
        drop(lent);
        assert_eq!((&part[..], unused_bytes(&pool)), (&[7, 7][..], 0));
        assert_eq!(pool.lent_bytes(), MIB);
        drop(part);
        assert_eq!((unused_bytes(&pool), pool.lent_bytes()), (MIB, 0));
        let again = pool.take(MIB - 5, 5);
        assert_eq!((again.as_ptr(), again.len()), (address, MIB));
    }

    #[test]
    fn no_more_than_the_bound_is_kept_and_the_newest_is_used_first() {
        let pool = BufferPool::new(2 * MIB);
        let buffers: Vec<_> = (0..3).map(|_| pool.take(MIB, 0)).collect();
        let newest = buffers[2].as_ptr();
        buffers.into_iter().for_each(|buffer| pool.give(buffer));
        assert_eq!(unused_bytes(&pool), 2 * MIB);
        let first = pool.take(MIB, 0);
        assert_eq!(first.as_ptr(), newest);
        pool.give(Vec::with_capacity(3 * MIB));
        assert_eq!(unused_bytes(&pool), MIB);
    }

    #[test]
    fn a_buffer_much_larger_than_asked_for_stays() {
        let pool = BufferPool::new(8 * MIB);
        pool.give(Vec::with_capacity(4 * MIB));
        assert!(pool.take(MIB, MIB).capacity() <= 2 * MIB);
        assert_eq!(unused_bytes(&pool), 4 * MIB);
    }

    #[test]
    fn small_buffers_are_not_kept() {
        let pool = BufferPool::new(MIB);
        drop(pool.lend(pool.take(100, 0), 0));
        assert_eq!(unused_bytes(&pool), 0);
    }
}
