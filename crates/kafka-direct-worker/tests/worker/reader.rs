//! Reads Arrow batches back into plain rows, and runs a decoder over all responses of a range.

use arrow_array::{
    Array as _, BinaryViewArray, DictionaryArray, Int8Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, StringViewArray, StructArray, TimestampMillisecondArray,
    types::Int32Type,
};
use kafka_direct_core::{Fetched, IsolationLevel, OffsetRange, PlannedRange, TopicPartition};
use kafka_direct_worker::{Columns, DecodeOptions, RangeDecoder, WorkerError};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Row {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) offset: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) timestamp_type: i8,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

pub(crate) fn planned(from: i64, until: i64, isolation: IsolationLevel) -> PlannedRange {
    PlannedRange::new(
        OffsetRange::new(TopicPartition::new("orders", 3), from, until).unwrap(),
        isolation,
    )
}

pub(crate) fn committed(from: i64, until: i64) -> PlannedRange {
    planned(from, until, IsolationLevel::ReadCommitted)
}

pub(crate) fn all_columns() -> DecodeOptions {
    DecodeOptions::new().columns(Columns::all())
}

/// Decodes all batches of the range, the flushed one included.
pub(crate) fn decode(
    planned: &PlannedRange,
    responses: &[Fetched],
    options: &DecodeOptions,
) -> Result<Vec<RecordBatch>, WorkerError> {
    let mut decoder = RangeDecoder::new(planned, options.clone());
    let mut batches = Vec::new();
    for response in responses {
        assert!(decoder.needs_input());
        decoder.push(response.clone())?;
        while let Some(batch) = decoder.next_batch()? {
            batches.push(batch);
        }
    }
    let pending = decoder.pending_rows();
    let last = decoder.flush()?;
    assert_eq!(last.as_ref().map_or(0, RecordBatch::num_rows), pending);
    batches.extend(last);
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(decoder.counts().records, rows as u64);
    Ok(batches)
}

pub(crate) fn decode_rows(planned: &PlannedRange, responses: &[Fetched]) -> Vec<Row> {
    rows(&decode(planned, responses, &all_columns()).unwrap())
}

pub(crate) fn values(planned: &PlannedRange, responses: &[Fetched]) -> Vec<String> {
    let text = |row: Row| String::from_utf8(row.value.unwrap()).unwrap();
    decode_rows(planned, responses).into_iter().map(text).collect()
}

pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<Row> {
    batches.iter().flat_map(batch_rows).collect()
}

pub(crate) fn column<T: 'static + Clone>(batch: &RecordBatch, name: &str) -> T {
    let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    column.as_any().downcast_ref::<T>().unwrap_or_else(|| panic!("type of {name}")).clone()
}

fn owned(array: &BinaryViewArray, row: usize) -> Option<Vec<u8>> {
    array.is_valid(row).then(|| array.value(row).to_vec())
}

/// The rows of a batch that has all columns, or all except headers.
fn batch_rows(batch: &RecordBatch) -> Vec<Row> {
    let key: BinaryViewArray = column(batch, "key");
    let value: BinaryViewArray = column(batch, "value");
    let offset: Int64Array = column(batch, "offset");
    let timestamp: TimestampMillisecondArray = column(batch, "timestamp");
    let timestamp_type: Int8Array = column(batch, "timestamp_type");
    let headers: Option<ListArray> =
        batch.column_by_name("headers").map(|_| column(batch, "headers"));
    let topic: DictionaryArray<Int32Type> = column(batch, "topic");
    let partition: Int32Array = column(batch, "partition");
    let topics = topic.downcast_dict::<StringArray>().unwrap();
    let row = |row| {
        assert_eq!(topics.into_iter().nth(row), Some(Some("orders")));
        assert_eq!(partition.value(row), 3);
        Row {
            key: owned(&key, row),
            value: owned(&value, row),
            offset: offset.value(row),
            timestamp: timestamp.is_valid(row).then(|| timestamp.value(row)),
            timestamp_type: timestamp_type.value(row),
            headers: headers.iter().flat_map(|headers| header_rows(headers, row)).collect(),
        }
    };
    (0..batch.num_rows()).map(row).collect()
}

fn header_rows(headers: &ListArray, row: usize) -> Vec<(String, Option<Vec<u8>>)> {
    let entries = headers.value(row);
    let entries = entries.as_any().downcast_ref::<StructArray>().unwrap();
    let keys = entries.column(0).as_any().downcast_ref::<StringViewArray>().unwrap();
    let values = entries.column(1).as_any().downcast_ref::<BinaryViewArray>().unwrap();
    (0..entries.len()).map(|at| (keys.value(at).to_owned(), owned(values, at))).collect()
}
