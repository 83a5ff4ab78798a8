//! A driver for tests of [`StreamFolder`]: it makes contexts, receipts and records by hand.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use kafka_direct::{
    BatchContext, BatchPlan, BoxError, Column, Columns, IsolationLevel, OffsetRange, PlannedRange,
    RangeSummary, RangeWriter as _, Sink as _, StreamBatch, TaskReceipt, TopicPartition, WriteTask,
    arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, TimestampMillisecondArray},
    checkpoint::{BatchId, Generation, StreamId},
    schema,
};

use super::{PartitionBy, StagedFile, StreamFolder, StreamFolderBuilder};
use crate::{Format, files::CrashPoint};

pub(super) const TOPIC: &str = "orders.v1-eu";

pub(super) type Receipts = Vec<TaskReceipt<Vec<StagedFile>>>;

/// Partition, first offset, end.
pub(super) type Range = (i32, i64, i64);

/// A partition of which the tests' log holds no records.
pub(super) const EMPTY_PARTITION: i32 = 9;

/// One start of a stream's driver.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) sink: StreamFolder,
    pub(super) stream: StreamId,
    pub(super) generation: u64,
    pub(super) topic: String,
}

pub(super) const fn columns() -> Columns {
    Columns::none().with(Column::Partition).with(Column::Offset)
}

pub(super) fn builder(root: &Path) -> StreamFolderBuilder {
    StreamFolder::builder(root, Format::JsonLines).columns(columns())
}

/// The same with a folder for each hour; a record is 20 minutes later than the one before.
pub(super) fn by_hour(root: &Path) -> StreamFolderBuilder {
    let columns = columns().with(Column::Timestamp);
    builder(root).columns(columns).partition_by([PartitionBy::Date, PartitionBy::Hour])
}

impl Driver {
    pub(super) fn new(root: &Path, stream: StreamId, generation: u64) -> Self {
        Self::with(builder(root), stream, generation)
    }

    pub(super) fn with(builder: StreamFolderBuilder, stream: StreamId, generation: u64) -> Self {
        Self { sink: builder.build().unwrap(), stream, generation, topic: TOPIC.to_owned() }
    }

    pub(super) fn crashing(
        root: &Path,
        stream: StreamId,
        generation: u64,
        crash: CrashPoint,
    ) -> Self {
        let mut builder = builder(root);
        builder.crash = crash;
        Self::with(builder, stream, generation)
    }

    pub(super) fn context(&self, batch: u64, ranges: &[Range]) -> BatchContext {
        let planned = ranges.iter().map(|(partition, from, until)| {
            let tp = TopicPartition::new(&*self.topic, *partition);
            let range = OffsetRange::new(tp, *from, *until).unwrap();
            PlannedRange::new(range, IsolationLevel::ReadCommitted)
        });
        let isolation = IsolationLevel::ReadCommitted;
        let plan = BatchPlan::new(None, isolation, planned.collect(), vec![], vec![]).unwrap();
        let generation = Generation::new(self.generation);
        let batch = StreamBatch::new(self.stream, BatchId::new(batch), generation);
        BatchContext::of_stream(Arc::new(plan), batch)
    }

    pub(super) fn task(
        &self,
        batch: u64,
        ranges: &[Range],
        index: usize,
        attempt: u32,
    ) -> WriteTask {
        WriteTask::new(self.context(batch, ranges), index, attempt).unwrap()
    }

    /// Writes one range in two batches of rows.
    pub(super) async fn write(
        &self,
        task: &WriteTask,
    ) -> Result<TaskReceipt<Vec<StagedFile>>, BoxError> {
        let mut writer = self.sink.writer(task).await?;
        let mut summary = RangeSummary::new(&task.ranges[0]);
        let partition = summary.topic_partition.partition();
        if partition != EMPTY_PARTITION {
            let (from, until) = (summary.from.get(), summary.until.get());
            let middle = i64::midpoint(from, until);
            writer.write(rows(self.sink.columns(), partition, from, middle)).await?;
            writer.write(rows(self.sink.columns(), partition, middle, until)).await?;
            summary.records = until.abs_diff(from);
        }
        let summaries = vec![summary];
        let receipt = writer.finish(&summaries).await?;
        Ok(TaskReceipt::new(summaries, receipt))
    }

    /// Writes all ranges of a batch, and commits nothing.
    pub(super) async fn stage(&self, batch: u64, ranges: &[Range]) -> Result<Receipts, BoxError> {
        let mut receipts = Vec::new();
        for index in 0..ranges.len() {
            receipts.push(self.write(&self.task(batch, ranges, index, 1)).await?);
        }
        Ok(receipts)
    }

    pub(super) async fn commit(
        &self,
        batch: u64,
        ranges: &[Range],
        receipts: &Receipts,
    ) -> Result<(), BoxError> {
        self.sink.commit(&self.context(batch, ranges), receipts).await
    }

