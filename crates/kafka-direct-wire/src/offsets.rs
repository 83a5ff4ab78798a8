//! ListOffsets: where logs begin and end, and which offset a time falls on.
//!
//! Contract: one batched request per leader and question; leaders are asked at the same time, and
//! only what a broker could not respond is asked again.

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

/// What Kafka takes as a timestamp to mean the end and the start of a log, and the start of what of
/// it is not only in remote storage (KIP-405).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const EARLIEST_LOCAL: i64 = -4;
/// First version that knows [`EARLIEST_LOCAL`].
const EARLIEST_LOCAL_SINCE: i16 = 8;
/// A reader, not a replica.
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

/// A log's bounds, and the epoch of the leader that named them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogBounds {
    /// Log start, last stable offset and high watermark.
    pub watermarks: Watermarks,
    /// Epoch of the leader that named the high watermark: nothing below it was appended under a
    /// later one. `None` if the broker does not say (before Kafka 2.1).
    pub leader_epoch: Option<i32>,
}

/// A response about one partition.
#[derive(Debug, Clone, Copy)]
struct Found {
    offset: i64,
    leader_epoch: Option<i32>,
}

/// One question about many partitions.
struct Question {
    /// The timestamp asked for, by partition.
    timestamps: BTreeMap<TopicPartition, i64>,
    isolation: IsolationLevel,
}

/// The partitions of one leader.
struct LeaderRequest {
    leader: Leader,
    partitions: Vec<(TopicPartition, i64, Option<i32>)>,
}

