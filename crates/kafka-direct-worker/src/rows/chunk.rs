//! Parsed records that are not rows yet.

use super::views::Field;

/// How many records are parsed before their columns are filled.
pub(crate) const CHUNK: usize = 32;

/// A parsed record.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parsed {
    pub(crate) time_delta: i32,
    pub(crate) delta: i32,
    pub(crate) key: Field,
    pub(crate) value: Field,
}

/// The memory of parsed records, which is reused without being cleared.
#[derive(Debug, Default)]
pub(crate) struct Chunk(pub(crate) [Parsed; CHUNK]);
