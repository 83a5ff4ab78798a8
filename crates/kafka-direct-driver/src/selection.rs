//! [`Selection`]: the starts, ends, isolation, policy and limits of one batch.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use kafka_direct_core::{CoreError, DataLossPolicy, IsolationLevel, TopicPartition};

use crate::{DriverError, EndOffset, MAX_PLANNED_RANGES, PartitionState, Side, StartOffset};

/// A default value for all partitions, with other values for single partitions.
///
/// - A partition uses its own entry, or else the default.
/// - A selected partition with neither is an error, and so is an entry for a partition that is not
///   selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByPartition<O> {
    default: Option<O>,
    by_partition: BTreeMap<TopicPartition, O>,
}

/// Where each partition starts. Default: earliest.
pub type Starts = ByPartition<StartOffset>;
/// Where each partition stops. Default: latest.
pub type Ends = ByPartition<EndOffset>;

impl<O> ByPartition<O> {
    /// Creates a map of exactly these partitions, without a default. If a partition is named twice,
    /// the last entry is used.
    #[must_use]
    pub fn per_partition(entries: impl IntoIterator<Item = (TopicPartition, O)>) -> Self {
        Self { default: None, by_partition: entries.into_iter().collect() }
    }

    /// Sets the default, for partitions without an entry.
    #[must_use]
    pub fn with_default(mut self, default: O) -> Self {
        self.default = Some(default);
        self
    }

    /// Removes the entries of partitions for which `keep` returns false.
    pub fn retain(&mut self, mut keep: impl FnMut(&TopicPartition) -> bool) {
        self.by_partition.retain(|topic_partition, _| keep(topic_partition));
    }

    /// The value of a partition: its own entry, or else the default.
    #[must_use]
    pub fn of(&self, topic_partition: &TopicPartition) -> Option<&O> {
        self.by_partition.get(topic_partition).or(self.default.as_ref())
    }

    /// Checks that every entry is of a selected partition, and that no selected partition lacks a
    /// value. `selected` must be sorted.
    fn check(&self, side: Side, selected: &[&TopicPartition]) -> Result<(), DriverError> {
        let partitions: Vec<_> = self
            .by_partition
            .keys()
            .filter(|named| selected.binary_search(named).is_err())
            .cloned()
            .collect();
        if !partitions.is_empty() {
            return Err(DriverError::NotSelected { side, partitions });
        }
        if self.default.is_some() {
            return Ok(());
        }
        let partitions: Vec<_> = selected
            .iter()
            .filter(|tp| !self.by_partition.contains_key(tp))
            .map(|tp| TopicPartition::clone(tp))
            .collect();
        if partitions.is_empty() {
            return Ok(());
        }
        Err(DriverError::Uncovered { side, partitions })
    }
}

/// The entries by partition, then the default: `orders-0: offset 5, else earliest`.
impl<O: fmt::Display> fmt::Display for ByPartition<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (topic_partition, choice) in &self.by_partition {
            write!(f, "{topic_partition}: {choice}, ")?;
        }
        match &self.default {
            Some(default) if self.by_partition.is_empty() => write!(f, "{default}"),
            Some(default) => write!(f, "else {default}"),
            None => f.write_str("no others"),
        }
    }
}

impl<O> From<O> for ByPartition<O> {
    fn from(default: O) -> Self {
        Self { default: Some(default), by_partition: BTreeMap::new() }
    }
}

impl<O> From<BTreeMap<TopicPartition, O>> for ByPartition<O> {
    fn from(by_partition: BTreeMap<TopicPartition, O>) -> Self {
        Self { default: None, by_partition }
    }
}

/// What one batch reads.
///
/// The default reads all existing records under read_committed, one range per partition, and fails
/// on lost data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selection {
    /// Where partitions start. Default: earliest.
    pub starts: Starts,
    /// Where partitions stop. Default: latest.
    pub ends: Ends,
    /// Which records are visible, and where the readable end is. Default: read_committed.
    pub isolation: IsolationLevel,
    /// What to do with offsets that do not exist. Default: fail.
    pub on_data_loss: DataLossPolicy,
    /// Splits large ranges until there are about this many, at least 1 and at most
    /// [`MAX_PLANNED_RANGES`]. Default: none, one range per partition.
    pub min_partitions: Option<u64>,
    /// Splits ranges so that none spans more offsets than this, at least 1. Default: none.
    pub max_records_per_partition: Option<u64>,
    /// Selects only partitions with these indices, of every topic. Default: none, all partitions.
    pub partitions: Option<BTreeSet<i32>>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            starts: StartOffset::Earliest.into(),
            ends: EndOffset::Latest.into(),
            isolation: IsolationLevel::default(),
            on_data_loss: DataLossPolicy::default(),
            min_partitions: None,
            max_records_per_partition: None,
            partitions: None,
        }
    }
}

impl Selection {
    /// Creates a selection of all existing records. Each field has its default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets where partitions start: one [`StartOffset`], a map, or a map with a default.
    #[must_use]
    pub fn starts(mut self, starts: impl Into<Starts>) -> Self {
        self.starts = starts.into();
        self
    }

    /// Sets where partitions stop: one [`EndOffset`], a map, or a map with a default.
    #[must_use]
    pub fn ends(mut self, ends: impl Into<Ends>) -> Self {
        self.ends = ends.into();
        self
    }

