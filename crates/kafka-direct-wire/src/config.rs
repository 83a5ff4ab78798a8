//! [`ClusterConfig`]: all settings of a cluster client, with defaults.
//!
//! Contract: setters never fail. [`Cluster::connect`](crate::Cluster::connect) checks all settings
//! and names an invalid one. Nothing here prints a secret.

use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime::Handle;

use crate::{
    WireError,
    address::{host_and_port, with_port},
    retry::RetryPolicy,
    transport::{TcpTransport, Transport},
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Upper limit of the setting `max_frame_bytes`.
const FRAME_LIMIT_BYTES: usize = 1024 * MIB;

/// The settings of a cluster client: addresses, timeouts, retries and sizes.
///
/// Sizes are in bytes. The defaults suit a cluster in the same data centre.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClusterConfig {
    bootstrap: Vec<String>,
    client_id: String,
    transport: Arc<dyn Transport>,
    connect_timeout: Duration,
    request_timeout: Duration,
    retry_timeout: Duration,
    retry_backoff: (Duration, Duration),
    connect_retry_timeout: Duration,
    max_frame_bytes: usize,
    memory_budget_bytes: usize,
    fetch_max_bytes: usize,
    partition_max_bytes: usize,
    max_batch_bytes: usize,
    fetch_connections_per_broker: usize,
    runtime: Option<Handle>,
}

impl ClusterConfig {
    /// Creates a configuration with these `bootstrap` servers and default settings.
    ///
    /// Each entry is `host:port`, or several separated by commas. A host without a port has port 9092.
    /// Servers are tried in order until one responds; it reports the other brokers of the cluster.
    #[must_use]
    pub fn new<S: Into<String>>(bootstrap: impl IntoIterator<Item = S>) -> Self {
        let bootstrap = bootstrap.into_iter().map(Into::into).collect::<Vec<String>>();
        Self {
            bootstrap: bootstrap
                .iter()
                .flat_map(|servers| servers.split(','))
                .map(str::trim)
                .filter(|server| !server.is_empty())
                .map(with_port)
                .collect(),
            client_id: "kafka-direct".to_owned(),
            transport: Arc::new(TcpTransport::default()),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            retry_timeout: Duration::from_secs(60),
            retry_backoff: (Duration::from_millis(100), Duration::from_secs(1)),
            connect_retry_timeout: Duration::ZERO,
            max_frame_bytes: 128 * MIB,
            memory_budget_bytes: 48 * MIB,
            fetch_max_bytes: 16 * MIB,
            partition_max_bytes: 4 * MIB,
            max_batch_bytes: 64 * MIB,
            fetch_connections_per_broker: 1,
            runtime: None,
        }
    }

