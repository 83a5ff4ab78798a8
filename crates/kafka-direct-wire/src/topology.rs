//! The known metadata of a cluster: brokers, topics and leaders. Sends no requests.

use std::{collections::BTreeMap, sync::Arc};

use kafka_direct_core::{TopicId, TopicPartition};
use kafka_protocol::messages::{
    MetadataResponse,
    metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
};
use tokio::time::Instant;

use crate::{WireError, address::address, code};

/// A topic, as described by the brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicMetadata {
    /// Name of the topic.
    pub name: Arc<str>,
    /// Id of the topic; `None` if the broker reports none. A new id means that the topic was
    /// re-created.
    pub id: Option<TopicId>,
    /// Whether the topic is internal to Kafka (group offsets, transaction state).
    pub is_internal: bool,
    /// Partitions of the topic, by rising index.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition, as described by the brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionMetadata {
    /// Index of the partition, from 0.
    pub index: i32,
    /// Broker id of the leader; `None` while there is none. Offsets cannot be requested without a
    /// leader.
    pub leader: Option<i32>,
    /// `host:port` of the leader; `None` while there is no leader or it is not registered.
    pub leader_host: Option<Arc<str>>,
    /// Epoch of the leader, if the broker reports one. It only rises within one topic id.
    pub leader_epoch: Option<i32>,
    /// Broker ids of the replicas.
    pub replicas: Vec<i32>,
    /// Broker ids of the in-sync replicas.
    pub isr: Vec<i32>,
}

/// How fresh metadata about a topic must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refresh {
    /// Any known metadata is fresh enough.
    IfUnknown,
    /// The metadata must be of a request sent after this moment, at which known metadata was wrong.
    NewerThan(Instant),
}

/// The address of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

/// The leader of a partition, with the partition's leader epoch and topic id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) node: i32,
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    /// Epoch of the leader, if the broker reported one.
    pub(crate) epoch: Option<i32>,
    /// Id of the topic, if the broker reported one.
    pub(crate) topic_id: Option<TopicId>,
}

#[derive(Debug)]
struct Topic {
    id: Option<TopicId>,
    is_internal: bool,
    /// When the metadata request was sent.
    requested_at: Instant,
    /// Address of the broker that responded.
    source: Arc<str>,
    partitions: BTreeMap<i32, Partition>,
}

#[derive(Debug, Clone)]
struct Partition {
    leader: Option<i32>,
    epoch: Option<i32>,
    replicas: Vec<i32>,
    isr: Vec<i32>,
}

/// The newest metadata of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    pub(crate) cluster_id: Option<Arc<str>>,
    pub(crate) brokers: BTreeMap<i32, Broker>,
    topics: BTreeMap<Arc<str>, Topic>,
}

impl Topology {
    /// Updates the metadata from a response of the broker `source` to a request sent at
    /// `requested_at`.
    ///
    /// Removes topics that the response reports with an error.
    pub(crate) fn update(
        &mut self,
        response: &MetadataResponse,
        requested_at: Instant,
        source: &Arc<str>,
    ) {
        if let Some(id) = response.cluster_id.as_deref() {
            self.cluster_id.get_or_insert_with(|| Arc::from(id));
        }
        if !response.brokers.is_empty() {
            let known = response.brokers.iter().filter_map(|broker| {
                let port = u16::try_from(broker.port).ok()?;
                Some((broker.node_id.0, Broker { host: Arc::from(&*broker.host), port }))
            });
            self.brokers = known.collect();
        }
        for topic in &response.topics {
            let Some(name) = topic.name.as_deref() else { continue };
            if topic.error_code == code::NONE {
                self.update_topic(Arc::from(name.as_str()), topic, requested_at, source);
            } else {
                self.topics.remove(name.as_str());
            }
        }
    }

