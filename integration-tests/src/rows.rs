//! Converts Arrow batches to plain rows, which tests compare.

use kafka_direct::arrow::array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Int8Type, Int32Type, Int64Type, TimestampMillisecondType},
};

use crate::cluster::Written;

/// Key and value of a record header.
pub type Header = (String, Option<Vec<u8>>);

/// One record with all of its columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub timestamp_type: i8,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
}

impl Row {
    /// Whether the row has the key, value and timestamp of `written`; its offset does not matter.
    #[must_use]
    pub fn is(&self, written: &Written) -> bool {
        self.key == written.key
            && self.value == written.value
            && self.timestamp == Some(written.timestamp)
    }
}

/// Converts batches that were read with all columns to rows.
#[must_use]
pub fn rows(batches: &[RecordBatch]) -> Vec<Row> {
    batches.iter().flat_map(rows_of).collect()
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let topic = column("topic").as_dictionary::<Int32Type>();
    let names = topic.values().as_string::<i32>();
    let partition = column("partition").as_primitive::<Int32Type>();
    let offset = column("offset").as_primitive::<Int64Type>();
    let timestamp = column("timestamp").as_primitive::<TimestampMillisecondType>();
    let timestamp_type = column("timestamp_type").as_primitive::<Int8Type>();
    let (key, value) = (column("key").as_binary_view(), column("value").as_binary_view());
    let headers = batch.column_by_name("headers").map(|headers| headers.as_list::<i32>());
    (0..batch.num_rows())
        .map(|row| Row {
            topic: names.value(topic.keys().value(row) as usize).to_owned(),
            partition: partition.value(row),
            offset: offset.value(row),
            timestamp: timestamp.is_valid(row).then(|| timestamp.value(row)),
            timestamp_type: timestamp_type.value(row),
            key: key.is_valid(row).then(|| key.value(row).to_vec()),
            value: value.is_valid(row).then(|| value.value(row).to_vec()),
            headers: headers.map(|headers| pairs(headers.value(row).as_ref())).unwrap_or_default(),
        })
        .collect()
}

fn pairs(headers: &dyn Array) -> Vec<Header> {
    let headers = headers.as_struct();
    let keys = headers.column(0).as_string_view();
    let values = headers.column(1).as_binary_view();
    (0..headers.len())
        .map(|i| (keys.value(i).to_owned(), values.is_valid(i).then(|| values.value(i).to_vec())))
        .collect()
}
