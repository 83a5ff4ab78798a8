//! Values only, each followed by a line feed; a null value is an empty line.

use kafka_direct::{
    Column,
    arrow::{array::RecordBatch, schema::Schema},
};

use super::{cells, is_full, rows::Rows};
use crate::Error;

/// Refuses columns without the value, and values that are structs.
pub(super) fn check(schema: &Schema) -> Result<(), Error> {
    match schema.column_with_name(Column::Value.as_str()) {
        None => Err(no_values()),
        Some((_, field)) if cells::is_object(field.data_type()) => Err(Error::invalid(
            "the format raw cannot carry the fields of the column `value`; write JSON lines, Parquet or Arrow, or leave the schema out",
        )),
        Some(_) => Ok(()),
    }
}

fn no_values() -> Error {
    Error::invalid("the format raw writes values: leave `value` among the columns")
}

/// Appends the values of `batch` from row `from` on until `out` is full; returns the row to continue
/// with.
pub(super) fn encode(batch: &RecordBatch, from: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    let rows = Rows::new(batch)?;
    let values = rows.value.ok_or_else(no_values)?;
    for row in from..rows.len {
        if let Some(value) = values.bytes(row)? {
            out.extend_from_slice(&value);
        }
        out.push(b'\n');
        if is_full(out) {
            return Ok(row.saturating_add(1));
        }
    }
    Ok(rows.len)
}
