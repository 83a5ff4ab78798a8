//! One JSON object per record and line.
//!
//! Fields have a fixed order and exist only for columns that were read: topic, partition, offset,
//! timestamp, timestamp_type, key, value, headers, _error. Bytes that are not UTF-8 make their field
//! null, and the next field, `<field>_base64`, carries them. Values that are JSON are embedded on
//! request, and keys and values that were decoded as JSON always. Structs are objects.

use kafka_direct::arrow::array::{Array as _, RecordBatch};

use super::{
    Cells, is_full, json_object, json_text, json_values,
    rows::{Headers, Rows},
};
use crate::Error;

/// Appends rows of `batch` from row `from` on until `out` is full; returns the row to continue with.
///
/// With `embeds_values` a value that is JSON is no string, see [`json_values::embed`].
pub(super) fn encode(
    batch: &RecordBatch,
    embeds_values: bool,
    from: usize,
    out: &mut Vec<u8>,
) -> Result<usize, Error> {
    let rows = Rows::new(batch)?;
    let mut numbers = itoa::Buffer::new();
    let mut topic = TopicField::default();
    for row in from..rows.len {
        let mut line = Line { out, fields: 0 };
        if let Some(topics) = &rows.topic {
            let text = topic.of(topics.indices.value(row), || topics.name(row));
            line.field(b"\"topic\":").extend_from_slice(text);
        }
        if let Some(partition) = rows.partition {
            let number = numbers.format(partition.value(row));
            line.field(b"\"partition\":").extend_from_slice(number.as_bytes());
        }
        if let Some(offset) = rows.offset {
            let number = numbers.format(offset.value(row));
            line.field(b"\"offset\":").extend_from_slice(number.as_bytes());
        }
        if let Some(timestamp) = rows.timestamp {
            let text =
                if timestamp.is_null(row) { "null" } else { numbers.format(timestamp.value(row)) };
            line.field(b"\"timestamp\":").extend_from_slice(text.as_bytes());
        }
        if let Some(kind) = rows.timestamp_type {
            let number = numbers.format(kind.value(row));
            line.field(b"\"timestamp_type\":").extend_from_slice(number.as_bytes());
        }
        if let Some(keys) = rows.key {
            cell(line.field(b"\"key\":"), "key", &keys, row, false)?;
        }
        if let Some(values) = rows.value {
            cell(line.field(b"\"value\":"), "value", &values, row, embeds_values)?;
        }
        if let Some(headers) = &rows.headers {
            self::headers(headers, row, line.field(b"\"headers\":"));
        }
        if let Some(errors) = rows.error {
            let error = errors.is_valid(row).then(|| errors.value(row).as_bytes());
            bytes(line.field(b"\"_error\":"), "_error", error);
        }
        line.end();
        if is_full(out) {
            return Ok(row.saturating_add(1));
        }
    }
    Ok(rows.len)
}

/// Appends the headers of a row as a JSON array of objects.
pub(super) fn headers(headers: &Headers<'_>, row: usize, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, (key, value)) in headers.of(row).enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"key\":" } else { b",{\"key\":" });
        json_text::string(key, out);
        out.extend_from_slice(b",\"value\":");
        bytes(out, "value", value);
        out.push(b'}');
    }
    out.push(b']');
}

/// Appends a key or value: an object, JSON that is embedded, or text.
fn cell(
    out: &mut Vec<u8>,
    name: &str,
    cells: &Cells<'_>,
    row: usize,
    embeds: bool,
) -> Result<(), Error> {
    if let Cells::Objects(array) = cells {
        return json_object::write(*array, row, out);
    }
    let value = cells.bytes(row)?;
    let embeds = embeds || matches!(cells, Cells::Json(_));
    let embedded = embeds && value.as_deref().is_some_and(|json| json_values::embed(json, out));
    if !embedded {
        bytes(out, name, value.as_deref());
    }
    Ok(())
}

/// Appends the value of a field: text, or null and a base64 field after it if it is not UTF-8.
fn bytes(out: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else {
        out.extend_from_slice(b"null");
        return;
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => json_text::string(text, out),
        Err(_) => {
            out.extend_from_slice(b"null,\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"_base64\":");
            json_text::base64(bytes, out);
        }
    }
}

/// An object being written.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    fields: usize,
}

impl Line<'_> {
    /// Begins a field, whose name comes quoted and with its colon; its value follows.
    fn field(&mut self, name: &[u8]) -> &mut Vec<u8> {
        self.out.push(if self.fields == 0 { b'{' } else { b',' });
        self.out.extend_from_slice(name);
        self.fields = self.fields.saturating_add(1);
        self.out
    }

    fn end(self) {
        self.out.extend_from_slice(if self.fields == 0 { b"{}\n" } else { b"}\n" });
    }
}

/// The topic's name as JSON; it rarely changes within a batch.
#[derive(Default)]
struct TopicField {
    index: Option<i32>,
    text: Vec<u8>,
}

impl TopicField {
    fn of<'a>(&mut self, index: i32, name: impl FnOnce() -> &'a str) -> &[u8] {
        if self.index != Some(index) {
            self.text.clear();
            json_text::string(name(), &mut self.text);
            self.index = Some(index);
        }
        &self.text
    }
}
