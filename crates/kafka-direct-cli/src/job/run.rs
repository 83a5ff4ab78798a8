//! A job from its first question to its receipt.
//!
//! Contract: the plan is on disk before a record is read; ranges are written in parallel, those of
//! one partition in order, so that a job which is killed has finished as many as it could; the
//! receipt is written last.

use std::{collections::BTreeSet, fmt, num::NonZeroUsize, path::PathBuf, sync::Arc, thread};

use kafka_direct::{BatchPlan, Batches, Columns, KafkaRdd, KafkaRddBuilder, PlannedRange, Reset};
use tokio::{
    sync::{OnceCell, Semaphore},
    task::JoinSet,
};

use super::{
    directory::JobDirectory,
    kill::Kill,
    names, plan_file,
    range_file::RangeFile,
    receipt::{RangeReceipt, Receipt},
    settings::JobSettings,
};
use crate::{
    cli::Format,
    exit::Failure,
    format::{Encoder, drained},
    progress::Progress,
};

/// What a job is to do.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) folder: PathBuf,
    pub(crate) plan_file: Option<PathBuf>,
    /// Reads what is finished again.
    pub(crate) force: bool,
    pub(crate) format: Format,
    pub(crate) columns: Columns,
    pub(crate) settings: JobSettings,
    pub(crate) kill: Kill,
}

/// A job that is done.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) receipt: Receipt,
    folder: PathBuf,
    /// Ranges that this run read; the others were finished before.
    ranges_read: usize,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.receipt.totals;
        let folder = self.folder.display();
        if totals.ranges > 0 && self.ranges_read == 0 {
            return write!(f, "{folder} is complete since an earlier run: nothing was read");
        }
        write!(f, "{folder}: {} records in {} files", totals.records, totals.ranges)?;
        match totals.ranges.saturating_sub(self.ranges_read) {
            0 => {}
            before => write!(f, ", {before} of them finished by an earlier run")?,
        }
        if totals.skipped_offsets > 0 {
            write!(f, "; {} lost offsets were skipped, see receipt.json", totals.skipped_offsets)?;
        }
        Ok(())
    }
}

impl Job {
    /// Does it. `connect` is not called for a job that is done; `check` refuses a plan that does not
    /// fit the flags; `progress` is told the plan before it is read.
    pub(crate) async fn run(
        self,
        connect: impl AsyncFn() -> Result<KafkaRddBuilder, Failure>,
        check: impl Fn(&BatchPlan) -> Result<(), Failure>,
        progress: impl FnOnce(&BatchPlan) -> Progress,
    ) -> Result<Done, Failure> {
        let builder = OnceCell::new();
        let connected = async || builder.get_or_try_init(|| connect()).await.cloned();
        let resolve = async || Ok(connected().await?.build().await?.plan().clone());
        let given = match &self.plan_file {
            Some(file) => Some(plan_file::load_or_create(file, resolve, &self.kill).await?),
            None => None,
        };
        let directory = Arc::new(JobDirectory::open(&self.folder, self.kill.clone())?);
        directory.refuse_others(&self.settings, given.as_ref())?;
        let known = match given {
            Some(given) => Some(given),
            None => directory.plan()?,
        };
        if let Some(plan) = &known {
            check(plan)?;
        }
        if self.force {
            directory.forget()?;
        }
        if let Some(receipt) = directory.receipt()? {
            directory.remove_range_receipts()?;
            return Ok(Done { receipt, folder: self.folder, ranges_read: 0 });
        }
        let rdd = match known {
            Some(plan) => connected().await?.build_from_plan(plan).await?,
            None => connected().await?.build().await?,
        };
        let (settings, plan_text) = directory.claim(&self.settings, rdd.plan())?;
        let progress = Arc::new(progress(rdd.plan()));
        let written = self.write_ranges(&rdd, &directory, &progress).await;
        progress.clear();
        let (ranges, ranges_read) = written?;
        let format = self.format.extension();
        let receipt = Receipt::new(rdd.plan(), &plan_text, format, &settings, ranges);
        directory.finish(&receipt)?;
        Ok(Done { receipt, folder: self.folder, ranges_read })
    }

