//! JSON objects of a schema, decoded into one struct column.
//!
//! Contract: every document is read once, whatever is wrong with others. A document that fails leaves a
//! null row; the rows of other documents are as if it were not there.

mod column;
mod schema;
mod struct_column;
mod types;

use std::sync::Arc;

use kafka_direct::arrow::array::{Array as _, ArrayRef, BinaryViewArray};

pub use self::schema::JsonSchema;
use self::struct_column::StructColumn;
use crate::{Error, text};

/// Decodes the documents of `array`. Returns a struct array with null for those that cannot be decoded,
/// and their rows with the reasons, in ascending order.
pub(crate) fn decode(
    array: &BinaryViewArray,
    schema: &JsonSchema,
) -> Result<(ArrayRef, Vec<(usize, String)>), Error> {
    let mut columns = StructColumn::new(schema.fields(), array.len());
    let mut failed = Vec::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            columns.end_row(false);
            continue;
        }
        let done = text::utf8(array.value(row)).and_then(|text| columns.document(text));
        columns.end_row(done.is_ok());
        if let Err(reason) = done {
            failed.push((row, reason));
        }
    }
    Ok((Arc::new(columns.finish()?), failed))
}
