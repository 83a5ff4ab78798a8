//! Metadata of topics and leaders, requested by name.
//!
//! No request creates a topic. Tasks that need metadata at the same time share one request.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kafka_direct_core::{TopicPartition, check_topic_name};
use tokio::time::Instant;

use crate::{
    Cluster, WireError,
    cluster::{ClusterInner, FailedRefresh, no_broker_responded},
    code,
    topology::{Leader, Refresh, TopicMetadata},
};

/// Similarity, from 0 to 1, from which a name is taken for a misspelling: one of three characters may
/// differ.
const SIMILAR: f64 = 0.66;

impl Cluster {
    /// Describes the topics `names` from fresh metadata, in the order of `names`, each once.
    ///
    /// If one broker does not know a topic, another broker is queried once. No topic is created.
    ///
    /// # Errors
    /// - `Invalid` if a topic does not exist or a name is not allowed; the error names the topic.
    /// - `Unauthorized` if this user may not see a topic.
    /// - `Unavailable` if passing faults last longer than the retry timeout.
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
        match policy.run("requesting topics", |_| self.inner().describe(&names)).await {
            Err(WireError::UnknownTopic { topic, partition: None, reason }) => {
                Err(self.inner().with_similar_name(topic, reason).await)
            }
            described => described,
        }
    }

    /// Describes every topic that this user may see, sorted by name. Includes internal topics.
    ///
    /// # Errors
    /// `Unavailable` if passing faults last longer than the retry timeout.
    pub async fn all_topics(&self) -> Result<Vec<TopicMetadata>, WireError> {
        let policy = self.inner().config.get_retry_policy();
        let response =
            policy.run("requesting all topics", |_| self.inner().request_metadata(None)).await?;
        let names = response.body.topics.iter().filter(|topic| topic.error_code == code::NONE);
        let names: BTreeSet<&str> =
            names.filter_map(|topic| Some(topic.name.as_deref()?.as_str())).collect();
        let topology = self.inner().topology.lock();
        Ok(names.into_iter().filter_map(|name| topology.describe(name)).collect())
    }

    /// Finds the leader of one partition. Does not retry.
    ///
    /// A partition without a leader and unreachable brokers are errors that may pass.
    pub(crate) async fn leader_of(
        &self,
        topic_partition: &TopicPartition,
        refresh: Refresh,
    ) -> Result<Leader, WireError> {
        self.inner().ensure_known([topic_partition.topic_arc()], refresh).await?;
        self.inner().topology.lock().leader(topic_partition)
    }
}

impl ClusterInner {
    /// The error for an unknown topic, with the most similar name of a topic that exists.
    async fn with_similar_name(&self, topic: Arc<str>, reason: Cow<'static, str>) -> WireError {
        // A failure here must not hide what is known already.
        let names = self.request_metadata(None).await.map(|response| {
            let topics = response.body.topics.into_iter();
            topics.filter(|one| !one.is_internal).filter_map(|one| one.name).collect::<Vec<_>>()
        });
        let names = names.unwrap_or_default();
        let reason = match similar(&topic, names.iter().map(|name| name.as_str())) {
            Some(name) => format!("{reason}; there is a topic `{name}`").into(),
            None => reason,
        };
        WireError::UnknownTopic { topic, partition: None, reason }
    }

    /// Describes the topics `names` from fresh metadata, or returns the error of the first that
    /// fails.
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

    /// Ensures that metadata of `topics` is as fresh as `refresh` requires.
    ///
    /// Sends one request for all missing topics, and for all tasks that wait at the same time.
    pub(crate) async fn ensure_known<'a>(
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
            return Err(no_broker_responded(
                "requesting metadata",
                failed.failures.clone(),
                elapsed,
            ));
        }
        let mut requested = std::mem::take(&mut *self.wanted.lock());
        requested.extend(missing.iter().map(Arc::clone));
        let requested: Vec<Arc<str>> = requested.into_iter().collect();
        let began = Instant::now();
        let refreshed = self.refresh(&requested).await;
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

    /// Removes from `missing` the topics whose metadata is fresh enough.
    fn retain_missing(&self, missing: &mut BTreeSet<Arc<str>>, refresh: Refresh) {
        let topology = self.topology.lock();
        missing.retain(|name| !topology.is_known(name, refresh));
    }

    /// Requests metadata of `names` and returns the error of each topic that has one.
    ///
    /// Queries another broker once about topics that the first does not know, since metadata of a
    /// new topic reaches brokers with a delay.
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
            self.prefer_another_broker();
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
        let response = self.request_metadata(Some(names)).await?;
        let cluster_id = response.body.cluster_id.as_deref();
        let mut codes: BTreeMap<&str, i16> = BTreeMap::new();
        for topic in &response.body.topics {
            if let Some(name) = topic.name.as_deref() {
                codes.insert(name.as_str(), topic.error_code);
            }
        }
        let error = |name: &Arc<str>| match codes.get(&**name) {
            None => Some(response.invalid(format!("topic `{name}` is missing in it"))),
            Some(&code::NONE) => None,
            Some(&code::UNKNOWN_TOPIC_OR_PARTITION) => {
                Some(WireError::unknown_topic(name, cluster_id))
            }
            Some(&code::INVALID_TOPIC) => Some(WireError::UnknownTopic {
                topic: Arc::clone(name),
                partition: None,
                reason: Cow::Borrowed("the broker rejects this topic name; correct it"),
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

/// Checks a topic name by Kafka's rule, because a broker's response to a bad name is unclear.
fn check_name(name: &Arc<str>) -> Result<(), WireError> {
    check_topic_name(name).map_err(|reason| WireError::UnknownTopic {
        topic: Arc::clone(name),
        partition: None,
        reason: Cow::Borrowed(reason),
    })
}
/// The name that is most similar to `wanted`, if one is similar enough to be a misspelling.
fn similar<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wanted.to_lowercase();
    let scored = names
        .map(|name| (strsim::normalized_damerau_levenshtein(&lower, &name.to_lowercase()), name));
    let best = scored.filter(|(score, _)| *score >= SIMILAR).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_similar_and_another_name_is_not() {
        let names = ["orders", "orders-eu", "payments"];
        for (wanted, expected) in [
            ("order", Some("orders")),
            ("Orders", Some("orders")),
            ("odrers", Some("orders")),
            ("orders_eu", Some("orders-eu")),
            ("payment", Some("payments")),
            ("clicks", None),
            ("x", None),
            ("orders-of-another-kind", None),
        ] {
            assert_eq!(similar(wanted, names.into_iter()), expected, "{wanted}");
        }
    }
}
