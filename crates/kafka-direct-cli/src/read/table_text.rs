//! Formats records as a table to read on screen.
//!
//! Contract: each row is converted to text when it is added, so no batch is kept. Long keys, values
//! and headers are cut. Control characters are escaped and do not reach the terminal.

use chrono::{DateTime, SecondsFormat};
use comfy_table::{CellAlignment, Row, Table, presets};
use kafka_direct::{
    Column, Columns,
    arrow::array::{Array as _, BinaryViewArray, RecordBatch},
};

use kafka_direct_sinks::format::{COLUMN_ORDER, Rows};

use crate::exit::Failure;

/// Maximum length of a cell, in characters.
const CELL_CHARS: usize = 60;
/// The text shown for a null.
const NULL: &str = "∅";
/// A table under construction.
#[derive(Debug)]
pub(crate) struct TableText {
    columns: Vec<Column>,
    table: Table,
}

impl TableText {
    /// An empty table with these columns.
    pub(crate) fn new(columns: Columns) -> Self {
        let columns: Vec<Column> =
            COLUMN_ORDER.into_iter().filter(|column| columns.contains(*column)).collect();
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(columns.iter().map(|column| column.as_str()));
        for (index, column) in columns.iter().enumerate() {
            if let Some(cells) = table.column_mut(index) {
                cells.set_padding((0, 2));
                if matches!(column, Column::Partition | Column::Offset) {
                    cells.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        Self { columns, table }
    }

    /// Adds every row of `batch`.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let rows = Rows::new(batch)?;
        for row in 0..rows.len {
            let cells = self.columns.iter().map(|column| cell(&rows, *column, row));
            self.table.add_row(Row::from(cells.collect::<Vec<_>>()));
        }
        Ok(())
    }

    /// Returns the text of the table, which ends in a line feed.
    pub(crate) fn finish(self) -> String {
        let mut text: String = self
            .table
            .lines()
            .flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()])
            .collect();
        if text.is_empty() {
            text.push('\n');
        }
        text
    }
}

fn cell(rows: &Rows<'_>, column: Column, row: usize) -> String {
    let text = match column {
        Column::Topic => rows.topic.as_ref().map(|topics| topics.name(row).to_owned()),
        Column::Partition => rows.partition.map(|array| array.value(row).to_string()),
        Column::Offset => rows.offset.map(|array| array.value(row).to_string()),
        Column::Timestamp => rows
            .timestamp
            .map(|array| if array.is_null(row) { NULL.to_owned() } else { time(array.value(row)) }),
        Column::TimestampType => rows.timestamp_type.map(|array| match array.value(row) {
            0 => "create".to_owned(),
            1 => "append".to_owned(),
            other => other.to_string(),
        }),
        Column::Key => rows.key.map(|array| bytes(at(array, row))),
        Column::Value => rows.value.map(|array| bytes(at(array, row))),
        Column::Headers => rows.headers.as_ref().map(|headers| {
            let each =
                headers.of(row).map(|(key, value)| format!("{}={}", escaped(key), bytes(value)));
            cut(&each.collect::<Vec<_>>().join(", "))
        }),
        _ => None,
    };
    text.unwrap_or_default()
}

fn at(array: &BinaryViewArray, row: usize) -> Option<&[u8]> {
    (!array.is_null(row)).then(|| array.value(row))
}

fn time(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis).map_or_else(
        || millis.to_string(),
        |time| time.to_rfc3339_opts(SecondsFormat::Millis, true),
    )
}

fn bytes(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return NULL.to_owned() };
    // A cell shows no more, and converting a large value would be slow.
    let front = bytes.get(..CELL_CHARS.saturating_mul(4)).unwrap_or(bytes);
    cut(&escaped(&String::from_utf8_lossy(front)))
}

/// Escapes control characters.
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let spelled = c.is_control().then(|| c.escape_default());
            let plain = spelled.is_none().then_some(c);
            spelled.into_iter().flatten().chain(plain)
        })
        .collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CELL_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_no_control_characters_and_a_limited_length() {
        let text = bytes(Some(format!("a\u{1b}[31m\r\n{}", "x".repeat(10_000)).as_bytes()));
        assert!(text.starts_with("a\\u{1b}[31m\\r\\nxx"), "{text}");
        assert!(text.chars().all(|c| !c.is_control()));
        assert_eq!(text.chars().count(), CELL_CHARS + 1);
        assert_eq!(bytes(None), NULL);
        assert_eq!(bytes(Some(b"")), "");
    }
}
