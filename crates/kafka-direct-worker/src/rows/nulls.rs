//! The bitmap of null rows.

use arrow_buffer::{BooleanBufferBuilder, NullBuffer};

/// Builds the bitmap of `len` rows, of which the first `leading` rows and those in `rows` are null.
/// `None` if no row is null.
pub(super) fn null_buffer(leading: usize, rows: &[usize], len: usize) -> Option<NullBuffer> {
    if leading == 0 && rows.is_empty() {
        return None;
    }
    let mut valid = BooleanBufferBuilder::new(len);
    valid.append_n(leading, false);
    valid.append_n(len.saturating_sub(leading), true);
    for row in rows {
        valid.set_bit(*row, false);
    }
    Some(NullBuffer::new(valid.finish()))
}
