//! One batch: a plan bound to a cluster, and the ways to read it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arrow_array::RecordBatch;
use kafka_direct_core::{BatchPlan, PlannedRange, Reset};
use kafka_direct_driver::group_ranges;
use kafka_direct_wire::Cluster;
use kafka_direct_worker::{Columns, DecodeOptions, scan};

use crate::{
    BatchContext, BatchEnd, Batches, BoxError, Error, Records, RunEvent, Sink, WriteTask,
    WrittenBatch,
    builder::KafkaRddBuilder,
    decode::{self, Decoder},
    plan_check::Leaders,
    read_range,
    runner::Runner,
    settings::{ClearUnlessDone, Settings},
    write::{BatchWriter, WrittenRanges},
};

/// How long a stream that is stopped at once waits for the sink to discard what it wrote.
const LAST_ABORTS: Duration = Duration::from_secs(5);

/// The offset ranges of one batch over a cluster: partition `i` is planned range `i`.
///
/// A batch can be read any number of times and returns the same records each time, because its ends
/// were resolved once, when it was built. Order is guaranteed within a partition only.
#[derive(Debug, Clone)]
pub struct KafkaRdd {
    cluster: Cluster,
    plan: Arc<BatchPlan>,
    leaders: Arc<Leaders>,
    settings: Settings,
}

impl KafkaRdd {
    /// A builder that selects what to read.
    pub fn builder(cluster: &Cluster) -> KafkaRddBuilder {
        KafkaRddBuilder::new(cluster)
    }

    pub(crate) fn new(
        cluster: Cluster,
        plan: BatchPlan,
        leaders: Leaders,
        settings: Settings,
    ) -> Self {
        Self { cluster, plan: Arc::new(plan), leaders: Arc::new(leaders), settings }
    }

    /// Binds a plan that was made before, also by another process, with default options. For other
    /// options see [`KafkaRddBuilder::build_from_plan`].
    ///
    /// # Errors
    /// [`Error::ForeignPlan`] if the plan is of another cluster or a topic was re-created since;
    /// [`Invalid`](crate::ErrorKind::Invalid) for a topic or partition that does not exist;
    /// [`Unavailable`](crate::ErrorKind::Unavailable).
    pub async fn from_plan(cluster: &Cluster, plan: BatchPlan) -> Result<Self, Error> {
        Self::builder(cluster).build_from_plan(plan).await
    }

    /// The plan. Keep it, or send it to another process, to read the same records again.
    #[must_use]
    pub fn plan(&self) -> &BatchPlan {
        &self.plan
    }

    /// The planned ranges; index `i` is partition `i` of the batch.
    #[must_use]
    pub fn partitions(&self) -> &[PlannedRange] {
        self.plan.ranges()
    }

    /// How many offsets the batch covers, an upper bound of its record count. Reads nothing.
    #[must_use]
    pub fn span(&self) -> i64 {
        self.plan.span()
    }

    /// Whether the batch covers no offset. Reads nothing.
    #[must_use]
    pub fn is_empty_span(&self) -> bool {
        self.plan.is_empty_span()
    }

    /// `host:port` of the broker that led partition `index` when the batch was built: the best
    /// place to read it from. `None` for an index or a leader that does not exist.
    #[must_use]
    pub fn preferred_leader(&self, index: usize) -> Option<&str> {
        let planned = self.partitions().get(index)?;
        self.leaders.get(planned.topic_partition()).map(String::as_str)
    }

    /// Skips over lost offsets, under the policy `resume`: those of the plan, then those made so far by
    /// [`KafkaRdd::write_to`], [`KafkaRdd::count`], [`KafkaRdd::take`], [`KafkaRdd::collect`],
    /// [`KafkaRdd::records`] and the methods built on them. A closure finds its own in [`Batches::resets`].
    #[must_use]
    pub fn resets(&self) -> Vec<Reset> {
        let mut all = self.plan.resets().to_vec();
        all.extend_from_slice(&self.settings.resets.lock());
        all
    }

    /// Reads partition `index` of the batch; `None` if there is no such partition.
    #[must_use]
    pub fn read_partition(&self, index: usize) -> Option<Batches> {
        let planned = self.partitions().get(index)?.clone();
        Some(self.settings.read_range(&self.cluster, planned, 1))
    }