    pub(super) async fn run(&self, batch: u64, ranges: &[Range]) -> Result<(), BoxError> {
        let receipts = self.stage(batch, ranges).await?;
        self.commit(batch, ranges, &receipts).await
    }

    pub(super) async fn last(&self) -> Result<Option<u64>, BoxError> {
        let last = self.sink.last_committed(self.stream).await?;
        Ok(last.map(|commit| commit.batch.get()))
    }
}

pub(super) fn rows(columns: Columns, partition: i32, from: i64, until: i64) -> RecordBatch {
    let partitions = Int32Array::from_iter_values((from..until).map(|_| partition));
    let offsets = Int64Array::from_iter_values(from..until);
    let times = (from..until).map(|offset| offset.wrapping_mul(20 * 60_000));
    let times = TimestampMillisecondArray::from_iter_values(times);
    let columns_of: BTreeMap<&str, ArrayRef> = BTreeMap::from([
        ("partition", Arc::new(partitions) as ArrayRef),
        ("offset", Arc::new(offsets) as ArrayRef),
        ("timestamp", Arc::new(times.with_timezone("UTC")) as ArrayRef),
    ]);
    let schema = schema(columns);
    let arrays = schema.fields().iter().map(|field| Arc::clone(&columns_of[field.name().as_str()]));
    let arrays = arrays.collect();
    RecordBatch::try_new(schema, arrays).unwrap()
}

pub(super) const BATCHES: u64 = 3;

/// Two ranges with records; batch 1 also has one without.
pub(super) fn ranges(batch: u64) -> Vec<Range> {
    let from = i64::try_from(batch).unwrap() * 4;
    let mut ranges = vec![(0, from, from + 4), (1, from, from + 3)];
    if batch == 1 {
        ranges.push((EMPTY_PARTITION, 0, 5));
    }
    ranges
}

pub(super) fn lines_up_to(batch: Option<u64>) -> Vec<String> {
    let batches = 0..batch.map_or(0, |batch| batch + 1);
    sorted(batches.flat_map(|batch| lines(&ranges(batch))).collect())
}

/// Runs what is not committed, as a driver with a checkpoint does.
pub(super) async fn run_all(driver: &Driver) -> Result<(), BoxError> {
    let next = driver.last().await?.map_or(0, |batch| batch + 1);
    for batch in next..BATCHES {
        driver.run(batch, &ranges(batch)).await?;
    }
    Ok(())
}

pub(super) fn check_finished(root: &Path) {
    assert_eq!(visible(root), lines_up_to(Some(BATCHES - 1)));
    assert_eq!(visible_files(root, "jsonl").len(), 6);
    assert_eq!(visible_files(root, "json").len(), 3, "manifests");
    assert_eq!(temporaries(root), [""; 0].map(Path::new));
}

/// The lines of a batch's ranges.
pub(super) fn lines(ranges: &[Range]) -> Vec<String> {
    let with_records = ranges.iter().filter(|(partition, ..)| *partition != EMPTY_PARTITION);
    with_records
        .flat_map(|(partition, from, until)| {
            (*from..*until)
                .map(move |offset| format!("{{\"partition\":{partition},\"offset\":{offset}}}"))
        })
        .collect()
}

/// The files that a reader of the folder finds by their extension, in any folder below.
pub(super) fn visible_files(root: &Path, extension: &str) -> Vec<PathBuf> {
    let found = below(root).into_iter();
    found.filter(|path| path.extension().is_some_and(|it| it == extension)).collect()
}

/// The sorted lines that a reader of `*.jsonl` sees.
pub(super) fn visible(root: &Path) -> Vec<String> {
    let files = visible_files(root, "jsonl");
    let text = |path: &PathBuf| fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = files
        .iter()
        .flat_map(|path| text(path).lines().map(without_timestamp).collect::<Vec<_>>())
        .collect();
    lines.sort();
    lines
}

/// Of a line that has one.
fn without_timestamp(line: &str) -> String {
    let cut = |(start, _): (&str, &str)| format!("{start}}}");
    line.split_once(",\"timestamp\"").map_or_else(|| line.to_owned(), cut)
}

pub(super) fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// No line twice, and no line that is cut.
pub(super) fn assert_no_duplicates(root: &Path) {
    let lines = visible(root);
    assert!(lines.is_sorted_by(|a, b| a < b), "{lines:?}");
    assert!(lines.iter().all(|line| line.ends_with('}')), "{lines:?}");
}

/// Temporary files anywhere in the folder.
pub(super) fn temporaries(root: &Path) -> Vec<PathBuf> {
    below(root).into_iter().filter(|path| path.to_string_lossy().ends_with("-tmp")).collect()
}

/// All files below `root`.
pub(super) fn below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        // Other drivers remove files at the same time.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}
