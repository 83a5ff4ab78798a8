//! Arrow batches to bytes: the forms of `--format`.
//!
//! Contract: every row of every batch comes out once, in order; buffers are handed on at row
//! boundaries before they grow, so that memory does not follow the size of a batch.

#[cfg(feature = "full")]
mod arrow;
mod json_text;
mod jsonl;
mod raw;
mod rows;
mod table;

use kafka_direct::{Columns, arrow::array::RecordBatch};

pub(crate) use self::table::TableText;
use crate::{cli::Format, exit::Failure};

/// A buffer is handed on once it holds this many bytes.
const CHUNK_BYTES: usize = 256 * 1024;
/// A buffer that one large record made larger than this is given back.
const KEPT_BYTES: usize = 4 * CHUNK_BYTES;

/// Takes a filled buffer and leaves it empty.
pub(crate) type Flush<'a> = dyn FnMut(&mut Vec<u8>) -> Result<(), Failure> + 'a;

/// One output stream in one form.
#[derive(Debug)]
pub(crate) enum Encoder {
    Jsonl,
    Raw,
    #[cfg(feature = "full")]
    Arrow(Box<arrow::Stream>),
}

impl Encoder {
    /// An encoder of batches with these columns.
    ///
    /// # Errors
    /// `Usage` for a form that cannot be streamed or that this build leaves out.
    pub(crate) fn new(format: Format, columns: Columns) -> Result<Self, Failure> {
        match format {
            Format::Jsonl => Ok(Self::Jsonl),
            Format::Raw => Ok(Self::Raw),
            Format::Table => Err(Failure::usage(
                "--format table is for people, on stdout or in one file; write jsonl, raw or arrow",
            )),
            #[cfg(feature = "full")]
            Format::Arrow => Ok(Self::Arrow(Box::new(arrow::Stream::new(columns)?))),
            #[cfg(not(feature = "full"))]
            Format::Arrow => {
                let _ = columns;
                Err(Failure::usage(
                    "--format arrow is not in this build; install it with `cargo install kafka-direct-cli --features full`",
                ))
            }
        }
    }

    /// Whether batches may be encoded apart from each other, each by an encoder of its own.
    pub(crate) const fn is_stateless(&self) -> bool {
        match self {
            Self::Jsonl | Self::Raw => true,
            #[cfg(feature = "full")]
            Self::Arrow(_) => false,
        }
    }

    /// Appends what stands before the first batch.
    pub(crate) fn start(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Self::Jsonl | Self::Raw => {
                let _ = out;
                Ok(())
            }
            #[cfg(feature = "full")]
            Self::Arrow(stream) => stream.start(out),
        }
    }

    /// Appends `batch` to `out`, giving `out` to `flush` whenever it is full. What is left in `out`
    /// is the caller's to write.
    pub(crate) fn encode(
        &mut self,
        batch: &RecordBatch,
        out: &mut Vec<u8>,
        flush: &mut Flush<'_>,
    ) -> Result<(), Failure> {
        let mut full = |out: &mut Vec<u8>| {
            if out.len() < CHUNK_BYTES { Ok(()) } else { drained(out, flush) }
        };
        match self {
            Self::Jsonl => jsonl::encode(batch, out, &mut full),
            Self::Raw => raw::encode(batch, out, &mut full),
            #[cfg(feature = "full")]
            Self::Arrow(stream) => stream.encode(batch, out).and_then(|()| full(out)),
        }
    }

    /// Appends what stands after the last batch.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Self::Jsonl | Self::Raw => {
                let _ = out;
                Ok(())
            }
            #[cfg(feature = "full")]
            Self::Arrow(stream) => stream.finish(out),
        }
    }
}

/// Gives `out` to `flush` if there is anything in it, and empties it.
pub(crate) fn drained(out: &mut Vec<u8>, flush: &mut Flush<'_>) -> Result<(), Failure> {
    if out.is_empty() {
        return Ok(());
    }
    flush(out)?;
    out.clear();
    if out.capacity() > KEPT_BYTES {
        *out = Vec::new();
    }
    Ok(())
}
