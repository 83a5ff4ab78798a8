//! `DecodedSink`: a sink that decodes what it is given and hands it to another sink.
//!
//! Contract: dead letters of an attempt are durable before its `finish` returns, so before the batch is
//! committed. Commits and receipts are those of the other sink.

use std::{collections::BTreeMap, sync::Arc};

use kafka_direct::{
    BatchContext, BoxError, Column, Columns, Error as EngineError, RangeSummary, RangeWriter, Sink,
    SinkCommit, TaskReceipt, WriteTask,
    arrow::{array::RecordBatch, schema::SchemaRef},
    checkpoint::StreamId,
};
use parking_lot::Mutex;

use crate::{BatchDecoder, DecodedBatch, Error, OnPoison, batch, rows};

/// What a [`DecodedSink`] decodes, what it hands on, and what it does with records that it cannot decode.
#[derive(Debug, Clone, Default)]
pub struct Decoding {
    columns: Columns,
    decoder: BatchDecoder,
    on_poison: OnPoison,
}

impl Decoding {
    /// Decodes with `decoder` and hands on `columns`.
    #[must_use]
    pub const fn new(columns: Columns, decoder: BatchDecoder, on_poison: OnPoison) -> Self {
        Self { columns, decoder, on_poison }
    }

    /// The columns that must be read: those that are handed on, and those that name a record or go into
    /// a dead letter.
    #[must_use]
    pub const fn read_columns(&self) -> Columns {
        if !self.decoder.decodes() {
            return self.columns;
        }
        let named = self.columns.with(Column::Topic).with(Column::Partition).with(Column::Offset);
        match self.on_poison {
            OnPoison::Fail | OnPoison::Skip | OnPoison::Null => named,
            OnPoison::DeadLetter(_) => Columns::all(),
        }
    }

    /// The schema of the batches that are handed on.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let decoded = self.decoder.schema(&kafka_direct::schema(self.columns));
        if self.adds_errors() { batch::with_error_field(&decoded) } else { decoded }
    }

    const fn adds_errors(&self) -> bool {
        self.decoder.decodes() && matches!(self.on_poison, OnPoison::Null)
    }

    /// The columns to hand on of a batch that was read.
    fn projected(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let schema = batch.schema_ref();
        let is_handed_on = |name: &str| {
            name == batch::ERROR_COLUMN || self.columns.iter().any(|column| column.as_str() == name)
        };
        let fields = schema.fields().iter().enumerate();
        let kept: Vec<usize> = fields
            .filter(|(_, field)| is_handed_on(field.name()))
            .map(|(index, _)| index)
            .collect();
        Ok(batch.project(&kept)?)
    }
}

/// Decodes batches and writes them into another sink.
#[derive(Debug)]
pub struct DecodedSink<S> {
    sink: S,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    decoding: Decoding,
    /// What the finished writers of the batch in hand could not decode, by the index of their task.
    found: Mutex<BTreeMap<usize, Found>>,
}

/// Records that could not be decoded.
#[derive(Debug, Clone)]
struct Found {
    records: u64,
    first: String,
}

impl<S> DecodedSink<S> {
    /// A sink that decodes for `sink`, which must accept batches with [`Decoding::schema`]. It must be given
    /// batches with [`Decoding::read_columns`].
    pub fn new(sink: S, decoding: Decoding) -> Self {
        Self { sink, shared: Arc::new(Shared { decoding, found: Mutex::default() }) }
    }

    /// Warns of what was not decoded in the batch that was committed.
    fn warn(&self, batch: &BatchContext) {
        let found = std::mem::take(&mut *self.shared.found.lock());
        let records = found.values().map(|found| found.records).fold(0, u64::saturating_add);
        if let Some(first) = found.into_values().next() {
            let batch = batch.stream.map(|stream| stream.batch.get());
            let done = self.shared.decoding.on_poison.done();
            tracing::warn!(batch, records, first = %first.first, "records that cannot be decoded {done}");
        }
    }
}

impl<S: Sink> Sink for DecodedSink<S> {
    type Receipt = S::Receipt;
    type Writer = DecodedWriter<S::Writer>;

    async fn finished(
        &self,
        task: &WriteTask,
    ) -> Result<Option<TaskReceipt<S::Receipt>>, BoxError> {
        self.sink.finished(task).await
    }

