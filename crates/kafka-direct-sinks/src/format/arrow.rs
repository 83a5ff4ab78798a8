//! Arrow IPC: the file format and the stream format.
//!
//! Contract: an output has one schema, then batches of all partitions. It is written from front to
//! back. Of what is written, only 24 bytes per batch of a file are kept: its place, which the footer
//! lists.

use arrow_ipc::writer::{FileWriter, StreamWriter};
use kafka_direct::arrow::{array::RecordBatch, schema::SchemaRef};

use super::{ArrowTypes, plain::Layout};
use crate::Error;

/// One file or stream.
pub(super) struct Ipc {
    layout: Layout,
    writer: Writer,
}

enum Writer {
    File(FileWriter<Vec<u8>>),
    Stream(StreamWriter<Vec<u8>>),
}

impl std::fmt::Debug for Ipc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ipc").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Ipc {
    /// A file. A dictionary cannot be replaced in a file, so it has none.
    pub(super) fn file(schema: &SchemaRef, types: ArrowTypes) -> Result<Self, Error> {
        let layout = Layout::without_dictionary(schema, types);
        let writer = FileWriter::try_new(Vec::new(), layout.schema()).map_err(failed)?;
        Ok(Self { layout, writer: Writer::File(writer) })
    }

    /// A stream. With views, its topics are a dictionary that is replaced when it changes.
    pub(super) fn stream(schema: &SchemaRef, types: ArrowTypes) -> Result<Self, Error> {
        let layout = match types {
            ArrowTypes::View => Layout::as_built(schema),
            ArrowTypes::Plain => Layout::without_dictionary(schema, types),
        };
        let writer = StreamWriter::try_new(Vec::new(), layout.schema()).map_err(failed)?;
        Ok(Self { layout, writer: Writer::Stream(writer) })
    }

    pub(super) fn start(&mut self, out: &mut Vec<u8>) {
        self.drain(out);
    }

    /// Appends a batch with the rows from `from`; returns the row after its last.
    pub(super) fn encode(
        &mut self,
        batch: &RecordBatch,
        from: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        let (piece, next) = self.layout.piece(batch, from)?;
        let written = match &mut self.writer {
            Writer::File(writer) => writer.write(&piece),
            Writer::Stream(writer) => writer.write(&piece),
        };
        written.map_err(failed)?;
        self.drain(out);
        Ok(next)
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let finished = match &mut self.writer {
            Writer::File(writer) => writer.finish(),
            Writer::Stream(writer) => writer.finish(),
        };
        finished.map_err(failed)?;
        self.drain(out);
        Ok(())
    }

    /// Moves what the writer has written to `out`. The writer counts file offsets by itself.
    fn drain(&mut self, out: &mut Vec<u8>) {
        out.append(match &mut self.writer {
            Writer::File(writer) => writer.get_mut(),
            Writer::Stream(writer) => writer.get_mut(),
        });
    }
}

/// The error for a failure of Arrow's library.
pub(super) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::io("encoding Arrow IPC", std::io::Error::other(error))
}
