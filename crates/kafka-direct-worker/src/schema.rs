//! The Arrow schema of a set of columns.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use crate::{Column, Columns};

/// The Arrow schema of batches with these columns, in the order of [`Column::ALL`].
///
/// | column | Arrow type | nullable | content |
/// |---|---|---|---|
/// | `key` | `BinaryView` | yes | the record's key |
/// | `value` | `BinaryView` | yes | the record's value; null for a tombstone |
/// | `topic` | `Dictionary(Int32, Utf8)` | no | the topic's name |
/// | `partition` | `Int32` | no | the partition's index |
/// | `offset` | `Int64` | no | the record's offset |
/// | `timestamp` | `Timestamp(ms, "UTC")` | yes | null if the record has none |
/// | `timestamp_type` | `Int8` | no | 0 set by the producer, 1 by the broker |
/// | `headers` | `List(non-null Struct("key": non-null Utf8View, "value": BinaryView))` | no | in order, duplicates included; not read by default |
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