    async fn writer(&self, task: &WriteTask) -> Result<Self::Writer, BoxError> {
        let writer = self.sink.writer(task).await?;
        Ok(DecodedWriter {
            writer,
            shared: Arc::clone(&self.shared),
            index: task.index,
            found: None,
        })
    }

    async fn last_committed(&self, stream: StreamId) -> Result<Option<SinkCommit>, BoxError> {
        self.sink.last_committed(stream).await
    }

    async fn commit(
        &self,
        batch: &BatchContext,
        receipts: &[TaskReceipt<S::Receipt>],
    ) -> Result<(), BoxError> {
        self.sink.commit(batch, receipts).await?;
        self.warn(batch);
        Ok(())
    }

    async fn abort(&self, task: &WriteTask) -> Result<(), BoxError> {
        self.shared.found.lock().remove(&task.index);
        self.sink.abort(task).await
    }
}

/// Decodes the batches of one attempt.
#[derive(Debug)]
pub struct DecodedWriter<W> {
    writer: W,
    shared: Arc<Shared>,
    index: usize,
    found: Option<Found>,
}

impl<W> DecodedWriter<W> {
    /// The rows to hand on. `read` is the batch before it was decoded.
    async fn apply(
        &mut self,
        read: &RecordBatch,
        decoded: DecodedBatch,
    ) -> Result<RecordBatch, BoxError> {
        let shared = Arc::clone(&self.shared);
        self.count(read, &decoded)?;
        match &shared.decoding.on_poison {
            OnPoison::Fail => match decoded.poison.first() {
                None => Ok(decoded.batch),
                Some(poison) => {
                    let (at, offset) = rows::place(read, poison.row)?;
                    Err(Box::new(EngineError::Poison {
                        topic: at.topic().to_owned(),
                        partition: at.partition(),
                        offset,
                        part: poison.column.as_str(),
                        wanted: poison.wanted,
                        source: poison.reason.clone().into(),
                    }))
                }
            },
            OnPoison::Skip => Ok(decoded.without_poison()?),
            OnPoison::Null => Ok(decoded.with_errors()?),
            OnPoison::DeadLetter(letters) => {
                let mut new = Vec::new();
                for of_row in decoded.by_row() {
                    if let Some(poison) = of_row.first() {
                        new.push(rows::letter(read, poison.row, batch::reasons_of(of_row))?);
                    }
                }
                if !new.is_empty() {
                    letters.send(new).await?;
                }
                Ok(decoded.without_poison()?)
            }
        }
    }

    fn count(&mut self, read: &RecordBatch, decoded: &DecodedBatch) -> Result<(), Error> {
        let Some(poison) = decoded.poison.first() else { return Ok(()) };
        let records = u64::try_from(decoded.poison_rows().count()).unwrap_or(u64::MAX);
        match &mut self.found {
            Some(found) => found.records = found.records.saturating_add(records),
            none => {
                let (at, offset) = rows::place(read, poison.row)?;
                *none = Some(Found { records, first: format!("{at} offset {offset}: {poison}") });
            }
        }
        Ok(())
    }
}

impl<W: RangeWriter> RangeWriter for DecodedWriter<W> {
    type Receipt = W::Receipt;

    async fn write(&mut self, read: RecordBatch) -> Result<(), BoxError> {
        let shared = Arc::clone(&self.shared);
        let decoding = &shared.decoding;
        if !decoding.decoder.decodes() {
            return self.writer.write(read).await;
        }
        let decoded = decoding.decoder.decode(&read)?;
        let rows = self.apply(&read, decoded).await?;
        if rows.num_rows() > 0 {
            self.writer.write(decoding.projected(&rows)?).await?;
        }
        Ok(())
    }

    fn poison(&self) -> u64 {
        self.found.as_ref().map_or(0, |found| found.records)
    }

    async fn finish(self, ranges: &[RangeSummary]) -> Result<W::Receipt, BoxError> {
        let Self { writer, shared, index, found } = self;
        let receipt = writer.finish(ranges).await?;
        match found {
            Some(found) => shared.found.lock().insert(index, found),
            None => shared.found.lock().remove(&index),
        };
        Ok(receipt)
    }
}
