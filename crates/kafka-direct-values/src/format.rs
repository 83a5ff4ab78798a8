//! `ValueFormat`: how keys or values are decoded, and the Arrow field that comes out.

use std::sync::Arc;

use kafka_direct::arrow::schema::{DataType, Field};

use crate::JsonSchema;

/// The metadata key for the name of an Arrow extension type.
const EXTENSION_NAME: &str = "ARROW:extension:name";
/// The name of Arrow's canonical extension type for JSON texts.
const JSON_EXTENSION: &str = "arrow.json";

/// How the keys or values of records are decoded. A null, such as the value of a tombstone, stays null
/// in every format.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum ValueFormat {
    /// `BinaryView`: the bytes as they are. Nothing is checked.
    #[default]
    Binary,
    /// `Utf8View`: texts, which must be valid UTF-8. No byte is copied.
    Utf8,
    /// `Utf8View` with Arrow's extension type `arrow.json`: texts, which must be valid JSON. No byte is
    /// copied.
    Json,
    /// `Struct` of the fields of the schema, from JSON objects.
    TypedJson(Arc<JsonSchema>),
}

impl ValueFormat {
    /// The field that replaces `field`, which is `BinaryView`.
    pub(crate) fn field(&self, field: &Field) -> Field {
        let decoded = |data_type| Field::new(field.name(), data_type, true);
        match self {
            Self::Binary => field.clone(),
            Self::Utf8 => decoded(DataType::Utf8View),
            Self::Json => {
                let name = [(EXTENSION_NAME.to_owned(), JSON_EXTENSION.to_owned())];
                decoded(DataType::Utf8View).with_metadata(name.into())
            }
            Self::TypedJson(schema) => decoded(DataType::Struct(schema.fields().clone())),
        }
    }

    /// What a record that cannot be decoded is not.
    pub(crate) const fn wanted(&self) -> &'static str {
        match self {
            Self::Binary => "bytes",
            Self::Utf8 => "UTF-8 text",
            Self::Json => "JSON",
            Self::TypedJson(_) => "JSON of the schema",
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn decodes(&self) -> bool {
        !matches!(self, Self::Binary)
    }
}