impl Cluster {
    /// Log start, last stable offset and high watermark of each partition.
    ///
    /// Asked in this order, so that a log that only grows and is only trimmed gives them in order.
    ///
    /// # Errors
    /// - `Invalid` if a topic or partition does not exist.
    /// - `Unauthorized` if this user may not see a topic.
    /// - `Unavailable` if passing faults did not pass in time; a partition without a leader is one,
    ///   so leave out those that [`Cluster::topics`] shows without.
    pub async fn watermarks(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Watermarks>, WireError> {
        let bounds = self.log_bounds(partitions).await?;
        Ok(bounds.into_iter().map(|(tp, bounds)| (tp, bounds.watermarks)).collect())
    }

    /// The same with the epoch of the leader that responded, by which a reader notices later that the
    /// log was truncated.
    ///
    /// # Errors
    /// As [`Cluster::watermarks`].
    pub async fn log_bounds(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, LogBounds>, WireError> {
        let log_start = self.ends(partitions, ListOffset::Earliest).await?;
        let last_stable = self.ends(partitions, ListOffset::LatestCommitted).await?;
        let high = self.ends(partitions, ListOffset::LatestUncommitted).await?;
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

    /// The first offset whose timestamp is at or after the given one, in milliseconds since 1970;
    /// `None` where no record is that late. Under read_committed only what lies below the last
    /// stable offset is considered.
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
                reason: format!("{tp}: {millis} lies before 1970"),
            });
        }
        let question = Question { timestamps: times.clone(), isolation };
        let found = self.list_offsets("looking up timestamps", question).await?;
        let offset = |found: Found| (found.offset >= 0).then(|| Offset::new(found.offset));
        Ok(found.into_iter().map(|(tp, found)| (tp, offset(found))).collect())
    }

    /// One end of one partition.
    pub(crate) async fn list_offset(
        &self,
        topic_partition: &TopicPartition,
        which: ListOffset,
    ) -> Result<Offset, WireError> {
        let question = Question {
            timestamps: BTreeMap::from([(topic_partition.clone(), which.timestamp())]),
            isolation: which.isolation(),
        };
        let operation = format!("asking for the bounds of {topic_partition}");
        let found = self.list_offsets(operation, question).await?;
        found.get(topic_partition).map(|found| Offset::new(found.offset)).ok_or_else(|| {
            WireError::UnknownTopic {
                topic: Arc::clone(topic_partition.topic_arc()),
                partition: Some(topic_partition.partition()),
                reason: "no broker responded for it".into(),
            }
        })
    }

    async fn ends(
        &self,
        partitions: &[TopicPartition],
        which: ListOffset,
    ) -> Result<BTreeMap<TopicPartition, Found>, WireError> {
        let timestamps = partitions.iter().map(|tp| (tp.clone(), which.timestamp())).collect();
        let question = Question { timestamps, isolation: which.isolation() };
        self.list_offsets("asking for the bounds of partitions", question).await
    }

    /// Asks until every partition is answered. Exactly the partitions asked for come back.
    async fn list_offsets(
        &self,
        operation: impl Into<String>,
        mut question: Question,
    ) -> Result<BTreeMap<TopicPartition, Found>, WireError> {
        let mut found = BTreeMap::new();
        let mut retry = Retry::new(self.inner().config.get_retry_policy(), operation);
        let mut refresh = Refresh::IfUnknown;
        while !question.timestamps.is_empty() {
            let before = found.len();
            let failure = self.list_offsets_once(&question, refresh, &mut found).await?;
            question.timestamps.retain(|tp, _| !found.contains_key(tp));
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

    /// Asks every leader once. Gives a fault that may pass, if there was one; every partition
    /// without such a fault is in `found`.
    async fn list_offsets_once(
        &self,
        question: &Question,
        refresh: Refresh,
        found: &mut BTreeMap<TopicPartition, Found>,
    ) -> Result<Option<WireError>, WireError> {
        let topics = question.timestamps.keys().map(TopicPartition::topic_arc);
        if let Err(error) = self.inner().know(topics, refresh).await {
            return if error.is_retriable() { Ok(Some(error)) } else { Err(error) };
        }
        let (leader_requests, mut failure) = self.leader_requests(question)?;
        let asked = leader_requests
            .iter()
            .map(|leader_request| self.ask_leader(question.isolation, leader_request));
        for (response, leader_request) in join_all(asked).await.into_iter().zip(&leader_requests) {
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
                    Ok(response) => {
                        found.insert(tp, response);
                    }
                    Err(error) if error.is_retriable() => failure = Some(error),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(failure)
    }

    /// Who leads what. A partition without a leader is in no leader_request.
    fn leader_requests(
        &self,
        question: &Question,
    ) -> Result<(Vec<LeaderRequest>, Option<WireError>), WireError> {
        let topology = self.inner().topology.lock();
        let mut leader_requests: BTreeMap<i32, LeaderRequest> = BTreeMap::new();
        let mut failure = None;
        for (tp, timestamp) in &question.timestamps {
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

    async fn ask_leader(
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
                // Such a broker has no remote storage: all of its log is local.
                let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
                for partition in partitions.filter(|asked| asked.timestamp == EARLIEST_LOCAL) {
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
        self.inner().pool.ask(config, at, ApiKey::ListOffsets, request).await
    }
}

type PartitionResponse = (TopicPartition, Result<Found, WireError>);

/// What `response` says about each partition of `leader_request`; a response that leaves one out is none.
fn offsets(
    response: &BrokerResponse<ListOffsetsResponse>,
    leader_request: &LeaderRequest,
) -> Result<Vec<PartitionResponse>, WireError> {
    let mut said = BTreeMap::new();
    for topic in &response.body.topics {
        for partition in &topic.partitions {
            said.insert((topic.name.as_str(), partition.partition_index), partition);
        }
    }
    let judge = |(tp, timestamp, _): &(TopicPartition, i64, Option<i32>)| {
        let Some(partition) = said.get(&(tp.topic(), tp.partition())) else {
            return Err(response.invalid(format!("it does not mention {tp}")));
        };
        let result = match partition.error_code {
            code::NONE if *timestamp < 0 && partition.offset < 0 => {
                return Err(response.invalid(format!("{tp}: its offset is {}", partition.offset)));
            }
            code::NONE => Ok(Found {
                offset: partition.offset,
                leader_epoch: Some(partition.leader_epoch).filter(|epoch| *epoch >= 0),
            }),
            code => Err(response.error(code).about(tp)),
        };
        Ok((tp.clone(), result))
    };
    leader_request.partitions.iter().map(judge).collect()
}
