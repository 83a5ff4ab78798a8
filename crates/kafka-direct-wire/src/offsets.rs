//! ListOffsets: the bounds of logs, and the offsets of timestamps.
//!
//! Contract: a query takes one batched request per leader. Requests to several leaders run at the
//! same time. Only partitions that failed are requested again.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use kafka_direct_core::{IsolationLevel, Offset, TopicPartition, Watermarks};
use kafka_protocol::{
    messages::{
        ApiKey, BrokerId, ListOffsetsRequest, ListOffsetsResponse, TopicName,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
    protocol::StrBytes,
};
use tokio::time::Instant;

use crate::{
    Cluster, WireError, code,
    pool::BrokerResponse,
    queries::ListOffset,
    retry::Retry,
    topology::{Leader, Refresh},
};

/// The timestamp by which Kafka means the end of a log.
const LATEST: i64 = -1;
/// The timestamp by which Kafka means the log start offset.
const EARLIEST: i64 = -2;
/// The timestamp by which Kafka means the first offset that is not only in remote storage
/// (KIP-405).
const EARLIEST_LOCAL: i64 = -4;
/// First version of ListOffsets that supports [`EARLIEST_LOCAL`].
const EARLIEST_LOCAL_SINCE: i16 = 8;
/// The replica id of a client that is not a replica.
const CONSUMER: BrokerId = BrokerId(-1);

impl ListOffset {
    const fn timestamp(self) -> i64 {
        match self {
            Self::Earliest => EARLIEST,
            Self::EarliestLocal => EARLIEST_LOCAL,
            Self::LatestCommitted | Self::LatestUncommitted => LATEST,
        }
    }

    const fn isolation(self) -> IsolationLevel {
        match self {
            Self::LatestCommitted => IsolationLevel::ReadCommitted,
            Self::Earliest | Self::EarliestLocal | Self::LatestUncommitted => {
                IsolationLevel::ReadUncommitted
            }
        }
    }
}

/// The bounds of a log, and the epoch of the leader that reported them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogBounds {
    /// Log start offset, last stable offset and high watermark.
    pub watermarks: Watermarks,
    /// Epoch of the leader that reported the high watermark. No record below the high watermark has
    /// a later epoch. `None` if the broker reports no epoch (before Kafka 2.1).
    pub leader_epoch: Option<i32>,
}

/// The offset that a leader returned for one partition.
#[derive(Debug, Clone, Copy)]
struct Found {
    offset: i64,
    leader_epoch: Option<i32>,
}

/// One query about many partitions.
struct OffsetQuery {
    /// The requested timestamp, by partition.
    timestamps: BTreeMap<TopicPartition, i64>,
    isolation: IsolationLevel,
}

/// The part of a query that goes to one leader: partition, timestamp, current leader epoch.
struct LeaderRequest {
    leader: Leader,
    partitions: Vec<(TopicPartition, i64, Option<i32>)>,
}

