//! Plans what a builder selects: asks the cluster what the driver must know, then calls the driver.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use arrow_array::{Array as _, TimestampMillisecondArray};
use kafka_direct_core::{
    BatchPlan, DataLossPolicy, IsolationLevel, OffsetRange, PlannedRange, TopicId, TopicPartition,
};
use kafka_direct_driver::{
    DriverError, Lookup, Lookups, PartitionState, Selection, lookups_needed, plan, plan_ranges,
};
use kafka_direct_wire::{LogBounds, TopicMetadata};
use kafka_direct_worker::{Column, Columns, DecodeOptions};
use tokio::time::Instant;

use crate::{
    EndPosition, Error, KafkaRddBuilder, ReadOptions, TopicPattern,
    builder::Topics,
    plan_check::{Leaders, leaders},
    read_range,
};

/// How often the ends of logs are requested while open transactions are waited for.
const TRANSACTION_POLL: Duration = Duration::from_millis(250);

impl KafkaRddBuilder {
    /// Plans again while open transactions withhold an explicit bound, for as long as allowed.
    pub(crate) async fn plan_when_settled(&self) -> Result<(BatchPlan, Leaders), Error> {
        let began = Instant::now();
        loop {
            let withheld = match self.plan().await {
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
        let planned = PlannedRange::new(range, IsolationLevel::ReadUncommitted);
        let decode =
            DecodeOptions::default().columns(Columns::none().with(Column::Timestamp)).max_rows(1);
        let options = ReadOptions::new().decode(decode);
        let batch = read_range(&self.cluster, planned, &options).try_next().await.ok()??;
        let times = batch.column_by_name(Column::Timestamp.as_str())?;
        let times: &TimestampMillisecondArray = times.as_any().downcast_ref()?;
        (times.is_valid(0)).then(|| times.value(0))
    }

    async fn plan(&self) -> Result<(BatchPlan, Leaders), Error> {
        let earlier_cluster = self.earlier.as_ref().and_then(|end| end.cluster.as_ref());
        if let (Some(expected), Some(here)) = (earlier_cluster, self.cluster.id())
            && *expected != here
        {
            return Err(Error::ForeignBatch { expected: expected.clone(), here });
        }
        let topics = self.find_topics().await?;
        let leaders = leaders(&topics);
        let selected = self.selected(&topics);
        let selection = self.without_lost_starts(&topics, &selected)?;
        let bounds = self.cluster.log_bounds(&selected.keys().cloned().collect::<Vec<_>>()).await?;
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
        let lookups = self.response(lookups_needed(&selection, &states)?).await?;
        Ok((plan(&selection, cluster_id, states, &lookups)?, leaders))
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
        selection.starts.retain(|tp| selected.contains_key(tp));
        Ok(selection)
    }

    async fn find_topics(&self) -> Result<Vec<TopicMetadata>, Error> {
        match &self.topics {
            Topics::Named(names) if names.is_empty() => Err(Error::Setting {
                setting: "topics",
                reason: "none is selected; name a topic or give a pattern".to_owned(),
            }),
            Topics::Named(names) => Ok(self.cluster.topics(names).await?),
            Topics::Pattern(pattern) => {
                let pattern = TopicPattern::new(pattern)?;
                let mut topics = self.cluster.all_topics().await?;
                topics.retain(|topic| !topic.is_internal);
                pattern.select(topics)
            }
            Topics::Ranges(ranges) => {
                let names: BTreeSet<String> =
                    ranges.iter().map(|range| range.topic_partition().topic().to_owned()).collect();
                Ok(self.cluster.topics(&names.into_iter().collect::<Vec<_>>()).await?)
            }
        }
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
    async fn response(&self, questions: BTreeSet<Lookup>) -> Result<Lookups, Error> {
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
        for (millis, partitions) in by_time {
            // Under read_committed ListOffsets by time stops at the last stable offset, so that "none"
            // may only mean "not yet". The driver compares the offset with both ends of the log.
            let isolation = IsolationLevel::ReadUncommitted;
            for (tp, offset) in self.cluster.offsets_for_times(&partitions, isolation).await? {
                lookups.insert_timestamp(tp, millis, offset);
            }
        }
        for (group, partitions) in by_group {
            for (tp, offset) in self.cluster.committed_offsets(&group, &partitions).await? {
                lookups.insert_committed(group.clone(), tp, offset);
            }
        }
        Ok(lookups)
    }
}