    /// Sets the name by which brokers log, meter and throttle this client. Default `kafka-direct`.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// Sets how connections are opened. Default [`TcpTransport`].
    #[must_use]
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = transport;
        self
    }

    /// Sets the longest time to open a connection, including the first request on it. Default 10 s.
    #[must_use]
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets the longest time from sending a request to the end of its response. Default 30 s.
    ///
    /// The wait for a broker's throttle does not count.
    #[must_use]
    pub const fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// Sets how long passing faults (a leader that moves, a broken connection) are retried without
    /// progress. Default 60 s.
    ///
    /// After that time the operation fails as `Unavailable`. An attempt that is in flight then is
    /// not cut short. Some waits of a range do not count: for its next Fetch while its leader
    /// responds, and for a quota. Zero means no retries.
    #[must_use]
    pub const fn retry_timeout(mut self, limit: Duration) -> Self {
        self.retry_timeout = limit;
        self
    }

    /// Sets the first and the longest backoff between retries. Default 100 ms and 1 s.
    ///
    /// Each backoff is twice as long as the previous one.
    #[must_use]
    pub const fn retry_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.retry_backoff = (first, longest);
        self
    }

    /// Sets how long [`Cluster::connect`](crate::Cluster::connect) tries the servers again while none
    /// responds. Default zero, so that a wrong address fails at once.
    #[must_use]
    pub const fn connect_retry_timeout(mut self, limit: Duration) -> Self {
        self.connect_retry_timeout = limit;
        self
    }

    /// Sets the size of the largest response that is read. Default 128 MiB, from 1 KiB to 1 GiB.
    ///
    /// A larger response is refused before anything is allocated.
    #[must_use]
    pub const fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes;
        self
    }

    /// Sets how many bytes of records all reads of this cluster together may have in flight and
    /// queued. Default 48 MiB.
    ///
    /// A single batch that is larger than the budget is admitted alone.
    ///
    /// Used buffers are kept for later reads, in addition to the budget. Kept buffers and the
    /// buffers of batches that the caller holds are together at most as large as the budget. If the
    /// caller's batches hold more, kept buffers are at most a third of the budget.
    #[must_use]
    pub const fn memory_budget_bytes(mut self, bytes: usize) -> Self {
        self.memory_budget_bytes = bytes;
        self
    }

    /// Sets how many bytes of records one Fetch requests at most. Default 16 MiB.
    #[must_use]
    pub const fn fetch_max_bytes(mut self, bytes: usize) -> Self {
        self.fetch_max_bytes = bytes;
        self
    }

    /// Sets how many bytes of one partition one Fetch requests at most. Default 4 MiB.
    ///
    /// - Usually a Fetch requests half of this size.
    /// - It requests less, down to 512 KiB, the more partitions share the Fetch and the less of the
    ///   memory budget is left.
    /// - It requests the whole size only if 16 batches fill it and the memory budget has room for
    ///   as much of every partition.
    #[must_use]
    pub const fn partition_max_bytes(mut self, bytes: usize) -> Self {
        self.partition_max_bytes = bytes;
        self
    }

    /// Sets the size of the largest single Kafka batch that is accepted. Default 64 MiB.
    ///
    /// At most [`ClusterConfig::max_frame_bytes`]. A larger batch ends the read as `Invalid`.
    #[must_use]
    pub const fn max_batch_bytes(mut self, bytes: usize) -> Self {
        self.max_batch_bytes = bytes;
        self
    }

    /// Sets how many fetch connections are kept to each broker, from 1 to 64. Default 1.
    ///
    /// Each has one Fetch in flight.
    #[must_use]
    pub const fn fetch_connections_per_broker(mut self, connections: usize) -> Self {
        self.fetch_connections_per_broker = connections;
        self
    }

    /// Sets the runtime on which fetching runs. Default: the runtime in which
    /// [`Cluster::connect`](crate::Cluster::connect) is called.
    ///
    /// With a runtime of its own, fetching does not delay other tasks of a service.
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }
}

impl ClusterConfig {
    /// The bootstrap servers, each as `host:port`.
    #[must_use]
    pub fn bootstrap(&self) -> &[String] {
        &self.bootstrap
    }
}

/// Getters for the rest of the crate.
impl ClusterConfig {
    pub(crate) fn get_client_id(&self) -> &str {
        &self.client_id
    }

    pub(crate) fn get_transport(&self) -> &dyn Transport {
        &*self.transport
    }

    pub(crate) const fn get_connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(crate) const fn get_request_timeout(&self) -> Duration {
        self.request_timeout
    }

    pub(crate) const fn get_retry_policy(&self) -> RetryPolicy {
        let (first_backoff, longest_backoff) = self.retry_backoff;
        RetryPolicy { timeout: self.retry_timeout, first_backoff, longest_backoff }
    }

    pub(crate) const fn get_connect_retry_policy(&self) -> RetryPolicy {
        let mut policy = self.get_retry_policy();
        policy.timeout = self.connect_retry_timeout;
        policy
    }

    pub(crate) const fn get_max_frame_bytes(&self) -> usize {
        self.max_frame_bytes
    }

    pub(crate) const fn get_memory_budget_bytes(&self) -> usize {
        self.memory_budget_bytes
    }

    pub(crate) const fn get_fetch_max_bytes(&self) -> usize {
        self.fetch_max_bytes
    }

    pub(crate) const fn get_partition_max_bytes(&self) -> usize {
        self.partition_max_bytes
    }

    pub(crate) const fn get_max_batch_bytes(&self) -> usize {
        self.max_batch_bytes
    }

    pub(crate) const fn get_fetch_connections_per_broker(&self) -> usize {
        self.fetch_connections_per_broker
    }