impl Cluster {
    /// Returns log start offset, last stable offset and high watermark of each partition.
    ///
    /// They are requested in this order, so they never decrease for a log that only grows or is
    /// trimmed.
    ///
    /// # Errors
    /// - `Invalid` if a topic or partition does not exist.
    /// - `Unauthorized` if this user may not see a topic.
    /// - `Unavailable` if passing faults last longer than the retry timeout. A partition without a
    ///   leader is such a fault: leave out partitions for which [`Cluster::topics`] returns no
    ///   leader.
    pub async fn watermarks(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Watermarks>, WireError> {
        let bounds = self.log_bounds(partitions).await?;
        Ok(bounds.into_iter().map(|(tp, bounds)| (tp, bounds.watermarks)).collect())
    }

    /// Returns the watermarks of each partition and the epoch of the leader that reported them.
    ///
    /// By the epoch a reader can detect later that the log was truncated.
    ///
    /// # Errors
    /// As [`Cluster::watermarks`].
    pub async fn log_bounds(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, LogBounds>, WireError> {
        let log_start = self.log_offsets(partitions, ListOffset::Earliest).await?;
        let last_stable = self.log_offsets(partitions, ListOffset::LatestCommitted).await?;
        let high = self.log_offsets(partitions, ListOffset::LatestUncommitted).await?;
        let both = last_stable.into_values().zip(high.into_values());
        let offset = |found: Found| Offset::new(found.offset);
        Ok(log_start
            .into_iter()
            .zip(both)
            .map(|((tp, log_start), (last_stable, high))| {
                let watermarks = Watermarks {
                    log_start: offset(log_start),
                    last_stable: offset(last_stable),
                    high: offset(high),
                };
                (tp, LogBounds { watermarks, leader_epoch: high.leader_epoch })
            })
            .collect())
    }

    /// Returns for each partition the first offset whose record has the given timestamp or a later
    /// one; `None` if there is no such record.
    ///
    /// Timestamps are in milliseconds since 1970-01-01 UTC, at least 0. Under read_committed only
    /// offsets below the last stable offset are considered.
    ///
    /// # Errors
    /// As [`Cluster::watermarks`]; `Invalid` for a negative timestamp.
    pub async fn offsets_for_times(
        &self,
        times: &BTreeMap<TopicPartition, i64>,
        isolation: IsolationLevel,
    ) -> Result<BTreeMap<TopicPartition, Option<Offset>>, WireError> {
        if let Some((tp, millis)) = times.iter().find(|(_, millis)| **millis < 0) {
            return Err(WireError::Config {
                setting: "timestamp",
                reason: format!("{tp}: {millis} ms is before 1970; give at least 0"),
            });
        }
        let query = OffsetQuery { timestamps: times.clone(), isolation };
        let found = self.list_offsets("requesting offsets by timestamp", query).await?;
        let offset = |found: Found| (found.offset >= 0).then(|| Offset::new(found.offset));
        Ok(found.into_iter().map(|(tp, found)| (tp, offset(found))).collect())
    }

    /// Returns one offset of one partition's log.
    pub(crate) async fn list_offset(
        &self,
        topic_partition: &TopicPartition,
        which: ListOffset,
    ) -> Result<Offset, WireError> {
        let query = OffsetQuery {
            timestamps: BTreeMap::from([(topic_partition.clone(), which.timestamp())]),
            isolation: which.isolation(),
        };
        let operation = format!("requesting the log bounds of {topic_partition}");
        let found = self.list_offsets(operation, query).await?;
        found.get(topic_partition).map(|found| Offset::new(found.offset)).ok_or_else(|| {
            WireError::UnknownTopic {
                topic: Arc::clone(topic_partition.topic_arc()),
                partition: Some(topic_partition.partition()),
                reason: "no broker returned its offset".into(),
            }
        })
    }

    async fn log_offsets(
        &self,
        partitions: &[TopicPartition],
        which: ListOffset,
    ) -> Result<BTreeMap<TopicPartition, Found>, WireError> {
        let timestamps = partitions.iter().map(|tp| (tp.clone(), which.timestamp())).collect();
        let query = OffsetQuery { timestamps, isolation: which.isolation() };
        self.list_offsets("requesting the log bounds of partitions", query).await
    }

    /// Sends requests until every partition of the query has an offset.
    ///
    /// Returns exactly the partitions of the query.
    async fn list_offsets(
        &self,
        operation: impl Into<String>,
        mut query: OffsetQuery,
    ) -> Result<BTreeMap<TopicPartition, Found>, WireError> {
        let mut found = BTreeMap::new();
        let mut retry = Retry::new(self.inner().config.get_retry_policy(), operation);
        let mut refresh = Refresh::IfUnknown;
        while !query.timestamps.is_empty() {
            let before = found.len();
            let failure = self.list_offsets_once(&query, refresh, &mut found).await?;
            query.timestamps.retain(|tp, _| !found.contains_key(tp));
            if found.len() > before {
                retry.progress();
            }
            if let Some(error) = failure {
                refresh = Refresh::NewerThan(Instant::now());
                retry.pause(error).await?;
            }
        }
        Ok(found)
    }

    /// Sends one request to every leader and puts the returned offsets into `found`.
    ///
    /// Returns a fault that may pass, if there was one. Every partition without such a fault is in
    /// `found`.
    async fn list_offsets_once(
        &self,
        query: &OffsetQuery,
        refresh: Refresh,
        found: &mut BTreeMap<TopicPartition, Found>,
    ) -> Result<Option<WireError>, WireError> {
        let topics = query.timestamps.keys().map(TopicPartition::topic_arc);
        if let Err(error) = self.inner().ensure_known(topics, refresh).await {
            return if error.is_retriable() { Ok(Some(error)) } else { Err(error) };
        }
        let (leader_requests, mut failure) = self.leader_requests(query)?;
        let calls = leader_requests
            .iter()
            .map(|leader_request| self.call_leader(query.isolation, leader_request));
        for (response, leader_request) in join_all(calls).await.into_iter().zip(&leader_requests) {
            let results = match response {
                Ok(response) => offsets(&response, leader_request)?,
                Err(error) if error.is_retriable() => {
                    failure = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (tp, result) in results {
                match result {
                    Ok(offset) => {
                        found.insert(tp, offset);
                    }
                    Err(error) if error.is_retriable() => failure = Some(error),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(failure)
    }

    /// Groups the partitions of a query by leader.
    ///
    /// A partition without a leader is left out, and its fault is returned.
    fn leader_requests(
        &self,
        query: &OffsetQuery,
    ) -> Result<(Vec<LeaderRequest>, Option<WireError>), WireError> {
        let topology = self.inner().topology.lock();
        let mut leader_requests: BTreeMap<i32, LeaderRequest> = BTreeMap::new();
        let mut failure = None;
        for (tp, timestamp) in &query.timestamps {
            match topology.leader(tp) {
                Ok(leader) => {
                    let epoch = leader.epoch;
                    let leader_request = leader_requests
                        .entry(leader.node)
                        .or_insert_with(|| LeaderRequest { leader, partitions: Vec::new() });
                    leader_request.partitions.push((tp.clone(), *timestamp, epoch));
                }
                Err(error) if error.is_retriable() => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        Ok((leader_requests.into_values().collect(), failure))
    }

    async fn call_leader(
        &self,
        isolation: IsolationLevel,
        leader_request: &LeaderRequest,
    ) -> Result<BrokerResponse<ListOffsetsResponse>, WireError> {
        let config = &self.inner().config;
        let timeout_ms =
            i32::try_from(config.get_request_timeout().as_millis()).unwrap_or(i32::MAX);
        let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for (tp, timestamp, epoch) in &leader_request.partitions {
            topics.entry(tp.topic()).or_default().push(
                ListOffsetsPartition::default()
                    .with_partition_index(tp.partition())
                    .with_current_leader_epoch(epoch.unwrap_or(-1))
                    .with_timestamp(*timestamp),
            );
        }
        let topics: Vec<ListOffsetsTopic> = topics
            .into_iter()
            .map(|(name, partitions)| {
                ListOffsetsTopic::default()
                    .with_name(TopicName(StrBytes::from_string(name.to_owned())))
                    .with_partitions(partitions)
            })
            .collect();
        let request = |version| {
            let mut topics = topics.clone();
            if version < EARLIEST_LOCAL_SINCE {
                // A broker of such a version has no remote storage: its whole log is local.
                let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                for partition in
                    partitions.filter(|partition| partition.timestamp == EARLIEST_LOCAL)
                {
                    partition.timestamp = EARLIEST;
                }
            }
            ListOffsetsRequest::default()
                .with_replica_id(CONSUMER)
                .with_isolation_level(isolation.wire())
                .with_topics(topics)
                .with_timeout_ms(timeout_ms)
        };
        let at = (&*leader_request.leader.host, leader_request.leader.port);
        self.inner().pool.call(config, at, ApiKey::ListOffsets, request).await
    }
}

type PartitionResult = (TopicPartition, Result<Found, WireError>);

/// Reads the result of each partition of `leader_request` from the response.
///
/// A response without one of the partitions is invalid.
fn offsets(
    response: &BrokerResponse<ListOffsetsResponse>,
    leader_request: &LeaderRequest,
) -> Result<Vec<PartitionResult>, WireError> {
    let mut returned = BTreeMap::new();
    for topic in &response.body.topics {
        for partition in &topic.partitions {
            returned.insert((topic.name.as_str(), partition.partition_index), partition);
        }
    }
    let result_of = |(tp, timestamp, _): &(TopicPartition, i64, Option<i32>)| {
        let Some(partition) = returned.get(&(tp.topic(), tp.partition())) else {
            return Err(response.invalid(format!("{tp} is missing in it")));
        };
        let result = match partition.error_code {
            code::NONE if *timestamp < 0 && partition.offset < 0 => {
                return Err(response.invalid(format!("the offset of {tp} is {}", partition.offset)));
            }
            code::NONE => Ok(Found {
                offset: partition.offset,
                leader_epoch: Some(partition.leader_epoch).filter(|epoch| *epoch >= 0),
            }),
            code => Err(response.error(code).about(tp)),
        };
        Ok((tp.clone(), result))
    };
    leader_request.partitions.iter().map(result_of).collect()
}
