//! Decodes the keys and values of Kafka records in Arrow batches: texts, JSON, JSON with a schema. A
//! policy says what happens to a record that cannot be decoded.
//!
//! **Promises:** every record is decoded or named as poison, with the reason; one that cannot be decoded
//! changes no other; the work grows linearly with the bytes, however many records are poison.
//!
//! **Out of scope:** files, flags, terminals, and where dead letters are kept.
//!
//! ```
//! use kafka_direct::{Column, Columns, arrow::array::{Array, BinaryViewArray, RecordBatch}};
//! use kafka_direct_values::{BatchDecoder, ValueFormat};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let schema = kafka_direct::schema(Columns::none().with(Column::Value));
//! let values = BinaryViewArray::from_iter([Some(&b"{\"id\": 1}"[..]), Some(b"{"), None]);
//! let batch = RecordBatch::try_new(schema, vec![std::sync::Arc::new(values)])?;
//! let decoder = BatchDecoder::new(ValueFormat::Binary, ValueFormat::Json);
//! let decoded = decoder.decode(&batch)?;
//! assert_eq!(decoded.poison[0].row, 1);
//! assert_eq!(decoded.without_poison()?.num_rows(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! - `batch.rs`: `BatchDecoder` and `DecodedBatch`, one Arrow batch
//! - `format.rs`: `ValueFormat`, how a column is decoded
//! - `text.rs`: bytes that become texts, without a copy
//! - `json/mod.rs`: documents of a schema to one struct column
//!   - `json/schema.rs`: `JsonSchema`, names and types from a text
//!   - `json/types.rs`: the types, and the texts of dates and times
//!   - `json/struct_column.rs`, `json/column.rs`: fields under construction
//! - `rows.rs`: leaves rows out, and finds the record of a row
//! - `poison.rs`: `OnPoison`, `DeadLetters` and `DeadLetter`
//! - `sink.rs`: `DecodedSink`, in front of any sink
//! - `error.rs`: `Error`

mod batch;
mod error;
mod format;
mod json;
mod poison;
mod rows;
mod sink;
mod text;

pub use self::{
    batch::{BatchDecoder, DecodedBatch, ERROR_COLUMN, Poison},
    error::Error,
    format::ValueFormat,
    json::JsonSchema,
    poison::{DeadLetter, DeadLetters, OnPoison},
    sink::{DecodedSink, DecodedWriter, Decoding},
};
