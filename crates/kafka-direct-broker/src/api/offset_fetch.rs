//! OffsetFetch: returns committed offsets, of one group before v8 and of several groups since v8.
//!
//! A partition without a committed offset gets −1.

use std::collections::BTreeMap;

use kafka_direct_core::TopicPartition;
use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetFetchRequest, OffsetFetchResponse, TopicName,
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
};

use super::{Call, Mode, text};
use crate::cluster::{Cluster, Committed};

/// The requested partitions; `None` for all with a committed offset.
type Requested = Option<Vec<(TopicName, Vec<i32>)>>;
type CommittedTopics = Vec<(TopicName, Vec<(i32, Committed)>)>;

pub(super) fn response(call: &Call<'_>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let response = OffsetFetchResponse::default().with_throttle_time_ms(call.throttle_ms);
    if call.mode == Mode::Empty {
        return response;
    }
    let cluster = call.shared.cluster.lock();
    if call.version < 8 {
        let requested = request.topics.map(|topics| {
            topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
        });
        let code = code(call, &cluster, &request.group_id);
        let topics = find(&cluster, &request.group_id, requested);
        let topics = topics.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|p| old_partition(call.version, code, p));
            OffsetFetchResponseTopic::default()
                .with_name(name)
                .with_partitions(partitions.collect())
        });
        let topics = topics.collect();
        // v1 has error codes in the partitions only.
        return if call.version >= 2 { response.with_error_code(code) } else { response }
            .with_topics(topics);
    }
    let groups = request.groups.into_iter().map(|group| {
        let requested = group.topics.map(|topics| {
            topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
        });
        let code = code(call, &cluster, &group.group_id);
        let response = OffsetFetchResponseGroup::default().with_error_code(code);
        let topics =
            if code == 0 { find(&cluster, &group.group_id, requested) } else { Vec::new() };
        let topics = topics.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, committed)| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(index)
                    .with_committed_offset(committed.offset)
                    .with_committed_leader_epoch(committed.leader_epoch)
                    .with_metadata(Some(text(&committed.metadata)))
            });
            OffsetFetchResponseTopics::default()
                .with_name(name)
                .with_partitions(partitions.collect())
        });
        response.with_topics(topics.collect()).with_group_id(group.group_id)
    });
    let groups = groups.collect();
    response.with_groups(groups)
}

fn code(call: &Call<'_>, cluster: &Cluster, group: &str) -> i16 {
    call.outcome(|| {
        let here = cluster.coordinator(group) == Some(call.node);
        here.then_some(()).ok_or(ResponseError::NotCoordinator)
    })
}

fn old_partition(
    version: i16,
    code: i16,
    (index, committed): (i32, Committed),
) -> OffsetFetchResponsePartition {
    let committed = if code == 0 { committed } else { nothing() };
    let response = OffsetFetchResponsePartition::default()
        .with_partition_index(index)
        .with_committed_offset(committed.offset)
        .with_metadata(Some(text(&committed.metadata)))
        .with_error_code(code);
    if version >= 5 {
        response.with_committed_leader_epoch(committed.leader_epoch)
    } else {
        response
    }
}

const fn nothing() -> Committed {
    Committed { offset: -1, leader_epoch: -1, metadata: String::new() }
}

/// The offsets that `group` committed for the requested partitions.
fn find(cluster: &Cluster, group: &str, requested: Requested) -> CommittedTopics {
    let committed = cluster.groups.get(group);
    let Some(requested) = requested else {
        let mut topics: BTreeMap<&str, Vec<(i32, Committed)>> = BTreeMap::new();
        for (partition, offset) in committed.into_iter().flatten() {
            let found = topics.entry(partition.topic()).or_default();
            found.push((partition.partition(), offset.clone()));
        }
        return topics.into_iter().map(|(name, found)| (text(name).into(), found)).collect();
    };
    let one = |(name, indexes): (TopicName, Vec<i32>)| {
        let found = indexes.into_iter().map(|index| {
            let key = TopicPartition::new(&**name, index);
            let offset = committed.and_then(|offsets| offsets.get(&key)).cloned();
            (index, offset.unwrap_or_else(nothing))
        });
        let found = found.collect();
        (name, found)
    };
    requested.into_iter().map(one).collect()
}
