//! The sink `console`: the first rows of every batch as a table on stdout.
//!
//! Contract: only the rows that are shown are kept. A batch that runs again after a crash is shown
//! again.

use kafka_direct::{
    BatchContext, BoxError, Columns, RangeSummary, RangeWriter, Sink, TaskReceipt, WriteTask,
    arrow::{array::RecordBatch, schema::Schema},
};
use kafka_direct_sinks::format::ERROR_COLUMN;
use serde::{Deserialize, Serialize};

use crate::{
    output,
    read::{Fit, TableText},
};

/// How many rows of a batch are shown, as in Spark's console sink.
const ROWS: usize = 20;

/// See the module.
#[derive(Debug)]
pub(super) struct ConsoleSink {
    columns: Columns,
    /// Whether the column of reasons is shown.
    has_errors: bool,
}

impl ConsoleSink {
    /// Shows these columns of batches with this schema, and the column of reasons if it has one.
    pub(super) fn new(columns: Columns, schema: &Schema) -> Self {
        Self { columns, has_errors: schema.column_with_name(ERROR_COLUMN).is_some() }
    }

    fn table(&self) -> TableText {
        let table = TableText::new(self.columns, fit());
        if self.has_errors { table.with_errors() } else { table }
    }
}

/// The first rows of a group of ranges, and how many it has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Shown {
    rows: Vec<Vec<String>>,
    records: u64,
}

/// Keeps the first rows of one group of ranges.
#[derive(Debug)]
pub(super) struct ConsoleWriter {
    table: TableText,
    records: u64,
}

impl Sink for ConsoleSink {
    type Receipt = Shown;
    type Writer = ConsoleWriter;

    async fn writer(&self, _: &WriteTask) -> Result<ConsoleWriter, BoxError> {
        Ok(ConsoleWriter { table: self.table(), records: 0 })
    }

    async fn commit(
        &self,
        batch: &BatchContext,
        receipts: &[TaskReceipt<Shown>],
    ) -> Result<(), BoxError> {
        let records: u64 = receipts.iter().map(|one| one.receipt.records).sum();
        let mut table = self.table();
        let rows = receipts.iter().flat_map(|one| one.receipt.rows.iter().cloned());
        table.extend(rows.take(ROWS));
        let number = batch.stream.map_or(0, |stream| stream.batch.get());
        let mut text = format!("batch {number}: {records} records\n{}", table.finish());
        let shown = u64::try_from(ROWS).unwrap_or(u64::MAX);
        if let Some(more) = records.checked_sub(shown).filter(|more| *more > 0) {
            text.push_str(&format!("... {more} more\n"));
        }
        text.push('\n');
        // A closed stdout is the end that the reader wanted.
        Ok(output::data(&text)?)
    }
}

impl RangeWriter for ConsoleWriter {
    type Receipt = Shown;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        let rows = u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        self.records = self.records.saturating_add(rows);
        let room = ROWS.saturating_sub(self.table.len());
        if room > 0 {
            self.table.push(&batch.slice(0, batch.num_rows().min(room)))?;
        }
        Ok(())
    }

    async fn finish(self, _: &[RangeSummary]) -> Result<Shown, BoxError> {
        Ok(Shown { rows: self.table.into_rows(), records: self.records })
    }
}

fn fit() -> Fit {
    output::stdout_width().map_or(Fit::Cells, |width| Fit::Terminal(usize::from(width)))
}
