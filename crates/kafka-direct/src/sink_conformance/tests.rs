//! The suite accepts a correct sink in memory, and names the property that a broken one does not keep.

use std::sync::Arc;

use arrow_array::{
    cast::AsArray as _,
    types::{Int32Type, Int64Type},
};
use parking_lot::Mutex;

use super::*;

/// What is wrong with a sink.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    CommitsTwice,
    ShowsUncommitted,
    ForgetsCommits,
    CommitsBelowTheNewest,
    MixesAttempts,
}

#[derive(Debug, Default)]
struct Table {
    visible: Vec<(i32, i64)>,
    commits: BTreeMap<BatchId, SinkCommit>,
    /// Rows of all attempts, for the sink that mixes them.
    staged: Vec<(i32, i64)>,
}

#[derive(Debug, Clone)]
struct Memory(Arc<Mutex<Table>>, Fault);

struct Writer(Memory, Vec<(i32, i64)>);

impl Sink for Memory {
    type Receipt = Vec<(i32, i64)>;
    type Writer = Writer;

    async fn writer(&self, _: &WriteTask) -> Result<Writer, BoxError> {
        Ok(Writer(self.clone(), Vec::new()))
    }

    async fn last_committed(&self, _: StreamId) -> Result<Option<SinkCommit>, BoxError> {
        let newest = self.0.lock().commits.values().next_back().cloned();
        Ok(newest.filter(|_| self.1 != Fault::ForgetsCommits))
    }

    async fn commit(
        &self,
        batch: &BatchContext,
        receipts: &[TaskReceipt<Vec<(i32, i64)>>],
    ) -> Result<(), BoxError> {
        let mut table = self.0.lock();
        let batch = batch.stream.unwrap().batch;
        let is_done = match self.1 {
            Fault::CommitsTwice => false,
            Fault::CommitsBelowTheNewest => {
                table.commits.keys().next_back().is_some_and(|newest| *newest == batch)
            }
            _ => table.commits.keys().next_back().is_some_and(|newest| *newest >= batch),
        };
        if is_done {
            return Ok(());
        }
        let rows: Vec<_> = receipts.iter().flat_map(|receipt| receipt.receipt.clone()).collect();
        let staged = std::mem::take(&mut table.staged);
        table.visible.extend(if self.1 == Fault::MixesAttempts { staged } else { rows });
        table.commits.insert(batch, SinkCommit::new(batch, receipts));
        Ok(())
    }
}

impl crate::RangeWriter for Writer {
    type Receipt = Vec<(i32, i64)>;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        let partitions = batch.column(0).as_primitive::<Int32Type>().values();
        let offsets = batch.column(1).as_primitive::<Int64Type>().values();
        let rows = partitions.iter().copied().zip(offsets.iter().copied());
        self.1.extend(rows.clone());
        let mut table = self.0.0.lock();
        table.staged.extend(rows.clone());
        if self.0.1 == Fault::ShowsUncommitted {
            table.visible.extend(rows);
        }
        Ok(())
    }

    async fn finish(self, _: &[RangeSummary]) -> Result<Vec<(i32, i64)>, BoxError> {
        Ok(self.1)
    }
}

struct InMemory(Memory);

impl Target for InMemory {
    type Sink = Memory;

    async fn sink(&self) -> Result<Memory, BoxError> {
        Ok(self.0.clone())
    }

    async fn visible(&self) -> Result<Vec<(i32, i64)>, BoxError> {
        Ok(self.0.0.lock().visible.clone())
    }
}

async fn violated(fault: Fault) -> Option<&'static str> {
    let checked = check(&InMemory(Memory(Arc::default(), fault))).await;
    checked.err().map(|error| error.downcast::<Violation>().unwrap().property)
}

#[tokio::test]
async fn a_correct_sink_passes_and_a_broken_one_is_named() {
    assert_eq!(violated(Fault::None).await, None);
    for (fault, part) in [
        (Fault::CommitsTwice, "repeated changes nothing"),
        (Fault::ShowsUncommitted, "dropped before `finish`"),
        (Fault::ForgetsCommits, "`last_committed`"),
        (Fault::CommitsBelowTheNewest, "below the newest"),
        (Fault::MixesAttempts, "aborted attempt"),
    ] {
        let property = violated(fault).await;
        assert!(property.is_some_and(|property| property.contains(part)), "{fault:?} {property:?}");
    }
}
