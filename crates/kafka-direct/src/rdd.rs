//! One batch: a plan bound to a cluster, and the ways to read it.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow_array::RecordBatch;
use kafka_direct_core::{BatchPlan, ErrorKind, PlannedRange, Reset, TopicPartition};
use kafka_direct_wire::Cluster;
use kafka_direct_worker::{Columns, DecodeOptions, scan};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::{
    Batches, BoxError, Error, ReadOptions,
    builder::{KafkaRddBuilder, Leaders, leaders},
    read_range,
};

/// How a batch is read.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) read: ReadOptions,
    pub(crate) concurrency: Option<NonZeroUsize>,
    pub(crate) attempts: u32,
    /// Jumps over lost offsets that reading the whole batch made.
    pub(crate) resets: Arc<Mutex<Vec<Reset>>>,
}

impl Settings {
    fn note(&self, resets: &[Reset]) {
        self.resets.lock().extend_from_slice(resets);
    }
}

/// The offset ranges of one batch over a cluster: partition `i` is planned range `i`.
///
/// A batch can be read any number of times and gives the same records each time: its ends were
/// resolved once, when it was built. Order is guaranteed within a partition only.
#[derive(Debug, Clone)]
pub struct KafkaRdd {
    cluster: Cluster,
    plan: Arc<BatchPlan>,
    leaders: Arc<Leaders>,
    settings: Settings,
}

impl KafkaRdd {
    /// Starts choosing what to read.
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

    /// Binds a plan made before, perhaps by another process, with default options; see
    /// [`KafkaRddBuilder::build_from_plan`] for others.
    ///
    /// # Errors
    /// [`Error::ForeignPlan`] if the plan is of another cluster or a topic was re-created since;
    /// [`Invalid`](ErrorKind::Invalid) for a topic or partition that does not exist;
    /// [`Unavailable`](ErrorKind::Unavailable).
    pub async fn from_plan(cluster: &Cluster, plan: BatchPlan) -> Result<Self, Error> {
        Self::builder(cluster).build_from_plan(plan).await
    }

    /// The plan: what to keep or hand on to read the same again.
    #[must_use]
    pub fn plan(&self) -> &BatchPlan {
        &self.plan
    }

    /// The planned ranges; index `i` is partition `i` of the batch.
    #[must_use]
    pub fn partitions(&self) -> &[PlannedRange] {
        self.plan.ranges()
    }

    /// How many offsets the batch covers: an upper bound of its record count that reads nothing.
    #[must_use]
    pub fn span(&self) -> i64 {
        self.plan.span()
    }

    /// Whether the batch covers no offset; reads nothing.
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

