//! Reads and commits the offsets of a consumer group at its coordinator.
//!
//! Needs no membership in the group. For reading, offsets in an unfinished transaction are retried until the
//! transaction ends, so a start from a group includes all that the group committed.

use std::{collections::BTreeMap, sync::Arc};

use kafka_direct_core::{Offset, TopicPartition};
use kafka_protocol::{
    messages::{
        ApiKey, FindCoordinatorRequest, FindCoordinatorResponse, GroupId, OffsetCommitRequest,
        OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        },
    },
    protocol::StrBytes,
};

use crate::{Cluster, WireError, code, pool::BrokerResponse, topology::Broker};

/// The `key_type` of a consumer group.
const GROUP: i8 = 0;
/// First version of FindCoordinator that takes several groups.
const BATCHED_COORDINATORS: i16 = 4;
/// First version of OffsetFetch that takes several groups.
const BATCHED_GROUPS: i16 = 8;
/// First version of OffsetFetch that can refuse offsets in unfinished transactions.
const REQUIRE_STABLE: i16 = 7;

impl Cluster {
    /// Returns the committed offset of `group` for each partition; `None` if it committed none.
    ///
    /// # Errors
    /// - `Invalid` if `group` is empty.
    /// - `Unauthorized` if this user may not see the group or a topic.
    /// - `Unavailable` if passing faults (a coordinator that loads or moves) last longer than the
    ///   retry timeout.
    pub async fn committed_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Option<Offset>>, WireError> {
        check_name(group)?;
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let operation = format!("requesting the committed offsets of group `{group}`");
        let policy = self.inner().config.get_retry_policy();
        policy.run(operation, |_| self.committed_once(group, partitions)).await
    }

    /// Commits offsets to `group`, as the next that a consumer of the group would read.
    ///
    /// This is for tools that show the lag of groups: nothing here reads from what is committed. Kafka
    /// refuses it while consumers are members of the group.
    ///
    /// Returns the partitions that the coordinator does not know, of which nothing is stored. All others
    /// are stored.
    ///
    /// # Errors
    /// Some of the offsets may be stored then.
    /// - `Invalid` if `group` is empty, or has consumers as members.
    /// - `Unauthorized` if this user may not read the group or a topic.
    /// - `Unavailable` if passing faults (a coordinator that loads or moves) last longer than the
    ///   retry timeout.
    ///
    /// # Cancel safety
    /// Safe: the offsets may be stored or not.
    pub async fn commit_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<Vec<TopicPartition>, WireError> {
        check_name(group)?;
        if offsets.is_empty() {
            return Ok(vec![]);
        }
        let operation = format!("committing the offsets of group `{group}`");
        let policy = self.inner().config.get_retry_policy();
        policy.run(operation, |_| self.commit_once(group, offsets)).await
    }

