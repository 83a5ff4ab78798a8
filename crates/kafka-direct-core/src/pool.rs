//! A pool of byte buffers, which reuses the memory of record sets and decompressed batches.
//!
//! A reader allocates and frees thousands of these buffers. Recently used memory is in the
//! processor's caches and needs no new page from the operating system.
//!
//! Contract: the pool lends a buffer as [`Bytes`] and takes it back when the last clone is dropped.
//! The bytes of unused buffers are bounded. Capacities are rounded to few sizes, so that a buffer
//! fits most later requests of similar size. Of one size, the pool takes the newest buffer first:
//! it is the most likely to be in a cache.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

/// The capacity below which the pool keeps no buffer and leaves it to the allocator.
const SMALLEST_BYTES: usize = 32 << 10;

/// A pool of unused byte buffers, which all clones share.
#[derive(Debug, Clone)]
pub struct BufferPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    unused: Mutex<Unused>,
    /// The bound on the bytes of unused and lent buffers together.
    bytes: usize,
    /// The sum of the capacities of all lent buffers.
    lent_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Unused {
    /// The buffers by capacity, the oldest of each capacity first, with their sequence numbers.
    by_capacity: BTreeMap<usize, VecDeque<(u64, Vec<u8>)>>,
    /// The sum of their capacities.
    bytes: usize,
    /// How many buffers were added so far: the sequence number of the newest.
    added: u64,
}

/// A lent buffer, which returns to its pool when it is dropped.
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

impl Unused {
    /// Takes a buffer of `least` to `most` bytes, both inclusive: of the smallest such capacity,
    /// the newest buffer.
    fn take(&mut self, least: usize, most: usize) -> Option<Vec<u8>> {
        let fitting = self.by_capacity.range_mut(least..=most);
        let (_, buffer) = fitting.map(|(_, buffers)| buffers).find_map(VecDeque::pop_back)?;
        self.bytes = self.bytes.saturating_sub(buffer.capacity());
        Some(buffer)
    }

    fn put(&mut self, buffer: Vec<u8>) {
        self.added = self.added.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(buffer.capacity());
        self.by_capacity.entry(buffer.capacity()).or_default().push_back((self.added, buffer));
    }

    fn take_oldest(&mut self) -> Option<Vec<u8>> {
        let nonempty = self.by_capacity.values_mut().filter(|buffers| !buffers.is_empty());
        let oldest = nonempty.min_by_key(|buffers| buffers.front().map(|(number, _)| *number))?;
        let (_, buffer) = oldest.pop_front()?;
        self.bytes = self.bytes.saturating_sub(buffer.capacity());
        Some(buffer)
    }
}

impl BufferPool {
    /// A pool that keeps unused buffers, as long as unused and lent buffers together have at most
    /// `bytes` bytes.
    ///
    /// It always keeps up to a third of `bytes`, however much is lent. The pool applies both bounds
    /// when a buffer returns, and when no unused buffer fits a request.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let (unused, lent_bytes) = (Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(Shared { unused, bytes, lent_bytes }))
    }

    /// Takes a buffer whose capacity is at least `capacity` and at most a quarter more.
    ///
    /// Its length is the number of initialised bytes. Their values have no meaning.
    #[must_use]
    pub fn take(&self, capacity: usize) -> Vec<u8> {
        self.take_up_to(capacity, capacity.saturating_add(capacity / 4))
    }

    /// Takes a buffer as [`BufferPool::take`] does, but an unused buffer may be of any larger size.
    ///
    /// It is for callers that return a buffer soon if they use only a small part of it.
    #[must_use]
    pub fn take_any(&self, capacity: usize) -> Vec<u8> {
        self.take_up_to(capacity, usize::MAX)
    }

    fn take_up_to(&self, capacity: usize, most: usize) -> Vec<u8> {
        if capacity < SMALLEST_BYTES {
            return Vec::with_capacity(capacity);
        }
        let mut unused = self.unused();
        if let Some(taken) = unused.take(capacity, most) {
            return taken;
        }
        let surplus = self.surplus(&mut unused);
        drop(unused);
        drop(surplus);
        Vec::with_capacity(rounded(capacity))
    }

    /// Takes out the oldest buffers until the unused ones are within their bound.
    fn surplus(&self, unused: &mut Unused) -> Vec<Vec<u8>> {
        let most = self.most_unused();
        let mut surplus = Vec::new();
        while unused.bytes > most
            && let Some(oldest) = unused.take_oldest()
        {
            surplus.push(oldest);
        }
        surplus
    }

    fn most_unused(&self) -> usize {
        (self.0.bytes / 3).max(self.0.bytes.saturating_sub(self.lent_bytes()))
    }

    fn unused(&self) -> std::sync::MutexGuard<'_, Unused> {
        self.0.unused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends the first `used` bytes of `buffer`, which returns to the pool when their last clone is
    /// dropped.
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

    /// The sum of the capacities of all lent buffers, in bytes. Buffers that are too small to be
    /// kept do not count.
    #[must_use]
    pub fn lent_bytes(&self) -> usize {
        self.0.lent_bytes.load(Ordering::Relaxed)
    }

    /// Returns a buffer to the pool. If the unused buffers exceed their bound, the oldest are
    /// freed.
    pub fn give(&self, buffer: Vec<u8>) {
        if buffer.capacity() < SMALLEST_BYTES {
            return;
        }
        let mut unused = self.unused();
        // A buffer that exceeds the bound by itself must not evict all others.
        let too_large = if buffer.capacity() <= self.most_unused() {
            unused.put(buffer);
            None
        } else {
            Some(buffer)
        };
        let surplus = self.surplus(&mut unused);
        // Freeing takes time, so the lock is released before it.
        drop(unused);
        drop((surplus, too_large));
    }
}

