//! OffsetCommit: stores a group's offsets.
//!
//! Groups have no members here, so only commits without membership are accepted. Committed offsets
//! never expire.

use kafka_direct_core::TopicPartition;
use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};

use super::{Call, Mode};
use crate::cluster::{Cluster, Committed};

pub(super) fn response(call: &Call<'_>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let response = OffsetCommitResponse::default().with_throttle_time_ms(call.throttle_ms);
    if call.mode == Mode::Empty {
        return response;
    }
    let mut cluster = call.shared.cluster.lock();
    let group = request.group_id.to_string();
    let admitted = admit(call, &cluster, &group, &request);
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            let index = partition.partition_index;
            let code = call.outcome(|| {
                admitted?;
                let known = cluster.topics.get(&**topic.name).and_then(|t| t.partition(index));
                known.ok_or(ResponseError::UnknownTopicOrPartition)?;
                let committed = Committed {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition
                        .committed_metadata
                        .map(|m| m.to_string())
                        .unwrap_or_default(),
                };
                let key = TopicPartition::new(&**topic.name, index);
                cluster.groups.entry(group.clone()).or_default().insert(key, committed);
                Ok(())
            });
            OffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code)
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    response.with_topics(topics.collect())
}

/// Checks that this node coordinates the group and that the request claims no membership.
fn admit(
    call: &Call<'_>,
    cluster: &Cluster,
    group: &str,
    request: &OffsetCommitRequest,
) -> Result<(), ResponseError> {
    if cluster.coordinator(group) != Some(call.node) {
        return Err(ResponseError::NotCoordinator);
    }
    if !request.member_id.is_empty() || request.group_instance_id.is_some() {
        return Err(ResponseError::UnknownMemberId);
    }
    if request.generation_id_or_member_epoch >= 0 {
        return Err(ResponseError::IllegalGeneration);
    }
    Ok(())
}
