//! [`ProducerRecord`], one record to write, and [`Origin`], what an error calls it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use chrono::DateTime;
use rskafka::record::Record;

use crate::Error;

/// Maximum bytes that a record takes in a batch besides its contents.
const RECORD_OVERHEAD_BYTES: usize = 40;
/// Maximum bytes that a header takes in a batch besides its name and value.
const HEADER_OVERHEAD_BYTES: usize = 10;
/// What Kafka stores as the timestamp of a record that has none.
const NO_TIMESTAMP: i64 = -1;

/// One record to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    /// The key; `None` if the record has none, which is not an empty key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` for a tombstone, which is not an empty value.
    pub value: Option<Vec<u8>>,
    /// The headers. rskafka can write neither null values nor two headers of one name, and writes them
    /// in the order of their names.
    pub headers: BTreeMap<String, Vec<u8>>,
    /// The timestamp in milliseconds since 1970-01-01 UTC; `None` if the record has none.
    pub timestamp_millis: Option<i64>,
}

impl ProducerRecord {
    /// Maximum bytes that the record takes in a batch before compression.
    pub(super) fn size_bytes(&self) -> usize {
        let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter().map(|(name, value)| {
            name.len().saturating_add(value.len()).saturating_add(HEADER_OVERHEAD_BYTES)
        });
        let contents = [length(&self.key), length(&self.value), RECORD_OVERHEAD_BYTES];
        contents.into_iter().chain(headers).fold(0, usize::saturating_add)
    }

    /// The record for rskafka.
    pub(super) fn into_client(self, origin: &Origin) -> Result<Record, Error> {
        let millis = self.timestamp_millis.unwrap_or(NO_TIMESTAMP);
        let timestamp = DateTime::from_timestamp_millis(millis).ok_or_else(|| {
            Error::invalid(format!(
                "{origin}: timestamp {millis} ms is out of range, and the producing client cannot write it"
            ))
        })?;
        let Self { key, value, headers, .. } = self;
        Ok(Record { key, value, headers, timestamp })
    }
}

/// Where a record to write comes from: errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A record of a topic.
    Record {
        /// The topic.
        topic: Arc<str>,
        /// The partition's index.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// A line of the input, from 1.
    Line(u64),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { topic, partition, offset } => {
                write!(f, "{topic}-{partition} offset {offset}")
            }
            Self::Line(number) => write!(f, "line {number}"),
        }
    }
}
