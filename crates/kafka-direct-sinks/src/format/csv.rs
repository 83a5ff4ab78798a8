//! Comma-separated values (RFC 4180) with a header line and `\n` as line end.
//!
//! Fields are written by hand: CSV libraries cannot distinguish a null (an empty field) from an empty
//! text (`""`), and Kafka's tombstones and empty values are different things.

use kafka_direct::{
    Column, Columns,
    arrow::array::{Array as _, BinaryViewArray, RecordBatch},
};

use super::{
    is_full, jsonl,
    rows::{COLUMN_ORDER, Rows},
};
use crate::Error;

/// Refuses columns that CSV cannot carry: most readers skip an empty line, and a null alone in its
/// line is one.
pub(super) fn check(columns: Columns) -> Result<(), Error> {
    let nullable = [Column::Timestamp, Column::Key, Column::Value];
    let mut chosen = COLUMN_ORDER.into_iter().filter(|column| columns.contains(*column));
    match (chosen.next(), chosen.next()) {
        (None, _) => Err(Error::invalid("CSV needs at least one column")),
        (Some(only), None) if nullable.contains(&only) => Err(Error::invalid(format!(
            "CSV with the column `{only}` alone cannot show a null; add a column, for example `offset`"
        ))),
        _ => Ok(()),
    }
}

/// Appends the header line.
pub(super) fn header(columns: Columns, out: &mut Vec<u8>) {
    let names = COLUMN_ORDER.into_iter().filter(|column| columns.contains(*column));
    for (index, column) in names.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(column.as_str().as_bytes());
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
            bytes(keys, row, line.field()).map_err(|()| not_text(&rows, row, "key"))?;
        }
        if let Some(values) = rows.value {
            bytes(values, row, line.field()).map_err(|()| not_text(&rows, row, "value"))?;
        }
        if let Some(headers) = &rows.headers {
            json.clear();
            jsonl::headers(headers, row, &mut json);
            text(&json, line.field());
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

fn bytes(array: &BinaryViewArray, row: usize, out: &mut Vec<u8>) -> Result<(), ()> {
    if array.is_null(row) {
        return Ok(());
    }
    let bytes = array.value(row);
    std::str::from_utf8(bytes).map_err(drop)?;
    text(bytes, out);
    Ok(())
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