    /// Runs `closure` once for every partition, each on a task of its own and at most
    /// [`KafkaRddBuilder::concurrency`] at once, and returns the results in plan order.
    ///
    /// A closure that returns an error of its own is run again with the identical range from its
    /// start, up to [`KafkaRddBuilder::attempts`] times; [`Batches::attempt`] is the attempt's number.
    /// A fault of the cluster never re-runs a closure: reading resumes inside its stream, or the batch
    /// ends with the error. The first error stops all partitions.
    ///
    /// # Errors
    /// [`Error::Closure`] or [`Error::ClosurePanicked`], or as [`Batches::try_next`].
    ///
    /// # Cancel safety
    /// Dropping the future stops all tasks.
    pub async fn map_partitions<T, F, Fut>(&self, closure: F) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        F: Fn(PlannedRange, Batches) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, BoxError>> + Send + 'static,
    {
        self.settings.observer.report(&RunEvent::Planned { plan: &self.plan });
        let closure = Arc::new(closure);
        self.run(|_, planned| {
            let (cluster, settings) = (self.cluster.clone(), self.settings.clone());
            all_attempts(Arc::clone(&closure), planned, cluster, settings)
        })
        .await
    }

    /// The same for a closure without a result.
    ///
    /// # Errors
    /// As [`KafkaRdd::map_partitions`].
    ///
    /// # Cancel safety
    /// Dropping the future stops all tasks.
    pub async fn for_each_partition<F, Fut>(&self, closure: F) -> Result<(), Error>
    where
        F: Fn(PlannedRange, Batches) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        self.map_partitions(closure).await.map(drop)
    }

    /// Writes the batch to `sink`: one writer per range and attempt, then one commit.
    ///
    /// A range that the sink says is finished is not read. A sink that fails at a range gets the
    /// identical range again, up to [`KafkaRddBuilder::attempts`] times. The first range that cannot be
    /// written stops the others, and nothing is committed.
    ///
    /// # Errors
    /// [`Error::Sink`] or [`Error::Commit`], or as [`Batches::try_next`].
    ///
    /// # Cancel safety
    /// Dropping the future stops all tasks and drops their writers; nothing is committed unless the
    /// commit had begun.
    pub async fn write_to<S: Sink>(
        &self,
        sink: &Arc<S>,
    ) -> Result<WrittenBatch<S::Receipt>, Error> {
        let batch = BatchContext { plan: Arc::clone(&self.plan), stream: None };
        let written = self.write_ranges(sink, &batch, std::future::pending()).await?;
        let written = written.map(|ranges| ranges.written).unwrap_or_default();
        let ranges_read = written.iter().filter(|(_, resumed)| !resumed).count();
        let receipts: Vec<_> = written.into_iter().map(|(receipt, _)| receipt).collect();
        let committed = sink.commit(&batch, &receipts).await;
        committed.map_err(|source| Error::Commit { source })?;
        let end = BatchEnd::new(&self.plan, receipts.iter().flat_map(|receipt| &receipt.ranges));
        Ok(WrittenBatch { receipts, end, ranges_read })
    }

    /// Writes every range of the batch, and commits nothing; `None` if `stopped` was earlier.
    pub(crate) async fn write_ranges<S: Sink>(
        &self,
        sink: &Arc<S>,
        batch: &BatchContext,
        stopped: impl Future<Output = ()> + Send,
    ) -> Result<Option<WrittenRanges<S::Receipt>>, Error> {
        self.settings.observer.report(&RunEvent::Planned { plan: &self.plan });
        let (cluster, settings) = (self.cluster.clone(), self.settings.clone());
        let groups = group_ranges(self.partitions(), settings.coalesce);
        let tasks: Vec<WriteTask> = groups
            .iter()
            .enumerate()
            .filter_map(|(index, ranges)| WriteTask::of_group(batch.clone(), index, ranges, 1))
            .collect();
        let firsts: Vec<PlannedRange> =
            tasks.iter().filter_map(|task| task.ranges.first().cloned()).collect();
        let writer = Arc::new(BatchWriter::new(Arc::clone(sink), cluster, settings));
        let mut guard = ClearUnlessDone(self.settings.carry_over.as_ref());
        let runner = Runner { ranges: &firsts, ..self.runner() };
        let work = |index, first| {
            let (writer, task) = (Arc::clone(&writer), tasks.get(index).cloned());
            async move {
                // There is a task for each index.
                let Some(task) = task else { return Ok(None) };
                writer.run(task, first).await.map(Some)
            }
        };
        let written = runner.run_until(stopped, work).await;
        match &written {
            Ok(Some(_)) => guard.0 = None,
            Err(_) => writer.abort_open().await,
            Ok(None) => {
                // Who stops the stream does not wait for a sink that hangs.
                if tokio::time::timeout(LAST_ABORTS, writer.abort_open()).await.is_err() {
                    tracing::warn!("the sink did not discard the attempts that were stopped");
                }
            }
        }
        let written: Option<Vec<_>> = written?;
        Ok(written.map(|written| WrittenRanges {
            written: written.into_iter().flatten().collect(),
            in_sink: Duration::from_nanos(writer.sink_nanos.load(Ordering::Relaxed)),
            poison: writer.poison.load(Ordering::Relaxed),
        }))
    }

    /// Runs `work` for every range, given its index in the plan.
    async fn run<T, W, Fut>(&self, work: W) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        W: Fn(usize, PlannedRange) -> Fut + Send,
        Fut: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut guard = ClearUnlessDone(self.settings.carry_over.as_ref());
        let results = self.runner().run(work).await?;
        guard.0 = None;
        Ok(results)
    }

    fn runner(&self) -> Runner<'_> {
        Runner {
            ranges: self.partitions(),
            concurrency: self.settings.concurrency,
            runtime: self.cluster.runtime(),
        }
    }

    /// The exact number of records, on compacted and transactional topics too. It reads batch headers
    /// where a Kafka batch is inside its range, and decodes records only at the edges.
    ///
    /// # Errors
    /// As [`Batches::try_next`].
    ///
    /// # Cancel safety
    /// Dropping the future stops all tasks.
    pub async fn count(&self) -> Result<u64, Error> {
        let counts = self.run(|_, planned| {
            let (cluster, settings) = (self.cluster.clone(), self.settings.clone());
            count_range(planned, cluster, settings)
        });
        Ok(counts.await?.into_iter().fold(0, u64::saturating_add))
    }

    /// Whether the batch has no record. Reads up to the first one.
    ///
    /// # Errors
    /// As [`Batches::try_next`].
    pub async fn is_empty(&self) -> Result<bool, Error> {
        let mut bare = self.clone();
        bare.settings.read.decode = DecodeOptions::default().columns(Columns::none());
        Ok(bare.first().await?.is_none())
    }

    /// The first `count` records, taken from the partitions in plan order. Stops reading early.
    ///
    /// # Errors
    /// As [`Batches::try_next`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn take(&self, count: usize) -> Result<Vec<RecordBatch>, Error> {
        let mut taken = Vec::new();
        let mut left = count;
        for planned in self.partitions() {
            let mut batches = read_range(&self.cluster, planned.clone(), &self.settings.read);
            while left > 0
                && let Some(batch) = batches.try_next().await?
            {
                let rows = batch.num_rows().min(left);
                left = left.saturating_sub(rows);
                taken.push(batch.slice(0, rows));
            }
            self.settings.add_resets(batches.resets());
            if left == 0 {
                break;
            }
        }
        Ok(taken)
    }

    /// The first record as a batch of one row; `None` if there is none.
    ///
    /// # Errors
    /// As [`Batches::try_next`].
    pub async fn first(&self) -> Result<Option<RecordBatch>, Error> {
        Ok(self.take(1).await?.pop())
    }

    /// All records, typed: keys decoded by `K`, values by `V`, partition after partition in plan
    /// order. It reads the columns of a [`Record`](crate::decode::Record), whatever the builder says.
    ///
    /// Partitions are read one after the other. To read them at the same time, use
    /// [`Batches::into_records`] in [`KafkaRdd::map_partitions`].
    ///
    /// ```
    /// use kafka_direct::{Cluster, ClusterConfig, KafkaRdd, decode::{RawBytes, Utf8}};
    /// # use kafka_direct_broker::{Broker, Record};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let broker = Broker::start().await?;
    /// # broker.create_topic("orders", 1)?;
    /// # let record = Record::new("paid").with_key("7").with_header("trace", Some("abc".into()));
    /// # broker.append("orders", 0, [record])?;
    /// # let config = ClusterConfig::new([broker.bootstrap()]);
    /// let cluster = Cluster::connect(config).await?;
    /// let rdd = KafkaRdd::builder(&cluster).topic("orders").build().await?;
    /// let mut records = rdd.records::<RawBytes, Utf8>();
    /// while let Some(record) = records.try_next().await? {
    ///     println!("{}-{} {}", record.topic, record.partition, record.offset);
    ///     assert_eq!(record.key.as_deref(), Some(&b"7"[..]));
    ///     assert_eq!(record.value.as_deref(), Some("paid"));
    ///     assert_eq!(record.headers[0].name, "trace");
    ///     assert_eq!(record.headers[0].value.as_deref(), Some(&b"abc"[..]));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn records<K, V>(&self) -> Records<K, V>
    where
        K: Decoder + Default,
        V: Decoder + Default,
    {
        let mut rdd = self.clone();
        rdd.settings.read.decode.columns = decode::columns();
        let settings = rdd.settings.clone();
        Records::of_all(rdd, settings)
    }

    /// All batches, partition after partition in plan order. All are in memory at the same time.
    ///
    /// # Errors
    /// As [`Batches::try_next`].
    ///
    /// # Cancel safety
    /// Dropping the future stops all tasks.
    pub async fn collect(&self) -> Result<Vec<RecordBatch>, Error> {
        let settings = self.settings.clone();
        let partitions = self.map_partitions(move |_, mut batches| {
            let settings = settings.clone();
            async move {
                let mut all = Vec::new();
                while let Some(batch) = batches.try_next().await? {
                    all.push(batch);
                }
                settings.add_resets(batches.resets());
                Ok(all)
            }
        });
        Ok(partitions.await?.into_iter().flatten().collect())
    }
}

