//! [`Cluster`], the client of a Kafka cluster: finds a broker that responds and sends it requests.

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
    fetch::{CarryOver, FetchMetrics, FetchOptions, Lanes, RangeFetch},
    pool::{BrokerResponse, Pool},
    queries::{ListOffset, PartitionQueries, Query},
    response::Response,
    topology::{Broker, Leader, Refresh, Topology},
};

const NEXT: &str = "check that one of these servers is up and can be reached from here";

/// A client of a Kafka cluster. Cheap to clone; clones share connections and metadata.
///
/// Every operation retries passing faults with fresh metadata and growing backoff. Passing faults
/// are a leader that moves, a coordinator that loads, a broken connection and a request timeout.
/// After [`ClusterConfig::retry_timeout`] without progress the operation fails as `Unavailable`.
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
    /// Locked during a metadata request, so that tasks that need the same topic share one request.
    /// Holds the last refresh if no broker responded to it.
    pub(crate) refreshing: tokio::sync::Mutex<Option<FailedRefresh>>,
    /// Topics that the next refresh requests.
    pub(crate) wanted: Mutex<BTreeSet<Arc<str>>>,
    /// The broker that responded last to a request that any broker can serve.
    preferred: Mutex<Option<Broker>>,
    runtime: Handle,
    lanes: Arc<Lanes>,
}

/// A metadata request to which no broker responded. Tasks that waited for it share its failure.
#[derive(Debug)]
pub(crate) struct FailedRefresh {
    pub(crate) began: Instant,
    pub(crate) failures: Vec<Attempt>,
}

impl Cluster {
    /// Connects through the first bootstrap server that responds, in the given order, and reads the
    /// list of brokers from it.
    ///
    /// Retries for [`ClusterConfig::connect_retry_timeout`], by default not at all.
    ///
    /// # Errors
    /// - `Invalid` if a setting is invalid or a port is no Kafka listener of plain TCP; the error names
    ///   the setting, or what is there.
    /// - `Unavailable` if no server can be reached; the error names each server, the cause and the
    ///   elapsed time.
    /// - `Unauthorized` if the broker refuses this user.
    /// - `Corrupt` if a broker sends an invalid response.
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
        let policy = inner.config.get_connect_retry_policy();
        let attempt = |_| async { inner.request_metadata(Some(&[])).await.map(drop) };
        policy.run("connecting", attempt).await.map_err(|error| match error {
            WireError::Unavailable { operation, tries, failures, elapsed, .. } => {
                WireError::Unavailable { operation, tries, failures, elapsed, next: NEXT }
            }
            other => other,
        })?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Prepares to read the bytes of one planned range. Sends no request before the first read.
    #[must_use]
    pub fn fetch(&self, planned: PlannedRange, options: FetchOptions) -> RangeFetch {
        let queries = Arc::new(self.clone());
        RangeFetch::new(queries, Arc::clone(&self.inner.lanes), planned, options)
    }

    /// Creates an empty store for what the ranges of one stream fetch beyond their ends.
    ///
    /// All stores of a cluster hold at most a third of the memory budget. Their bytes are released
    /// at once when a range that is read needs the memory.
    #[must_use]
    pub fn carry_over(&self) -> CarryOver {
        self.inner.lanes.carry_over()
    }

    /// Counters of all fetches of this cluster so far.
    #[must_use]
    pub fn fetch_metrics(&self) -> FetchMetrics {
        self.inner.lanes.metrics()
    }

    /// The pool of buffers that all reads of this cluster reuse.
    ///
    /// A buffer can be reused as soon as no reference to its bytes exists. The pool is not part of
    /// the memory budget. It keeps unused buffers while they and the lent ones together are at most
    /// the memory budget, and up to a third of the budget in any case.
    #[must_use]
    pub fn buffer_pool(&self) -> &BufferPool {
        self.inner.lanes.pool()
    }

    /// The runtime on which fetching runs. Decoding should run on it too.
    #[must_use]
    pub fn runtime(&self) -> Handle {
        self.inner.runtime.clone()
    }

    /// How long passing faults are retried, see [`ClusterConfig::retry_timeout`].
    #[must_use]
    pub fn retry_timeout(&self) -> Duration {
        self.inner().config.get_retry_policy().timeout
    }

    /// The cluster's id, if its brokers report one.
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
    /// Requests metadata of `topics`, or of all topics, and updates the topology from the response.
    ///
    /// No topic is created.
    pub(crate) async fn request_metadata(
        &self,
        topics: Option<&[Arc<str>]>,
    ) -> Result<BrokerResponse<MetadataResponse>, WireError> {
        let requested_at = Instant::now();
        let response: BrokerResponse<MetadataResponse> = self
            .call_any_broker("requesting metadata", ApiKey::Metadata, |_| {
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
                "the broker belongs to cluster `{theirs}`, but this client reads cluster `{ours}`"
            ))),
            _ => {
                topology.update(&response.body, requested_at, &response.from);
                Ok(response)
            }
        }
    }

    /// Sends a request to one broker after the other until one responds.
    ///
    /// Starts with the broker that responded last. `operation` names the request in an error.
    ///
    /// # Errors
    /// The first failure that may not pass, or else [`WireError::Unavailable`] with all failures.
    pub(crate) async fn call_any_broker<Q, A>(
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
        let mut permanent = None;
        for broker in self.candidates()? {
            let requested_at = Instant::now();
            let address = (&*broker.host, broker.port);
            match self.pool.call(&self.config, address, api, &request).await {
                Ok(response) => {
                    *self.preferred.lock() = Some(broker);
                    return Ok(response);
                }
                Err(error) => {
                    let failure = error.attempt(requested_at.elapsed());
                    tracing::debug!(%failure, operation);
                    failures.push(failure);
                    if !error.is_retriable() && permanent.is_none() {
                        permanent = Some(error);
                    }
                }
            }
        }
        Err(permanent.unwrap_or_else(|| no_broker_responded(operation, failures, began.elapsed())))
    }

    /// Makes another known broker the preferred one, if there is one.
    pub(crate) fn prefer_another_broker(&self) {
        let brokers: Vec<Broker> = self.topology.lock().brokers.values().cloned().collect();
        let mut preferred = self.preferred.lock();
        let current = brokers.iter().position(|broker| Some(broker) == preferred.as_ref());
        let next = current.map_or(0, |current| current.wrapping_add(1));
        if let Some(next) = brokers.get(next).or_else(|| brokers.first()) {
            *preferred = Some(next.clone());
        }
    }

    /// The preferred broker, then the known brokers, then the bootstrap servers.
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

/// The error of a request to which no broker responded.
pub(crate) fn no_broker_responded(
    operation: &str,
    failures: Vec<Attempt>,
    elapsed: Duration,
) -> WireError {
    WireError::Unavailable {
        operation: operation.to_owned(),
        tries: u32::try_from(failures.len()).unwrap_or(u32::MAX),
        failures,
        elapsed,
        next: NEXT,
    }
}
