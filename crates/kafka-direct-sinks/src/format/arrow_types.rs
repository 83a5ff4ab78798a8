//! `ArrowTypes`: which Arrow types keys, values and headers have in Arrow IPC.

use std::fmt;

/// The Arrow types of text and bytes in [`Format::Arrow`](super::Format::Arrow) and
/// [`Format::ArrowStream`](super::Format::ArrowStream). Other formats have types of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArrowTypes {
    /// Binary and Utf8, also for the topic. Every program that reads Arrow can filter, sort and take
    /// them. The bytes of keys, values and headers are copied once more.
    Plain,
    /// BinaryView and Utf8View, as the engine builds them. In a stream the topic is a dictionary; in
    /// a file it is Utf8, because a file cannot replace a dictionary. pyarrow does not filter, sort or
    /// take views.
    View,
}

impl ArrowTypes {
    /// Its name in settings, receipts and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::View => "view",
        }
    }
}

impl fmt::Display for ArrowTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
