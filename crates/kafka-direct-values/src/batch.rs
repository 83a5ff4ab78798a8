//! `BatchDecoder`: decodes the keys and values of one Arrow batch.
//!
//! Contract: every row is decoded or named as poison. Rows keep their order. A record that cannot be
//! decoded changes no other.

use std::sync::Arc;

use kafka_direct::{
    Column,
    arrow::{
        array::{
            ArrayRef, BinaryViewArray, RecordBatch, RecordBatchOptions, StringViewArray,
            cast::AsArray as _,
        },
        schema::{ArrowError, DataType, Field, Schema, SchemaRef},
    },
};

use crate::{Error, ValueFormat, json, rows, text};

/// The column of reasons, see [`DecodedBatch::with_errors`].
pub const ERROR_COLUMN: &str = "_error";

/// Decodes the columns `key` and `value` of batches that the engine has built.
#[derive(Debug, Clone, Default)]
pub struct BatchDecoder {
    key: ValueFormat,
    value: ValueFormat,
}

impl BatchDecoder {
    /// A decoder of keys and values in these formats.
    #[must_use]
    pub const fn new(key: ValueFormat, value: ValueFormat) -> Self {
        Self { key, value }
    }

    /// The format of a column; `None` if nothing is decoded in it.
    #[must_use]
    pub fn format(&self, column: Column) -> Option<&ValueFormat> {
        let format = match column {
            Column::Key => &self.key,
            Column::Value => &self.value,
            _ => return None,
        };
        format.decodes().then_some(format)
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn decodes(&self) -> bool {
        self.key.decodes() || self.value.decodes()
    }

    /// The schema of decoded batches, if batches with the schema `read` are decoded.
    #[must_use]
    pub fn schema(&self, read: &Schema) -> SchemaRef {
        let field = |field: &Arc<Field>| match self.format_of(field.name()) {
            Some((_, format)) => Arc::new(format.field(field)),
            None => Arc::clone(field),
        };
        Arc::new(Schema::new(read.fields().iter().map(field).collect::<Vec<_>>()))
    }

    fn format_of(&self, name: &str) -> Option<(Column, &ValueFormat)> {
        let named = [Column::Key, Column::Value].into_iter().find(|it| it.as_str() == name)?;
        Some((named, self.format(named)?))
    }

    /// Decodes the key and value columns that `batch` has. The others stay as they are.
    ///
    /// # Errors
    /// [`Error::Batch`] if a key or value column has another type than `BinaryView`.
    pub fn decode(&self, batch: &RecordBatch) -> Result<DecodedBatch, Error> {
        let mut poison = Vec::new();
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let Some((column, format)) = self.format_of(field.name()) else {
                columns.push(Arc::clone(array));
                continue;
            };
            let bytes = array.as_binary_view_opt().ok_or_else(|| unexpected(field))?;
            let (array, failed) = decode(bytes, format)?;
            columns.push(array);
            let wanted = format.wanted();
            poison.extend(failed.into_iter().map(|(row, reason)| Poison {
                row,
                column,
                wanted,
                reason,
            }));
        }
        // The key's comes first in a record of which both are poison: the sort is stable.
        poison.sort_by_key(|poison| poison.row);
        let schema = self.schema(batch.schema_ref());
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        Ok(DecodedBatch { batch, poison })
    }
}

fn decode(
    bytes: &BinaryViewArray,
    format: &ValueFormat,
) -> Result<(ArrayRef, Vec<(usize, String)>), Error> {
    Ok(match format {
        ValueFormat::Binary => (Arc::new(bytes.clone()), Vec::new()),
        ValueFormat::Utf8 => text::decode(bytes, |_| Ok(()))?,
        ValueFormat::Json => text::decode(bytes, text::json)?,
        ValueFormat::TypedJson(schema) => json::decode(bytes, schema)?,
    })
}

fn unexpected(field: &Field) -> ArrowError {
    ArrowError::SchemaError(format!(
        "column `{}` is {}, not BinaryView: it is decoded already, or no column of the engine",
        field.name(),
        field.data_type()
    ))
}

/// A key or value that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Poison {
    /// The row in the batch, from 0.
    pub row: usize,
    /// [`Column::Key`] or [`Column::Value`].
    pub column: Column,
    /// What it is not, such as `UTF-8 text`.
    pub wanted: &'static str,
    /// Why not, on one line of at most 200 characters.
    pub reason: String,
}

impl std::fmt::Display for Poison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the {} is not {}: {}", self.column, self.wanted, self.reason)
    }
}

/// A batch with decoded keys and values.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DecodedBatch {
    /// All rows. A key or value that cannot be decoded is null.
    pub batch: RecordBatch,
    /// What cannot be decoded, by row; of one row the key is first.
    pub poison: Vec<Poison>,
}

impl DecodedBatch {
    /// The rows with poison, each once, in ascending order.
    pub fn poison_rows(&self) -> impl Iterator<Item = usize> {
        self.by_row().filter_map(|of_row| Some(of_row.first()?.row))
    }

    /// The poison of one row after the other; no item is empty.
    pub(crate) fn by_row(&self) -> impl Iterator<Item = &[Poison]> {
        self.poison.chunk_by(|one, next| one.row == next.row)
    }

    /// The rows that were decoded.
    ///
    /// # Errors
    /// [`Error::Batch`] if Arrow fails, which would be a bug.
    pub fn without_poison(self) -> Result<RecordBatch, Error> {
        if self.poison.is_empty() {
            return Ok(self.batch);
        }
        let dropped: Vec<usize> = self.poison_rows().collect();
        Ok(rows::without(&self.batch, &dropped)?)
    }

    /// All rows and the column [`ERROR_COLUMN`], `Utf8View`: the reason, or null for a row that was
    /// decoded.
    ///
    /// # Errors
    /// [`Error::Batch`] if Arrow fails, which would be a bug.
    pub fn with_errors(self) -> Result<RecordBatch, Error> {
        let mut reasons: Vec<Option<String>> = vec![None; self.batch.num_rows()];
        for of_row in self.by_row() {
            let row = of_row.first().and_then(|poison| reasons.get_mut(poison.row));
            if let Some(reason) = row {
                *reason = Some(reasons_of(of_row));
            }
        }
        let reasons: StringViewArray = reasons.into_iter().collect();
        let mut columns = self.batch.columns().to_vec();
        columns.push(Arc::new(reasons));
        Ok(RecordBatch::try_new(with_error_field(self.batch.schema_ref()), columns)?)
    }
}

/// Why the key, the value or both of a record cannot be decoded.
pub(crate) fn reasons_of(of_row: &[Poison]) -> String {
    of_row.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// `schema` and the column of reasons.
pub(crate) fn with_error_field(schema: &Schema) -> SchemaRef {
    let error = Arc::new(Field::new(ERROR_COLUMN, DataType::Utf8View, true));
    let fields = schema.fields().iter().cloned().chain([error]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
