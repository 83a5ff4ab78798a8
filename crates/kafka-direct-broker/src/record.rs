//! A record that the broker's owner appends.

use bytes::Bytes;

/// A record to append. A null key or value differs from an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key; `None` is null.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers in order; duplicates are kept. Keys are bytes, so that tests can serve invalid
    /// UTF-8.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// The timestamp in milliseconds since 1970-01-01 UTC. The default −1 means no timestamp,
    /// because the broker has no wall clock.
    pub timestamp: i64,
}

impl Record {
    /// A record with this value, no key, no headers and no timestamp.
    #[must_use]
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self { key: None, value: Some(value.into()), headers: Vec::new(), timestamp: -1 }
    }

    /// A record with this key and a null value.
    #[must_use]
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), value: None, headers: Vec::new(), timestamp: -1 }
    }

    /// Sets the key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Appends a header.
    #[must_use]
    pub fn with_header(mut self, key: impl Into<Bytes>, value: Option<Bytes>) -> Self {
        self.headers.push((key.into(), value));
        self
    }

    /// Sets the timestamp, in milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn with_timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = timestamp;
        self
    }
}
