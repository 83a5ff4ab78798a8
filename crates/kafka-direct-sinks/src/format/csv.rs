//! Comma-separated values (RFC 4180) with a header line and `\n` as line end.
//!
//! Fields are written by hand: CSV libraries cannot distinguish a null (an empty field) from an empty
//! text (`""`), and Kafka's tombstones and empty values are different things.

use kafka_direct::{
    Column,
    arrow::{
        array::{Array as _, RecordBatch},
        schema::Schema,
    },
};

use super::{
    Cells, cells, is_full, jsonl,
    rows::{COLUMN_ORDER, ERROR_COLUMN, Rows},
};
use crate::Error;

/// Refuses columns that CSV cannot carry: most readers skip an empty line, and a null alone in its
/// line is one. Structs have no form in CSV.
pub(super) fn check(schema: &Schema) -> Result<(), Error> {
    let nullable = [Column::Timestamp, Column::Key, Column::Value];
    let object = schema.fields().iter().find(|field| cells::is_object(field.data_type()));
    if let Some(field) = object {
        return Err(Error::invalid(format!(
            "CSV cannot carry the fields of the column `{}`; write JSON lines, Parquet or Arrow, or leave the schema out",
            field.name()
        )));
    }
    let mut chosen = columns(schema);
    match (chosen.next(), chosen.next()) {
        (None, _) => Err(Error::invalid("CSV needs at least one column")),
        (Some(only), None) if nullable.contains(&only) => Err(Error::invalid(format!(
            "CSV with the column `{only}` alone cannot show a null; add a column, for example `offset`"
        ))),
        _ => Ok(()),
    }
}

/// The columns of `schema` in the order of the fields.
fn columns(schema: &Schema) -> impl Iterator<Item = Column> {
    let is_chosen = |column: &Column| schema.column_with_name(column.as_str()).is_some();
    COLUMN_ORDER.into_iter().filter(is_chosen)
}

/// Appends the header line.
pub(super) fn header(schema: &Schema, out: &mut Vec<u8>) {
    let error = schema.column_with_name(ERROR_COLUMN).map(|_| ERROR_COLUMN);
    for (index, name) in columns(schema).map(Column::as_str).chain(error).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b'\n');
}

/// Appends rows of `batch` from row `from` on until `out` is full; returns the row to continue with.
pub(super) fn encode(batch: &RecordBatch, from: usize, out: &mut Vec<u8>) -> Result<usize, Error> {
    let rows = Rows::new(batch)?;
    let mut numbers = itoa::Buffer::new();
    let mut json = Vec::new();
    for row in from..rows.len {
        let mut line = Line { out: &mut *out, is_empty: true };
        if let Some(topics) = &rows.topic {
            line.field().extend_from_slice(topics.name(row).as_bytes());
        }
        if let Some(partition) = rows.partition {
            let number = numbers.format(partition.value(row));
            line.field().extend_from_slice(number.as_bytes());
        }
        if let Some(offset) = rows.offset {
            let number = numbers.format(offset.value(row));
            line.field().extend_from_slice(number.as_bytes());
        }
        if let Some(timestamp) = rows.timestamp {
            let field = line.field();
            if !timestamp.is_null(row) {
                field.extend_from_slice(numbers.format(timestamp.value(row)).as_bytes());
            }
        }
        if let Some(kind) = rows.timestamp_type {
            line.field().extend_from_slice(numbers.format(kind.value(row)).as_bytes());
        }
        if let Some(keys) = rows.key {
            bytes(&keys, row, line.field())?.map_err(|()| not_text(&rows, row, "key"))?;
        }
        if let Some(values) = rows.value {
            bytes(&values, row, line.field())?.map_err(|()| not_text(&rows, row, "value"))?;
        }
        if let Some(headers) = &rows.headers {
            json.clear();
            jsonl::headers(headers, row, &mut json);
            text(&json, line.field());
        }
        if let Some(errors) = rows.error {
            let field = line.field();
            if errors.is_valid(row) {
                text(errors.value(row).as_bytes(), field);
            }
        }
        out.push(b'\n');
        if is_full(out) {
            return Ok(row.saturating_add(1));
        }
    }
    Ok(rows.len)
}

/// A line being written.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl Line<'_> {
    /// Begins a field; its content follows.
    fn field(&mut self) -> &mut Vec<u8> {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(b',');
        }
        self.out
    }
}

/// Appends a key or value; `Ok(Err)` if it is no text.
fn bytes(cells: &Cells<'_>, row: usize, out: &mut Vec<u8>) -> Result<Result<(), ()>, Error> {
    let Some(bytes) = cells.bytes(row)? else { return Ok(Ok(())) };
    if std::str::from_utf8(&bytes).is_err() {
        return Ok(Err(()));
    }
    text(&bytes, out);
    Ok(Ok(()))
}

/// Appends a text as a field, quoted if it is empty or has a separator, a quote or a line break.
fn text(text: &[u8], out: &mut Vec<u8>) {
    let needs_quotes = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if !text.is_empty() && !text.iter().any(needs_quotes) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for (index, part) in text.split(|byte| *byte == b'"').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part);
    }
    out.push(b'"');
}

fn not_text(rows: &Rows<'_>, row: usize, part: &str) -> Error {
    let place = match (&rows.topic, rows.partition, rows.offset) {
        (Some(topics), Some(partition), Some(offset)) => {
            let (partition, offset) = (partition.value(row), offset.value(row));
            format!("{}-{partition} offset {offset}: the {part}", topics.name(row))
        }
        _ => format!("a {part}, which the columns topic, partition and offset would name,"),
    };
    Error::invalid(format!(
        "{place} is not UTF-8, which CSV cannot carry; write JSON lines or Parquet, or leave the column out"
    ))
}
