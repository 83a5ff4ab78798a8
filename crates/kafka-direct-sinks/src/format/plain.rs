//! The layout of Arrow batches in files and streams: plain types or views, with or without a dictionary.
//!
//! Contract: rows, order and nulls stay as they are. Binary and Utf8 have 32-bit offsets, so a column
//! of a batch holds less than 2 GiB: a batch is cut into pieces of at most [`PIECE_BYTES`], or of one
//! row that is larger.

use std::sync::Arc;

use kafka_direct::arrow::{
    array::{
        Array as _, ArrayRef, ListArray, RecordBatch, RecordBatchOptions, StringArray, StructArray,
        builder::{BinaryBuilder, StringBuilder},
        cast::AsArray as _,
        types::Int32Type,
    },
    buffer::OffsetBuffer,
    schema::{DataType, Field, FieldRef, Schema, SchemaRef},
};

use super::{ArrowTypes, Rows, arrow::failed};
use crate::Error;

/// Bytes of topics, keys, values and headers in one piece of a batch.
const PIECE_BYTES: usize = 16 << 20;

/// How the columns of a batch are changed before they are written.
#[derive(Debug)]
pub(super) struct Layout {
    schema: SchemaRef,
    change: Change,
}

/// What is changed in a batch.
#[derive(Debug, Clone, Copy)]
struct Change {
    types: ArrowTypes,
    /// Whether a dictionary stays one: only streams may replace it later.
    keeps_dictionary: bool,
    piece_bytes: usize,
}

impl Layout {
    /// Batches with the types that the engine builds: for streams, which may replace a dictionary.
    pub(super) fn as_built(schema: &SchemaRef) -> Self {
        let change =
            Change { types: ArrowTypes::View, keeps_dictionary: true, piece_bytes: PIECE_BYTES };
        Self { schema: Arc::clone(schema), change }
    }

    /// Batches whose topics are Utf8, with text and bytes of these types.
    pub(super) fn without_dictionary(schema: &SchemaRef, types: ArrowTypes) -> Self {
        let change = Change { types, keeps_dictionary: false, piece_bytes: PIECE_BYTES };
        let fields = schema.fields().iter().map(|field| change.field(field));
        Self { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), change }
    }

    pub(super) const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of `batch` from `from` that form the next piece, and the row after them.
    pub(super) fn piece(
        &self,
        batch: &RecordBatch,
        from: usize,
    ) -> Result<(RecordBatch, usize), Error> {
        let change = self.change;
        let next = change.piece_end(batch, from)?;
        let rows = batch.slice(from, next.saturating_sub(from));
        let columns = rows.columns().iter().map(|column| change.array(column));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map(|piece| (piece, next))
            .map_err(failed)
    }
}

impl Change {
    /// The row after the piece that begins with `from`: it has one row at least.
    fn piece_end(self, batch: &RecordBatch, from: usize) -> Result<usize, Error> {
        let rows = Rows::new(batch)?;
        let mut bytes = 0_usize;
        for row in from..rows.len {
            bytes = bytes.saturating_add(row_bytes(&rows, row));
            if bytes > self.piece_bytes && row > from {
                return Ok(row);
            }
        }
        Ok(rows.len)
    }

    fn field(self, field: &FieldRef) -> FieldRef {
        let data_type = self.data_type(field.data_type());
        Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
    }

    fn data_type(self, built: &DataType) -> DataType {
        match (built, self.types) {
            (DataType::BinaryView, ArrowTypes::Plain) => DataType::Binary,
            (DataType::Utf8View, ArrowTypes::Plain) => DataType::Utf8,
            (DataType::Dictionary(_, values), _) if !self.keeps_dictionary => {
                values.as_ref().clone()
            }
            (DataType::List(item), _) => DataType::List(self.field(item)),
            (DataType::Struct(fields), _) => {
                DataType::Struct(fields.iter().map(|field| self.field(field)).collect())
            }
            (other, _) => other.clone(),
        }
    }

