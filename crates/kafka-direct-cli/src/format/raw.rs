//! Values only, each followed by a line feed; a null value is an empty line.

use kafka_direct::arrow::array::{Array as _, RecordBatch};

use super::{Flush, rows::Rows};
use crate::exit::Failure;

/// Appends the value of every row of `batch`.
pub(super) fn encode(
    batch: &RecordBatch,
    out: &mut Vec<u8>,
    full: &mut Flush<'_>,
) -> Result<(), Failure> {
    let rows = Rows::new(batch)?;
    let Some(values) = rows.value else {
        return Err(Failure::usage("--format raw writes values; leave `value` among the columns"));
    };
    for row in 0..rows.len {
        if !values.is_null(row) {
            out.extend_from_slice(values.value(row));
        }
        out.push(b'\n');
        full(out)?;
    }
    Ok(())
}
