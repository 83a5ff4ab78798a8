//! The buffers that the views of one batch point into, and which of them the batch must keep alive.

use std::sync::Arc;

use arrow_buffer::Buffer;

use super::views::MAX_INLINE_BYTES;

/// The kind of buffer that views point into. At any time, at most one buffer of each kind is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The bytes of the response that is being decoded.
    Fetched,
    /// The arena, which becomes a buffer when the batch is finished.
    Arena,
    /// The former arena of the previous batch, which ended inside a Kafka batch.
    Frozen,
    /// The replacements of header keys that are not UTF-8.
    Replaced,
}

/// A buffer, at the position of its index.
#[derive(Debug)]
struct Entry {
    origin: Origin,
    /// `None` for the arena and the replaced keys, which become buffers when the batch is finished.
    buffer: Option<Buffer>,
    /// Whether any view points into the buffer.
    referenced: bool,
}

/// The buffers of one batch, in the order of their indices.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    entries: Vec<Entry>,
    /// The index of the open buffer of each origin. A later response gets an index of its own.
    open: [Option<u32>; 4],
    /// The size of the closed buffers that views point into, in bytes.
    kept_bytes: usize,
}

impl Origin {
    const fn ordinal(self) -> usize {
        match self {
            Self::Fetched => 0,
            Self::Arena => 1,
            Self::Frozen => 2,
            Self::Replaced => 3,
        }
    }
}

impl Sources {
    /// The buffer index in views of this origin. If the origin has no open buffer, `buffer` is
    /// opened.
    #[inline]
    pub(crate) fn index(&mut self, origin: Origin, buffer: impl FnOnce() -> Option<Buffer>) -> u32 {
        if let Some(Some(index)) = self.open.get(origin.ordinal()) {
            return *index;
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry { origin, buffer: buffer(), referenced: false });
        if let Some(open) = self.open.get_mut(origin.ordinal()) {
            *open = Some(index);
        }
        index
    }

    /// The position of this origin's open buffer.
    fn open_index(&self, origin: Origin) -> Option<usize> {
        let index = *self.open.get(origin.ordinal())?;
        index.map(|index| index as usize)
    }

    /// Records the length of the longest view over this origin's buffer, in bytes. Short views hold
    /// their bytes themselves and do not point into the buffer.
    #[inline]
    pub(crate) fn note(&mut self, origin: Origin, longest: usize) {
        if longest <= MAX_INLINE_BYTES {
            return;
        }
        if let Some(entry) = self.open_index(origin).and_then(|at| self.entries.get_mut(at)) {
            entry.referenced = true;
        }
    }

    /// Whether any view points into this origin's open buffer.
    pub(crate) fn is_referenced(&self, origin: Origin) -> bool {
        let entry = self.open_index(origin).and_then(|at| self.entries.get(at));
        entry.is_some_and(|entry| entry.referenced)
    }

    /// Closes this origin's buffer: later views of the origin point into another one. A buffer that
    /// no view points into is released immediately.
    pub(crate) fn close(&mut self, origin: Origin) {
        let Some(index) = self.open_index(origin) else { return };
        if let Some(open) = self.open.get_mut(origin.ordinal()) {
            *open = None;
        }
        let Some(entry) = self.entries.get_mut(index) else { return };
        if entry.referenced {
            let bytes = entry.buffer.as_ref().map_or(0, Buffer::len);
            self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        } else {
            entry.buffer = None;
            // Indices at the end that are not needed become free again.
            let open = self.open;
            let is_needed = |(at, entry): (usize, &Entry)| {
                entry.referenced || open.contains(&u32::try_from(at).ok())
            };
            let last = self.entries.iter().enumerate().rposition(is_needed);
            self.entries.truncate(last.map_or(0, |at| at + 1));
        }
    }

    /// The size of the closed buffers that views keep alive, in bytes.
    pub(crate) const fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Releases all buffers. No row may be left that points into one.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.open = [None; 4];
        self.kept_bytes = 0;
    }

    /// Takes the buffers in the order of their indices. An empty buffer replaces one that no view
    /// points into, so that the batch does not keep it alive.
    pub(super) fn take(&mut self, arena: Option<Buffer>, replaced: Vec<u8>) -> Arc<[Buffer]> {
        self.open = [None; 4];
        self.kept_bytes = 0;
        if !self.entries.iter().any(|entry| entry.referenced) {
            self.entries.clear();
            return Arc::new([]);
        }
        let mut arena = arena;
        let mut replaced = Some(replaced);
        let buffers = self.entries.drain(..).map(|entry| {
            if !entry.referenced {
                return Buffer::default();
            }
            entry.buffer.unwrap_or_else(|| match entry.origin {
                Origin::Replaced => Buffer::from_vec(replaced.take().unwrap_or_default()),
                _ => arena.take().unwrap_or_default(),
            })
        });
        buffers.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_nothing_points_into_is_released() {
        let mut sources = Sources::default();
        let buffer = |bytes: usize| move || Some(Buffer::from_vec(vec![7u8; bytes]));
        assert_eq!(sources.index(Origin::Fetched, buffer(100)), 0);
        assert_eq!(sources.index(Origin::Replaced, || None), 1);
        for _ in 0..9 {
            sources.close(Origin::Fetched);
            assert_eq!(sources.index(Origin::Fetched, buffer(100)), 2);
        }
        assert_eq!(sources.kept_bytes(), 0);
        sources.note(Origin::Fetched, MAX_INLINE_BYTES + 1);
        sources.close(Origin::Fetched);
        assert_eq!(sources.kept_bytes(), 100);
        assert_eq!(sources.index(Origin::Fetched, buffer(50)), 3);
        let lengths: Vec<usize> = sources.take(None, Vec::new()).iter().map(Buffer::len).collect();
        assert_eq!(lengths, [0, 0, 100, 0]);
        assert_eq!((sources.index(Origin::Fetched, buffer(1)), sources.kept_bytes()), (0, 0));
    }
}
