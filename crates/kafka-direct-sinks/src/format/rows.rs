//! Typed access to the columns of a batch.

use kafka_direct::Column;
use kafka_direct::arrow::array::{
    Array, ArrayRef, BinaryViewArray, DictionaryArray, Int8Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray, StringViewArray, StructArray, TimestampMillisecondArray,
    cast::AsArray as _, types::Int32Type,
};

use super::Cells;
use crate::Error;

/// The order of columns where people read them: narrow columns first.
pub const COLUMN_ORDER: [Column; 8] = [
    Column::Topic,
    Column::Partition,
    Column::Offset,
    Column::Timestamp,
    Column::TimestampType,
    Column::Key,
    Column::Value,
    Column::Headers,
];

/// The column that says why a key or value could not be decoded, as a text or null. It follows the others.
pub const ERROR_COLUMN: &str = "_error";

/// The columns of one batch; those that were not read are `None`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rows<'a> {
    /// How many rows the batch has.
    pub len: usize,
    /// Topic names.
    pub topic: Option<Topics<'a>>,
    /// Partition indices.
    pub partition: Option<&'a Int32Array>,
    /// Offsets.
    pub offset: Option<&'a Int64Array>,
    /// Timestamps in milliseconds since the epoch, null where a record has none.
    pub timestamp: Option<&'a TimestampMillisecondArray>,
    /// 0: set by the producer, 1: by the broker.
    pub timestamp_type: Option<&'a Int8Array>,
    /// Keys.
    pub key: Option<Cells<'a>>,
    /// Values.
    pub value: Option<Cells<'a>>,
    /// Headers.
    pub headers: Option<Headers<'a>>,
    /// Why the key or value of a row is null although the record has one, from the column
    /// [`ERROR_COLUMN`].
    pub error: Option<&'a StringViewArray>,
}

/// Topic names by index into a dictionary.
#[derive(Debug)]
pub struct Topics<'a> {
    /// The index of each row's topic.
    pub indices: &'a Int32Array,
    names: &'a StringArray,
}

/// The headers of all rows, one after another, and where each row's headers begin.
#[derive(Debug)]
pub struct Headers<'a> {
    lists: &'a ListArray,
    keys: &'a StringViewArray,
    values: &'a BinaryViewArray,
}

impl<'a> Rows<'a> {
    /// The columns of `batch`.
    ///
    /// # Errors
    /// [`Error::Internal`] for a column of another type than the engine builds, or of a key or value that
    /// is neither bytes nor text nor a struct.
    pub fn new(batch: &'a RecordBatch) -> Result<Self, Error> {
        Ok(Self {
            len: batch.num_rows(),
            topic: column(batch, Column::Topic).map(Topics::new).transpose()?,
            partition: typed(batch, Column::Partition)?,
            offset: typed(batch, Column::Offset)?,
            timestamp: typed(batch, Column::Timestamp)?,
            timestamp_type: typed(batch, Column::TimestampType)?,
            key: cells(batch, Column::Key)?,
            value: cells(batch, Column::Value)?,
            headers: column(batch, Column::Headers).map(Headers::new).transpose()?,
            error: batch.column_by_name(ERROR_COLUMN).and_then(|array| array.as_string_view_opt()),
        })
    }
}

impl<'a> Topics<'a> {
    fn new(column: &'a ArrayRef) -> Result<Self, Error> {
        let topics: &DictionaryArray<Int32Type> = downcast(column, Column::Topic)?;
        Ok(Self { indices: topics.keys(), names: downcast(topics.values(), Column::Topic)? })
    }

    /// The topic of a row.
    #[must_use]
    pub fn name(&self, row: usize) -> &'a str {
        let index = usize::try_from(self.indices.value(row)).ok();
        index.filter(|index| *index < self.names.len()).map_or("", |index| self.names.value(index))
    }
}

impl<'a> Headers<'a> {
    fn new(column: &'a ArrayRef) -> Result<Self, Error> {
        let lists: &ListArray = downcast(column, Column::Headers)?;
        let items: &StructArray = downcast(lists.values(), Column::Headers)?;
        let part = |name| items.column_by_name(name).ok_or_else(|| unexpected(Column::Headers));
        Ok(Self {
            lists,
            keys: downcast(part("key")?, Column::Headers)?,
            values: downcast(part("value")?, Column::Headers)?,
        })
    }

    /// The headers of a row in order.
    pub fn of(&self, row: usize) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> {
        let offsets = self.lists.value_offsets();
        let at =
            |row: usize| offsets.get(row).and_then(|at| usize::try_from(*at).ok()).unwrap_or(0);
        let (keys, values) = (self.keys, self.values);
        (at(row)..at(row.saturating_add(1))).map(move |item| {
            (keys.value(item), (!values.is_null(item)).then(|| values.value(item)))
        })
    }
}

fn column(batch: &RecordBatch, column: Column) -> Option<&ArrayRef> {
    batch.column_by_name(column.as_str())
}

fn typed<A: Array + 'static>(batch: &RecordBatch, which: Column) -> Result<Option<&A>, Error> {
    column(batch, which).map(|array| downcast(array, which)).transpose()
}

fn cells(batch: &RecordBatch, which: Column) -> Result<Option<Cells<'_>>, Error> {
    let Some((index, field)) = batch.schema_ref().column_with_name(which.as_str()) else {
        return Ok(None);
    };
    Cells::new(field, batch.column(index)).map(Some).ok_or_else(|| unexpected(which))
}

fn downcast<A: Array + 'static>(array: &ArrayRef, column: Column) -> Result<&A, Error> {
    array.as_any().downcast_ref().ok_or_else(|| unexpected(column))
}

fn unexpected(column: Column) -> Error {
    Error::Internal { message: format!("column `{column}` has an unexpected type") }
}
