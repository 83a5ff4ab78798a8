//! What is known of the cluster: brokers, topics, leaders. Plain values; asks nobody.

use std::{collections::BTreeMap, sync::Arc};

use kafka_direct_core::{TopicId, TopicPartition};
use kafka_protocol::messages::{
    MetadataResponse,
    metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
};
use tokio::time::Instant;

use crate::{WireError, address::address, code};

/// A topic as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicMetadata {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; `None` where the broker gives none. Another id means that the topic was re-created.
    pub id: Option<TopicId>,
    /// Whether Kafka keeps it for itself (group offsets, transaction state).
    pub is_internal: bool,
    /// Its partitions by rising index.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionMetadata {
    /// Its index, from 0.
    pub index: i32,
    /// Broker id of its leader; `None` while it has none, and then its offsets cannot be asked for.
    pub leader: Option<i32>,
    /// `host:port` of its leader; `None` while it has none or the leader is not registered.
    pub leader_host: Option<Arc<str>>,
    /// Epoch of its leader, where the broker gives one. It only rises within one topic id.
    pub leader_epoch: Option<i32>,
    /// Broker ids of its replicas.
    pub replicas: Vec<i32>,
    /// Broker ids of the replicas in sync.
    pub isr: Vec<i32>,
}

/// How fresh metadata about a topic must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refresh {
    /// What is known is fresh enough.
    IfUnknown,
    /// The metadata request must have been sent after this moment, when known metadata proved wrong.
    NewerThan(Instant),
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broker {
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

/// The broker to ask about a partition, and what is known of the partition there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) node: i32,
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    /// Epoch of the leader, where the broker gave one.
    pub(crate) epoch: Option<i32>,
    /// Id of the topic, where the broker gave one.
    pub(crate) topic_id: Option<TopicId>,
}

#[derive(Debug)]
struct Topic {
    id: Option<TopicId>,
    is_internal: bool,
    /// When the question was sent, and to whom.
    asked_at: Instant,
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
    /// Takes in a response of the broker `source` to a question sent at `asked_at`. Topics that it
    /// reports with an error are forgotten.
    pub(crate) fn learn(
        &mut self,
        response: &MetadataResponse,
        asked_at: Instant,
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
                self.learn_topic(Arc::from(name.as_str()), topic, asked_at, source);
            } else {
                self.topics.remove(name.as_str());
            }
        }
    }

    /// A broker that lags may name an older leader than one that is known already: within one topic
    /// id the newer epoch stays (KIP-320).
    fn learn_topic(
        &mut self,
        name: Arc<str>,
        response: &MetadataResponseTopic,
        asked_at: Instant,
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
            asked_at,
            source: Arc::clone(source),
            partitions: partitions.collect(),
        };
        self.topics.insert(name, topic);
    }

    /// Whether metadata of `topic` is known, as fresh as `refresh` requires.
    pub(crate) fn is_known(&self, topic: &str, refresh: Refresh) -> bool {
        self.topics.get(topic).is_some_and(|known| match refresh {
            Refresh::IfUnknown => true,
            Refresh::NewerThan(moment) => known.asked_at > moment,
        })
    }

    /// The partition's leader. A partition without one is an error that passes.
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

    /// What is known of `name`, as people are shown it.
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
