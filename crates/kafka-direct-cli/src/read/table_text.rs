//! Formats records as a table to read on screen.
//!
//! Contract: each row is converted to text when it is added, so no batch is kept. What is cut ends in
//! an ellipsis; [`Fit`] says how much is cut. Widths are those of a terminal, where wide characters
//! have two columns. Control characters are escaped and do not reach the terminal.

use chrono::{DateTime, SecondsFormat};
use comfy_table::{CellAlignment, ContentArrangement, Row, Table, presets};
use kafka_direct::{
    Column, Columns,
    arrow::array::{Array as _, RecordBatch},
};

use kafka_direct_sinks::format::{COLUMN_ORDER, Cells, ERROR_COLUMN, Rows};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::exit::Failure;

/// Maximum width of keys, values and headers with [`Fit::Cells`].
const CELL_WIDTH: usize = 60;
/// Columns are not cut to less than this width, which is that of the longest head of a cut column.
const MIN_WIDTH: usize = 7;
/// Width between two columns.
const GAP: usize = 2;
/// Bytes of a text that are converted per column of width; emoji can have this many.
const BYTES_PER_COLUMN: usize = 16;
/// The text shown for a null.
const NULL: &str = "∅";

/// How much of a table is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Nothing is cut.
    Whole,
    /// Keys, values and headers are cut at [`CELL_WIDTH`].
    Cells,
    /// Topics, keys, values and headers are cut so that lines fit a terminal of this width.
    Terminal(usize),
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Of(Column),
    /// Why a record could not be decoded.
    Error,
}

impl Shown {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Of(column) => column.as_str(),
            Self::Error => ERROR_COLUMN,
        }
    }
}

/// A table under construction.
#[derive(Debug)]
pub(crate) struct TableText {
    columns: Vec<Shown>,
    fit: Fit,
    rows: Vec<Vec<String>>,
}

impl TableText {
    /// An empty table with these columns.
    pub(crate) fn new(columns: Columns, fit: Fit) -> Self {
        let columns = COLUMN_ORDER.into_iter().filter(|column| columns.contains(*column));
        Self { columns: columns.map(Shown::Of).collect(), fit, rows: Vec::new() }
    }

    /// The table with a column for the reasons why records could not be decoded.
    pub(crate) fn with_errors(mut self) -> Self {
        self.columns.push(Shown::Error);
        self
    }

