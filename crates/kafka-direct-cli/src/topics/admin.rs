//! Creates and deletes topics through the producing client, and waits until metadata shows it.
//!
//! Contract: a metadata request that cannot create a topic comes before each change. Each step ends
//! after the request timeout or the retry timeout.

use std::time::Duration;

use kafka_direct::{
    Cluster, Error, ErrorKind, TopicMetadata, error::WireError, is_legal_topic_name,
};
use kafka_direct_sinks::kafka_topic::kind_of;
use rskafka::{
    BackoffConfig,
    client::{
        Client, ClientBuilder,
        error::{Error as ClientError, ProtocolError},
    },
};
use tokio::time::{Instant, sleep, timeout};

use crate::{cli::ConnectionArgs, connect, exit::Failure};

/// Default of `--request-timeout`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Default of `--retry-timeout`.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// Interval between metadata requests while a change is waited for.
const POLL: Duration = Duration::from_millis(50);
/// Selects the default replication factor of the broker.
const DEFAULT_REPLICAS: i16 = -1;

/// Connections that create and delete topics.
#[derive(Debug)]
pub(crate) struct TopicAdmin {
    cluster: Cluster,
    client: Client,
    /// Time limit for the controller to carry out one request.
    request_timeout: Duration,
    retry_timeout: Duration,
}

impl TopicAdmin {
    /// Connects to the cluster; `connection` is already merged with the config file.
    pub(crate) async fn connect(connection: &ConnectionArgs, topic: &str) -> Result<Self, Failure> {
        let cluster = connect::connect(connection).await?;
        let client = client(connection, topic).await?;
        Ok(Self {
            cluster,
            client,
            request_timeout: connection.request_timeout.unwrap_or(REQUEST_TIMEOUT),
            retry_timeout: connection.retry_timeout.unwrap_or(RETRY_TIMEOUT),
        })
    }

    /// Returns the topic, or `None` if it does not exist.
    pub(crate) async fn find(&self, topic: &str) -> Result<Option<TopicMetadata>, Failure> {
        if !is_legal_topic_name(topic) {
            return Err(Failure::usage(format!(
                "`{topic}` is no legal topic name: Kafka allows 1 to 249 letters, digits, dots, underscores and dashes, but not `.` and `..`"
            )));
        }
        match self.cluster.topics(&[topic.to_owned()]).await.map_err(Error::from) {
            Ok(found) => Ok(found.into_iter().next()),
            Err(Error::Wire(WireError::UnknownTopic { partition: None, .. })) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates the topic and returns true, or returns false if it exists. Without `replicas` the
    /// broker chooses.
    pub(crate) async fn create(
        &self,
        topic: &str,
        partitions: i32,
        replicas: Option<i16>,
    ) -> Result<bool, Failure> {
        if self.find(topic).await?.is_some() {
            return Ok(false);
        }
        let action = format!("creating topic `{topic}`");
        let controller = self.client.controller_client().map_err(|e| failed(&action, &e))?;
        let replicas = replicas.unwrap_or(DEFAULT_REPLICAS);
        let created = controller.create_topic(topic, partitions, replicas, self.controller_ms());
        match self.within(&action, created).await? {
            Ok(()) => Ok(true),
            Err(error) if protocol_error(&error) == Some(ProtocolError::TopicAlreadyExists) => {
                Ok(false)
            }
            Err(error) => Err(failed(&action, &error)),
        }
    }

    /// Waits until each partition of a new topic has a leader.
    pub(crate) async fn wait_for_leaders(
        &self,
        topic: &str,
        partitions: i32,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let found = self.find(topic).await?;
            let led = found.iter().flat_map(|topic| &topic.partitions);
            let led = led.filter(|partition| partition.leader_host.is_some()).count();
            if usize::try_from(partitions) == Ok(led) {
                return Ok(());
            }
            if began.elapsed() > self.retry_timeout {
                return Err(unavailable(format!(
                    "only {led} of {partitions} partitions of the new topic `{topic}` have a leader after {:?}; check the brokers",
                    self.retry_timeout
                )));
            }
            sleep(POLL).await;
        }
    }

    /// Deletes the topic; metadata may show it for a while.
    pub(crate) async fn delete(&self, topic: &str) -> Result<(), Failure> {
        let action = format!("deleting topic `{topic}`");
        let controller = self.client.controller_client().map_err(|e| failed(&action, &e))?;
        let deleted = controller.delete_topic(topic, self.controller_ms());
        self.within(&action, deleted).await?.map_err(|error| failed(&action, &error))
    }

    /// Waits until metadata no longer has the topic `deleted`, or has another one of its name.
    pub(crate) async fn wait_until_gone(&self, deleted: &TopicMetadata) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            match self.find(&deleted.name).await? {
                Some(found) if found.id == deleted.id => {}
                _ => return Ok(()),
            }
            if began.elapsed() > self.retry_timeout {
                return Err(unavailable(format!(
                    "topic `{}` is marked for deletion and still exists after {:?}; check the brokers",
                    deleted.name, self.retry_timeout
                )));
            }
            sleep(POLL).await;
        }
    }

    fn controller_ms(&self) -> i32 {
        i32::try_from(self.request_timeout.as_millis()).unwrap_or(i32::MAX)
    }

    /// Limits a change: the client itself waits for a response without end.
    async fn within<T>(&self, action: &str, change: impl Future<Output = T>) -> Result<T, Failure> {
        let limit = self.request_timeout.saturating_add(self.retry_timeout);
        timeout(limit, change).await.map_err(|_| {
            unavailable(format!("{action} did not end within {limit:?}; it may still happen"))
        })
    }
}

async fn client(connection: &ConnectionArgs, topic: &str) -> Result<Client, Failure> {
    let backoff = BackoffConfig {
        max_backoff: Duration::from_secs(1),
        deadline: Some(connection.retry_timeout.unwrap_or(RETRY_TIMEOUT)),
        ..BackoffConfig::default()
    };
    let client_id = connection.client_id.clone();
    ClientBuilder::new(connect::brokers_of(connection)?)
        .client_id(client_id.unwrap_or_else(|| "kafka-direct".to_owned()))
        .backoff_config(backoff)
        .build()
        .await
        .map_err(|error| failed(&format!("connecting for topic `{topic}`"), &error))
}

fn unavailable(message: String) -> Failure {
    Failure::Unmet { message, kind: ErrorKind::Unavailable }
}

const fn protocol_error(error: &ClientError) -> Option<ProtocolError> {
    match error {
        ClientError::ServerError { protocol_error, .. } => Some(*protocol_error),
        _ => None,
    }
}

/// The failure of `action`, with the broker's reason.
fn failed(action: &str, error: &ClientError) -> Failure {
    let kind = match protocol_error(error) {
        Some(
            ProtocolError::InvalidPartitions
            | ProtocolError::InvalidReplicationFactor
            | ProtocolError::InvalidConfig
            | ProtocolError::TopicDeletionDisabled,
        ) => ErrorKind::Invalid,
        _ => kind_of(error),
    };
    let reason = match error {
        ClientError::ServerError { protocol_error, error_message, .. } => {
            let message = error_message.as_deref().filter(|message| !message.is_empty());
            message.map_or_else(
                || protocol_error.to_string(),
                |message| format!("{protocol_error}: {message}"),
            )
        }
        other => other.to_string(),
    };
    let advice = match kind {
        ErrorKind::Unauthorized => "; check the user's credentials and ACLs",
        _ => "",
    };
    Failure::Unmet { message: format!("{action} failed: {reason}{advice}"), kind }
}
