//! The buffers that the views of one batch point into, and which of them are really needed.

use std::sync::Arc;

use arrow_buffer::Buffer;

use super::views::MAX_INLINE_BYTES;

/// Where bytes stand that are being viewed; at any time there is at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The bytes of the response being decoded.
    Fetched,
    /// The arena, which becomes a buffer when the batch is finished.
    Arena,
    /// What was the arena when the batch before was finished in the middle of a Kafka batch.
    Frozen,
    /// Header keys that were not UTF-8.
    Replaced,
}

#[derive(Debug)]
struct Slot {
    origin: Origin,
    /// `None` for what becomes a buffer only at the end.
    buffer: Option<Buffer>,
    referenced: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Sources {
    slots: Vec<Slot>,
    /// Per origin: the slot of what it means now. A later response has a slot of its own.
    current: [Option<u32>; 4],
    /// What buffers hold that are not of now any more, and that views point into.
    kept_bytes: usize,
}

impl Origin {
    const fn place(self) -> usize {
        match self {
            Self::Fetched => 0,
            Self::Arena => 1,
            Self::Frozen => 2,
            Self::Replaced => 3,
        }
    }
}

impl Sources {
    /// The index views use for this origin, which takes its place with `buffer` if it has none.
    #[inline]
    pub(crate) fn index(&mut self, origin: Origin, buffer: impl FnOnce() -> Option<Buffer>) -> u32 {
        if let Some(Some(index)) = self.current.get(origin.place()) {
            return *index;
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(Slot { origin, buffer: buffer(), referenced: false });
        if let Some(current) = self.current.get_mut(origin.place()) {
            *current = Some(index);
        }
        index
    }

    fn slot(&self, origin: Origin) -> Option<usize> {
        let index = *self.current.get(origin.place())?;
        index.map(|index| index as usize)
    }

    /// Notes the longest view made over this origin; short ones do not point into it.
    #[inline]
    pub(crate) fn note(&mut self, origin: Origin, longest: usize) {
        if longest <= MAX_INLINE_BYTES {
            return;
        }
        if let Some(slot) = self.slot(origin).and_then(|slot| self.slots.get_mut(slot)) {
            slot.referenced = true;
        }
    }

    /// Whether any view points into it.
    pub(crate) fn is_referenced(&self, origin: Origin) -> bool {
        self.slot(origin).and_then(|slot| self.slots.get(slot)).is_some_and(|slot| slot.referenced)
    }

    /// What is viewed under this origin from here on is another buffer. One that no view points
    /// into is let go at once.
    pub(crate) fn forget(&mut self, origin: Origin) {
        let Some(index) = self.slot(origin) else { return };
        if let Some(current) = self.current.get_mut(origin.place()) {
            *current = None;
        }
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.referenced {
            let bytes = slot.buffer.as_ref().map_or(0, Buffer::len);
            self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        } else {
            slot.buffer = None;
            // The last ones' indices are free again.
            let current = self.current;
            let is_needed = |(at, slot): (usize, &Slot)| {
                slot.referenced || current.contains(&u32::try_from(at).ok())
            };
            let needed = self.slots.iter().enumerate().rposition(is_needed).map_or(0, |at| at + 1);
            self.slots.truncate(needed);
        }
    }

    /// How many bytes were let go of and are kept alive by views.
    pub(crate) const fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Lets everything go, where no row is left that could need it.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.current = [None; 4];
        self.kept_bytes = 0;
    }

    /// The buffers in the order of their indices. Those that no view points into are left empty, so
    /// that they are not kept alive.
    pub(super) fn take(&mut self, arena: Option<Buffer>, replaced: Vec<u8>) -> Arc<[Buffer]> {
        self.current = [None; 4];
        self.kept_bytes = 0;
        if !self.slots.iter().any(|slot| slot.referenced) {
            self.slots.clear();
            return Arc::new([]);
        }
        let mut arena = arena;
        let mut replaced = Some(replaced);
        let buffers = self.slots.drain(..).map(|slot| {
            if !slot.referenced {
                return Buffer::default();
            }
            slot.buffer.unwrap_or_else(|| match slot.origin {
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
            sources.forget(Origin::Fetched);
            assert_eq!(sources.index(Origin::Fetched, buffer(100)), 2);
        }
        assert_eq!(sources.kept_bytes(), 0);
        sources.note(Origin::Fetched, MAX_INLINE_BYTES + 1);
        sources.forget(Origin::Fetched);
        assert_eq!(sources.kept_bytes(), 100);
        assert_eq!(sources.index(Origin::Fetched, buffer(50)), 3);
        let lengths: Vec<usize> = sources.take(None, Vec::new()).iter().map(Buffer::len).collect();
        assert_eq!(lengths, [0, 0, 100, 0]);
        assert_eq!((sources.index(Origin::Fetched, buffer(1)), sources.kept_bytes()), (0, 0));
    }
}
