//! [`DeadLetterTopic`], a topic for records that could not be processed.

use std::sync::Arc;

use chrono::Utc;
use kafka_direct::TopicPartition;

use super::{
    Producer,
    headers::{AlteredHeaders, HeaderCounts},
    record::{Origin, ProducerRecord},
};
use crate::Error;

/// Bytes that one call buffers or has in flight.
const HELD_BYTES: usize = 4 << 20;

/// A record that could not be processed, as it was read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where the record is.
    pub topic_partition: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970-01-01 UTC, if it has one.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// What was wrong with it.
    pub error: String,
}

/// Writes dead letters to a topic. At-least-once. Clones write to the same topic.
///
/// Key and value are written as they were, and so are the headers, as far as rskafka can. The headers
/// `kafka-direct.topic`, `kafka-direct.partition`, `kafka-direct.offset`, `kafka-direct.timestamp` and
/// `kafka-direct.error` are added as text; they replace headers of the same names. A record without a
/// timestamp has no header `kafka-direct.timestamp`. The timestamp of the new record is the time of
/// writing, so that the topic's retention counts from then.
#[derive(Debug, Clone)]
pub struct DeadLetterTopic {
    producer: Producer,
    altered: Arc<HeaderCounts>,
}

impl DeadLetterTopic {
    /// The topic that `producer` writes to. The stream must exclude it from what it reads.
    #[must_use]
    pub fn new(producer: Producer) -> Self {
        Self { producer, altered: Arc::default() }
    }

    /// Writes the letters; returns when all in-sync replicas have them.
    ///
    /// # Errors
    /// As [`ProducerBatches::add`](super::ProducerBatches::add): some of the letters may be written.
    ///
    /// # Cancel safety
    /// Dropped, it may have written any of the letters.
    pub async fn send(&self, letters: Vec<DeadLetter>) -> Result<(), Error> {
        let mut batches = self.producer.batches(HELD_BYTES);
        for letter in letters {
            let (record, origin) = self.record(letter);
            batches.add(record, None, origin).await?;
        }
        batches.finish().await.map(drop)
    }

    /// How many headers could not be written as they were, in all calls.
    #[must_use]
    pub fn altered_headers(&self) -> AlteredHeaders {
        self.altered.get()
    }

    fn record(&self, letter: DeadLetter) -> (ProducerRecord, Origin) {
        let DeadLetter { topic_partition: tp, offset, timestamp, key, value, headers, error } =
            letter;
        let partition = tp.partition();
        let origin = Origin::Record { topic: Arc::from(tp.topic()), partition, offset };
        let added = [
            ("kafka-direct.topic", Some(tp.topic().to_owned())),
            ("kafka-direct.partition", Some(partition.to_string())),
            ("kafka-direct.offset", Some(offset.to_string())),
            ("kafka-direct.timestamp", timestamp.map(|millis| millis.to_string())),
            ("kafka-direct.error", Some(error)),
        ];
        let added = added.iter().filter_map(|(name, text)| Some((*name, text.as_deref()?)));
        let own = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        let mut map = self.altered.map(own, &origin);
        map.extend(added.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())));
        let timestamp_millis = Some(Utc::now().timestamp_millis());
        (ProducerRecord { key, value, headers: map, timestamp_millis }, origin)
    }
}