    /// Adds every row of `batch`.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let rows = Rows::new(batch)?;
        for row in 0..rows.len {
            let cells = self.columns.iter().map(|column| self.cell(&rows, *column, row));
            let cells = cells.collect::<Result<_, Failure>>()?;
            self.rows.push(cells);
        }
        Ok(())
    }

    /// How many rows the table has.
    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds rows of another table with the same columns.
    pub(crate) fn extend(&mut self, rows: impl IntoIterator<Item = Vec<String>>) {
        self.rows.extend(rows);
    }

    /// The rows.
    pub(crate) fn into_rows(self) -> Vec<Vec<String>> {
        self.rows
    }

    /// Returns the text of the table, which ends in a line feed.
    pub(crate) fn finish(mut self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        if let Fit::Terminal(width) = self.fit
            && !self.shrink(width)
        {
            // Wrapped cells are easier to read than wrapped lines. The last padding is trimmed.
            let width = u16::try_from(width.saturating_add(GAP)).unwrap_or(u16::MAX);
            table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
        }
        table.set_header(self.columns.iter().map(|column| column.as_str()));
        table.add_rows(self.rows.into_iter().map(Row::from));
        for (column, cells) in self.columns.iter().zip(table.column_iter_mut()) {
            cells.set_padding((0, 2));
            if matches!(column, Shown::Of(Column::Partition | Column::Offset)) {
                cells.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text: String =
            table.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect();
        if text.is_empty() {
            text.push('\n');
        }
        text
    }

    /// Cuts the widest columns to one width, so that lines have `width`; returns whether they do.
    fn shrink(&mut self, width: usize) -> bool {
        let widths: Vec<usize> = (self.columns.iter().enumerate())
            .map(|(index, column)| {
                let cells = self.rows.iter().filter_map(|row| row.get(index));
                cells.map(|cell| width_of(cell)).fold(column.as_str().len(), usize::max)
            })
            .collect();
        let line = |most: usize| {
            let each = self.columns.iter().zip(&widths);
            let each = each.map(|(column, width)| match may_be_cut(*column) {
                true => most.min(*width),
                false => *width,
            });
            each.sum::<usize>().saturating_add(GAP.saturating_mul(widths.len().saturating_sub(1)))
        };
        let fitting = (MIN_WIDTH..=width).rev().find(|most| line(*most) <= width);
        let most = fitting.unwrap_or(MIN_WIDTH);
        for row in &mut self.rows {
            for (column, cell) in self.columns.iter().zip(row) {
                if may_be_cut(*column) && width_of(cell) > most {
                    *cell = cut(cell, most);
                }
            }
        }
        fitting.is_some()
    }

    /// The maximum width of a text, as far as it is known before all rows are.
    const fn max_width(&self) -> Option<usize> {
        match self.fit {
            Fit::Whole => None,
            Fit::Cells => Some(CELL_WIDTH),
            Fit::Terminal(width) => Some(width),
        }
    }

    fn cell(&self, rows: &Rows<'_>, column: Shown, row: usize) -> Result<String, Failure> {
        let Shown::Of(column) = column else {
            let error = rows.error.filter(|errors| errors.is_valid(row));
            return Ok(bytes(error.map(|errors| errors.value(row).as_bytes()), self.max_width()));
        };
        let text = match column {
            Column::Topic => rows.topic.as_ref().map(|topics| topics.name(row).to_owned()),
            Column::Partition => rows.partition.map(|array| array.value(row).to_string()),
            Column::Offset => rows.offset.map(|array| array.value(row).to_string()),
            Column::Timestamp => rows.timestamp.map(|array| {
                if array.is_null(row) { NULL.to_owned() } else { time(array.value(row)) }
            }),
            Column::TimestampType => rows.timestamp_type.map(|array| match array.value(row) {
                0 => "create".to_owned(),
                1 => "append".to_owned(),
                other => other.to_string(),
            }),
            Column::Key => self.bytes(rows.key.as_ref(), row)?,
            Column::Value => self.bytes(rows.value.as_ref(), row)?,
            Column::Headers => rows.headers.as_ref().map(|headers| {
                let each = headers.of(row).map(|(key, value)| {
                    format!("{}={}", escaped(key), bytes(value, self.max_width()))
                });
                limited(each.collect::<Vec<_>>().join(", "), self.max_width())
            }),
            _ => None,
        };
        Ok(text.unwrap_or_default())
    }

    fn bytes(&self, cells: Option<&Cells<'_>>, row: usize) -> Result<Option<String>, Failure> {
        let Some(cells) = cells else { return Ok(None) };
        Ok(Some(bytes(cells.bytes(row)?.as_deref(), self.max_width())))
    }
}

/// Whether texts of this column may be cut; the others are short.
const fn may_be_cut(column: Shown) -> bool {
    match column {
        Shown::Of(column) => {
            matches!(column, Column::Topic | Column::Key | Column::Value | Column::Headers)
        }
        Shown::Error => true,
    }
}

fn time(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis).map_or_else(
        || millis.to_string(),
        |time| time.to_rfc3339_opts(SecondsFormat::Millis, true),
    )
}

