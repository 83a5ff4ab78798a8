//! The subscribed topics, described by the brokers, and kept for a few seconds.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use kafka_direct_driver::Positions;
use kafka_direct_wire::{TopicMetadata, WireError};
use tokio::time::Instant;

use crate::{Error, KafkaRddBuilder, TopicPattern, builder::Topics};

/// How long the description of the topics is used. Fetching notices a re-created topic and a moved
/// leader in between.
const MAX_AGE: Duration = Duration::from_secs(5);

/// The subscribed topics as they were described last.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    known: Option<(Instant, Arc<Vec<TopicMetadata>>)>,
}

impl Metadata {
    /// Has the topics described again before they are used.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// The subscribed topics. A topic that the stream follows and that does not exist any more is left
    /// out; another one that does not exist is an error, and so is a pattern that matches no topic of a
    /// stream that follows none.
    pub(super) async fn get(
        &mut self,
        selection: &KafkaRddBuilder,
        positions: &Positions,
    ) -> Result<Arc<Vec<TopicMetadata>>, Error> {
        if let Some((at, topics)) = &self.known
            && at.elapsed() < MAX_AGE
        {
            return Ok(Arc::clone(topics));
        }
        let asked_at = Instant::now();
        let mut selection = selection.clone();
        let mut gone = BTreeSet::new();
        let topics = loop {
            if let Topics::Pattern(pattern) = &selection.topics
                && positions.iter().next().is_some()
            {
                let pattern = TopicPattern::new(pattern)?;
                let mut topics = selection.topics_of_users().await?;
                topics.retain(|topic| pattern.is_match(&topic.name));
                break topics;
            }
            match selection.find_topics().await {
                Err(Error::Wire(WireError::UnknownTopic { topic, partition: None, .. }))
                    if positions.follows_topic(&topic) && gone.insert(topic.to_string()) =>
                {
                    let Topics::Named(names) = &mut selection.topics else { break Vec::new() };
                    names.retain(|name| **name != *topic);
                    if names.is_empty() {
                        break Vec::new();
                    }
                }
                topics => break topics?,
            }
        };
        let topics = Arc::new(topics);
        self.known = Some((asked_at, Arc::clone(&topics)));
        Ok(topics)
    }
}
