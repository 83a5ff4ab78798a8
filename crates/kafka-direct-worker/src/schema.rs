//! The Arrow schema of a set of columns.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use crate::{Column, Columns};

/// The Arrow schema of batches with these columns, in the order of [`Column::ALL`].
///
/// The same set of columns always has the same schema, so batches of all partitions and reads can
/// be combined.
#[must_use]
pub fn schema(columns: Columns) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(field).collect::<Fields>()))
}

fn field(column: Column) -> Field {
    let nullable = matches!(column, Column::Key | Column::Value | Column::Timestamp);
    Field::new(column.as_str(), data_type(column), nullable)
}

fn data_type(column: Column) -> DataType {
    match column {
        Column::Key | Column::Value => DataType::BinaryView,
        Column::Topic => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        Column::Partition => DataType::Int32,
        Column::Offset => DataType::Int64,
        Column::Timestamp => timestamp_type(),
        Column::TimestampType => DataType::Int8,
        Column::Headers => DataType::List(header_item()),
    }
}

/// The type of the timestamp column: milliseconds since the epoch, in UTC.
pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

/// The item type of the headers column: one header.
pub(crate) fn header_item() -> FieldRef {
    Arc::new(Field::new("item", DataType::Struct(header_fields()), false))
}

/// The fields of one header: key and value.
pub(crate) fn header_fields() -> Fields {
    [Field::new("key", DataType::Utf8View, false), Field::new("value", DataType::BinaryView, true)]
        .into_iter()
        .collect()
}
