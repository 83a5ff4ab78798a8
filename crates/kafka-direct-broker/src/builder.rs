//! Builds and starts a broker from its settings.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::runtime::Handle;

use crate::{
    Broker, BrokerError,
    node::{NodeHandle, listen},
    settings::{AutoCreate, ByteLimits, FillOrder, Settings, TailBatches},
    shared::{Node, Shared},
};

/// The port that nodes in memory advertise.
const MEMORY_PORT: u16 = 9092;

/// Where the nodes accept connections.
#[derive(Debug, Clone)]
enum Endpoint {
    Tcp(SocketAddr),
    Memory,
}

/// Builds a [`Broker`]. Get one from [`Broker::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct BrokerBuilder {
    endpoint: Endpoint,
    nodes: usize,
    settings: Settings,
    cluster_id: Option<String>,
}

impl BrokerBuilder {
    pub(crate) fn new() -> Self {
        Self {
            endpoint: Endpoint::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
            nodes: 1,
            settings: Settings::default(),
            cluster_id: None,
        }
    }

    /// Sets the address of node 1. Default: 127.0.0.1 and port 0.
    ///
    /// Further nodes listen on the next ports. With port 0, each node listens on a free port.
    /// Metadata responses contain this IP address, or 127.0.0.1 if it is the unspecified one.
    pub const fn listen(mut self, address: SocketAddr) -> Self {
        self.endpoint = Endpoint::Tcp(address);
        self
    }

    /// Opens no sockets: clients connect through [`Broker::connect_in_memory`]. Nodes are
    /// advertised as `node-1:9092`, `node-2:9092`, ….
    pub const fn in_memory(mut self) -> Self {
        self.endpoint = Endpoint::Memory;
        self
    }

    /// Sets the number of nodes, from 1 to 1000. Default: 1.
    ///
    /// Nodes are numbered from 1, each with its own listener. Node `p % nodes + 1` leads partition
    /// `p` of a topic.
    pub const fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Sets the maximum bytes of batches in a partition. Default: 256 MiB.
    ///
    /// Above it, the oldest batches are dropped and the log start offset rises. The newest batch is
    /// always kept.
    pub const fn partition_cap_bytes(mut self, bytes: usize) -> Self {
        self.settings.partition_cap_bytes = bytes;
        self
    }

    /// Sets whether Metadata requests create topics. Default: [`AutoCreate::Off`].
    pub const fn auto_create_topics(mut self, auto_create: AutoCreate) -> Self {
        self.settings.auto_create = auto_create;
        self
    }

    /// Sets how a Fetch response ends when the next batch of a partition does not fit. Default:
    /// [`TailBatches::Whole`].
    pub const fn tail_batches(mut self, tail: TailBatches) -> Self {
        self.settings.tail_batches = tail;
        self
    }

    /// Sets whether Fetch responses keep the byte limits of requests. Default: [`ByteLimits::Kept`].
    pub const fn byte_limits(mut self, limits: ByteLimits) -> Self {
        self.settings.byte_limits = limits;
        self
    }

    /// Sets which partition of a Fetch is served first. Default: [`FillOrder::Request`].
    pub const fn fill_order(mut self, order: FillOrder) -> Self {
        self.settings.fill_order = order;
        self
    }

    /// Sets the maximum number of fetch sessions of a node; 0 disables sessions. Default: 1000.
    pub const fn fetch_session_slots(mut self, slots: usize) -> Self {
        self.settings.fetch_session_slots = slots;
        self
    }

    /// Sets the maximum size of a request in bytes; a larger one closes its connection. Default:
    /// 128 MiB.
    pub const fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_frame_bytes = bytes;
        self
    }

    /// Sets the cluster id in Metadata responses.
    ///
    /// By default it contains the port of node 1, so that two brokers on one machine differ. The
    /// default of a broker in memory is constant.
    pub fn cluster_id(mut self, id: impl Into<String>) -> Self {
        self.cluster_id = Some(id.into());
        self
    }

    /// Starts the broker on the current tokio runtime.
    ///
    /// # Errors
    /// [`BrokerError::Settings`] if the number of nodes is not between 1 and 1000.
    /// [`BrokerError::Listen`] if an address is taken.
    ///
    /// # Cancel safety
    /// Cancel safe: opened listeners are closed again.
    pub async fn start(mut self) -> Result<Broker, BrokerError> {
        if !(1..=1000).contains(&self.nodes) {
            return Err(BrokerError::Settings { reason: "it needs between 1 and 1000 nodes" });
        }
        let mut nodes = Vec::new();
        let mut listeners = Vec::new();
        for (id, offset) in (1i32..).zip(0u16..).take(self.nodes) {
            let (node, listener) = match self.endpoint {
                Endpoint::Memory => {
                    (Node { id, host: format!("node-{id}"), port: MEMORY_PORT }, None)
                }
                Endpoint::Tcp(mut address) => {
                    if address.port() != 0 {
                        address.set_port(address.port().saturating_add(offset));
                    }
                    let (listener, port) = listen(address).await?;
                    (Node { id, host: advertised(address.ip()), port }, Some(listener))
                }
            };
            nodes.push(node);
            listeners.push((id, listener));
        }
        self.settings.cluster_id = self.cluster_id.unwrap_or_else(|| match self.endpoint {
            Endpoint::Memory => "embedded-in-memory".to_owned(),
            Endpoint::Tcp(_) => {
                format!("embedded-{}", nodes.first().map_or(0, |node| node.port))
            }
        });
        let shared = Arc::new(Shared::new(self.settings, nodes));
        let runtime = Handle::current();
        let mut handles = BTreeMap::new();
        for (id, listener) in listeners {
            shared.cluster.lock().running.insert(id);
            let handle = NodeHandle::start(&runtime, Arc::clone(&shared), id, listener);
            handles.insert(id, handle);
        }
        let bound = match self.endpoint {
            Endpoint::Tcp(address) => Some(address.ip()),
            Endpoint::Memory => None,
        };
        Ok(Broker::new(shared, handles, runtime, bound))
    }
}

fn advertised(ip: IpAddr) -> String {
    if ip.is_unspecified() { "127.0.0.1".to_owned() } else { ip.to_string() }
}
