//! What the nodes, the connections and the owner's handle have in common.

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

/// How many Fetch requests are remembered.
const FETCHES_KEPT: usize = 256;

/// A node as clients see it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// A Fetch request as it came in, for tests that look at what a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchSeen {
    /// The node it came to.
    pub node: i32,
    /// Its version.
    pub version: i16,
    /// Its session id; 0 for none.
    pub session_id: i32,
    /// Its session epoch; −1 for no session, 0 to ask for one.
    pub session_epoch: i32,
    /// How long it would wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// Its limit for the whole response.
    pub max_bytes: i32,
    /// The partitions it names, in order, with the offset asked for. A topic id that is unknown
    /// stands as its text.
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
    /// Bumped whenever a waiting Fetch might have something to say.
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

    pub(crate) fn saw(&self, fetch: FetchSeen) {
        let mut fetches = self.fetches.lock();
        if fetches.len() >= FETCHES_KEPT {
            fetches.pop_front();
        }
        fetches.push_back(fetch);
    }

    pub(crate) fn fetches(&self) -> Vec<FetchSeen> {
        self.fetches.lock().iter().cloned().collect()
    }

    /// Wakes every Fetch that waits.
    pub(crate) fn wake(&self) {
        self.changed.send_replace(());
    }
}
