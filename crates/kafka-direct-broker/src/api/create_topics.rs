//! CreateTopics: creates topics.
//!
//! A replication factor up to the number of nodes is accepted and has no effect. Configurations are
//! accepted and have no effect. In a manual assignment, the first broker id of each partition is
//! its leader.

use kafka_direct_core::is_legal_topic_name;
use kafka_protocol::{
    ResponseError,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse, create_topics_request::CreatableTopic,
        create_topics_response::CreatableTopicResult,
    },
};

use super::{Call, Mode, uuid};
use crate::cluster::{Cluster, MAX_PARTITIONS};

pub(super) fn response(call: &Call<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let response = CreateTopicsResponse::default().with_throttle_time_ms(call.throttle_ms);
    if call.mode == Mode::Empty {
        return response;
    }
    let mut cluster = call.shared.cluster.lock();
    let results = request.topics.into_iter().map(|topic| {
        let mut created = None;
        let code = call.outcome(|| {
            let leaders = leaders(call, &topic)?;
            let partitions = if leaders.is_empty() {
                if topic.num_partitions == -1 { 1 } else { topic.num_partitions }
            } else {
                i32::try_from(leaders.len()).unwrap_or(i32::MAX)
            };
            if request.validate_only {
                return validate(&cluster, &topic.name, partitions);
            }
            created = Some((cluster.create(&topic.name, partitions, &leaders)?, partitions));
            Ok(())
        });
        let result = CreatableTopicResult::default().with_error_code(code);
        let result = match created {
            Some((id, partitions)) => result
                .with_topic_id(uuid(id))
                .with_num_partitions(partitions)
                .with_replication_factor(replicas(call))
                .with_configs(Some(Vec::new())),
            None => result,
        };
        result.with_name(topic.name)
    });
    let results = results.collect();
    response.with_topics(results)
}

fn replicas(call: &Call<'_>) -> i16 {
    i16::try_from(call.shared.nodes.len()).unwrap_or(i16::MAX)
}

fn validate(cluster: &Cluster, name: &str, partitions: i32) -> Result<(), ResponseError> {
    if !is_legal_topic_name(name) {
        return Err(ResponseError::InvalidTopicException);
    }
    if cluster.topics.contains_key(name) {
        return Err(ResponseError::TopicAlreadyExists);
    }
    let valid = (1..=MAX_PARTITIONS).contains(&partitions);
    valid.then_some(()).ok_or(ResponseError::InvalidPartitions)
}

/// The leaders of a manual assignment, by partition; empty for an automatic assignment.
fn leaders(call: &Call<'_>, topic: &CreatableTopic) -> Result<Vec<i32>, ResponseError> {
    let factor = topic.replication_factor;
    if factor != -1 && !(1..=replicas(call)).contains(&factor) {
        return Err(ResponseError::InvalidReplicationFactor);
    }
    let mut assigned: Vec<_> = topic.assignments.iter().collect();
    assigned.sort_by_key(|assignment| assignment.partition_index);
    let leader = |(index, assignment): (
        i32,
        &&kafka_protocol::messages::create_topics_request::CreatableReplicaAssignment,
    )| {
        let leader = assignment.broker_ids.first().map(|id| id.0);
        let known = leader.filter(|id| call.shared.node(*id).is_some());
        known
            .filter(|_| assignment.partition_index == index)
            .ok_or(ResponseError::InvalidReplicaAssignment)
    };
    (0..).zip(&assigned).map(leader).collect()
}
