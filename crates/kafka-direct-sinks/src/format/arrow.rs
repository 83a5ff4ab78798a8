//! Arrow IPC in its streaming form: one schema, then batches of all partitions.

use arrow_ipc::writer::StreamWriter;
use kafka_direct::{Columns, arrow::array::RecordBatch};

use crate::Error;

/// One stream. Batches name their topic through a dictionary, which is replaced when it changes.
pub(super) struct Stream {
    writer: StreamWriter<Vec<u8>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Stream {
    pub(super) fn new(columns: Columns) -> Result<Self, Error> {
        let schema = kafka_direct::schema(columns);
        StreamWriter::try_new(Vec::new(), &schema).map(|writer| Self { writer }).map_err(failed)
    }

    pub(super) fn start(&mut self, out: &mut Vec<u8>) {
        out.append(self.writer.get_mut());
    }

    pub(super) fn encode(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Error> {
        self.writer.write(batch).map_err(failed)?;
        out.append(self.writer.get_mut());
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.writer.finish().map_err(failed)?;
        out.append(self.writer.get_mut());
        Ok(())
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::io("encoding Arrow IPC", std::io::Error::other(error))
}