    /// Jumps over lost offsets, under the policy `resume`: those of the plan, then those that
    /// [`KafkaRdd::count`], [`KafkaRdd::take`], [`KafkaRdd::collect`] and what builds on them made so
    /// far. A closure sees its own in [`Batches::resets`].
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
        Some(read_range(&self.cluster, planned, &self.settings.read))
    }

    /// Runs `closure` once for every partition, each on a task of its own and at most
    /// [`KafkaRddBuilder::concurrency`] at once.
    ///
    /// A closure that returns an error of its own is run again with the identical range from its
    /// start, until it has had [`KafkaRddBuilder::attempts`]; [`Batches::attempt`] tells which this
    /// is. Faults of the cluster never re-run a closure: they resume inside its stream, and what
    /// cannot be mended ends the batch. The first error stops all partitions.
    ///
    /// # Errors
    /// [`Error::Closure`] or [`Error::ClosurePanicked`], or as [`Batches::try_next`].
    ///
    /// # Cancel safety
    /// Dropping the future stops all tasks.
    pub async fn for_each_partition<F, Fut>(&self, closure: F) -> Result<(), Error>
    where
        F: Fn(PlannedRange, Batches) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let closure = Arc::new(closure);
        self.run(move |planned, cluster, settings| {
            attempt(Arc::clone(&closure), planned, cluster, settings)
        })
        .await
        .map(drop)
    }

    /// Runs one task per partition and returns their results in plan order.
    async fn run<T, W, Fut>(&self, work: W) -> Result<Vec<T>, Error>
    where
        T: Send + 'static,
        W: Fn(PlannedRange, Cluster, Settings) -> Fut,
        Fut: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let total = self.partitions().len();
        let limit = self.settings.concurrency.map_or(total, NonZeroUsize::get);
        let mut waiting = self.partitions().iter().enumerate();
        let mut results: Vec<Option<T>> = std::iter::repeat_with(|| None).take(total).collect();
        let mut tasks = JoinSet::new();
        let mut indices = HashMap::new();
        loop {
            while tasks.len() < limit
                && let Some((index, planned)) = waiting.next()
            {
                let task = work(planned.clone(), self.cluster.clone(), self.settings.clone());
                let id = tasks.spawn_on(task, &self.cluster.runtime()).id();
                indices.insert(id, index);
            }
            let Some(done) = tasks.join_next_with_id().await else { break };
            match done {
                Ok((id, result)) => {
                    let slot = indices.get(&id).and_then(|index| results.get_mut(*index));
                    if let Some(slot) = slot {
                        *slot = Some(result?);
                    }
                }
                Err(panicked) => {
                    let planned =
                        indices.get(&panicked.id()).and_then(|i| self.partitions().get(*i));
                    let Some(planned) = planned else { continue };
                    return Err(Error::ClosurePanicked { range: planned.range().clone() });
                }
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// How many records the batch has: exact on compacted and transactional topics too. Walks batch
    /// headers where a batch lies inside its range, and decodes only at the edges.
    ///
    /// # Errors
    /// As [`Batches::try_next`].
    ///
    /// # Cancel safety
    /// Dropping the future stops all tasks.
    pub async fn count(&self) -> Result<u64, Error> {
        let counts = self.run(|planned, cluster, settings| async move {
            let mut fetch = cluster.fetch(planned.clone(), settings.read.fetch());
            let (mut count, mut asked_again_at) = (0u64, None);
            while let Some(fetched) = fetch.next().await? {
                match scan(&planned, &fetched, &settings.read.decode) {
                    Ok(records) => count = count.saturating_add(records),
                    // A checksum may be broken by the network: the answer is asked for once more.
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
            settings.note(fetch.resets());
            Ok(count)
        });
        Ok(counts.await?.into_iter().fold(0, u64::saturating_add))
    }

    /// Whether the batch has no record at all: reads up to the first one.
    ///
    /// # Errors
    /// As [`Batches::try_next`].
    pub async fn is_empty(&self) -> Result<bool, Error> {
        let mut bare = self.clone();
        bare.settings.read.decode = DecodeOptions::default().with_columns(Columns::none());
        Ok(bare.first().await?.is_none())
    }

    /// The first `count` records, walking partitions in plan order and stopping early.
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
            self.settings.note(batches.resets());
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

    /// All batches, partition after partition in plan order. They are held in memory all at once.
    ///
    /// # Errors
    /// As [`Batches::try_next`].
    ///
    /// # Cancel safety
    /// Dropping the future stops all tasks.
    pub async fn collect(&self) -> Result<Vec<RecordBatch>, Error> {
        let partitions = self.run(|planned, cluster, settings| async move {
            let mut batches = read_range(&cluster, planned, &settings.read);
            let mut all = Vec::new();
            while let Some(batch) = batches.try_next().await? {
                all.push(batch);
            }
            settings.note(batches.resets());
            Ok(all)
        });
        Ok(partitions.await?.into_iter().flatten().collect())
    }
}

/// One range's attempts at the caller's closure.
async fn attempt<F, Fut>(
    closure: Arc<F>,
    planned: PlannedRange,
    cluster: Cluster,
    settings: Settings,
) -> Result<(), Error>
where
    F: Fn(PlannedRange, Batches) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let mut number = 1u32;
    loop {
        let failed = Arc::new(AtomicBool::new(false));
        let batches = read_range(&cluster, planned.clone(), &settings.read)
            .with_attempt(number, Arc::clone(&failed));
        let Err(source) = closure(planned.clone(), batches).await else { return Ok(()) };
        if failed.load(Ordering::Acquire) || number >= settings.attempts {
            return Err(match source.downcast::<Error>() {
                Ok(own) => *own,
                Err(source) => {
                    Error::Closure { range: planned.range().clone(), attempts: number, source }
                }
            });
        }
        tracing::warn!(range = %planned.range(), attempt = number, error = %source, "the closure failed; its range is run again");
        number = number.saturating_add(1);
    }
}

/// Checks that a plan belongs to the cluster and the topics that are there; gives their leaders.
pub(crate) async fn check_plan(cluster: &Cluster, plan: &BatchPlan) -> Result<Leaders, Error> {
    let here = cluster.id();
    if let (Some(planned), Some(here)) = (plan.cluster(), here.as_deref())
        && planned != here
    {
        return Err(Error::ForeignPlan {
            reason: format!("it was made for cluster {planned}, this is cluster {here}"),
            kind: ErrorKind::Invalid,
        });
    }
    let mut names: Vec<String> =
        plan.ranges().iter().map(|planned| planned.topic_partition().topic().to_owned()).collect();
    names.dedup();
    let topics = cluster.topics(&names).await?;
    let ids: HashMap<&str, _> = topics.iter().map(|topic| (&*topic.name, topic.id)).collect();
    for planned in plan.ranges() {
        let topic = planned.topic_partition().topic();
        if let (Some(then), Some(Some(now))) = (planned.topic_id(), ids.get(topic))
            && then != *now
        {
            return Err(Error::ForeignPlan {
                reason: format!("topic {topic} was re-created: its id was {then} and is {now}"),
                kind: ErrorKind::OffsetLost,
            });
        }
    }
    let leaders = leaders(&topics);
    let existing: HashSet<TopicPartition> = topics
        .iter()
        .flat_map(|topic| {
            let name = &topic.name;
            topic.partitions.iter().map(|p| TopicPartition::new(Arc::clone(name), p.index))
        })
        .collect();
    let missing =
        plan.ranges().iter().find(|planned| !existing.contains(planned.topic_partition()));
    if let Some(planned) = missing {
        return Err(Error::ForeignPlan {
            reason: format!("partition {} does not exist", planned.topic_partition()),
            kind: ErrorKind::Invalid,
        });
    }
    Ok(leaders)
}
