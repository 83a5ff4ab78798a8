//! Choosing how a broker is built, and starting it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::runtime::Handle;

use crate::{
    Broker, BrokerError,
    node::{NodeHandle, listen},
    settings::{AutoCreate, FillOrder, Settings, TailBatches},
    shared::{Node, Shared},
};

/// Port that nodes in memory advertise.
const MEMORY_PORT: u16 = 9092;

#[derive(Debug, Clone)]
enum Place {
    Tcp(SocketAddr),
    Memory,
}

/// Builds a [`Broker`]. Get one from [`Broker::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct BrokerBuilder {
    place: Place,
    nodes: usize,
    settings: Settings,
    cluster_id: Option<String>,
}

impl BrokerBuilder {
    pub(crate) fn new() -> Self {
        Self {
            place: Place::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
            nodes: 1,
            settings: Settings::default(),
            cluster_id: None,
        }
    }

    /// The address of node 1; further nodes take the ports behind it, or any free port each if the
    /// port is 0. Clients are told this address, or 127.0.0.1 if it is the unspecified one.
    /// Default: 127.0.0.1 and free ports.
    pub const fn listen(mut self, address: SocketAddr) -> Self {
        self.place = Place::Tcp(address);
        self
    }

    /// Opens no socket: connections come through [`Broker::connect_in_memory`], and nodes are
    /// advertised as `node-1:9092`, `node-2:9092`, ….
    pub const fn in_memory(mut self) -> Self {
        self.place = Place::Memory;
        self
    }

    /// How many nodes clients see, numbered from 1, each with its own listener. Partition `p` of a
    /// topic is led by node `p % nodes + 1`. Default 1.
    pub const fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Most bytes of batches a partition holds; beyond it the oldest batches go and the log start
    /// moves. One batch is always held. Default 256 MiB.
    pub const fn partition_cap_bytes(mut self, bytes: usize) -> Self {
        self.settings.partition_cap_bytes = bytes;
        self
    }

    /// Whether metadata requests create topics. Default [`AutoCreate::Off`].
    pub const fn auto_create_topics(mut self, auto_create: AutoCreate) -> Self {
        self.settings.auto_create = auto_create;
        self
    }

    /// What ends a partition's bytes when a batch does not fit. Default [`TailBatches::Whole`].
    pub const fn tail_batches(mut self, tail: TailBatches) -> Self {
        self.settings.tail_batches = tail;
        self
    }

    /// Which partition of a Fetch is served first. Default [`FillOrder::Request`].
    pub const fn fill_order(mut self, order: FillOrder) -> Self {
        self.settings.fill_order = order;
        self
    }

    /// How many fetch sessions a node keeps; 0 gives clients none. Default 1000.
    pub const fn fetch_session_slots(mut self, slots: usize) -> Self {
        self.settings.fetch_session_slots = slots;
        self
    }

    /// Largest request that is read; a larger one ends its connection. Default 128 MiB.
    pub const fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_frame_bytes = bytes;
        self
    }

    /// The cluster id clients are told. Default: made from the port of node 1, so that two brokers
    /// on one machine differ; always the same in memory.
    pub fn cluster_id(mut self, id: impl Into<String>) -> Self {
        self.cluster_id = Some(id.into());
        self
    }

    /// Starts the broker on the tokio runtime this is called in.
    ///
    /// # Errors
    /// [`BrokerError::Settings`] for no node or too many, [`BrokerError::Listen`] if an address is
    /// taken.
    ///
    /// # Cancel safety
    /// Safe: listeners that were opened are closed again.
    pub async fn start(mut self) -> Result<Broker, BrokerError> {
        if !(1..=1000).contains(&self.nodes) {
            return Err(BrokerError::Settings { reason: "it needs between 1 and 1000 nodes" });
        }
        let mut nodes = Vec::new();
        let mut listeners = Vec::new();
        for (id, offset) in (1i32..).zip(0u16..).take(self.nodes) {
            let (node, listener) = match self.place {
                Place::Memory => (Node { id, host: format!("node-{id}"), port: MEMORY_PORT }, None),
                Place::Tcp(mut address) => {
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
        self.settings.cluster_id = self.cluster_id.unwrap_or_else(|| match self.place {
            Place::Memory => "embedded-in-memory".to_owned(),
            Place::Tcp(_) => {
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
        let bound = match self.place {
            Place::Tcp(address) => Some(address.ip()),
            Place::Memory => None,
        };
        Ok(Broker::new(shared, handles, runtime, bound))
    }
}

fn advertised(ip: IpAddr) -> String {
    if ip.is_unspecified() { "127.0.0.1".to_owned() } else { ip.to_string() }
}