    /// Writes the ranges that are not finished; gives the receipts of all, in plan order, and how
    /// many were written.
    async fn write_ranges(
        &self,
        rdd: &KafkaRdd,
        directory: &Arc<JobDirectory>,
        progress: &Arc<Progress>,
    ) -> Result<(Vec<RangeReceipt>, usize), Failure> {
        let ranges = rdd.partitions();
        let files = self.files(ranges)?;
        directory.refuse_foreign_ranges(&files)?;
        let mut receipts = finished(directory, files.clone()).await?;
        let mut waiting: Vec<(u32, usize)> = (0..)
            .zip(ranges.iter().zip(&receipts))
            .filter(|(_, (_, receipt))| receipt.is_none())
            .map(|(index, (planned, _))| (planned.piece(), index))
            .collect();
        let unfinished = waiting.len();
        // First pieces first: the last element is taken first.
        waiting.sort_by(|a, b| b.cmp(a));
        let cores = thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let partitions: BTreeSet<_> = ranges.iter().map(PlannedRange::topic_partition).collect();
        let at_once = partitions.len().max(cores.saturating_mul(2));
        let turns = Arc::new(Semaphore::new(cores));
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < at_once
                && let Some((_, index)) = waiting.pop()
            {
                let (Some(planned), Some(batches), Some(file)) =
                    (ranges.get(index), rdd.read_partition(index), files.get(index))
                else {
                    continue;
                };
                let task = WriteRange {
                    planned: planned.clone(),
                    batches,
                    file: RangeFile::new(Arc::clone(directory), file.clone()),
                    turns: Arc::clone(&turns),
                    progress: Arc::clone(progress),
                };
                let encoder = Encoder::new(self.format, self.columns)?;
                tasks.spawn(async move { Ok::<_, Failure>((index, task.run(encoder).await?)) });
            }
            let Some(ended) = tasks.join_next().await else { break };
            let (index, receipt) =
                ended.map_err(|_| Failure::unmet("a task that wrote a range panicked"))??;
            if let Some(slot) = receipts.get_mut(index) {
                *slot = Some(receipt);
            }
        }
        Ok((receipts.into_iter().flatten().collect(), unfinished))
    }

    fn files(&self, ranges: &[PlannedRange]) -> Result<Vec<String>, Failure> {
        let file = |planned: &PlannedRange| {
            let topic = planned.topic_partition().topic();
            if !names::is_topic_name(topic) {
                return Err(Failure::usage(format!(
                    "the plan names a topic no Kafka has: `{topic}`"
                )));
            }
            Ok(names::range_file(planned, self.format.extension()))
        };
        ranges.iter().map(file).collect()
    }
}

/// The receipts of those of `files` that are finished.
async fn finished(
    directory: &Arc<JobDirectory>,
    files: Vec<String>,
) -> Result<Vec<Option<RangeReceipt>>, Failure> {
    let directory = Arc::clone(directory);
    off_the_runtime(move || files.iter().map(|file| directory.finished(file)).collect()).await
}

/// Runs what may wait for a disk.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Failure::unmet("a task that writes files panicked"))
}

/// One range on its way into its file.
#[derive(Debug)]
struct WriteRange {
    planned: PlannedRange,
    batches: Batches,
    file: RangeFile,
    turns: Arc<Semaphore>,
    progress: Arc<Progress>,
}

impl WriteRange {
    /// Waits for the range's records with nothing decoded at hand, and decodes, formats and writes
    /// in turns: memory does not grow with the number of ranges.
    async fn run(mut self, mut encoder: Encoder) -> Result<RangeReceipt, Failure> {
        let mut start = Vec::new();
        encoder.start(&mut start)?;
        let turns = Arc::clone(&self.turns);
        while self.batches.ready().await? {
            let turn = turns.acquire().await;
            let before = std::mem::take(&mut start);
            let work = move || {
                self.write_buffered(&mut encoder, before)?;
                Ok::<_, Failure>((self, encoder))
            };
            (self, encoder) = off_the_runtime(work).await??;
            drop(turn);
        }
        off_the_runtime(move || self.finish(encoder, start)).await?
    }

    /// Writes what has arrived, behind `out`.
    fn write_buffered(&mut self, encoder: &mut Encoder, mut out: Vec<u8>) -> Result<(), Failure> {
        let file = &mut self.file;
        let mut append = |bytes: &mut Vec<u8>| file.append(bytes);
        while let Some(batch) = self.batches.next_buffered()? {
            encoder.encode(&batch, &mut out, &mut append)?;
            self.progress.update(&self.planned, &self.batches);
        }
        drained(&mut out, &mut append)
    }

    fn finish(mut self, mut encoder: Encoder, mut out: Vec<u8>) -> Result<RangeReceipt, Failure> {
        encoder.finish(&mut out)?;
        drained(&mut out, &mut |bytes| self.file.append(bytes))?;
        let counts = self.batches.counts();
        let resets = self.batches.resets().to_vec();
        let reached = self.batches.position();
        let range = self.planned.range();
        self.progress.finish(&self.planned);
        self.file.finish(|file, file_bytes, crc32| RangeReceipt {
            file,
            topic_partition: self.planned.topic_partition().clone(),
            from: range.from(),
            until: range.until(),
            reached,
            records: counts.records,
            value_bytes: counts.value_bytes,
            file_bytes,
            crc32,
            skipped_offsets: resets.iter().map(Reset::skipped).fold(0, i64::saturating_add),
            resets,
        })
    }
}
