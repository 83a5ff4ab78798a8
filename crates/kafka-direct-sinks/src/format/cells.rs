//! `Cells`: the keys or values of a batch, as they were read or decoded.

use std::borrow::Cow;

use kafka_direct::arrow::{
    array::{
        Array as _, ArrayRef, BinaryViewArray, StringViewArray, StructArray, cast::AsArray as _,
    },
    schema::{DataType, Field},
};

use super::json_object;
use crate::Error;

/// The metadata of a field whose texts are JSON: Arrow's canonical extension type.
const JSON_TEXT: (&str, &str) = ("ARROW:extension:name", "arrow.json");

/// The keys or values of a batch.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Cells<'a> {
    /// Bytes, as the engine builds them.
    Bytes(&'a BinaryViewArray),
    /// Texts.
    Text(&'a StringViewArray),
    /// Texts that are JSON: their field has Arrow's extension type `arrow.json`.
    Json(&'a StringViewArray),
    /// Structs, for which JSON objects are written.
    Objects(&'a StructArray),
}

impl<'a> Cells<'a> {
    /// The cells of a column; `None` for a type that no format can write.
    pub(super) fn new(field: &Field, array: &'a ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::BinaryView => Self::Bytes(array.as_binary_view_opt()?),
            DataType::Utf8View => {
                let (key, json) = JSON_TEXT;
                let is_json = field.metadata().get(key).is_some_and(|name| name == json);
                let texts = array.as_string_view_opt()?;
                if is_json { Self::Json(texts) } else { Self::Text(texts) }
            }
            DataType::Struct(_) => Self::Objects(array.as_struct_opt()?),
            _ => return None,
        })
    }

    /// The bytes of a row, for a struct those of its JSON object; `None` for a null.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a struct with a field that has no JSON form.
    pub fn bytes(&self, row: usize) -> Result<Option<Cow<'a, [u8]>>, Error> {
        Ok(match self {
            Self::Bytes(array) if array.is_valid(row) => Some(Cow::Borrowed(array.value(row))),
            Self::Text(array) | Self::Json(array) if array.is_valid(row) => {
                Some(Cow::Borrowed(array.value(row).as_bytes()))
            }
            Self::Objects(array) if array.is_valid(row) => {
                let mut object = Vec::new();
                json_object::write(*array, row, &mut object)?;
                Some(Cow::Owned(object))
            }
            _ => None,
        })
    }

    /// How many bytes of text and binary data a row has.
    #[cfg(feature = "arrow-ipc")]
    pub(super) fn byte_count(&self, row: usize) -> usize {
        match self {
            Self::Bytes(array) => array.value(row).len(),
            Self::Text(array) | Self::Json(array) => array.value(row).len(),
            Self::Objects(array) => json_object::text_bytes(*array, row),
        }
    }
}

/// Whether a column of this type has structs, which some formats cannot carry.
pub(super) const fn is_object(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Struct(_))
}