/// Counts the visible records of one range from batch headers where that is exact.
async fn count_range(
    planned: PlannedRange,
    cluster: Cluster,
    settings: Settings,
) -> Result<u64, Error> {
    let mut fetch = cluster.fetch(planned.clone(), settings.read.fetch());
    if let Some(store) = &settings.carry_over {
        fetch = fetch.continue_from(store);
    }
    let (mut count, mut asked_again_at) = (0u64, None);
    while let Some(fetched) = fetch.next().await? {
        match scan(&planned, &fetched, &settings.read.decode) {
            Ok(records) => count = count.saturating_add(records),
            // The network may have broken the checksum: the batch is fetched once more.
            Err(error)
                if error.checksum_mismatch_at().is_some()
                    && asked_again_at.replace(fetched.fetch_offset)
                        != Some(fetched.fetch_offset) =>
            {
                fetch.seek(fetched.fetch_offset);
            }
            Err(error) => return Err(Error::from(error)),
        }
    }
    settings.add_resets(fetch.resets());
    Ok(count)
}

/// Runs the closure on one range, with all attempts it has.
async fn all_attempts<T, F, Fut>(
    closure: Arc<F>,
    planned: PlannedRange,
    cluster: Cluster,
    settings: Settings,
) -> Result<T, Error>
where
    F: Fn(PlannedRange, Batches) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, BoxError>> + Send + 'static,
{
    let (range, observer) = (&planned, &settings.observer);
    let mut number = 1u32;
    loop {
        observer.report(&RunEvent::Started { range, attempt: number });
        let failed = Arc::new(AtomicBool::new(false));
        let batches = settings
            .read_range(&cluster, planned.clone(), number)
            .with_attempt(number, Arc::clone(&failed));
        let source = match closure(planned.clone(), batches).await {
            Ok(value) => {
                observer.report(&RunEvent::Finished { range, resumed: false });
                return Ok(value);
            }
            Err(source) => source,
        };
        if failed.load(Ordering::Acquire) || number >= settings.attempts {
            return Err(match source.downcast::<Error>() {
                Ok(own) => *own,
                Err(source) => {
                    Error::Closure { range: planned.range().clone(), attempts: number, source }
                }
            });
        }
        tracing::warn!(range = %planned.range(), attempt = number, error = %source, "the closure failed; its range is run again");
        observer.report(&RunEvent::Retrying { range, attempt: number, error: &source });
        number = number.saturating_add(1);
    }
}
