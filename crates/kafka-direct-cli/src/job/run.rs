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
    format::{Buffers, Encoder},
    progress::Progress,
};

/// Files that are synced at the same time: enough for disks that sync many as fast as one.
const FINISHED_AT_ONCE: usize = 16;

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
    #[expect(clippy::future_not_send, reason = "the futures of an AsyncFn cannot be bound to Send")]
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
        let known = directory.plan()?.or(given);
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
        let files = self.files(rdd.partitions())?;
        directory.refuse_foreign_ranges(&files)?;
        let (settings, plan_text) = directory.claim(&self.settings, rdd.plan())?;
        let progress = Arc::new(progress(rdd.plan()));
        let written = self.write_ranges(&rdd, files, &directory, &progress).await;
        progress.clear();
        let (ranges, ranges_read) = written?;
        let format = self.format.extension();
        let receipt = Receipt::new(rdd.plan(), &plan_text, format, &settings, ranges);
        directory.finish(&receipt)?;
        Ok(Done { receipt, folder: self.folder, ranges_read })
    }

    /// Writes the ranges that are not finished into `files`; gives the receipts of all, in plan
    /// order, and how many were written.
    async fn write_ranges(
        &self,
        rdd: &KafkaRdd,
        files: Vec<String>,
        directory: &Arc<JobDirectory>,
        progress: &Arc<Progress>,
    ) -> Result<(Vec<RangeReceipt>, usize), Failure> {
        let ranges = rdd.partitions();
        let mut receipts = finished(directory, files.clone()).await?;
        for (planned, _) in ranges.iter().zip(&receipts).filter(|(_, receipt)| receipt.is_some()) {
            progress.finish(planned);
        }
        let unfinished: Vec<usize> =
            (0..).zip(&receipts).filter(|(_, r)| r.is_none()).map(|(index, _)| index).collect();
        let partitions: BTreeSet<_> = ranges.iter().map(PlannedRange::topic_partition).collect();
        let turns = Turns::new();
        let at_once = partitions.len().max(turns.cores.saturating_mul(2));
        let mut waiting = first_pieces_last(ranges, &unfinished);
        let mut tasks = JoinSet::new();
        let mut result = Ok(());
        while result.is_ok() {
            while tasks.len() < at_once
                && let Some(index) = waiting.pop()
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
                    turns: turns.clone(),
                    progress: Arc::clone(progress),
                };
                let encoder = Encoder::new(self.format, self.columns)?;
                tasks.spawn(async move { Ok::<_, Failure>((index, task.run(encoder).await?)) });
            }
            let Some(ended) = tasks.join_next().await else { break };
            let written = ended.unwrap_or_else(|_| Err(panicked()));
            result = written.map(|(index, receipt)| {
                if let Some(slot) = receipts.get_mut(index) {
                    *slot = Some(receipt);
                }
            });
        }
        tasks.shutdown().await;
        turns.all_over().await;
        result.map(|()| (receipts.into_iter().flatten().collect(), unfinished.len()))
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

/// The `unfinished` ones of `ranges` so that, taken from the end, all first pieces come before any
/// second one: few ranges at a time are begun and not finished.
fn first_pieces_last(ranges: &[PlannedRange], unfinished: &[usize]) -> Vec<usize> {
    let mut order = unfinished.to_vec();
    order.sort_by_key(|index| {
        (std::cmp::Reverse(ranges.get(*index).map(PlannedRange::piece)), std::cmp::Reverse(*index))
    });
    order
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
    done.map_err(|_| panicked())
}

fn panicked() -> Failure {
    Failure::unmet("a task that writes a range panicked; report this")
}

/// How many ranges may do what at the same time. Who has a turn keeps it until its file is left
/// alone, even if its task was told to stop.
#[derive(Debug, Clone)]
struct Turns {
    cores: usize,
    decode: Arc<Semaphore>,
    finish: Arc<Semaphore>,
    buffers: Arc<Buffers>,
}

impl Turns {
    fn new() -> Self {
        let cores = thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let semaphore = |turns| Arc::new(Semaphore::new(turns));
        let (decode, finish) = (semaphore(cores), semaphore(FINISHED_AT_ONCE));
        Self { cores, decode, finish, buffers: Arc::default() }
    }

    /// Waits until nobody has a turn.
    async fn all_over(&self) {
        let all = |turns: usize| u32::try_from(turns).unwrap_or(u32::MAX);
        drop(self.decode.acquire_many(all(self.cores)).await);
        drop(self.finish.acquire_many(all(FINISHED_AT_ONCE)).await);
    }
}

/// One range on its way into its file.
#[derive(Debug)]
struct WriteRange {
    planned: PlannedRange,
    batches: Batches,
    file: RangeFile,
    turns: Turns,
    progress: Arc<Progress>,
}

impl WriteRange {
    /// Waits for the range's records with nothing decoded at hand, and decodes, formats and writes
    /// in turns: memory does not grow with the number of ranges.
    async fn run(mut self, mut encoder: Encoder) -> Result<RangeReceipt, Failure> {
        let mut out = Vec::new();
        encoder.start(&mut out)?;
        let turns = self.turns.clone();
        while self.batches.ready().await? {
            let mut turn = Arc::clone(&turns.decode).acquire_owned().await;
            while let Some(batch) = self.batches.next_buffered()? {
                let mut row = Some(0);
                while let Some(from) = row {
                    let mut block = turns.buffers.take();
                    block.append(&mut out);
                    row = encoder.encode(&batch, from, &mut block)?;
                    // Should nobody wait for it any more, the turn is still dropped behind the file.
                    let append = move || {
                        let appended = self.file.append(&block);
                        (appended.map(|()| (self, block)), turn)
                    };
                    let (appended, back) = off_the_runtime(append).await?;
                    (self, block) = appended?;
                    turns.buffers.give_back(block);
                    turn = back;
                }
                self.progress.update(&self.planned, &self.batches);
            }
        }
        let Self { planned, batches, file, progress, .. } = self;
        let counts = batches.counts();
        let resets = batches.resets().to_vec();
        let range = planned.range();
        let receipt = RangeReceipt {
            file: String::new(),
            topic_partition: planned.topic_partition().clone(),
            from: range.from(),
            until: range.until(),
            reached: batches.position(),
            records: counts.records,
            value_bytes: counts.value_bytes,
            file_bytes: 0,
            crc32: String::new(),
            skipped_offsets: resets.iter().map(Reset::skipped).fold(0, i64::saturating_add),
            resets,
        };
        // Many ranges may wait for their turn here, with the buffers of none.
        drop(batches);
        let turn = turns.finish.acquire_owned().await;
        let work = move || (finish(file, encoder, out, receipt), turn);
        let (receipt, _turn) = off_the_runtime(work).await?;
        progress.finish(&planned);
        receipt
    }
}

fn finish(
    mut file: RangeFile,
    mut encoder: Encoder,
    mut out: Vec<u8>,
    receipt: RangeReceipt,
) -> Result<RangeReceipt, Failure> {
    encoder.finish(&mut out)?;
    if !out.is_empty() {
        file.append(&out)?;
    }
    file.finish(receipt)
}