/// Rounds up by at most a quarter, to the next of four sizes between a power of two and its double.
const fn rounded(capacity: usize) -> usize {
    let step = match capacity.checked_ilog2() {
        Some(magnitude) if magnitude > 2 => 1 << (magnitude - 2),
        _ => 1,
    };
    match capacity.checked_next_multiple_of(step) {
        Some(rounded) => rounded,
        None => capacity,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn unused_bytes(pool: &BufferPool) -> usize {
        pool.unused().bytes
    }

    /// Lends one buffer of each of these sizes, all at the same time.
    fn lend(pool: &BufferPool, sizes: &[usize]) -> Vec<Bytes> {
        sizes.iter().map(|size| pool.lend(pool.take(*size), 1)).collect()
    }

    #[test]
    fn a_lent_buffer_returns_when_its_last_clone_is_dropped() {
        let pool = BufferPool::new(4 * MIB);
        let mut buffer = pool.take(MIB);
        buffer.resize(MIB, 7);
        let address = buffer.as_ptr();
        let lent = pool.lend(buffer, 3);
        let part = lent.slice(1..);
        drop(lent);
        assert_eq!((&part[..], unused_bytes(&pool)), (&[7, 7][..], 0));
        assert_eq!(pool.lent_bytes(), MIB);
        drop(part);
        assert_eq!((unused_bytes(&pool), pool.lent_bytes()), (MIB, 0));
        let again = pool.take(MIB - 5);
        assert_eq!((again.as_ptr(), again.len()), (address, MIB));
    }

    #[test]
    fn of_one_size_the_newest_is_taken_first_and_the_oldest_is_freed_first() {
        let pool = BufferPool::new(2 * MIB);
        let buffers: Vec<_> = (0..3).map(|_| pool.take(MIB)).collect();
        let [_, second, newest] = [0, 1, 2].map(|index: usize| buffers[index].as_ptr());
        buffers.into_iter().for_each(|buffer| pool.give(buffer));
        assert_eq!(unused_bytes(&pool), 2 * MIB);
        let taken = [pool.take(MIB), pool.take(MIB)];
        assert_eq!(taken.map(|buffer| buffer.as_ptr()), [newest, second]);
    }

    #[test]
    fn unused_and_lent_stay_within_the_bound_except_for_a_third_of_it() {
        let pool = BufferPool::new(6 * MIB);
        let all = lend(&pool, &[MIB; 6]);
        drop(all);
        assert_eq!(unused_bytes(&pool), 6 * MIB);
        let mut all = lend(&pool, &[MIB; 12]);
        all.truncate(9);
        assert_eq!((unused_bytes(&pool), pool.lent_bytes()), (2 * MIB, 9 * MIB));
        all.truncate(3);
        assert_eq!((unused_bytes(&pool), pool.lent_bytes()), (3 * MIB, 3 * MIB));
        pool.give(Vec::with_capacity(4 * MIB));
        assert_eq!(unused_bytes(&pool), 3 * MIB);
    }

    #[test]
    fn lent_bytes_count_when_no_buffer_fits_or_one_is_too_large() {
        let pool = BufferPool::new(6 * MIB);
        drop(lend(&pool, &[MIB; 6]));
        let kept = lend(&pool, &[2 * MIB; 2]);
        assert_eq!((unused_bytes(&pool), pool.lent_bytes()), (4 * MIB, 4 * MIB));
        drop(pool.take(2 * MIB));
        assert_eq!(unused_bytes(&pool), 2 * MIB);
        drop(kept);
        let kept = lend(&pool, &[3 * MIB; 2]);
        pool.give(Vec::with_capacity(5 * MIB));
        assert_eq!((unused_bytes(&pool), pool.lent_bytes()), (2 * MIB, 6 * MIB));
        drop(kept);
    }

    #[test]
    fn the_smallest_that_fits_is_taken_and_a_much_larger_one_only_by_take_any() {
        let pool = BufferPool::new(64 * MIB);
        drop(lend(&pool, &[4 * MIB, 2 * MIB, 3 * MIB]));
        assert_eq!(pool.take(MIB).capacity(), MIB);
        assert_eq!(pool.take(2 * MIB - 1).capacity(), 2 * MIB);
        assert_eq!(pool.take_any(MIB).capacity(), 3 * MIB);
        assert_eq!(pool.take_any(MIB).capacity(), 4 * MIB);
        assert_eq!(pool.take_any(MIB).capacity(), MIB);
    }

    #[test]
    fn there_are_four_sizes_between_a_power_of_two_and_its_double() {
        let mut sizes: Vec<_> = (MIB + 1..=2 * MIB).step_by(1000).map(rounded).collect();
        sizes.dedup();
        assert_eq!(sizes, [5 * MIB / 4, 3 * MIB / 2, 7 * MIB / 4, 2 * MIB]);
        assert_eq!([rounded(0), rounded(3), rounded(usize::MAX)], [0, 3, usize::MAX]);
        for bytes in (1..10_000).map(|part| part * 997) {
            assert!((bytes..=bytes + bytes / 4).contains(&rounded(bytes)), "{bytes}");
        }
    }

    #[test]
    fn small_buffers_are_not_kept() {
        let pool = BufferPool::new(MIB);
        drop(pool.lend(pool.take(100), 0));
        assert_eq!(unused_bytes(&pool), 0);
    }
}
