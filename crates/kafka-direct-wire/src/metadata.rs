//! Topics and leaders: asked for by name, never created, and asked once however many need them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kafka_direct_core::{TopicPartition, check_topic_name};
use tokio::time::Instant;

use crate::{
    Cluster, WireError,
    cluster::{ClusterInner, FailedRefresh, nobody},
    code,
    topology::{Leader, Refresh, TopicMetadata},
};

impl Cluster {
    /// Describes `names`, freshly asked, in the order of `names` without repetitions.
    ///
    /// # Errors
    /// - `Invalid` if a topic does not exist or a name cannot exist; the topic is named. A topic one
    ///   broker does not know is asked for at another first. No topic is created.
    /// - `Unauthorized` if this user may not see a topic.
    /// - `Unavailable` if passing faults did not pass in time.
    pub async fn topics(&self, names: &[String]) -> Result<Vec<TopicMetadata>, WireError> {
        let mut seen = BTreeSet::new();
        let names: Vec<Arc<str>> = names
            .iter()
            .filter(|name| seen.insert(name.as_str()))
            .map(|name| Arc::from(name.as_str()))
            .collect();
        names.iter().try_for_each(check_name)?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let policy = self.inner().config.get_retry_policy();
        policy.run("asking for topics", |_| self.inner().describe(&names)).await
    }

    /// Describes every topic this user may see, internal ones included, by rising name.
    ///
    /// # Errors
    /// `Unavailable` if passing faults did not pass in time.
    pub async fn all_topics(&self) -> Result<Vec<TopicMetadata>, WireError> {
        let policy = self.inner().config.get_retry_policy();
        let response =
            policy.run("asking for all topics", |_| self.inner().ask_metadata(None)).await?;
        let names = response.body.topics.iter().filter(|topic| topic.error_code == code::NONE);
        let names: BTreeSet<&str> =
            names.filter_map(|topic| Some(topic.name.as_deref()?.as_str())).collect();
        let topology = self.inner().topology.lock();
        Ok(names.into_iter().filter_map(|name| topology.describe(name)).collect())
    }

    /// The leader of one partition. Does not retry: a partition without a leader and brokers that
    /// cannot be reached are errors that pass.
    pub(crate) async fn leader_of(
        &self,
        topic_partition: &TopicPartition,
        refresh: Refresh,
    ) -> Result<Leader, WireError> {
        self.inner().know([topic_partition.topic_arc()], refresh).await?;
        self.inner().topology.lock().leader(topic_partition)
    }
}

impl ClusterInner {
    /// Describes `names`, freshly asked; the first one that cannot be described is an error.
    async fn describe(&self, names: &[Arc<str>]) -> Result<Vec<TopicMetadata>, WireError> {
        let mut errors = self.refresh(names).await?;
        let topology = self.topology.lock();
        let describe = |name: &Arc<str>| match errors.remove(name) {
            Some(error) => Err(error),
            None => topology
                .describe(name)
                .ok_or_else(|| WireError::unknown_topic(name, topology.cluster_id.as_deref())),
        };
        names.iter().map(describe).collect()
    }

    /// Makes sure that `topics` are known as freshly as asked. One question for all of them, and
    /// for everybody who waits at the same time.
    pub(crate) async fn know<'a>(
        &self,
        topics: impl IntoIterator<Item = &'a Arc<str>>,
        refresh: Refresh,
    ) -> Result<(), WireError> {
        let mut missing: BTreeSet<Arc<str>> = topics.into_iter().map(Arc::clone).collect();
        self.retain_missing(&mut missing, refresh);
        if missing.is_empty() {
            return Ok(());
        }
        missing.iter().try_for_each(check_name)?;
        self.wanted.lock().extend(missing.iter().map(Arc::clone));
        let waiting_since = Instant::now();
        let mut last = self.refreshing.lock().await;
        self.retain_missing(&mut missing, refresh);
        if missing.is_empty() {
            return Ok(());
        }
        if let Some(failed) = last.as_ref().filter(|failed| failed.began >= waiting_since) {
            let elapsed = waiting_since.elapsed();
            return Err(nobody("asking for metadata", failed.failures.clone(), elapsed));
        }
        let mut asked = std::mem::take(&mut *self.wanted.lock());
        asked.extend(missing.iter().map(Arc::clone));
        let asked: Vec<Arc<str>> = asked.into_iter().collect();
        let began = Instant::now();
        let refreshed = self.refresh(&asked).await;
        *last = match &refreshed {
            Err(WireError::Unavailable { failures, .. }) => {
                Some(FailedRefresh { began, failures: failures.clone() })
            }
            _ => None,
        };
        drop(last);
        let mut errors = refreshed?;
        missing.iter().find_map(|name| errors.remove(name)).map_or(Ok(()), Err)
    }

    fn retain_missing(&self, missing: &mut BTreeSet<Arc<str>>, refresh: Refresh) {
        let topology = self.topology.lock();
        missing.retain(|name| !topology.is_known(name, refresh));
    }

    /// Asks for `names` and gives what is wrong with each that is not well. What one broker does
    /// not know is asked for at another, once: metadata spreads with a delay.
    async fn refresh(
        &self,
        names: &[Arc<str>],
    ) -> Result<BTreeMap<Arc<str>, WireError>, WireError> {
        let mut errors = self.refresh_once(names).await?;
        let unknown: Vec<Arc<str>> = errors
            .iter()
            .filter(|(_, error)| matches!(error, WireError::UnknownTopic { .. }))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        if !unknown.is_empty() {
            self.turn_to_another_broker();
            let again = self.refresh_once(&unknown).await?;
            errors.retain(|name, _| !unknown.contains(name));
            errors.extend(again);
        }
        Ok(errors)
    }

    async fn refresh_once(
        &self,
        names: &[Arc<str>],
    ) -> Result<BTreeMap<Arc<str>, WireError>, WireError> {
        let response = self.ask_metadata(Some(names)).await?;
        let cluster_id = response.body.cluster_id.as_deref();
        let mut codes: BTreeMap<&str, i16> = BTreeMap::new();
        for topic in &response.body.topics {
            if let Some(name) = topic.name.as_deref() {
                codes.insert(name.as_str(), topic.error_code);
            }
        }
        let error = |name: &Arc<str>| match codes.get(&**name) {
            None => Some(response.invalid(format!("it does not mention topic `{name}`"))),
            Some(&code::NONE) => None,
            Some(&code::UNKNOWN_TOPIC_OR_PARTITION) => {
                Some(WireError::unknown_topic(name, cluster_id))
            }
            Some(&code::INVALID_TOPIC) => Some(WireError::UnknownTopic {
                topic: Arc::clone(name),
                partition: None,
                reason: Cow::Borrowed("the broker says that no topic can have this name"),
            }),
            Some(&code) => Some(WireError::Broker {
                address: Arc::clone(&response.from),
                api: "Metadata",
                code,
                topic_partition: None,
            }),
        };
        Ok(names.iter().filter_map(|name| Some((Arc::clone(name), error(name)?))).collect())
    }
}

/// Kafka's rule for topic names, checked here because a broker's response to a bad name is unclear.
fn check_name(name: &Arc<str>) -> Result<(), WireError> {
    check_topic_name(name).map_err(|reason| WireError::UnknownTopic {
        topic: Arc::clone(name),
        partition: None,
        reason: Cow::Borrowed(reason),
    })
}
