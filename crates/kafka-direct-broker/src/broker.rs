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

/// Bytes in flight in each direction of a connection in memory.
const DUPLEX_BYTES: usize = 256 * 1024;

/// A running embedded broker. Dropping it stops it: listeners close, connections are cut, data is
/// gone.
///
/// Offsets given and answered mean what they mean in Kafka. Every method that names a topic
/// partition fails with [`BrokerError::UnknownTopic`] or [`BrokerError::UnknownPartition`] if it
/// does not exist.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    nodes: Mutex<BTreeMap<i32, NodeHandle>>,
    runtime: Handle,
    /// The address listeners are bound to; none in memory.
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

    /// Starts a broker of one node on a free port of 127.0.0.1, on the tokio runtime this is called
    /// in.
    ///
    /// # Errors
    /// [`BrokerError::Listen`] if the machine has no port to give.
    pub async fn start() -> Result<Self, BrokerError> {
        Self::builder().start().await
    }

    /// Chooses how a broker is built.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::new()
    }

    /// `host:port` of every node, separated by commas.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.addresses().join(",")
    }

    /// `host:port` of every node, node 1 first.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        let nodes = self.shared.nodes.iter();
        nodes.map(|node| format!("{}:{}", node.host, node.port)).collect()
    }

    /// The cluster id clients are told.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.shared.settings.cluster_id
    }

    /// Connects to the node advertised as `host:port` without a socket. Works whether or not the
    /// broker listens on sockets.
    ///
    /// # Errors
    /// `NotFound` for an address no node has, `ConnectionRefused` if the node is stopped.
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
    /// [`BrokerError::Topic`] if the name is taken or impossible, or `partitions` is not between 1
    /// and 100,000.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<TopicId, BrokerError> {
        self.shared.cluster.lock().create(topic, partitions, &[]).map_err(|error| {
            let reason = match error {
                ResponseError::TopicAlreadyExists => "it exists",
                ResponseError::InvalidPartitions => "it needs between 1 and 100,000 partitions",
                _ => "the name is not one Kafka takes",
            };
            BrokerError::Topic { topic: topic.to_owned(), reason }
        })
    }

    /// Deletes a topic, its records and what groups committed for it.
    ///
    /// # Errors
    /// [`BrokerError::UnknownTopic`].
    pub fn delete_topic(&self, topic: &str) -> Result<(), BrokerError> {
        let gone = self.shared.cluster.lock().delete(topic);
        self.shared.wake();
        gone.map(drop).ok_or_else(|| BrokerError::UnknownTopic { topic: topic.to_owned() })
    }

    /// Deletes a topic and creates its namesake with as many partitions, at once: empty, at epoch 0
    /// and under another id.
    ///
    /// # Errors
    /// [`BrokerError::UnknownTopic`].
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

    /// The id of a topic.
    #[must_use]
    pub fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.shared.cluster.lock().topics.get(topic).map(|topic| topic.id)
    }

    /// Appends `records` as one batch that is not compressed; responses its base offset.
    ///
    /// # Errors
    /// [`BrokerError::Unencodable`] for no record, or more than fit one batch.
    pub fn append(
        &self,
        topic: &str,
        partition: i32,
        records: impl AsRef<[Record]>,
    ) -> Result<Offset, BrokerError> {
        owner_appends::records(&self.shared, topic, partition, records.as_ref())
    }

    /// Appends batches as they are, recorded from Apache Kafka or made with
    /// [`BatchWriter`](crate::BatchWriter); responses the first base offset. CRCs are not checked.
    /// Last stable offset and aborted transactions follow from the batches. An empty `batches`
    /// appends nothing.
    ///
    /// # Errors
    /// By [`RawOffsets`]: [`BrokerError::Batches`] for bytes that are no whole batches,
    /// [`BrokerError::OffsetOutside`] for offsets that go back.
    pub fn append_raw(
        &self,
        topic: &str,
        partition: i32,
        batches: impl Into<Bytes>,
        offsets: RawOffsets,
    ) -> Result<Offset, BrokerError> {
        owner_appends::raw(&self.shared, topic, partition, &batches.into(), offsets)
    }

    /// The bounds of a partition's log.
    ///
    /// # Errors
    /// Only those every method has.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<Watermarks, BrokerError> {
        self.shared.cluster.lock().watermarks(topic, partition)
    }

    /// Hides everything from `offset` on from readers, as replication that lags does; the last
    /// stable offset follows. `None` shows the whole log again. Kept inside the log.
    ///
    /// # Errors
    /// Only those every method has.
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

    /// Makes ListOffsets name `offset` as the earliest local one (KIP-405), as if everything before it
    /// were in remote storage; `None` takes it back. Kept inside the log. Records are served all the
    /// same: remote storage that is late is [`Fault::Empty`](crate::Fault::Empty) for Fetch.
    ///
    /// # Errors
    /// Only those every method has.
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

    /// Loses everything from `offset` on, as an unclean leader election does, and begins the next
    /// leader epoch there. A batch that straddles `offset` goes whole and leaves a hole.
    ///
    /// # Errors
    /// [`BrokerError::OffsetOutside`] if `offset` lies behind the end or below 0.
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

    /// Moves the log start to `offset`, as DeleteRecords and retention do. A start that lies
    /// further on stays.
    ///
    /// # Errors
    /// [`BrokerError::OffsetOutside`] if `offset` lies behind the high watermark or below 0.
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

    /// Makes `node` the leader of a partition, or nobody, and begins the next leader epoch, also if
    /// the leader stays the same. Nodes that do not lead response NOT_LEADER_OR_FOLLOWER, or
    /// FENCED_LEADER_EPOCH to a client that sends the old epoch.
    ///
    /// # Errors
    /// [`BrokerError::UnknownNode`].
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

    /// The leader of a partition and its epoch.
    ///
    /// # Errors
    /// Only those every method has.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<(Option<i32>, i32), BrokerError> {
        let mut cluster = self.shared.cluster.lock();
        let owned = cluster.owned(topic, partition)?;
        Ok((owned.leader, owned.epoch))
    }

    /// What `group` committed for a partition.
    #[must_use]
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<Offset> {
        let cluster = self.shared.cluster.lock();
        let key = TopicPartition::new(topic, partition);
        Some(Offset::new(cluster.groups.get(group)?.get(&key)?.offset))
    }

    /// Stops a node as a crash does: its listener closes and its connections are cut before this
    /// returns. It stays advertised and stays leader until [`Broker::set_leader`] moves its
    /// partitions; group coordination moves to another node. A stopped node stays stopped.
    ///
    /// # Errors
    /// [`BrokerError::UnknownNode`].
    ///
    /// # Cancel safety
    /// The node stops even if this is dropped.
    pub async fn stop_node(&self, node: i32) -> Result<(), BrokerError> {
        let node = self.known(node)?.id;
        self.shared.cluster.lock().running.remove(&node);
        let handle = self.nodes.lock().remove(&node);
        if let Some(handle) = handle {
            handle.stop().await;
        }
        Ok(())
    }

    /// Starts a stopped node again under its address; a running one runs on. Its fetch sessions
    /// are gone.
    ///
    /// # Errors
    /// [`BrokerError::UnknownNode`], [`BrokerError::Listen`] if something else took the port.
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

    /// What happens to requests instead of the truth.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Serves only those versions of `api` that lie in `versions` too. A version outside it closes
    /// the connection, as in Apache Kafka. Takes effect at the next request.
    pub fn cap_versions(&self, api: ApiKey, versions: RangeInclusive<i16>) {
        self.shared.versions.cap(api, versions);
    }

    /// How many requests of `api` came in, those that met a fault too.
    #[must_use]
    pub fn requests(&self, api: ApiKey) -> u64 {
        self.shared.requests(api)
    }

    /// The last 256 Fetch requests, oldest first, but for those a fault answered unread.
    #[must_use]
    pub fn fetches(&self) -> Vec<FetchSeen> {
        self.shared.fetches()
    }

    fn known(&self, node: i32) -> Result<&Node, BrokerError> {
        let nodes = self.shared.nodes.len();
        self.shared.node(node).ok_or(BrokerError::UnknownNode { node, nodes })
    }
}
