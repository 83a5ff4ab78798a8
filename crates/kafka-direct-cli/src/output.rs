//! The only place that writes to stdout and stderr.
//!
//! Contract: stdout carries data; remarks, errors and log lines go to stderr and never tear a
//! progress bar; a closed stdout is [`Failure::ClosedPipe`], a closed stderr is ignored.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::OnceLock,
};

use comfy_table::{CellAlignment, Row, Table, presets};
use indicatif::MultiProgress;
use serde::Serialize;

use crate::exit::Failure;

/// The bars on the screen, which step aside for lines.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Writes `text` to stdout.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    block(text.as_bytes())
}

/// Writes `block` to stdout as it is and hands all of it on.
pub(crate) fn block(block: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(block).and_then(|()| stdout.flush()).map_err(failed)
}

fn failed(source: io::Error) -> Failure {
    Failure::io("writing to stdout", source)
}

/// Writes a remark to stderr: one line that is no error.
pub(crate) fn note(text: &str) {
    line(text);
}

/// Writes a line of an error to stderr.
pub(crate) fn error(text: &str) {
    line(text);
}

/// Whether stderr is a terminal, so that progress may be drawn.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether a person reads the data as it comes.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Where bars are drawn.
pub(crate) fn bars() -> &'static MultiProgress {
    BARS.get_or_init(MultiProgress::new)
}

/// Takes what is left of bars off the screen.
pub(crate) fn clear_progress() {
    if let Some(bars) = BARS.get() {
        drop(bars.clear());
    }
}

fn line(text: &str) {
    let write = || {
        let mut stderr = io::stderr().lock();
        // Nobody is left to tell.
        drop(stderr.write_all(format!("{text}\n").as_bytes()));
    };
    match BARS.get() {
        Some(bars) => bars.suspend(write),
        None => write(),
    }
}

/// Log lines on stderr.
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

/// Text in aligned columns under heads; the first column is text, numbers stand right.
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

    /// The text, ending in a line feed.
    pub(crate) fn finish(self) -> String {
        self.0.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}