    /// Replaces the metadata of one topic, but keeps each partition whose known epoch is newer.
    ///
    /// A broker that lags may report an older leader. Within one topic id the newer epoch is kept
    /// (KIP-320).
    fn update_topic(
        &mut self,
        name: Arc<str>,
        response: &MetadataResponseTopic,
        requested_at: Instant,
        source: &Arc<str>,
    ) {
        let id = TopicId::from_bytes(response.topic_id.into_bytes());
        let before = self.topics.remove(&name).filter(|old| id.is_some() && old.id == id);
        let partitions = response.partitions.iter().map(|new| {
            let new_partition = Partition::from(new);
            let newer = before
                .as_ref()
                .and_then(|old| old.partitions.get(&new.partition_index))
                .filter(|old| old.epoch > new_partition.epoch);
            (new.partition_index, newer.cloned().unwrap_or(new_partition))
        });
        let topic = Topic {
            id,
            is_internal: response.is_internal,
            requested_at,
            source: Arc::clone(source),
            partitions: partitions.collect(),
        };
        self.topics.insert(name, topic);
    }

    /// Whether metadata of `topic` is known, as fresh as `refresh` requires.
    pub(crate) fn is_known(&self, topic: &str, refresh: Refresh) -> bool {
        self.topics.get(topic).is_some_and(|known| match refresh {
            Refresh::IfUnknown => true,
            Refresh::NewerThan(moment) => known.requested_at > moment,
        })
    }

    /// Returns the partition's leader. A partition without a leader is an error that may pass.
    pub(crate) fn leader(&self, topic_partition: &TopicPartition) -> Result<Leader, WireError> {
        let topic = self.topics.get(topic_partition.topic()).ok_or_else(|| {
            WireError::unknown_topic(topic_partition.topic_arc(), self.cluster_id.as_deref())
        })?;
        let partition = topic.partitions.get(&topic_partition.partition()).ok_or_else(|| {
            WireError::UnknownTopic {
                topic: Arc::clone(topic_partition.topic_arc()),
                partition: Some(topic_partition.partition()),
                reason: format!("the topic has {} partitions", topic.partitions.len()).into(),
            }
        })?;
        let broker = partition.leader.and_then(|node| Some((node, self.brokers.get(&node)?)));
        let Some((node, broker)) = broker else {
            return Err(WireError::Broker {
                address: Arc::clone(&topic.source),
                api: "Metadata",
                code: code::LEADER_NOT_AVAILABLE,
                topic_partition: Some(topic_partition.clone()),
            });
        };
        Ok(Leader {
            node,
            host: Arc::clone(&broker.host),
            port: broker.port,
            epoch: partition.epoch,
            topic_id: topic.id,
        })
    }

    /// Describes the topic `name`; `None` if it is not known.
    pub(crate) fn describe(&self, name: &str) -> Option<TopicMetadata> {
        let (name, topic) = self.topics.get_key_value(name)?;
        let partitions = topic.partitions.iter().map(|(index, partition)| {
            let leader = partition.leader.and_then(|node| self.brokers.get(&node));
            PartitionMetadata {
                index: *index,
                leader: partition.leader,
                leader_host: leader.map(|broker| address(&broker.host, broker.port)),
                leader_epoch: partition.epoch,
                replicas: partition.replicas.clone(),
                isr: partition.isr.clone(),
            }
        });
        Some(TopicMetadata {
            name: Arc::clone(name),
            id: topic.id,
            is_internal: topic.is_internal,
            partitions: partitions.collect(),
        })
    }
}

impl From<&MetadataResponsePartition> for Partition {
    fn from(partition: &MetadataResponsePartition) -> Self {
        let nodes =
            |ids: &[kafka_protocol::messages::BrokerId]| ids.iter().map(|id| id.0).collect();
        Self {
            leader: (partition.leader_id.0 >= 0).then_some(partition.leader_id.0),
            epoch: (partition.leader_epoch >= 0).then_some(partition.leader_epoch),
            replicas: nodes(&partition.replica_nodes),
            isr: nodes(&partition.isr_nodes),
        }
    }
}
