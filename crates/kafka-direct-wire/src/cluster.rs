//! The cluster as the rest of the project sees it: finding a broker that responds, and asking it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kafka_direct_core::{BufferPool, Offset, PlannedRange, TopicPartition};
use kafka_protocol::{
    messages::{
        ApiKey, MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
    },
    protocol::{Encodable, StrBytes},
};
use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};

use crate::{
    Attempt, ClusterConfig, WireError,
    address::host_and_port,
    code,
    fetch::{FetchMetrics, FetchOptions, Lanes, RangeFetch},
    pool::{BrokerResponse, Pool},
    queries::{ListOffset, PartitionQueries, Query},
    response::Response,
    topology::{Broker, Leader, Refresh, Topology},
};

const NEXT: &str = "check that one of these servers is up and can be reached from here";

/// A connection to a Kafka cluster. Cheap to clone; clones share connections and metadata.
///
/// Every operation retries passing faults (a leader that moves, a coordinator that loads, a broken
/// connection, no response in time) with fresh metadata and growing pauses until
/// [`ClusterConfig::retry_timeout`] went by without progress, and then ends as `Unavailable`.
///
/// **Cancel safety:** every future here can be dropped at any moment.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<ClusterInner>,
}

#[derive(Debug)]
pub(crate) struct ClusterInner {
    pub(crate) config: ClusterConfig,
    pub(crate) pool: Pool,
    pub(crate) topology: Mutex<Topology>,
    /// Held while topics are asked for, so that many who miss one topic ask once; holds the last
    /// refresh if no broker could be reached.
    pub(crate) refreshing: tokio::sync::Mutex<Option<FailedRefresh>>,
    /// Topics that wait for the next refresh.
    pub(crate) wanted: Mutex<BTreeSet<Arc<str>>>,
    /// Who answered a question to anybody last.
    preferred: Mutex<Option<Broker>>,
    runtime: Handle,
    lanes: Arc<Lanes>,
}

/// A question about topics that no broker responded: who waited for it need not ask again.
#[derive(Debug)]
pub(crate) struct FailedRefresh {
    pub(crate) began: Instant,
    pub(crate) failures: Vec<Attempt>,
}

impl Cluster {
    /// Connects through the first bootstrap server that responds, in the order given, and learns the
    /// brokers.
    ///
    /// # Errors
    /// - `Invalid` if a setting cannot work; the setting is named.
    /// - `Unavailable` if no server could be reached: each is named with why and how long it took.
    ///   Not retried.
    /// - `Unauthorized`, or `Corrupt` for a port that is no Kafka listener.
    pub async fn connect(config: ClusterConfig) -> Result<Self, WireError> {
        config.validate()?;
        let runtime = config.get_runtime()?;
        let config = config.runtime(runtime.clone());
        let inner = ClusterInner {
            lanes: Arc::new(Lanes::new(config.clone())),
            config,
            runtime,
            pool: Pool::default(),
            topology: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
            wanted: Mutex::default(),
            preferred: Mutex::default(),
        };
        match inner.ask_metadata(Some(&[])).await {
            Ok(_) => {}
            Err(WireError::Unavailable { failures, elapsed, .. }) => {
                return Err(nobody("connecting", failures, elapsed));
            }
            Err(error) => return Err(error),
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Prepares to read one planned range's bytes. Nothing is asked before the first call.
    #[must_use]
    pub fn fetch(&self, planned: PlannedRange, options: FetchOptions) -> RangeFetch {
        let queries = Arc::new(self.clone());
        RangeFetch::new(queries, Arc::clone(&self.inner.lanes), planned, options)
    }

    /// What all fetches of this cluster did so far.
    #[must_use]
    pub fn fetch_metrics(&self) -> FetchMetrics {
        self.inner.lanes.metrics()
    }

    /// Buffers that all reads of this cluster use again, each as soon as nobody holds bytes of it.
    /// Beside the budget, those nobody uses are kept while they and the lent ones are no more than it
    /// together, and up to a third of it in any case.
    #[must_use]
    pub fn buffer_pool(&self) -> &BufferPool {
        self.inner.lanes.pool()
    }

    /// The runtime that fetching runs on; the place for decoding too.
    #[must_use]
    pub fn runtime(&self) -> Handle {
        self.inner.runtime.clone()
    }

    /// The cluster's id, where its brokers give one.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        self.inner.topology.lock().cluster_id.as_deref().map(str::to_owned)
    }

    pub(crate) const fn inner(&self) -> &Arc<ClusterInner> {
        &self.inner
    }
}

impl PartitionQueries for Cluster {
    fn find_leader<'a>(&'a self, tp: &'a TopicPartition, refresh: Refresh) -> Query<'a, Leader> {
        Box::pin(self.leader_of(tp, refresh))
    }

