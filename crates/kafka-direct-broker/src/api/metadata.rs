//! Metadata: returns nodes, topics with their ids, and partitions with leader and epoch.
//!
//! The response lists every node, including stopped ones. Every node is a replica of every
//! partition. Topics are created only if both [`AutoCreate`] and the request allow it.

use kafka_protocol::{
    ResponseError,
    messages::{
        MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
};

use super::{Call, Mode, text, topic_id, uuid};
use crate::{
    cluster::{Cluster, Topic},
    settings::AutoCreate,
};

pub(super) fn response(call: &Call<'_>, request: MetadataRequest) -> MetadataResponse {
    let response = MetadataResponse::default().with_throttle_time_ms(call.throttle_ms);
    if call.mode == Mode::Empty {
        return response;
    }
    let shared = call.shared;
    let brokers = shared.nodes.iter().map(|node| {
        MetadataResponseBroker::default()
            .with_node_id(node.id.into())
            .with_host(text(&node.host))
            .with_port(i32::from(node.port))
    });
    let mut cluster = shared.cluster.lock();
    let controller = cluster.running.first().copied().unwrap_or(-1);
    let response = response
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(text(&shared.settings.cluster_id)))
        .with_controller_id(controller.into());
    let named = request.topics.filter(|topics| call.version > 0 || !topics.is_empty());
    let topics = match named {
        None => cluster.topics.iter().map(|(name, topic)| known(call, name, topic)).collect(),
        Some(requested) => {
            let may_create = request.allow_auto_topic_creation;
            requested.into_iter().map(|topic| one(call, &mut cluster, topic, may_create)).collect()
        }
    };
    let response = response.with_topics(topics);
    match call.refused() {
        Some(code) if call.version >= 13 => response.with_error_code(code),
        Some(_) | None => response,
    }
}

fn one(
    call: &Call<'_>,
    cluster: &mut Cluster,
    requested: MetadataRequestTopic,
    may_create: bool,
) -> MetadataResponseTopic {
    let unknown = |error: ResponseError, name: Option<TopicName>| {
        MetadataResponseTopic::default()
            .with_error_code(call.refused().unwrap_or_else(|| error.code()))
            .with_name(name)
            .with_topic_id(requested.topic_id)
    };
    let id = topic_id(requested.topic_id);
    let name = match (id.and_then(|id| cluster.name_of(id)), &requested.name) {
        (Some(found), _) => found.to_string(),
        (None, Some(name)) if id.is_none() => name.to_string(),
        (None, _) => {
            // Before v12 the name of a response cannot be null.
            let name = (call.version < 12).then(TopicName::default);
            return unknown(ResponseError::UnknownTopicId, name);
        }
    };
    if let AutoCreate::Partitions(partitions) = call.shared.settings.auto_create
        && may_create
        && call.mode == Mode::Serve
        && !cluster.topics.contains_key(name.as_str())
        && let Err(error) = cluster.create(&name, partitions, &[])
    {
        return unknown(error, requested.name);
    }
    match cluster.topics.get(name.as_str()) {
        Some(topic) => known(call, &name, topic),
        None if !kafka_direct_core::is_legal_topic_name(&name) => {
            unknown(ResponseError::InvalidTopicException, requested.name)
        }
        None => unknown(ResponseError::UnknownTopicOrPartition, requested.name),
    }
}

fn known(call: &Call<'_>, name: &str, topic: &Topic) -> MetadataResponseTopic {
    let response = MetadataResponseTopic::default()
        .with_error_code(call.refused().unwrap_or(0))
        .with_name(Some(text(name).into()))
        .with_topic_id(uuid(topic.id));
    if call.refused().is_some() {
        return response;
    }
    let nodes: Vec<_> = call.shared.nodes.iter().map(|node| node.id.into()).collect();
    let partitions = (0i32..).zip(&topic.partitions).map(|(index, partition)| {
        let leaderless = ResponseError::LeaderNotAvailable.code();
        let response = MetadataResponsePartition::default()
            .with_error_code(if partition.leader.is_none() { leaderless } else { 0 })
            .with_partition_index(index)
            .with_leader_id(partition.leader.unwrap_or(-1).into())
            .with_replica_nodes(nodes.clone())
            .with_isr_nodes(nodes.clone());
        if call.version >= 7 { response.with_leader_epoch(partition.epoch) } else { response }
    });
    response.with_partitions(partitions.collect())
}
