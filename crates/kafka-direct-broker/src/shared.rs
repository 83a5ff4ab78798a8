//! The state shared by the nodes, the connections and the owner's handle.

use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
};

use kafka_direct_core::{Offset, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    ApiKey, Faults, api_key::Versions, cluster::Cluster, sessions::Sessions, settings::Settings,
};

/// How many Fetch requests are kept.
const FETCHES_KEPT: usize = 256;

/// A node's id and advertised address.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A received Fetch request, for tests that check a client's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchSeen {
    /// The node that received it.
    pub node: i32,
    /// The request version.
    pub version: i16,
    /// The session id; 0 for none.
    pub session_id: i32,
    /// The session epoch; −1 for no session, 0 to request one.
    pub session_epoch: i32,
    /// The maximum wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// The byte limit for the whole response.
    pub max_bytes: i32,
    /// The requested partitions, in request order, each with its fetch offset. An unknown topic id
    /// is given as text, in place of the name.
    pub partitions: Vec<(TopicPartition, Offset)>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) nodes: Vec<Node>,
    pub(crate) cluster: Mutex<Cluster>,
    pub(crate) sessions: HashMap<i32, Mutex<Sessions>>,
    pub(crate) faults: Faults,
    pub(crate) versions: Versions,
    /// Notified whenever a waiting Fetch might have new data.
    pub(crate) changed: watch::Sender<()>,
    requests: HashMap<ApiKey, AtomicU64>,
    fetches: Mutex<VecDeque<FetchSeen>>,
}

impl Shared {
    pub(crate) fn new(settings: Settings, nodes: Vec<Node>) -> Self {
        let count = i32::try_from(nodes.len()).unwrap_or(i32::MAX);
        let cluster = Cluster::new(&settings.cluster_id, count, settings.partition_cap_bytes);
        let session_slots = settings.fetch_session_slots;
        Self {
            cluster: Mutex::new(cluster),
            sessions: nodes
                .iter()
                .map(|node| (node.id, Mutex::new(Sessions::new(session_slots))))
                .collect(),
            settings,
            nodes,
            faults: Faults::default(),
            versions: Versions::default(),
            changed: watch::Sender::new(()),
            requests: ApiKey::ALL.into_iter().map(|api| (api, AtomicU64::new(0))).collect(),
            fetches: Mutex::new(VecDeque::new()),
        }
    }

    pub(crate) fn node(&self, id: i32) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    pub(crate) fn count(&self, api: ApiKey) {
        if let Some(counter) = self.requests.get(&api) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn requests(&self, api: ApiKey) -> u64 {
        self.requests.get(&api).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    pub(crate) fn record_fetch(&self, fetch: FetchSeen) {
        let mut fetches = self.fetches.lock();
        if fetches.len() >= FETCHES_KEPT {
            fetches.pop_front();
        }
        fetches.push_back(fetch);
    }

    pub(crate) fn fetches(&self) -> Vec<FetchSeen> {
        self.fetches.lock().iter().cloned().collect()
    }

    /// Wakes every waiting Fetch.
    pub(crate) fn wake(&self) {
        self.changed.send_replace(());
    }
}
