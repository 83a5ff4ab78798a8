//! The bitmap of the rows that are null.

use arrow_buffer::{BooleanBufferBuilder, NullBuffer};

/// The bitmap of `len` rows of which the first `leading` and those in `rows` are null; none if
/// there are none.
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
