//! The state that all nodes share: topics, their partitions and leaders, and committed offsets.
//!
//! A lock protects it. The lock is never held across an await, and never while bytes are copied.
//! Every node is a replica of every partition, so a leader change copies nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use kafka_direct_core::{Offset, TopicId, TopicPartition, Watermarks, is_legal_topic_name};
use kafka_protocol::ResponseError;

use crate::{BrokerError, log::Log};

/// Maximum number of partitions of one topic.
pub(crate) const MAX_PARTITIONS: i32 = 100_000;

/// A partition: its log, its leader and its leader epoch.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) leader: Option<i32>,
    pub(crate) epoch: i32,
    pub(crate) log: Log,
}

impl Partition {
    /// Checks that `node` leads the partition and that `client_epoch` is the current leader epoch.
    ///
    /// A `client_epoch` of −1 is not checked. The epoch is checked first, as in Apache Kafka.
    pub(crate) fn admit(&self, node: i32, client_epoch: i32) -> Result<(), ResponseError> {
        match client_epoch {
            epoch if epoch >= 0 && epoch < self.epoch => Err(ResponseError::FencedLeaderEpoch),
            epoch if epoch > self.epoch => Err(ResponseError::UnknownLeaderEpoch),
            _ if self.leader != Some(node) => Err(ResponseError::NotLeaderOrFollower),
            _ => Ok(()),
        }
    }

    /// Sets the leader and starts the next leader epoch at the end of the log.
    pub(crate) fn elect(&mut self, leader: Option<i32>) {
        self.leader = leader;
        self.epoch = self.epoch.saturating_add(1);
        self.log.epochs.begin(self.epoch, self.log.end());
    }
}

/// A topic with its partitions by index.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) partitions: Vec<Partition>,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    pub(crate) fn partition_mut(&mut self, index: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(index).ok()?)
    }
}

/// The committed offset of a group for a partition.
#[derive(Debug, Clone)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// All state that nodes share and that changes while the broker runs.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) topics: BTreeMap<Arc<str>, Topic>,
    names: HashMap<TopicId, Arc<str>>,
    pub(crate) groups: BTreeMap<String, BTreeMap<TopicPartition, Committed>>,
    pub(crate) running: BTreeSet<i32>,
    nodes: i32,
    cap_bytes: usize,
    /// The first half of every topic id. It makes ids differ between clusters.
    id_prefix: u64,
    topics_created: u64,
}

impl Cluster {
    pub(crate) fn new(cluster_id: &str, nodes: i32, cap_bytes: usize) -> Self {
        Self {
            topics: BTreeMap::new(),
            names: HashMap::new(),
            groups: BTreeMap::new(),
            running: BTreeSet::new(),
            nodes,
            cap_bytes,
            id_prefix: hash(cluster_id.as_bytes()),
            topics_created: 0,
        }
    }