/// Returns the text of `bytes`, cut to `max_width` columns.
fn bytes(bytes: Option<&[u8]>, max_width: Option<usize>) -> String {
    let Some(bytes) = bytes else { return NULL.to_owned() };
    // A cell shows no more, and converting a large value would be slow.
    let front = max_width.and_then(|width| bytes.get(..width.saturating_mul(BYTES_PER_COLUMN)));
    match front.filter(|front| front.len() < bytes.len()) {
        None => limited(escaped(&String::from_utf8_lossy(bytes)), max_width),
        // The ellipsis replaces the last character, of which only a part may be in front.
        Some(front) => limited(escaped(&String::from_utf8_lossy(front)) + "…", max_width),
    }
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

fn limited(text: String, max_width: Option<usize>) -> String {
    match max_width {
        Some(width) if width_of(&text) > width => cut(&text, width),
        _ => text,
    }
}

/// The width of `text` in the terminal that needs most for it: some show the parts of an emoji that
/// is a sequence of characters one after the other.
fn width_of(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    let apart = |part: &str| part.chars().filter_map(|c| c.width()).sum::<usize>();
    text.graphemes(true).map(|part| part.width().max(apart(part))).sum()
}

/// Cuts `text` to `width` columns, of which the last one is an ellipsis.
fn cut(text: &str, width: usize) -> String {
    let mut left = width.saturating_sub(1);
    let fits = |part: &&str| match left.checked_sub(width_of(part)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let mut front: String = text.graphemes(true).take_while(fits).collect();
    front.push('…');
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_no_control_characters_and_a_limited_width() {
        let long = format!("a\u{1b}[31m\r\n{}", "x".repeat(10_000));
        let text = bytes(Some(long.as_bytes()), Some(60));
        assert!(text.starts_with("a\\u{1b}[31m\\r\\nxx") && text.ends_with("x…"), "{text}");
        assert!(text.chars().all(|c| !c.is_control()));
        assert_eq!(text.width(), 60);
        assert_eq!(bytes(Some(long.as_bytes()), None).len(), long.len() + 7);
        assert_eq!(bytes(None, Some(60)), NULL);
        assert_eq!(bytes(Some(b""), Some(60)), "");
    }

    #[test]
    fn wide_characters_and_emoji_count_two_columns_and_stay_whole() {
        let shown = |text: &str, width| bytes(Some(text.as_bytes()), Some(width));
        assert_eq!(shown("日本語テキスト", 14), "日本語テキスト");
        assert_eq!(shown("日本語テキスト", 13), "日本語テキス…");
        assert_eq!(shown("日本語テキスト", 12), "日本語テキ…");
        assert_eq!(shown("🎉🎉ab", 6), "🎉🎉ab");
        assert_eq!(shown("🎉🎉ab", 5), "🎉🎉…");
        assert_eq!(shown("🎉🎉ab", 4), "🎉…");
        // A thumb and its skin colour are one emoji, which takes four columns in some terminals.
        assert_eq!(shown("👍🏽ab", 6), "👍🏽ab");
        assert_eq!(shown("👍🏽ab", 5), "👍🏽…");
        assert_eq!(shown("👍🏽ab", 4), "…");
        assert_eq!(shown("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
    }

    #[test]
    fn a_value_cut_inside_a_character_shows_no_replacement_character() {
        let long = "€".repeat(10_000);
        for width in 7..100 {
            let text = bytes(Some(long.as_bytes()), Some(width));
            assert_eq!(text, "€".repeat(width - 1) + "…");
        }
    }

    #[test]
    fn lines_fit_a_terminal_of_any_usual_width() {
        let all = Columns::none().with(Column::Topic).with(Column::Offset).with(Column::Value);
        let table = |width| {
            let mut table = TableText::new(all, Fit::Terminal(width));
            table.rows.push(vec!["orders".to_owned(), "9".repeat(15), "日本 ".repeat(100)]);
            table.rows.push(vec!["o".repeat(50), "0".to_owned(), "short".to_owned()]);
            table.finish()
        };
        for width in [20, 40, 80, 200] {
            let text = table(width);
            let most = text.lines().map(width_of).max().unwrap();
            assert!((width - 1..=width).contains(&most), "{width}: {text}");
            if width > 20 {
                assert!(text.contains(&"9".repeat(15)), "numbers are whole: {text}");
                assert_eq!(text.lines().count(), 3);
            }
        }
        assert!(table(200).contains(&"o".repeat(50)));
    }
}
