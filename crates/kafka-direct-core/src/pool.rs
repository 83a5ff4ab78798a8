//! Byte buffers that are used again: record sets and decompressed batches live and die by the
//! thousand, and memory that was touched lately is in the processor's caches and needs no page
//! from the operating system.
//!
//! Contract: a buffer is lent as [`Bytes`] and comes back when the last of their clones is dropped;
//! what lies unused is bounded. There are few sizes, so that a buffer serves again for nearly all
//! that is as large. Of a size the newest goes first: it is the likeliest to be in a cache.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

/// Below this a buffer is the allocator's affair.
const SMALLEST_BYTES: usize = 32 << 10;

/// Unused buffers, shared by all clones.
#[derive(Debug, Clone)]
pub struct BufferPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    unused: Mutex<Unused>,
    /// What the unused and the lent may have together.
    bytes: usize,
    /// The capacities of all that is lent.
    lent_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Unused {
    /// By capacity; each shelf has its oldest first, and when it came.
    shelves: BTreeMap<usize, VecDeque<(u64, Vec<u8>)>>,
    /// The sum of their capacities.
    bytes: usize,
    /// How many came so far.
    came: u64,
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

impl Unused {
    /// The newest of the smallest that has between `least` and `most` bytes.
    fn take(&mut self, least: usize, most: usize) -> Option<Vec<u8>> {
        let shelves = self.shelves.range_mut(least..=most);
        let (_, buffer) = shelves.map(|(_, shelf)| shelf).find_map(VecDeque::pop_back)?;
        self.bytes = self.bytes.saturating_sub(buffer.capacity());
        Some(buffer)
    }

    fn put(&mut self, buffer: Vec<u8>) {
        self.came = self.came.wrapping_add(1);
        self.bytes = self.bytes.saturating_add(buffer.capacity());
        self.shelves.entry(buffer.capacity()).or_default().push_back((self.came, buffer));
    }

    fn take_oldest(&mut self) -> Option<Vec<u8>> {
        let shelves = self.shelves.values_mut().filter(|shelf| !shelf.is_empty());
        let oldest = shelves.min_by_key(|shelf| shelf.front().map(|(came, _)| *came))?;
        let (_, buffer) = oldest.pop_front()?;
        self.bytes = self.bytes.saturating_sub(buffer.capacity());
        Some(buffer)
    }
}

impl BufferPool {
    /// A pool that keeps buffers while nobody uses them, as long as they and what is lent are at
    /// most `bytes` together; whatever is lent, up to a third of `bytes`. Both are looked at when a
    /// buffer comes back, and when none fits.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let (unused, lent_bytes) = (Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(Shared { unused, bytes, lent_bytes }))
    }

    /// A buffer whose capacity is at least `capacity` and at most a quarter more. Its length says
    /// how much of it is initialised, with bytes that mean nothing.
    #[must_use]
    pub fn take(&self, capacity: usize) -> Vec<u8> {
        self.take_up_to(capacity, capacity.saturating_add(capacity / 4))
    }

    /// As [`BufferPool::take`], but an unused buffer may be of any size: for those who do not keep
    /// what they need little of.
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
        let gone = self.surplus(&mut unused);
        drop(unused);
        drop(gone);
        Vec::with_capacity(rounded(capacity))
    }

    /// The oldest buffers, as many as there are too many.
    fn surplus(&self, unused: &mut Unused) -> Vec<Vec<u8>> {
        let most = self.most_unused();
        let mut gone = Vec::new();
        while unused.bytes > most
            && let Some(oldest) = unused.take_oldest()
        {
            gone.push(oldest);
        }
        gone
    }

    fn most_unused(&self) -> usize {
        (self.0.bytes / 3).max(self.0.bytes.saturating_sub(self.lent_bytes()))
    }

    fn unused(&self) -> std::sync::MutexGuard<'_, Unused> {
        self.0.unused.lock().unwrap_or_else(PoisonError::into_inner)
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
        if buffer.capacity() < SMALLEST_BYTES {
            return;
        }
        let mut unused = self.unused();
        // One that is too large by itself must not drive out all others.
        let too_large = if buffer.capacity() <= self.most_unused() {
            unused.put(buffer);
            None
        } else {
            Some(buffer)
        };
        let gone = self.surplus(&mut unused);
        // Freeing takes a while; nobody has to wait for it.
        drop(unused);
        drop((gone, too_large));
    }
}

/// Up to a quarter more: the next of four sizes between a power of two and its double.
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

    /// Lends one buffer of each of these sizes, so that all are there at once.
    fn lend(pool: &BufferPool, sizes: &[usize]) -> Vec<Bytes> {
        sizes.iter().map(|size| pool.lend(pool.take(*size), 1)).collect()
    }

    #[test]
    fn a_lent_buffer_comes_back_when_its_last_holder_is_gone() {
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
    fn of_a_size_the_newest_is_used_first_and_the_oldest_goes_first() {
        let pool = BufferPool::new(2 * MIB);
        let buffers: Vec<_> = (0..3).map(|_| pool.take(MIB)).collect();
        let [_, second, newest] = [0, 1, 2].map(|place: usize| buffers[place].as_ptr());
        buffers.into_iter().for_each(|buffer| pool.give(buffer));
        assert_eq!(unused_bytes(&pool), 2 * MIB);
        let taken = [pool.take(MIB), pool.take(MIB)];
        assert_eq!(taken.map(|buffer| buffer.as_ptr()), [newest, second]);
    }

    #[test]
    fn unused_and_lent_are_no_more_than_the_bound_but_for_a_third_of_it() {
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
    fn what_is_lent_meanwhile_counts_when_no_buffer_fits_or_one_is_too_large() {
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
    fn the_smallest_that_fits_is_taken_and_a_much_larger_one_only_by_who_says_so() {
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