    /// The name of the topic with this id, if it exists.
    pub(crate) fn name_of(&self, id: TopicId) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    /// Creates a topic and returns its id.
    ///
    /// Node `leaders[p]` leads partition `p`; by default node `p % nodes + 1` does. The id depends
    /// only on the cluster id and on the number of topics created before.
    pub(crate) fn create(
        &mut self,
        name: &str,
        partitions: i32,
        leaders: &[i32],
    ) -> Result<TopicId, ResponseError> {
        if !is_legal_topic_name(name) {
            return Err(ResponseError::InvalidTopicException);
        }
        if self.topics.contains_key(name) {
            return Err(ResponseError::TopicAlreadyExists);
        }
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            return Err(ResponseError::InvalidPartitions);
        }
        self.topics_created = self.topics_created.saturating_add(1);
        let mut id = [0; 16];
        let (first, second) = id.split_at_mut(8);
        first.copy_from_slice(&self.id_prefix.to_be_bytes());
        second.copy_from_slice(&self.topics_created.to_be_bytes());
        let Some(id) = TopicId::from_bytes(id) else {
            return Err(ResponseError::UnknownServerError);
        };
        let partitions = (0..partitions)
            .map(|index| {
                let named = usize::try_from(index).ok().and_then(|at| leaders.get(at)).copied();
                self.empty_partition(index, named)
            })
            .collect();
        let name: Arc<str> = name.into();
        self.names.insert(id, Arc::clone(&name));
        self.topics.insert(name, Topic { id, partitions });
        Ok(id)
    }

    fn empty_partition(&self, index: i32, leader: Option<i32>) -> Partition {
        let leader = leader.unwrap_or_else(|| index.checked_rem(self.nodes).unwrap_or(0) + 1);
        Partition { leader: Some(leader), epoch: 0, log: Log::new(self.cap_bytes) }
    }

    /// Raises the number of partitions of a topic to `partitions`, without records in the new ones.
    pub(crate) fn add_partitions(
        &mut self,
        name: &str,
        partitions: i32,
    ) -> Result<(), ResponseError> {
        let topic = self.topics.get(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let before = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        if !(before.saturating_add(1)..=MAX_PARTITIONS).contains(&partitions) {
            return Err(ResponseError::InvalidPartitions);
        }
        let added: Vec<_> =
            (before..partitions).map(|index| self.empty_partition(index, None)).collect();
        if let Some(topic) = self.topics.get_mut(name) {
            topic.partitions.extend(added);
        }
        Ok(())
    }

    /// Deletes a topic and its committed offsets.
    pub(crate) fn delete(&mut self, name: &str) -> Option<Topic> {
        let topic = self.topics.remove(name)?;
        self.names.remove(&topic.id);
        for offsets in self.groups.values_mut() {
            offsets.retain(|partition, _| partition.topic() != name);
        }
        Some(topic)
    }

    /// The partition, if `node` leads it and `client_epoch` is current (see [`Partition::admit`]).
    pub(crate) fn led(
        &mut self,
        topic: &str,
        index: i32,
        node: i32,
        client_epoch: i32,
    ) -> Result<&mut Partition, ResponseError> {
        let partition = self.topics.get_mut(topic).and_then(|topic| topic.partition_mut(index));
        let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition)?;
        partition.admit(node, client_epoch)?;
        Ok(partition)
    }

    /// The partition, with any leader or none, for the broker's owner.
    pub(crate) fn owned(&mut self, topic: &str, index: i32) -> Result<&mut Partition, BrokerError> {
        let Some(found) = self.topics.get_mut(topic) else {
            return Err(BrokerError::UnknownTopic { topic: topic.to_owned() });
        };
        let partitions = found.partitions.len();
        found.partition_mut(index).ok_or_else(|| BrokerError::UnknownPartition {
            topic_partition: TopicPartition::new(topic, index),
            partitions,
        })
    }

    /// The running node that coordinates `group`; `None` if no node runs.
    pub(crate) fn coordinator(&self, group: &str) -> Option<i32> {
        let nodes = u64::try_from(self.running.len()).ok()?;
        let at = usize::try_from(hash(group.as_bytes()).checked_rem(nodes)?).ok()?;
        self.running.iter().nth(at).copied()
    }

    /// The log start offset, last stable offset and high watermark of a partition.
    pub(crate) fn watermarks(
        &mut self,
        topic: &str,
        index: i32,
    ) -> Result<Watermarks, BrokerError> {
        Ok(self.owned(topic, index)?.log.watermarks())
    }

    /// Checks that `offset` is in `[from, until]` and returns it.
    pub(crate) fn inside(
        topic: &str,
        index: i32,
        offset: Offset,
        from: i64,
        until: i64,
    ) -> Result<i64, BrokerError> {
        if (from..=until).contains(&offset.get()) {
            return Ok(offset.get());
        }
        Err(BrokerError::OffsetOutside {
            topic_partition: TopicPartition::new(topic, index),
            offset,
            from: Offset::new(from),
            until: Offset::new(until),
        })
    }
}

/// The FNV-1a hash: equal on every machine and in every run.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_are_spread_and_a_recreated_topic_gets_another_id() {
        let mut cluster = Cluster::new("c", 3, 1000);
        let first = cluster.create("t", 4, &[]).unwrap();
        let leaders: Vec<_> = cluster.topics["t"].partitions.iter().map(|p| p.leader).collect();
        assert_eq!(leaders, [Some(1), Some(2), Some(3), Some(1)]);
        assert_eq!(cluster.create("t", 1, &[]), Err(ResponseError::TopicAlreadyExists));
        cluster.delete("t").unwrap();
        let second = cluster.create("t", 4, &[]).unwrap();
        assert_ne!(first, second);
        assert_eq!(cluster.name_of(first), None);
        assert_eq!(cluster.name_of(second).map(|name| &**name), Some("t"));
    }

    #[test]
    fn epochs_are_checked_before_leadership() {
        let mut cluster = Cluster::new("c", 2, 1000);
        cluster.create("t", 1, &[]).unwrap();
        cluster.owned("t", 0).unwrap().elect(Some(2));
        let mut admit = |node, epoch| cluster.led("t", 0, node, epoch).err();
        assert_eq!(admit(2, 1), None);
        assert_eq!(admit(2, -1), None);
        assert_eq!(admit(1, -1), Some(ResponseError::NotLeaderOrFollower));
        assert_eq!(admit(1, 0), Some(ResponseError::FencedLeaderEpoch));
        assert_eq!(admit(2, 2), Some(ResponseError::UnknownLeaderEpoch));
    }

    #[test]
    fn a_topic_with_an_illegal_name_is_not_created() {
        let mut cluster = Cluster::new("c", 1, 1000);
        let refused = Err(ResponseError::InvalidTopicException);
        assert_eq!(cluster.create("a/b", 1, &[]), refused);
        assert_eq!(cluster.create("..", 1, &[]), refused);
    }
}
