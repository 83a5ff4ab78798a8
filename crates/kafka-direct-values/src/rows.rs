//! Rows of a batch: leaving some out, and the records that they are.

use kafka_direct::{
    Column, TopicPartition,
    arrow::{
        array::{
            Array as _, ArrayRef, BinaryViewArray, RecordBatch, RecordBatchOptions, StringArray,
            cast::AsArray as _,
            make_array,
            types::{Int32Type, Int64Type, TimestampMillisecondType},
        },
        schema::ArrowError,
    },
};

use crate::DeadLetter;

/// `batch` without these rows, which are in ascending order.
pub(crate) fn without(batch: &RecordBatch, dropped: &[usize]) -> Result<RecordBatch, ArrowError> {
    let mut kept = Vec::new();
    let mut from = 0;
    for row in dropped.iter().copied().chain([batch.num_rows()]) {
        if row > from {
            kept.push((from, row));
        }
        from = row.saturating_add(1);
    }
    if let [(from, until)] = kept[..] {
        return Ok(batch.slice(from, until.saturating_sub(from)));
    }
    let rows = batch.num_rows().saturating_sub(dropped.len());
    let columns = batch.columns().iter().map(|column| pick(column, &kept, rows));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

/// The rows of these ranges, `rows` in all.
fn pick(column: &ArrayRef, kept: &[(usize, usize)], rows: usize) -> Result<ArrayRef, ArrowError> {
    let data = column.to_data();
    let mut picked = arrow_data::transform::MutableArrayData::new(vec![&data], false, rows);
    for (from, until) in kept {
        picked.try_extend(0, *from, *until)?;
    }
    Ok(make_array(picked.freeze()))
}

/// Where the record of a row is. The batch must have the columns topic, partition and offset.
pub(crate) fn place(batch: &RecordBatch, row: usize) -> Result<(TopicPartition, i64), ArrowError> {
    let topics = column(batch, Column::Topic)?.as_dictionary_opt::<Int32Type>();
    let topics = topics.and_then(|topics| topics.downcast_dict::<StringArray>());
    let topics = topics.ok_or_else(|| unexpected(Column::Topic))?;
    let topic = topics.keys().value(row);
    let topic = usize::try_from(topic).ok().filter(|index| *index < topics.values().len());
    let topic = topic.map(|index| topics.values().value(index)).unwrap_or_default();
    let partitions = column(batch, Column::Partition)?.as_primitive_opt::<Int32Type>();
    let partition = partitions.ok_or_else(|| unexpected(Column::Partition))?.value(row);
    let offsets = column(batch, Column::Offset)?.as_primitive_opt::<Int64Type>();
    let offset = offsets.ok_or_else(|| unexpected(Column::Offset))?.value(row);
    Ok((TopicPartition::new(topic, partition), offset))
}

/// The record of a row as it was read, with why it could not be decoded.
pub(crate) fn letter(
    batch: &RecordBatch,
    row: usize,
    error: String,
) -> Result<DeadLetter, ArrowError> {
    let (topic_partition, offset) = place(batch, row)?;
    let bytes = |which| {
        let array = column(batch, which).ok().and_then(|array| array.as_binary_view_opt());
        array.and_then(|array| at(array, row))
    };
    let times = column(batch, Column::Timestamp).ok();
    let times = times.and_then(|times| times.as_primitive_opt::<TimestampMillisecondType>());
    Ok(DeadLetter {
        topic_partition,
        offset,
        timestamp: times.filter(|times| times.is_valid(row)).map(|times| times.value(row)),
        key: bytes(Column::Key),
        value: bytes(Column::Value),
        headers: headers(batch, row),
        error,
    })
}

/// The headers of a row; none if they were not read.
fn headers(batch: &RecordBatch, row: usize) -> Vec<(String, Option<Vec<u8>>)> {
    let items = column(batch, Column::Headers).ok().and_then(|column| column.as_list_opt::<i32>());
    let Some(items) = items.map(|lists| lists.value(row)) else { return Vec::new() };
    let Some(items) = items.as_struct_opt() else { return Vec::new() };
    let keys = items.column_by_name("key").and_then(|keys| keys.as_string_view_opt());
    let values = items.column_by_name("value").and_then(|values| values.as_binary_view_opt());
    let (Some(keys), Some(values)) = (keys, values) else { return Vec::new() };
    (0..keys.len()).map(|item| (keys.value(item).to_owned(), at(values, item))).collect()
}

fn at(array: &BinaryViewArray, row: usize) -> Option<Vec<u8>> {
    array.is_valid(row).then(|| array.value(row).to_vec())
}

fn column(batch: &RecordBatch, column: Column) -> Result<&ArrayRef, ArrowError> {
    batch.column_by_name(column.as_str()).ok_or_else(|| unexpected(column))
}

fn unexpected(column: Column) -> ArrowError {
    ArrowError::SchemaError(format!("column `{column}` is missing or has an unexpected type"))
}
