//! `StructColumn`: the fields of a struct under construction.
//!
//! Contract: after [`StructColumn::end_row`] all fields have one more row than after the one before,
//! however much of the row was appended in between.

use kafka_direct::arrow::{
    array::StructArray,
    buffer::NullBufferBuilder,
    schema::{ArrowError, Fields},
};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};

use super::column::Column;
use crate::text;

/// See the module.
#[derive(Debug)]
pub(super) struct StructColumn {
    fields: Fields,
    columns: Vec<Column>,
    valid: NullBufferBuilder,
    /// The field in which the last document failed.
    failed: Option<usize>,
}

impl StructColumn {
    pub(super) fn new(fields: &Fields, capacity: usize) -> Self {
        let columns = fields.iter().map(|field| Column::new(field, capacity)).collect();
        let valid = NullBufferBuilder::new(capacity);
        Self { fields: fields.clone(), columns, valid, failed: None }
    }

    pub(super) fn len(&self) -> usize {
        self.valid.len()
    }

    /// Reads one document into the fields of the next row; [`StructColumn::end_row`] must follow.
    pub(super) fn document(&mut self, json: &str) -> Result<(), String> {
        let mut reader = serde_json::Deserializer::from_str(json);
        let read = serde::Deserializer::deserialize_any(&mut reader, Document(self));
        read.and_then(|()| reader.end()).map_err(|error| {
            let reason = match self.failed_path() {
                Some(path) => format!("field `{path}`: {error}"),
                None => error.to_string(),
            };
            text::shortened(reason)
        })
    }

    /// Ends the row, and appends to the fields that have nothing in it.
    pub(super) fn end_row(&mut self, is_valid: bool) {
        let rows = self.len().saturating_add(1);
        for column in &mut self.columns {
            if column.len() < rows {
                column.pad();
            }
        }
        self.valid.append(is_valid);
    }

    /// Ends the row if a document failed in the middle of it.
    pub(super) fn settle(&mut self) {
        let rows = self.len();
        self.columns.iter_mut().for_each(Column::settle);
        if self.columns.iter().any(|column| column.len() > rows) {
            self.end_row(false);
        }
    }

    /// Reads the fields of an object; [`StructColumn::end_row`] must follow.
    pub(super) fn object<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        let rows = self.len();
        let mut expected = 0;
        while let Some(found) = map.next_key_seed(FieldName { fields: &self.fields, expected })? {
            let column = found.and_then(|index| Some((index, self.columns.get_mut(index)?)));
            let Some((index, column)) = column else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            self.failed = Some(index);
            if column.len() > rows {
                return Err(A::Error::custom("it is there twice"));
            }
            map.next_value_seed(column)?;
            self.failed = None;
            expected = index.saturating_add(1);
        }
        for (index, column) in self.columns.iter_mut().enumerate() {
            if column.len() == rows {
                if !column.is_nullable() {
                    self.failed = Some(index);
                    return Err(A::Error::custom("it is missing"));
                }
                column.pad();
            }
        }
        Ok(())
    }

    /// The path of the field in which the last document failed, such as `customer.name`. It is forgotten.
    pub(super) fn failed_path(&mut self) -> Option<String> {
        let index = self.failed.take()?;
        let (field, column) = (self.fields.get(index)?, self.columns.get_mut(index)?);
        Some(format!("{}{}", field.name(), column.failed_path()))
    }

    pub(super) fn finish(self) -> Result<StructArray, ArrowError> {
        let Self { fields, columns, mut valid, .. } = self;
        let rows = valid.len();
        let arrays = columns.into_iter().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        StructArray::try_new_with_length(fields, arrays, valid.finish(), rows)
    }
}

/// A document, which must be an object.
struct Document<'a>(&'a mut StructColumn);

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.object(map)
    }
}

/// The index of the field that a name is of. Documents mostly have their fields in one order, so the
/// field after the previous one is compared first.
struct FieldName<'a> {
    fields: &'a Fields,
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for FieldName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, names: D) -> Result<Self::Value, D::Error> {
        names.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        let is_it = |index: &usize| self.fields.get(*index).is_some_and(|it| it.name() == name);
        let expected = Some(self.expected).filter(is_it);
        Ok(expected.or_else(|| (0..self.fields.len()).find(is_it)))
    }
}
