//! The buffers that the views of one batch point into, and which of them are really needed.

use std::sync::Arc;

use arrow_buffer::Buffer;

use super::views::MAX_INLINE_BYTES;

/// Where bytes stand that are being viewed; at any time there is at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The bytes of the answer being decoded.
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
    /// Whether it is still what its origin means: a later answer has a slot of its own.
    current: bool,
    referenced: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Sources {
    slots: Vec<Slot>,
}

impl Sources {
    /// The index views use for this origin, which takes its place with `buffer` if it has none.
    pub(crate) fn index(&mut self, origin: Origin, buffer: impl FnOnce() -> Option<Buffer>) -> u32 {
        let known = self.slots.iter().rposition(|slot| slot.origin == origin && slot.current);
        let index = known.unwrap_or_else(|| {
            self.slots.push(Slot { origin, buffer: buffer(), current: true, referenced: false });
            self.slots.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// Notes the longest view made over this origin; short ones do not point into it.
    pub(crate) fn note(&mut self, origin: Origin, longest: usize) {
        if longest <= MAX_INLINE_BYTES {
            return;
        }
        if let Some(slot) = self.slots.iter_mut().rfind(|s| s.origin == origin && s.current) {
            slot.referenced = true;
        }
    }

    /// Whether any view points into it.
    pub(crate) fn is_referenced(&self, origin: Origin) -> bool {
        self.slots.iter().any(|slot| slot.origin == origin && slot.current && slot.referenced)
    }

    /// What is viewed under this origin from here on is another buffer.
    pub(crate) fn forget(&mut self, origin: Origin) {
        for slot in self.slots.iter_mut().filter(|slot| slot.origin == origin) {
            slot.current = false;
        }
    }

    /// The buffers in the order of their indices. Those that no view points into are left empty, so
    /// that they are not kept alive.
    pub(super) fn take(&mut self, arena: Option<Buffer>, replaced: Vec<u8>) -> Arc<[Buffer]> {
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