    fn find_offset<'a>(&'a self, tp: &'a TopicPartition, which: ListOffset) -> Query<'a, Offset> {
        Box::pin(self.list_offset(tp, which))
    }

    fn find_epoch_end<'a>(
        &'a self,
        tp: &'a TopicPartition,
        epoch: i32,
    ) -> Query<'a, Option<(i32, Offset)>> {
        Box::pin(self.end_offset_for_epoch(tp, epoch))
    }
}

impl ClusterInner {
    /// Asks for metadata of `topics`, or of all, and takes in the response. No topic is created.
    pub(crate) async fn ask_metadata(
        &self,
        topics: Option<&[Arc<str>]>,
    ) -> Result<BrokerResponse<MetadataResponse>, WireError> {
        let asked_at = Instant::now();
        let response: BrokerResponse<MetadataResponse> = self
            .ask_any("asking for metadata", ApiKey::Metadata, |_| {
                let by_name = |name: &Arc<str>| {
                    let name = StrBytes::from_string(String::from(&**name));
                    MetadataRequestTopic::default().with_name(Some(TopicName(name)))
                };
                let topics = topics.map(|names| names.iter().map(by_name).collect());
                MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false)
            })
            .await?;
        if response.body.error_code != code::NONE {
            return Err(response.error(response.body.error_code));
        }
        let mut topology = self.topology.lock();
        match (topology.cluster_id.as_deref(), response.body.cluster_id.as_deref()) {
            (Some(ours), Some(theirs)) if ours != theirs => Err(response.invalid(format!(
                "it belongs to cluster `{theirs}`, this connection is to `{ours}`"
            ))),
            _ => {
                topology.learn(&response.body, asked_at, &response.from);
                Ok(response)
            }
        }
    }

    /// Asks one broker after the other, the one that responded last first, until one responds.
    pub(crate) async fn ask_any<Q, A>(
        &self,
        operation: &'static str,
        api: ApiKey,
        request: impl Fn(i16) -> Q + Send + Sync,
    ) -> Result<BrokerResponse<A>, WireError>
    where
        Q: Encodable + Send + Sync,
        A: Response + Send,
    {
        let began = Instant::now();
        let mut failures: Vec<Attempt> = Vec::new();
        let mut lasting = None;
        for broker in self.candidates()? {
            let asked_at = Instant::now();
            let asked = (&*broker.host, broker.port);
            match self.pool.ask(&self.config, asked, api, &request).await {
                Ok(response) => {
                    *self.preferred.lock() = Some(broker);
                    return Ok(response);
                }
                Err(error) => {
                    let failure = error.attempt(asked_at.elapsed());
                    tracing::debug!(%failure, operation);
                    failures.push(failure);
                    if !error.is_retriable() && lasting.is_none() {
                        lasting = Some(error);
                    }
                }
            }
        }
        Err(lasting.unwrap_or_else(|| nobody(operation, failures, began.elapsed())))
    }

    /// Makes the next question to anybody go to another broker than the last, if there is one.
    pub(crate) fn turn_to_another_broker(&self) {
        let brokers: Vec<Broker> = self.topology.lock().brokers.values().cloned().collect();
        let mut preferred = self.preferred.lock();
        let here = brokers.iter().position(|broker| Some(broker) == preferred.as_ref());
        let next = here.map_or(0, |here| here.wrapping_add(1));
        if let Some(next) = brokers.get(next).or_else(|| brokers.first()) {
            *preferred = Some(next.clone());
        }
    }

    /// Who answered last, then the known brokers, then the bootstrap servers.
    fn candidates(&self) -> Result<Vec<Broker>, WireError> {
        let mut candidates: Vec<Broker> = self.topology.lock().brokers.values().cloned().collect();
        for server in self.config.bootstrap() {
            let (host, port) = host_and_port(server)?;
            let broker = Broker { host: Arc::from(host), port };
            if !candidates.contains(&broker) {
                candidates.push(broker);
            }
        }
        let preferred = self.preferred.lock();
        candidates.sort_by_key(|broker| Some(broker) != preferred.as_ref());
        Ok(candidates)
    }
}

/// The error of a question that no broker responded.
pub(crate) fn nobody(operation: &str, failures: Vec<Attempt>, elapsed: Duration) -> WireError {
    WireError::Unavailable {
        operation: operation.to_owned(),
        tries: u32::try_from(failures.len()).unwrap_or(u32::MAX),
        failures,
        elapsed,
        next: NEXT,
    }
}