    async fn commit_once(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<Vec<TopicPartition>, WireError> {
        let coordinator = self.coordinator(group).await?;
        let at = (&*coordinator.host, coordinator.port);
        let request = |_| offset_commit(group, offsets);
        let response: BrokerResponse<OffsetCommitResponse> =
            self.inner().pool.call(&self.inner().config, at, ApiKey::OffsetCommit, request).await?;
        let topics = response.body.topics.iter();
        let codes: BTreeMap<(&str, i32), i16> = topics
            .flat_map(|topic| {
                let partitions = topic.partitions.iter();
                partitions.map(|p| ((topic.name.as_str(), p.partition_index), p.error_code))
            })
            .collect();
        let mut unknown = Vec::new();
        for tp in offsets.keys() {
            match codes.get(&(tp.topic(), tp.partition())) {
                Some(&code::NONE) => {}
                Some(&code::UNKNOWN_TOPIC_OR_PARTITION) => unknown.push(tp.clone()),
                Some(&code) => return Err(response.error(code).about(tp)),
                None => return Err(response.invalid(format!("{tp} is missing in it"))),
            }
        }
        Ok(unknown)
    }

    async fn committed_once(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Option<Offset>>, WireError> {
        let coordinator = self.coordinator(group).await?;
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for tp in partitions {
            let indexes = topics.entry(tp.topic()).or_default();
            if !indexes.contains(&tp.partition()) {
                indexes.push(tp.partition());
            }
        }
        let request = |version| offset_fetch(version, group, &topics);
        let at = (&*coordinator.host, coordinator.port);
        let response: BrokerResponse<OffsetFetchResponse> =
            self.inner().pool.call(&self.inner().config, at, ApiKey::OffsetFetch, request).await?;
        let committed = committed(&response, group)?;
        partitions
            .iter()
            .map(|tp| match committed.get(&(tp.topic(), tp.partition())) {
                Some((code::NONE, offset)) => {
                    Ok((tp.clone(), (*offset >= 0).then(|| Offset::new(*offset))))
                }
                Some((code::UNKNOWN_TOPIC_OR_PARTITION, _)) => Ok((tp.clone(), None)),
                Some((code, _)) => Err(response.error(*code).about(tp)),
                None if committed.is_empty() => Ok((tp.clone(), None)),
                None => Err(response.invalid(format!("{tp} is missing in it"))),
            })
            .collect()
    }

    async fn coordinator(&self, group: &str) -> Result<Broker, WireError> {
        let key = || StrBytes::from_string(group.to_owned());
        let request = |version| {
            let request = FindCoordinatorRequest::default().with_key_type(GROUP);
            if version >= BATCHED_COORDINATORS {
                request.with_coordinator_keys(vec![key()])
            } else {
                request.with_key(key())
            }
        };
        let response: BrokerResponse<FindCoordinatorResponse> = self
            .inner()
            .call_any_broker("requesting a group's coordinator", ApiKey::FindCoordinator, request)
            .await?;
        let body = &response.body;
        let (code, host, port) = if response.version >= BATCHED_COORDINATORS {
            let found = body.coordinators.iter().find(|found| found.key.as_str() == group);
            let found = found
                .ok_or_else(|| response.invalid(format!("group `{group}` is missing in it")))?;
            (found.error_code, &found.host, found.port)
        } else {
            (body.error_code, &body.host, body.port)
        };
        if code != code::NONE {
            return Err(response.error(code));
        }
        let port = u16::try_from(port)
            .map_err(|_| response.invalid(format!("the coordinator's port {port} is invalid")))?;
        Ok(Broker { host: Arc::from(host.as_str()), port })
    }
}

fn check_name(group: &str) -> Result<(), WireError> {
    if group.is_empty() || i16::try_from(group.len()).is_err() {
        return Err(WireError::Config {
            setting: "group",
            reason: "the name of a group must have 1 to 32767 bytes".to_owned(),
        });
    }
    Ok(())
}

/// A commit of no member: its generation is -1 and its member id is empty.
fn offset_commit(group: &str, offsets: &BTreeMap<TopicPartition, Offset>) -> OffsetCommitRequest {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for (tp, offset) in offsets {
        topics.entry(tp.topic()).or_default().push(
            OffsetCommitRequestPartition::default()
                .with_partition_index(tp.partition())
                .with_committed_offset(offset.get())
                .with_committed_metadata(Some(StrBytes::default())),
        );
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        OffsetCommitRequestTopic::default()
            .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
            .with_partitions(partitions)
    });
    OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(topics.collect())
}

fn offset_fetch(
    version: i16,
    group: &str,
    topics: &BTreeMap<&str, Vec<i32>>,
) -> OffsetFetchRequest {
    let group = GroupId(StrBytes::from_string(group.to_owned()));
    let name = |name: &str| TopicName(StrBytes::from_string(name.to_owned()));
    let request = OffsetFetchRequest::default().with_require_stable(version >= REQUIRE_STABLE);
    if version >= BATCHED_GROUPS {
        let topics = topics.iter().map(|(topic, indexes)| {
            OffsetFetchRequestTopics::default()
                .with_name(name(topic))
                .with_partition_indexes(indexes.clone())
        });
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(group)
            .with_topics(Some(topics.collect()));
        return request.with_groups(vec![group]);
    }
    let topics = topics.iter().map(|(topic, indexes)| {
        OffsetFetchRequestTopic::default()
            .with_name(name(topic))
            .with_partition_indexes(indexes.clone())
    });
    request.with_group_id(group).with_topics(Some(topics.collect()))
}

/// Error code and offset by topic and partition.
type Committed<'a> = BTreeMap<(&'a str, i32), (i16, i64)>;

/// Reads the offsets from either form of the response. Empty if the group does not exist.
fn committed<'a>(
    response: &'a BrokerResponse<OffsetFetchResponse>,
    group: &str,
) -> Result<Committed<'a>, WireError> {
    let mut committed = BTreeMap::new();
    let code = if response.version >= BATCHED_GROUPS {
        let entry = response.body.groups.iter().find(|entry| entry.group_id.as_str() == group);
        let entry =
            entry.ok_or_else(|| response.invalid(format!("group `{group}` is missing in it")))?;
        for topic in &entry.topics {
            for p in &topic.partitions {
                let key = (topic.name.as_str(), p.partition_index);
                committed.insert(key, (p.error_code, p.committed_offset));
            }
        }
        entry.error_code
    } else {
        for topic in &response.body.topics {
            for p in &topic.partitions {
                let key = (topic.name.as_str(), p.partition_index);
                committed.insert(key, (p.error_code, p.committed_offset));
            }
        }
        response.body.error_code
    };
    match code {
        code::NONE => Ok(committed),
        code::GROUP_ID_NOT_FOUND => Ok(BTreeMap::new()),
        code => Err(response.error(code)),
    }
}
