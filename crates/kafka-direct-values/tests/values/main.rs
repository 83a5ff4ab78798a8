//! What the crate promises: every record decodes or is poison, and what becomes of poison.

#![allow(clippy::unwrap_used, clippy::panic, reason = "functions shared by tests may fail them")]

mod properties;
mod sink;
mod typed;

use std::sync::Arc;

use kafka_direct::{
    Column, Columns,
    arrow::{
        array::{
            ArrayRef, BinaryViewArray, DictionaryArray, Int32Array, Int64Array, RecordBatch,
            StringArray, TimestampMillisecondArray,
        },
        schema::Schema,
    },
};

/// The columns that name a record, and its key, value and timestamp.
fn columns() -> Columns {
    Columns::default().without(Column::TimestampType)
}

/// Key and value of a record.
type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// A batch as the engine builds it: partition 3 of the topic `orders`, offsets from 100.
fn batch(records: &[KeyValue<'_>]) -> RecordBatch {
    let rows = i32::try_from(records.len()).unwrap();
    let keys: BinaryViewArray = records.iter().map(|(key, _)| *key).collect();
    let values: BinaryViewArray = records.iter().map(|(_, value)| *value).collect();
    let topics = Int32Array::from(vec![0; records.len()]);
    let topics = DictionaryArray::new(topics, Arc::new(StringArray::from(vec!["orders"])));
    let times = TimestampMillisecondArray::from_iter_values((0..rows).map(i64::from));
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(keys),
        Arc::new(values),
        Arc::new(topics),
        Arc::new(Int32Array::from(vec![3; records.len()])),
        Arc::new(Int64Array::from_iter_values((0..rows).map(|row| 100 + i64::from(row)))),
        Arc::new(times.with_timezone("UTC")),
    ];
    RecordBatch::try_new(kafka_direct::schema(columns()), arrays).unwrap()
}

/// A batch of values without keys.
fn values(values: &[Option<&str>]) -> RecordBatch {
    let records: Vec<_> = values.iter().map(|value| (None, value.map(str::as_bytes))).collect();
    batch(&records)
}

fn offsets(batch: &RecordBatch) -> Vec<i64> {
    let offsets = batch.column_by_name("offset").unwrap();
    offsets.as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name().as_str()).collect()
}
