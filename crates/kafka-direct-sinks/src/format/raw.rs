//! Values only, each followed by a line feed; a null value is an empty line.

use kafka_direct::arrow::array::{Array as _, RecordBatch};

use super::{is_full, rows::Rows};
use crate::Error;

/// Appends the values of `batch` from row `from` on until `out` is full; returns the row to continue
/// with.
pub(super) fn encode(batch: &RecordBatch, from: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    let rows = Rows::new(batch)?;
    let Some(values) = rows.value else {
        return Err(Error::invalid(
            "the format raw writes values: leave `value` among the columns",
        ));
    };
    for row in from..rows.len {
        if !values.is_null(row) {
            out.extend_from_slice(values.value(row));
        }
        out.push(b'\n');
        if is_full(out) {
            return Ok(row.saturating_add(1));
        }
    }
    Ok(rows.len)
}
