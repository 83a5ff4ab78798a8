//! Plans what a builder selects: asks the cluster what the driver must know, then calls the driver.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kafka_direct_core::{
    BatchPlan, DataLossPolicy, IsolationLevel, Offset, OffsetRange, TopicId, TopicPartition,
};
use kafka_direct_driver::{
    DriverError, Lookup, Lookups, PartitionState, Selection, StartOffset, lookups_needed, plan,
    plan_ranges,
};
use kafka_direct_wire::{LogBounds, TopicMetadata};
use tokio::time::Instant;

use crate::{
    EndPosition, Error, KafkaRddBuilder, TopicPattern,
    builder::Topics,
    plan_check::{Leaders, leaders},
    time_check::{self, NoRecord, first_timestamp},
};

/// How often the ends of logs are requested while open transactions are waited for.
const TRANSACTION_POLL: Duration = Duration::from_millis(250);

/// The topic's id and the end of the log of each partition when a plan was first tried.
type FirstEnds = BTreeMap<TopicPartition, (Option<TopicId>, Offset)>;

impl KafkaRddBuilder {
    /// Plans again while open transactions withhold an explicit bound, for as long as allowed.
    pub(crate) async fn plan_when_settled(&self) -> Result<(BatchPlan, Leaders), Error> {
        let began = Instant::now();
        // The ends of the logs at the first attempt. Later ones are cut there: under steady traffic
        // an end that moves would always have open transactions below it.
        let mut first_ends = FirstEnds::new();
        loop {
            let withheld = match self.plan(&mut first_ends).await {
                Err(Error::Driver(withheld @ DriverError::Withheld { .. })) => withheld,
                other => return other,
            };
            let left = self.wait_for_transactions.saturating_sub(began.elapsed());
            if left.is_zero() {
                let oldest_millis = self.oldest_withheld(&withheld).await;
                return Err(Error::Withheld { withheld, oldest_millis });
            }
            tracing::info!(reason = %withheld, "waiting for open transactions");
            tokio::time::sleep(left.min(TRANSACTION_POLL)).await;
        }
    }

    /// The timestamp of the first record that open transactions withhold, as far as it can be read:
    /// since when the oldest of them has been open.
    async fn oldest_withheld(&self, withheld: &DriverError) -> Option<i64> {
        let DriverError::Withheld { topic_partition, watermarks, .. } = withheld else {
            return None;
        };
        let from = watermarks.end(IsolationLevel::ReadCommitted);
        let range = OffsetRange::new(topic_partition.clone(), from, watermarks.high).ok()?;
        first_timestamp(&self.cluster, &self.decode, range).await
    }

    async fn plan(&self, first_ends: &mut FirstEnds) -> Result<(BatchPlan, Leaders), Error> {
        let earlier_cluster = self.earlier.as_ref().and_then(|end| end.cluster.as_ref());
        if let (Some(expected), Some(here)) = (earlier_cluster, self.cluster.id())
            && *expected != here
        {
            return Err(Error::ForeignBatch { expected: expected.clone(), here });
        }
        if let Some(end) =
            self.earlier.as_ref().filter(|end| end.isolation != self.selection.isolation)
        {
            return Err(Error::Setting {
                setting: "after",
                reason: format!(
                    "the earlier batch was read under {}, this one is to be read under {}; keep its isolation level",
                    end.isolation, self.selection.isolation
                ),
            });
        }
        let topics = self.find_topics().await?;
        let leaders = leaders(&topics);
        let selected = self.selected(&topics);
        let selection = self.without_lost_starts(&topics, &selected)?;
        let asked: Vec<_> = selected.keys().cloned().collect();
        let mut bounds = self.cluster.log_bounds(&asked).await?;
        let is_first_attempt = first_ends.is_empty();
        for (tp, LogBounds { watermarks, .. }) in &mut bounds {
            let id = selected.get(tp).copied().flatten();
            let (known, end) = first_ends.entry(tp.clone()).or_insert((id, watermarks.high));
            if *known != id {
                // Offsets of a topic that was deleted say nothing about one of the same name.
                (*known, *end) = (id, watermarks.high);
            }
            let end = *end;
            watermarks.high = watermarks.high.min(end);
            watermarks.last_stable = watermarks.last_stable.min(end);
        }
        let states: Vec<PartitionState> = selected
            .into_iter()
            .filter_map(|(topic_partition, topic_id)| {
                // The epoch of this response, not of the older metadata: a leader elected in between
                // may have appended the planned records.
                let LogBounds { watermarks, leader_epoch, .. } = *bounds.get(&topic_partition)?;
                Some(PartitionState { topic_partition, topic_id, leader_epoch, watermarks })
            })
            .collect();
        let cluster_id = self.cluster.id();
        if let Topics::Ranges(ranges) = &self.topics {
            let plan = plan_ranges(ranges.clone(), &selection, cluster_id, states)?;
            return Ok((plan, leaders));
        }
        let questions = lookups_needed(&selection, &states)?;
        let (lookups, without_record) = self.response(questions, &bounds, is_first_attempt).await?;
        let plan = plan(&selection, cluster_id, states, &lookups);
        if matches!(plan, Ok(_) | Err(DriverError::NoRecordSince { .. })) {
            time_check::check(&self.cluster, &self.decode, without_record).await?;
        }
        Ok((plan?, leaders))
    }