    /// Sets which records are visible.
    #[must_use]
    pub const fn isolation(mut self, isolation: IsolationLevel) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sets what happens to offsets that do not exist.
    #[must_use]
    pub const fn on_data_loss(mut self, policy: DataLossPolicy) -> Self {
        self.on_data_loss = policy;
        self
    }

    /// Sets about how many ranges there are at least; `None` for one per partition.
    #[must_use]
    pub fn min_partitions(mut self, ranges: impl Into<Option<u64>>) -> Self {
        self.min_partitions = ranges.into();
        self
    }

    /// Sets how many offsets a range may span at most; `None` for no limit.
    ///
    /// A range may have fewer records than offsets: compaction and transactions leave gaps.
    #[must_use]
    pub fn max_records_per_partition(mut self, offsets: impl Into<Option<u64>>) -> Self {
        self.max_records_per_partition = offsets.into();
        self
    }

    /// Selects only partitions with these indices, of every topic.
    ///
    /// Planning fails if an index exists in no topic.
    #[must_use]
    pub fn partitions(mut self, indices: impl IntoIterator<Item = i32>) -> Self {
        self.partitions = Some(indices.into_iter().collect());
        self
    }

    /// Returns the selected ones of `states`, sorted by topic and partition.
    pub(crate) fn select<S: Borrow<PartitionState>>(
        &self,
        mut states: Vec<S>,
    ) -> Result<Vec<S>, DriverError> {
        self.check_limits()?;
        if let Some(wanted) = &self.partitions {
            let mut missing = wanted.clone();
            states.retain(|state| {
                let index = state.borrow().topic_partition.partition();
                missing.remove(&index);
                wanted.contains(&index)
            });
            if !missing.is_empty() {
                return Err(DriverError::NoSuchIndex { indices: missing.into_iter().collect() });
            }
        }
        sort(&mut states)?;
        Ok(states)
    }

    /// Checks that starts and ends fit the `selected` states, which must be sorted.
    pub(crate) fn check_maps<S: Borrow<PartitionState>>(
        &self,
        selected: &[S],
    ) -> Result<(), DriverError> {
        let names: Vec<_> = selected.iter().map(|state| &state.borrow().topic_partition).collect();
        self.starts.check(Side::Start, &names)?;
        self.ends.check(Side::End, &names)
    }

    fn check_limits(&self) -> Result<(), DriverError> {
        let bad = |setting, value: u64, problem| {
            let value = i128::from(value);
            Err(DriverError::BadNumber { topic_partition: None, setting, value, problem })
        };
        match (self.min_partitions, self.max_records_per_partition) {
            (Some(0), _) => bad("min_partitions", 0, "must be at least 1"),
            (_, Some(0)) => bad("max_records_per_partition", 0, "must be at least 1"),
            (Some(many), _) if many > MAX_PLANNED_RANGES => {
                bad("min_partitions", many, "is more than the 1000000 ranges that a plan can have")
            }
            _ => Ok(()),
        }
    }
}

/// Sorts the states by topic and partition.
///
/// Brokers report partitions in any order. Comparing topic names for each of 100,000 partitions
/// would take most of the time of a plan. So each name gets a rank once, and the sort compares
/// ranks.
///
/// Fails if a partition has two states.
pub(crate) fn sort<S: Borrow<PartitionState>>(states: &mut [S]) -> Result<(), DriverError> {
    let is_sorted = states.is_sorted_by(|a, b| {
        let (a, b) = (&a.borrow().topic_partition, &b.borrow().topic_partition);
        order(a, b) != Ordering::Greater
    });
    if !is_sorted {
        let ranks = ranks(states);
        states.sort_by_cached_key(|state| {
            let topic_partition = &state.borrow().topic_partition;
            (ranks.get(&address(topic_partition)).copied(), topic_partition.partition())
        });
    }
    for (one, next) in states.iter().zip(states.iter().skip(1)) {
        let (one, next) = (&one.borrow().topic_partition, &next.borrow().topic_partition);
        if one == next {
            return Err(DriverError::from(CoreError::PlanInconsistent {
                topic_partition: one.clone(),
                reason: "the state of the partition was given twice",
            }));
        }
    }
    Ok(())
}

/// The rank of each topic name among all names, by the memory address of the name.
///
/// The partitions of a topic usually share the memory of its name.
fn ranks<S: Borrow<PartitionState>>(states: &[S]) -> HashMap<usize, usize> {
    let mut names: HashMap<usize, &str> = HashMap::new();
    for state in states {
        let topic_partition = &state.borrow().topic_partition;
        names.entry(address(topic_partition)).or_insert_with(|| topic_partition.topic());
    }
    let mut distinct: Vec<&str> = names.values().copied().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let rank = |name: &str| distinct.partition_point(|other| *other < name);
    names.into_iter().map(|(address, name)| (address, rank(name))).collect()
}

fn address(topic_partition: &TopicPartition) -> usize {
    topic_partition.topic_arc().as_ptr().addr()
}

/// Compares two topic partitions. Compares their names only if they do not share memory.
///
/// This is faster, because names are long and a topic's partitions usually share one.
fn order(a: &TopicPartition, b: &TopicPartition) -> Ordering {
    if Arc::ptr_eq(a.topic_arc(), b.topic_arc()) {
        return a.partition().cmp(&b.partition());
    }
    a.cmp(b)
}