    /// Runs an engine task on the runtime of this cluster.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(task)),
            None => drop(tokio::spawn(task)),
        }
    }

    /// The runtime of engine tasks: the one that was set, or else the current one.
    pub(crate) fn get_runtime(&self) -> Result<Handle, WireError> {
        let current = || {
            Handle::try_current().map_err(|error| WireError::Config {
                setting: "runtime",
                reason: format!("{error}; connect inside a tokio runtime, or set one"),
            })
        };
        self.runtime.clone().map_or_else(current, Ok)
    }

    /// Checks every setting.
    pub(crate) fn validate(&self) -> Result<(), WireError> {
        if self.bootstrap.is_empty() {
            return invalid("bootstrap servers", "none given; name at least one `host:port`");
        }
        for server in &self.bootstrap {
            host_and_port(server)?;
        }
        if i16::try_from(self.client_id.len()).is_err() {
            return invalid("client_id", "must be at most 32767 bytes long");
        }
        for (setting, duration) in
            [("connect_timeout", self.connect_timeout), ("request_timeout", self.request_timeout)]
        {
            if duration.is_zero() {
                return invalid(setting, "must be longer than zero");
            }
        }
        let (first, longest) = self.retry_backoff;
        if first.is_zero() || longest < first {
            return invalid(
                "retry_backoff",
                "the first backoff must be above zero and at most the longest",
            );
        }
        if !(KIB..=FRAME_LIMIT_BYTES).contains(&self.max_frame_bytes) {
            return invalid("max_frame_bytes", "must be from 1 KiB to 1 GiB");
        }
        for (setting, bytes) in [
            ("fetch_max_bytes", self.fetch_max_bytes),
            ("partition_max_bytes", self.partition_max_bytes),
            ("max_batch_bytes", self.max_batch_bytes),
        ] {
            if bytes == 0 || bytes > self.max_frame_bytes {
                return invalid(setting, "must be above zero and at most max_frame_bytes");
            }
        }
        if self.memory_budget_bytes == 0 {
            return invalid("memory_budget_bytes", "must be above zero");
        }
        if !(1..=64).contains(&self.fetch_connections_per_broker) {
            return invalid("fetch_connections_per_broker", "must be from 1 to 64");
        }
        Ok(())
    }
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterConfig")
            .field("bootstrap", &self.bootstrap)
            .field("client_id", &self.client_id)
            .field("transport", &self.transport)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("retry_timeout", &self.retry_timeout)
            .field("retry_backoff", &self.retry_backoff)
            .field("connect_retry_timeout", &self.connect_retry_timeout)
            .field("max_frame_bytes", &self.max_frame_bytes)
            .field("memory_budget_bytes", &self.memory_budget_bytes)
            .field("fetch_max_bytes", &self.fetch_max_bytes)
            .field("partition_max_bytes", &self.partition_max_bytes)
            .field("max_batch_bytes", &self.max_batch_bytes)
            .field("fetch_connections_per_broker", &self.fetch_connections_per_broker)
            .finish_non_exhaustive()
    }
}

fn invalid(setting: &'static str, reason: &str) -> Result<(), WireError> {
    Err(WireError::Config { setting, reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_lists_are_split() {
        let config = ClusterConfig::new(["a:1, b:2,", "[::1]:3", " c "]);
        config.validate().unwrap();
        assert_eq!(config.bootstrap(), ["a:1", "b:2", "[::1]:3", "c:9092"]);
    }

    #[test]
    fn each_invalid_setting_is_named() {
        let ok = || ClusterConfig::new(["h:1"]);
        for (config, setting) in [
            (ClusterConfig::new([] as [&str; 0]), "bootstrap servers"),
            (ClusterConfig::new(["h:"]), "bootstrap servers"),
            (ClusterConfig::new(["h:0"]), "bootstrap servers"),
            (ClusterConfig::new(["::1:9092"]), "bootstrap servers"),
            (ClusterConfig::new([":9092"]), "bootstrap servers"),
            (ok().client_id("x".repeat(40_000)), "client_id"),
            (ok().request_timeout(Duration::ZERO), "request_timeout"),
            (ok().connect_timeout(Duration::ZERO), "connect_timeout"),
            (ok().retry_backoff(Duration::ZERO, Duration::ZERO), "retry_backoff"),
            (ok().max_frame_bytes(2 * FRAME_LIMIT_BYTES), "max_frame_bytes"),
            (ok().fetch_max_bytes(0), "fetch_max_bytes"),
            (ok().max_batch_bytes(512 * MIB), "max_batch_bytes"),
            (ok().memory_budget_bytes(0), "memory_budget_bytes"),
            (ok().fetch_connections_per_broker(0), "fetch_connections_per_broker"),
        ] {
            match config.validate() {
                Err(WireError::Config { setting: named, .. }) => assert_eq!(named, setting),
                other => panic!("{setting}: {other:?}"),
            }
        }
    }
}