    /// The selection without the starts of partitions of the earlier batch that are not selected now,
    /// as the data-loss policy allows: they belong to a topic that was re-created with fewer partitions
    /// or deleted, or the selection leaves them out.
    fn without_lost_starts(
        &self,
        topics: &[TopicMetadata],
        selected: &BTreeMap<TopicPartition, Option<TopicId>>,
    ) -> Result<Selection, Error> {
        let mut selection = self.selection.clone();
        let Some(earlier) = &self.earlier else { return Ok(selection) };
        let is_missing =
            |position: &&EndPosition| !selected.contains_key(&position.topic_partition);
        for EndPosition { topic_partition: tp, topic_id, .. } in
            earlier.positions.iter().filter(is_missing)
        {
            let now = topics.iter().find(|topic| &*topic.name == tp.topic());
            let ids = topic_id.zip(now.and_then(|topic| topic.id));
            match (selection.on_data_loss, ids.filter(|(old, new)| old != new)) {
                (DataLossPolicy::Resume, _) => {
                    tracing::warn!(partition = %tp, "the earlier batch had a partition that this one does not read");
                }
                (DataLossPolicy::Fail, Some((old, new))) => {
                    let (topic_partition, log_start) = (tp.clone(), 0.into());
                    let lost = DriverError::Recreated { topic_partition, old, new, log_start };
                    return Err(Error::from(lost));
                }
                (DataLossPolicy::Fail, None) => {
                    return Err(Error::Setting {
                        setting: "after",
                        reason: format!(
                            "the earlier batch had {tp}, which is not selected now or does not exist; select it, or drop it with the data-loss policy `resume`"
                        ),
                    });
                }
            }
        }
        let known: BTreeSet<&TopicPartition> =
            earlier.positions.iter().map(|position| &position.topic_partition).collect();
        let mut others = selected.keys().filter(|tp| !known.contains(tp));
        if let Some(first) = others.next() {
            let count = others.count().saturating_add(1);
            tracing::warn!(
                "the earlier batch did not have {count} of the partitions, such as {first}; they start at earliest"
            );
        }
        selection.starts.retain(|tp| selected.contains_key(tp));
        Ok(selection)
    }

    pub(crate) async fn find_topics(&self) -> Result<Vec<TopicMetadata>, Error> {
        match &self.topics {
            Topics::Named(names) if names.is_empty() => Err(Error::Setting {
                setting: "topics",
                reason: "none is selected; name a topic or give a pattern".to_owned(),
            }),
            Topics::Named(names) => Ok(self.cluster.topics(names).await?),
            Topics::Pattern(pattern) => {
                TopicPattern::new(pattern)?.select(self.topics_of_users().await?)
            }
            Topics::Ranges(ranges) => {
                let names: BTreeSet<String> =
                    ranges.iter().map(|range| range.topic_partition().topic().to_owned()).collect();
                Ok(self.cluster.topics(&names.into_iter().collect::<Vec<_>>()).await?)
            }
        }
    }

