//! Output buffers that are used again.

use parking_lot::Mutex;

use super::FULL_BYTES;

/// The largest capacity a buffer may have grown to and still be kept.
const KEPT_BYTES: usize = 4 * FULL_BYTES;

/// Output buffers that are used again: a formatter takes one, the writer gives it back.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// An empty buffer that is likely to have room.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        self.0.lock().pop().unwrap_or_default()
    }

    /// Keeps a buffer for the next, unless one large record made it large.
    pub fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        if (1..=KEPT_BYTES).contains(&buffer.capacity()) {
            self.0.lock().push(buffer);
        }
    }
}
