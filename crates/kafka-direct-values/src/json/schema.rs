//! `JsonSchema`: the fields of JSON values, read from a JSON text of names and types.

use std::{collections::HashSet, fmt, str::FromStr, sync::Arc};

use kafka_direct::arrow::schema::{DataType, Field, FieldRef, Fields};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::types;
use crate::Error;

/// The fields of the JSON objects in a column, in order.
///
/// It is read from a JSON object of field names and types:
///
/// ```
/// # use kafka_direct_values::JsonSchema;
/// let schema: JsonSchema = r#"{
///     "id": "Int64!", "amount": "Float64", "at": "Timestamp(ms)",
///     "tags": ["Utf8"], "customer": {"name": "Utf8"}
/// }"#.parse()?;
/// assert_eq!(schema.fields().len(), 5);
/// # Ok::<(), kafka_direct_values::Error>(())
/// ```
///
/// | type | JSON that it takes |
/// |---|---|
/// | `Boolean` | true and false |
/// | `Int8`, `Int16`, `Int32`, `Int64`, `UInt8`, `UInt16`, `UInt32`, `UInt64` | integers in its range; not `1.0`, not `"1"` |
/// | `Float32`, `Float64` | numbers |
/// | `Utf8` | texts |
/// | `Date32` | texts such as `"2025-01-31"` |
/// | `Timestamp(s)`, `Timestamp(ms)`, `Timestamp(us)`, `Timestamp(ns)` | texts of RFC 3339, with or without zone; integers in this unit |
/// | `[TYPE]` | lists |
/// | `{"field": TYPE}` | objects |
///
/// A field that is missing in a document is null. With `!` after its type it must be there, and not
/// null. Fields that the schema does not have are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonSchema(Fields);

impl JsonSchema {
    /// The fields in the order of the text.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.0
    }
}

impl FromStr for JsonSchema {
    type Err = Error;

    /// # Errors
    /// [`Error::Schema`], which names the field and what is allowed.
    fn from_str(text: &str) -> Result<Self, Error> {
        match serde_json::from_str(text) {
            Ok(Node::Object(named)) => Ok(Self(fields("", named)?)),
            Ok(_) => Err(Error::schema("a schema is a JSON object of field names and types")),
            Err(error) => Err(Error::schema(format!("the schema is not JSON: {error}"))),
        }
    }
}

/// JSON whose objects keep their order.
enum Node {
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    Other,
}

fn fields(path: &str, named: Vec<(String, Node)>) -> Result<Fields, Error> {
    let mut names = HashSet::new();
    if named.is_empty() {
        let object = if path.is_empty() { "the schema" } else { path };
        return Err(Error::schema(format!("{object} names no field")));
    }
    let checked = |(name, node): (String, Node)| {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if !names.insert(name.clone()) {
            return Err(Error::schema(format!("field `{path}` is there twice")));
        }
        field(&path, name, node)
    };
    named.into_iter().map(checked).collect()
}

fn field(path: &str, name: String, node: Node) -> Result<FieldRef, Error> {
    let wrong =
        |found: &str| Error::schema(format!("field `{path}`: {found}; write {}", types::ALLOWED));
    let (data_type, nullable) = match node {
        Node::Text(text) => {
            let named = text.strip_suffix('!').unwrap_or(&text);
            let found = types::named(named);
            (found.ok_or_else(|| wrong(&format!("unknown type `{text}`")))?, !text.ends_with('!'))
        }
        Node::List(items) => {
            let mut items = items.into_iter();
            let (Some(item), None) = (items.next(), items.next()) else {
                return Err(wrong("a list has one type"));
            };
            let item = field(&format!("{path}[]"), Field::LIST_FIELD_DEFAULT_NAME.to_owned(), item);
            (DataType::List(item?), true)
        }
        Node::Object(named) => (DataType::Struct(fields(path, named)?), true),
        Node::Other => return Err(wrong("a type is a text, a list or an object")),
    };
    Ok(Arc::new(Field::new(name, data_type, nullable)))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a type")
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = items.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut named = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            named.push(entry);
        }
        Ok(Node::Object(named))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<JsonSchema>().unwrap_err().to_string()
    }

    #[test]
    fn fields_keep_their_order_and_names_their_types() {
        let schema: JsonSchema =
            r#"{"z": "Int64!", "a": ["Utf8"], "m": {"b": "Timestamp(us)", "a": "Date32"}}"#
                .parse()
                .unwrap();
        let shown: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(shown, ["z", "a", "m"]);
        assert!(!schema.fields()[0].is_nullable() && schema.fields()[1].is_nullable());
        let DataType::Struct(inner) = schema.fields()[2].data_type() else { panic!() };
        assert_eq!(
            (inner[0].name().as_str(), types::name(&inner[0])),
            ("b", "Timestamp(us)".to_owned())
        );
    }

    #[test]
    fn a_wrong_schema_is_one_error_that_names_field_and_types() {
        let unknown = error(r#"{"id": "Int64", "customer": {"tags": ["String"]}}"#);
        assert!(
            unknown.starts_with("field `customer.tags[]`: unknown type `String`; write Boolean, ")
        );
        assert!(unknown.contains("Utf8") && unknown.contains("Timestamp(ms)"), "{unknown}");
        assert!(error(r#"{"a": 1}"#).starts_with("field `a`: a type is a text"));
        assert!(error(r#"{"a": null}"#).starts_with("field `a`: a type is a text"));
        assert!(error(r#"{"a": ["Utf8", "Utf8"]}"#).starts_with("field `a`: a list has one type"));
        assert_eq!(error(r#"{"a": {"b": "Utf8", "b": "Utf8"}}"#), "field `a.b` is there twice");
        assert_eq!(error(r#"{"a": {}}"#), "a names no field");
        assert_eq!(error("{}"), "the schema names no field");
        assert!(error("[]").contains("a JSON object"));
        assert!(error(r#"{"a": "Utf8""#).starts_with("the schema is not JSON: EOF"));
    }
}