    /// All topics but the internal and the excluded ones.
    pub(crate) async fn topics_of_users(&self) -> Result<Vec<TopicMetadata>, Error> {
        let mut topics = self.cluster.all_topics().await?;
        topics.retain(|topic| !topic.is_internal && !self.excluded.contains(&*topic.name));
        Ok(topics)
    }

    /// The partitions whose watermarks are needed: those of explicit ranges, or those with a selected
    /// index. The driver reports selected partitions that do not exist.
    fn selected(&self, topics: &[TopicMetadata]) -> BTreeMap<TopicPartition, Option<TopicId>> {
        let explicit: Option<BTreeSet<&TopicPartition>> = match &self.topics {
            Topics::Ranges(ranges) => {
                Some(ranges.iter().map(OffsetRange::topic_partition).collect())
            }
            Topics::Named(_) | Topics::Pattern(_) => None,
        };
        let indices = self.selection.partitions.as_ref();
        let all = topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(move |partition| {
                let tp = TopicPartition::new(std::sync::Arc::clone(&topic.name), partition.index);
                (tp, topic.id)
            })
        });
        all.filter(|(tp, _)| match &explicit {
            Some(explicit) => explicit.contains(tp),
            None => indices.is_none_or(|indices| indices.contains(&tp.partition())),
        })
        .collect()
    }

    /// Sends the driver's lookups: one batched request per leader and timestamp, one per group.
    ///
    /// `bounds` are those of the partitions. Also returns where a broker found no record of a time. Warns
    /// of groups without offsets if `warns`.
    pub(crate) async fn response(
        &self,
        questions: BTreeSet<Lookup>,
        bounds: &BTreeMap<TopicPartition, LogBounds>,
        warns: bool,
    ) -> Result<(Lookups, Vec<NoRecord>), Error> {
        let mut by_time: BTreeMap<i64, BTreeMap<TopicPartition, i64>> = BTreeMap::new();
        let mut by_group: BTreeMap<String, Vec<TopicPartition>> = BTreeMap::new();
        for question in questions {
            match question {
                Lookup::Timestamp { topic_partition, millis } => {
                    by_time.entry(millis).or_default().insert(topic_partition, millis);
                }
                Lookup::Committed { group, topic_partition } => {
                    by_group.entry(group).or_default().push(topic_partition);
                }
            }
        }
        let mut lookups = Lookups::new();
        // By partition, with the earliest of the times.
        let mut without_record = BTreeMap::new();
        for (millis, partitions) in by_time {
            // Under read_committed ListOffsets by time stops at the last stable offset, so that "none"
            // may only mean "not yet". The driver compares the offset with both ends of the log.
            let isolation = IsolationLevel::ReadUncommitted;
            for (tp, offset) in self.cluster.offsets_for_times(&partitions, isolation).await? {
                if let (None, Some(LogBounds { watermarks, .. })) = (offset, bounds.get(&tp)) {
                    let (topic_partition, watermarks) = (tp.clone(), *watermarks);
                    without_record.entry(tp.clone()).or_insert(NoRecord {
                        topic_partition,
                        millis,
                        watermarks,
                    });
                }
                lookups.insert_timestamp(tp, millis, offset);
            }
        }
        for (group, partitions) in by_group {
            let committed = self.cluster.committed_offsets(&group, &partitions).await?;
            let missing =
                partitions.iter().filter(|tp| !matches!(committed.get(*tp), Some(Some(_))));
            if warns {
                warn_of_fallback(
                    &self.selection,
                    &group,
                    missing.collect::<Vec<_>>().as_slice(),
                    partitions.len(),
                );
            }
            for (tp, offset) in committed {
                lookups.insert_committed(group.clone(), tp, offset);
            }
        }
        Ok((lookups, without_record.into_values().collect()))
    }
}

/// Names the partitions of which a group has committed no offset: they start elsewhere than asked.
fn warn_of_fallback(selection: &Selection, group: &str, missing: &[&TopicPartition], asked: usize) {
    if let Some(first) = missing.first() {
        let fallback = match selection.starts.of(first) {
            Some(StartOffset::GroupCommitted { fallback, .. }) => fallback.to_string(),
            _ => "their fallback".to_owned(),
        };
        tracing::warn!(
            "group `{group}` has committed no offset for {} of {asked} partitions, such as {first}; they start at {fallback}",
            missing.len()
        );
    }
}