    /// An array with the same values, of the type that [`Change::data_type`] returns for its own.
    fn array(self, array: &ArrayRef) -> Result<ArrayRef, Error> {
        match (array.data_type(), self.types) {
            (DataType::BinaryView, ArrowTypes::Plain) => {
                let array = array.as_binary_view();
                let bytes = fitting(array.lengths().map(u64::from).sum())?;
                let mut plain = BinaryBuilder::with_capacity(array.len(), bytes);
                array.iter().for_each(|value| plain.append_option(value));
                Ok(Arc::new(plain.finish()))
            }
            (DataType::Utf8View, ArrowTypes::Plain) => {
                let array = array.as_string_view();
                texts(array.iter(), array.lengths().map(u64::from).sum())
            }
            (DataType::Dictionary(..), _) if !self.keeps_dictionary => {
                let array = array.as_dictionary::<Int32Type>();
                let array =
                    array.downcast_dict::<StringArray>().ok_or_else(|| Error::Internal {
                        message: format!("a column has the unexpected type {}", array.data_type()),
                    })?;
                let bytes =
                    array.into_iter().flatten().map(str::len).fold(0, usize::saturating_add);
                texts(array.into_iter(), u64::try_from(bytes).unwrap_or(u64::MAX))
            }
            (DataType::List(item), _) => {
                let list = array.as_list::<i32>();
                let offsets = list.value_offsets();
                let index = |offset: Option<&i32>| {
                    offset.and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0)
                };
                let (first, last) = (index(offsets.first()), index(offsets.last()));
                let items = list.values().slice(first, last.saturating_sub(first));
                let lengths = OffsetBuffer::from_lengths(list.offsets().lengths());
                let nulls = list.nulls().cloned();
                let list =
                    ListArray::try_new(self.field(item), lengths, self.array(&items)?, nulls);
                list.map(|list| Arc::new(list) as ArrayRef).map_err(failed)
            }
            (DataType::Struct(fields), _) => {
                let array = array.as_struct();
                let columns = array.columns().iter().map(|column| self.array(column));
                let columns = columns.collect::<Result<Vec<_>, _>>()?;
                let fields = fields.iter().map(|field| self.field(field)).collect();
                let array = StructArray::try_new_with_length(
                    fields,
                    columns,
                    array.nulls().cloned(),
                    array.len(),
                );
                array.map(|array| Arc::new(array) as ArrayRef).map_err(failed)
            }
            // A view array shares the buffers of the response it was read from, and IPC writes them
            // whole: with records and columns that were not selected.
            (DataType::BinaryView, ArrowTypes::View) => Ok(Arc::new(array.as_binary_view().gc())),
            (DataType::Utf8View, ArrowTypes::View) => Ok(Arc::new(array.as_string_view().gc())),
            _ => Ok(Arc::clone(array)),
        }
    }
}

/// How many bytes a row has in columns of variable length.
fn row_bytes(rows: &Rows<'_>, row: usize) -> usize {
    let headers = rows.headers.iter().flat_map(|headers| headers.of(row));
    let headers =
        headers.map(|(key, value)| key.len().saturating_add(value.map_or(0, <[u8]>::len)));
    let topic = rows.topic.as_ref().map_or(0, |topics| topics.name(row).len());
    let bytes = [rows.key, rows.value].into_iter().flatten().map(|cells| cells.byte_count(row));
    let topic = topic.saturating_add(rows.error.map_or(0, |errors| errors.value(row).len()));
    headers.chain(bytes).fold(topic, usize::saturating_add)
}

/// An array of Utf8 with these texts, which have `bytes` bytes together.
fn texts<'a>(
    all: impl ExactSizeIterator<Item = Option<&'a str>>,
    bytes: u64,
) -> Result<ArrayRef, Error> {
    let mut plain = StringBuilder::with_capacity(all.len(), fitting(bytes)?);
    all.for_each(|text| plain.append_option(text));
    Ok(Arc::new(plain.finish()))
}

/// The length of a column, which must fit into 32-bit offsets. Builders panic where it does not.
fn fitting(bytes: u64) -> Result<usize, Error> {
    let fits = i32::try_from(bytes).ok().and_then(|bytes| usize::try_from(bytes).ok());
    fits.ok_or_else(|| Error::Internal {
        message: format!("{bytes} bytes do not fit into an Arrow column with 32-bit offsets"),
    })
}

#[cfg(test)]
mod tests {
    use kafka_direct::{
        Column, Columns,
        arrow::{array::BinaryViewArray, buffer::Buffer},
    };

    use super::*;

    /// 40 values of 64 MiB that share their bytes: more than 2 GiB in a column.
    fn huge() -> RecordBatch {
        const VALUE_BYTES: u32 = 64 << 20;
        let bytes = Buffer::from(vec![0; 64 << 20]);
        // A view of a long value: its length, its first four bytes, its buffer and its offset.
        let view = u128::from(VALUE_BYTES);
        let values = BinaryViewArray::try_new(vec![view; 40].into(), vec![bytes], None);
        let schema = kafka_direct::schema(Columns::none().with(Column::Value));
        RecordBatch::try_new(schema, vec![Arc::new(values.unwrap())]).unwrap()
    }

    #[test]
    fn a_column_of_more_than_2_gib_is_cut_before_its_offsets_overflow() {
        let (batch, change) = (
            huge(),
            Change { types: ArrowTypes::Plain, keeps_dictionary: false, piece_bytes: PIECE_BYTES },
        );
        for row in 0..batch.num_rows() {
            assert_eq!(change.piece_end(&batch, row).unwrap(), row + 1);
        }
    }

    #[test]
    fn a_column_that_overflows_its_offsets_is_an_error() {
        let change =
            Change { types: ArrowTypes::Plain, keeps_dictionary: false, piece_bytes: usize::MAX };
        let batch = huge();
        assert_eq!(change.piece_end(&batch, 0).unwrap(), 40);
        let error = change.array(batch.column(0)).unwrap_err();
        assert!(error.to_string().contains("2684354560 bytes do not fit"), "{error}");
        assert_eq!(fitting(2_147_483_647).unwrap(), 2_147_483_647);
        assert!(fitting(2_147_483_648).is_err());
    }
}
