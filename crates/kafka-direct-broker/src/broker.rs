//! The owner's handle on a running broker.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
};

use bytes::Bytes;
use kafka_direct_core::{Offset, TopicId, TopicPartition, Watermarks};
use kafka_protocol::ResponseError;
use parking_lot::Mutex;
use tokio::{io::DuplexStream, runtime::Handle};

use crate::{
    ApiKey, BrokerBuilder, BrokerError, Faults, FetchSeen, RawOffsets, Record,
    cluster::Cluster,
    node::{NodeHandle, listen},
    owner_appends,
    shared::{Node, Shared},
};

/// Buffer size, in bytes, of each direction of a connection in memory.
const DUPLEX_BYTES: usize = 256 * 1024;

/// A running embedded broker. Dropping it stops it: listeners and connections close, and all data
/// is lost.
///
/// Offsets have the same meaning as in Kafka. Every method that takes a topic and a partition fails
/// with [`BrokerError::UnknownTopic`] or [`BrokerError::UnknownPartition`] if it does not exist.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    nodes: Mutex<BTreeMap<i32, NodeHandle>>,
    runtime: Handle,
    /// The IP address of the listeners; `None` for a broker in memory.
    bound: Option<IpAddr>,
}

impl Broker {
    pub(crate) const fn new(
        shared: Arc<Shared>,
        nodes: BTreeMap<i32, NodeHandle>,
        runtime: Handle,
        bound: Option<IpAddr>,
    ) -> Self {
        Self { shared, nodes: Mutex::new(nodes), runtime, bound }
    }

    /// Starts a broker with one node on a free port of 127.0.0.1, on the current tokio runtime.
    ///
    /// # Errors
    /// [`BrokerError::Listen`] if no port is free.
    pub async fn start() -> Result<Self, BrokerError> {
        Self::builder().start().await
    }

