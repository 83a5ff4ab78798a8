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
use parking_lot::Mutex;

pub(crate) use self::table::TableText;
use crate::{cli::Format, exit::Failure};

/// A buffer is full once it holds this many bytes.
const FULL_BYTES: usize = 256 * 1024;
/// The most that a buffer may have grown to and be kept.
const KEPT_BYTES: usize = 4 * FULL_BYTES;

/// Whether a buffer is to be handed on.
const fn is_full(out: &[u8]) -> bool {
    out.len() >= FULL_BYTES
}

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

    /// Appends rows of `batch` to `out`, from row `from` on and until `out` is full; gives the row to
    /// go on with, or `None` behind the last.
    pub(crate) fn encode(
        &mut self,
        batch: &RecordBatch,
        from: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, Failure> {
        let next = match self {
            Self::Jsonl => jsonl::encode(batch, from, out)?,
            Self::Raw => raw::encode(batch, from, out)?,
            #[cfg(feature = "full")]
            Self::Arrow(stream) => {
                stream.encode(batch, out)?;
                batch.num_rows()
            }
        };
        Ok((next < batch.num_rows()).then_some(next))
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

/// Buffers that are used again: whoever formats takes one, whoever writes gives it back.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// A buffer that is empty and likely has room.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.0.lock().pop().unwrap_or_default()
    }

    /// Keeps a buffer for the next, unless one large record made it large.
    pub(crate) fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        if (1..=KEPT_BYTES).contains(&buffer.capacity()) {
            self.0.lock().push(buffer);
        }
    }
}
