//! Writes to stdout and stderr; no other module does.
//!
//! Contract: stdout carries only data. Remarks, errors and log lines go to stderr and do not garble
//! progress bars. A closed stdout is [`Failure::ClosedPipe`]; a closed stderr is ignored.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::OnceLock,
};

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, presets};
use indicatif::MultiProgress;
use serde::Serialize;

use crate::exit::Failure;

/// The progress bars, which are suspended while a line is written.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// If wrapping leaves fewer columns than this for names, numbers are wrapped too.
const MIN_NAME_WIDTH: u16 = 12;

/// The action of a failure to write to stdout.
pub(crate) const TO_STDOUT: &str = "writing to stdout";

/// Writes `text` to stdout and flushes it.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    block(text.as_bytes())
}

/// Writes `block` to stdout unchanged and flushes it.
pub(crate) fn block(block: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(block).and_then(|()| stdout.flush()).map_err(failed)
}

fn failed(source: io::Error) -> Failure {
    Failure::io(TO_STDOUT, source)
}

/// Writes a remark, one line that is not an error, to stderr.
pub(crate) fn note(text: &str) {
    line(text);
}

/// Writes one line of an error to stderr.
pub(crate) fn error(text: &str) {
    line(text);
}

/// Whether stderr is a terminal; only then progress bars are drawn.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether stdout is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Returns the width of the terminal that stdout is; `None` if stdout is no terminal.
///
/// The environment variable `COLUMNS` overrides what the terminal reports.
pub(crate) fn stdout_width() -> Option<u16> {
    terminal_size::terminal_size_of(io::stdout()).map(width)
}

/// The same for stderr.
pub(crate) fn stderr_width() -> Option<u16> {
    terminal_size::terminal_size_of(io::stderr()).map(width)
}

fn width((width, _): (terminal_size::Width, terminal_size::Height)) -> u16 {
    let set = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    set.filter(|columns| *columns > 0).unwrap_or(width.0)
}

/// Returns the container of all progress bars.
pub(crate) fn bars() -> &'static MultiProgress {
    BARS.get_or_init(MultiProgress::new)
}

/// Removes remaining progress bars from the terminal.
pub(crate) fn clear_progress() {
    if let Some(bars) = BARS.get() {
        drop(bars.clear());
    }
}

fn line(text: &str) {
    let write = || {
        let mut stderr = io::stderr().lock();
        // If stderr is closed, nothing can be reported.
        drop(stderr.write_all(format!("{text}\n").as_bytes()));
    };
    match BARS.get() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// Writer of log lines to stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogLines;

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        line(String::from_utf8_lossy(bytes).trim_end());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints `value` as one JSON document.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::io("writing JSON", io::Error::other(error)))?;
    data(&format!("{text}\n"))
}

/// Formats rows in aligned columns under heads.
///
/// The first column is aligned left, all others right. On a terminal, cells are wrapped so that lines
/// fit; elsewhere a row is one line.
#[derive(Debug)]
pub(crate) struct Columns(Table);

impl Columns {
    pub(crate) fn new(heads: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(heads.iter().copied());
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
            if column.index > 0 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self(table)
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(Row::from(cells.into_iter().collect::<Vec<_>>()));
    }

    /// Returns the table; every line ends in a line feed.
    pub(crate) fn finish(self) -> String {
        self.fitted(stdout_width())
    }

    fn fitted(mut self, width: Option<u16>) -> String {
        if let Some(width) = width {
            self.wrap(width);
        }
        self.0.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    /// Wraps the first column, whose names are long; the others only if it would get too narrow.
    fn wrap(&mut self, width: u16) {
        // The padding of the last column is trimmed.
        self.0
            .set_width(width.saturating_add(2))
            .set_content_arrangement(ContentArrangement::Dynamic);
        let others = self.0.column_max_content_widths().into_iter().skip(1);
        let others = others.fold(0u16, |sum, column| sum.saturating_add(column).saturating_add(2));
        if others.saturating_add(MIN_NAME_WIDTH) <= width {
            for column in self.0.column_iter_mut().skip(1) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_wrapped_and_numbers_are_not() {
        let table = |width| {
            let mut table = Columns::new(&["topic", "partitions", "id"]);
            table.row(["a".repeat(40), "123456789012".to_owned(), "b".repeat(22)]);
            table.fitted(width)
        };
        assert_eq!(table(None).lines().count(), 2);
        assert_eq!(table(Some(80)), table(None));
        let text = table(Some(60));
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert_eq!(text.matches('a').count(), 41, "{text}");
        assert!(text.contains("123456789012") && text.contains(&"b".repeat(22)), "{text}");
        let text = table(Some(30));
        assert!(text.lines().all(|line| line.chars().count() <= 30), "{text}");
        assert_eq!(text.matches('b').count(), 22, "{text}");
    }
}