    /// Returns a builder with default settings.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::new()
    }

    /// The bootstrap servers: `host:port` of every node, separated by commas.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.addresses().join(",")
    }

    /// The addresses of all nodes, each as `host:port`, node 1 first.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let nodes = self.shared.nodes.iter();
        nodes.map(|node| format!("{}:{}", node.host, node.port)).collect()
    }

    /// The cluster id in Metadata responses.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.shared.settings.cluster_id
    }

    /// Connects in memory, without a socket, to the node advertised as `host:port`. It works
    /// whether or not the broker listens on sockets.
    ///
    /// # Errors
    /// `NotFound` if no node has this address, `ConnectionRefused` if the node is stopped.
    pub fn connect_in_memory(&self, host: &str, port: u16) -> io::Result<DuplexStream> {
        let mut nodes = self.shared.nodes.iter();
        let node = nodes
            .find(|node| node.host == host && node.port == port)
            .ok_or(io::ErrorKind::NotFound)?;
        let (ours, theirs) = tokio::io::duplex(DUPLEX_BYTES);
        let handles = self.nodes.lock();
        handles.get(&node.id).ok_or(io::ErrorKind::ConnectionRefused)?.connect(theirs)?;
        Ok(ours)
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`BrokerError::Topic`] if the topic exists, the name is invalid, or `partitions` is not
    /// between 1 and 100,000 (inclusive).
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<TopicId, BrokerError> {
        self.shared.cluster.lock().create(topic, partitions, &[]).map_err(|error| {
            let reason = match error {
                ResponseError::TopicAlreadyExists => "it already exists",
                ResponseError::InvalidPartitions => "it needs between 1 and 100,000 partitions",
                _ => "its name is not a valid Kafka topic name",
            };
            BrokerError::Topic { topic: topic.to_owned(), reason }
        })
    }

    /// Raises the number of partitions of a topic to `partitions`, as CreatePartitions does.
    ///
    /// # Errors
    /// [`BrokerError::UnknownTopic`] if there is no such topic. [`BrokerError::Topic`] if it has this
    /// many partitions already, or `partitions` is above 100,000.
    pub fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), BrokerError> {
        let added = self.shared.cluster.lock().add_partitions(topic, partitions);
        added.map_err(|error| match error {
            ResponseError::InvalidPartitions => BrokerError::Topic {
                topic: topic.to_owned(),
                reason: "the new number of partitions must be higher, and at most 100,000",
            },
            _ => BrokerError::UnknownTopic { topic: topic.to_owned() },
        })
    }

    /// Deletes a topic, its records and its committed offsets.
    ///
    /// # Errors
    /// [`BrokerError::UnknownTopic`] if there is no such topic.
    pub fn delete_topic(&self, topic: &str) -> Result<(), BrokerError> {
        let deleted = self.shared.cluster.lock().delete(topic);
        self.shared.wake();
        deleted.map(drop).ok_or_else(|| BrokerError::UnknownTopic { topic: topic.to_owned() })
    }

    /// Deletes a topic and creates it again, atomically. The new topic has the same name and
    /// partition count, another id, no records and leader epoch 0.
    ///
    /// # Errors
    /// [`BrokerError::UnknownTopic`] if there is no such topic.
    pub fn recreate_topic(&self, topic: &str) -> Result<TopicId, BrokerError> {
        let unknown = || BrokerError::UnknownTopic { topic: topic.to_owned() };
        let mut cluster = self.shared.cluster.lock();
        let partitions = cluster.delete(topic).ok_or_else(unknown)?.partitions.len();
        let partitions = i32::try_from(partitions).map_err(|_| unknown())?;
        let id = cluster.create(topic, partitions, &[]).map_err(|_| unknown())?;
        drop(cluster);
        self.shared.wake();
        Ok(id)
    }

    /// The id of a topic; `None` if there is no such topic.
    #[must_use]
    pub fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.shared.cluster.lock().topics.get(topic).map(|topic| topic.id)
    }

    /// Appends `records` as one uncompressed batch and returns its base offset.
    ///
    /// # Errors
    /// [`BrokerError::Unencodable`] if there are no records, or more than fit into one batch.
    pub fn append(
        &self,
        topic: &str,
        partition: i32,
        records: impl AsRef<[Record]>,
    ) -> Result<Offset, BrokerError> {
        owner_appends::records(&self.shared, topic, partition, records.as_ref())
    }

    /// Appends encoded batches and returns the first base offset.
    ///
    /// The batches can be recorded from Apache Kafka or made with
    /// [`BatchWriter`](crate::BatchWriter). CRCs are not checked. The last stable offset and the
    /// aborted transactions are derived from the batches. An empty `batches` appends nothing.
    ///
    /// # Errors
    /// Depending on [`RawOffsets`]: [`BrokerError::Batches`] if the bytes are not whole batches,
    /// [`BrokerError::OffsetOutside`] if offsets go back.
    pub fn append_raw(
        &self,
        topic: &str,
        partition: i32,
        batches: impl Into<Bytes>,
        offsets: RawOffsets,
    ) -> Result<Offset, BrokerError> {
        owner_appends::raw(&self.shared, topic, partition, &batches.into(), offsets)
    }

    /// The log start offset, last stable offset and high watermark of a partition.
    ///
    /// # Errors
    /// Only those of an unknown topic or partition.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<Watermarks, BrokerError> {
        self.shared.cluster.lock().watermarks(topic, partition)
    }

    /// Sets the high watermark to `offset`, as if replication lagged.
    ///
    /// Readers do not see records at or above it, and the last stable offset does not exceed it.
    /// `None` restores the high watermark to the log's end. The offset is clamped to the log's
    /// bounds.
    ///
    /// # Errors
    /// Only those of an unknown topic or partition.
    pub fn set_high_watermark(
        &self,
        topic: &str,
        partition: i32,
        offset: Option<Offset>,
    ) -> Result<(), BrokerError> {
        let mut cluster = self.shared.cluster.lock();
        cluster.owned(topic, partition)?.log.override_high(offset.map(Offset::get));
        drop(cluster);
        self.shared.wake();
        Ok(())
    }

    /// Sets the earliest local offset that ListOffsets returns (KIP-405), as if all records before
    /// `offset` were in remote storage.
    ///
    /// `None` resets it to the log start offset. The offset is clamped to the log's bounds. Fetch
    /// still serves all records. To simulate slow remote storage, use
    /// [`Fault::Empty`](crate::Fault::Empty) for Fetch.
    ///
    /// # Errors
    /// Only those of an unknown topic or partition.
    pub fn set_local_start(
        &self,
        topic: &str,
        partition: i32,
        offset: Option<Offset>,
    ) -> Result<(), BrokerError> {
        let mut cluster = self.shared.cluster.lock();
        cluster.owned(topic, partition)?.log.set_local_start(offset.map(Offset::get));
        Ok(())
    }

    /// Removes all records from `offset` on and starts the next leader epoch there, as an unclean
    /// leader election does.
    ///
    /// A batch that contains `offset` is removed whole, which leaves a hole in the offsets.
    ///
    /// # Errors
    /// [`BrokerError::OffsetOutside`] if `offset` is after the log's end or below 0.
    pub fn truncate(
        &self,
        topic: &str,
        partition: i32,
        offset: impl Into<Offset>,
    ) -> Result<(), BrokerError> {
        let mut cluster = self.shared.cluster.lock();
        let owned = cluster.owned(topic, partition)?;
        let offset = Cluster::inside(topic, partition, offset.into(), 0, owned.log.end())?;
        owned.log.truncate(offset);
        owned.elect(owned.leader);
        drop(cluster);
        self.shared.wake();
        Ok(())
    }

    /// Raises the log start offset to `offset`, as DeleteRecords and retention do. It never lowers
    /// the log start offset.
    ///
    /// # Errors
    /// [`BrokerError::OffsetOutside`] if `offset` is above the high watermark or below 0.
    pub fn trim(
        &self,
        topic: &str,
        partition: i32,
        offset: impl Into<Offset>,
    ) -> Result<(), BrokerError> {
        let mut cluster = self.shared.cluster.lock();
        let owned = cluster.owned(topic, partition)?;
        let high = owned.log.watermarks().high.get();
        let offset = Cluster::inside(topic, partition, offset.into(), 0, high)?;
        owned.log.trim(offset);
        drop(cluster);
        self.shared.wake();
        Ok(())
    }

    /// Makes `node` the leader of a partition and starts the next leader epoch.
    ///
    /// `None` leaves the partition without a leader. The epoch rises even if the leader stays the
    /// same. A node that is not the leader responds with NOT_LEADER_OR_FOLLOWER. Every node
    /// responds with FENCED_LEADER_EPOCH to a client that sends an older epoch.
    ///
    /// # Errors
    /// [`BrokerError::UnknownNode`] if no node has this id.
    pub fn set_leader(
        &self,
        topic: &str,
        partition: i32,
        node: Option<i32>,
    ) -> Result<(), BrokerError> {
        if let Some(node) = node {
            self.known(node)?;
        }
        let mut cluster = self.shared.cluster.lock();
        cluster.owned(topic, partition)?.elect(node);
        drop(cluster);
        self.shared.wake();
        Ok(())
    }

    /// The leader of a partition, or `None`, and the leader epoch.
    ///
    /// # Errors
    /// Only those of an unknown topic or partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<(Option<i32>, i32), BrokerError> {
        let mut cluster = self.shared.cluster.lock();
        let owned = cluster.owned(topic, partition)?;
        Ok((owned.leader, owned.epoch))
    }

    /// The offset that `group` committed for a partition; `None` if there is none.
    #[must_use]
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<Offset> {
        let cluster = self.shared.cluster.lock();
        let key = TopicPartition::new(topic, partition);
        Some(Offset::new(cluster.groups.get(group)?.get(&key)?.offset))
    }

    /// Stops a node as a crash does: its listener and its connections are closed before this
    /// returns.
    ///
    /// The node stays advertised, and stays leader until [`Broker::set_leader`] moves its
    /// partitions. Group coordination moves to another node. Stopping a stopped node does nothing.
    ///
    /// # Errors
    /// [`BrokerError::UnknownNode`] if no node has this id.
    ///
    /// # Cancel safety
    /// The node stops even if this future is dropped after its first poll.
    pub async fn stop_node(&self, node: i32) -> Result<(), BrokerError> {
        let node = self.known(node)?.id;
        self.shared.cluster.lock().running.remove(&node);
        let handle = self.nodes.lock().remove(&node);
        if let Some(handle) = handle {
            handle.stop().await;
        }
        Ok(())
    }

    /// Restarts a stopped node at the same address; a running node is left alone. The restarted
    /// node has no fetch sessions.
    ///
    /// # Errors
    /// [`BrokerError::UnknownNode`] if no node has this id. [`BrokerError::Listen`] if the port is
    /// taken.
    pub async fn start_node(&self, node: i32) -> Result<(), BrokerError> {
        let node = self.known(node)?;
        if self.nodes.lock().contains_key(&node.id) {
            return Ok(());
        }
        let listener = match self.bound {
            Some(ip) => Some(listen(SocketAddr::new(ip, node.port)).await?.0),
            None => None,
        };
        if let Some(sessions) = self.shared.sessions.get(&node.id) {
            sessions.lock().clear();
        }
        let shared = Arc::clone(&self.shared);
        let handle = NodeHandle::start(&self.runtime, shared, node.id, listener);
        self.nodes.lock().insert(node.id, handle);
        self.shared.cluster.lock().running.insert(node.id);
        Ok(())
    }

    /// The faults to inject into requests.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Limits the served versions of `api` to `versions`, inclusive.
    ///
    /// It never adds a version. A request of another version closes the connection, as in Apache
    /// Kafka. The cap takes effect at the next request.
    pub fn cap_versions(&self, api: ApiKey, versions: RangeInclusive<i16>) {
        self.shared.versions.cap(api, versions);
    }

    /// The number of received requests of `api`, including those that met a fault.
    #[must_use]
    pub fn requests(&self, api: ApiKey) -> u64 {
        self.shared.requests(api)
    }

    /// The last 256 Fetch requests, oldest first. It lacks requests that a fault handled before
    /// they were decoded.
    #[must_use]
    pub fn fetches(&self) -> Vec<FetchSeen> {
        self.shared.fetches()
    }

    fn known(&self, node: i32) -> Result<&Node, BrokerError> {
        let nodes = self.shared.nodes.len();
        self.shared.node(node).ok_or(BrokerError::UnknownNode { node, nodes })
    }
}
