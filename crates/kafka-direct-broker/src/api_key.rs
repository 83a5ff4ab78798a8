//! The APIs this broker serves, their versions, and caps on them.

use std::{collections::HashMap, ops::RangeInclusive};

use kafka_protocol::messages::ApiKey as WireKey;
use parking_lot::Mutex;

/// An API this broker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ApiKey {
    /// Appends records.
    Produce,
    /// Reads records.
    Fetch,
    /// Looks up offsets by position or timestamp.
    ListOffsets,
    /// Lists nodes, topics and leaders.
    Metadata,
    /// Stores a group's offsets.
    OffsetCommit,
    /// Reads a group's committed offsets.
    OffsetFetch,
    /// Finds the node that stores a group's offsets.
    FindCoordinator,
    /// Lists the served APIs and their versions.
    ApiVersions,
    /// Creates topics.
    CreateTopics,
    /// Deletes topics.
    DeleteTopics,
    /// Raises the log start offset.
    DeleteRecords,
    /// Looks up the end offset of a leader epoch.
    OffsetForLeaderEpoch,
}

impl ApiKey {
    /// Every served API.
    pub const ALL: [Self; 12] = [
        Self::Produce,
        Self::Fetch,
        Self::ListOffsets,
        Self::Metadata,
        Self::OffsetCommit,
        Self::OffsetFetch,
        Self::FindCoordinator,
        Self::ApiVersions,
        Self::CreateTopics,
        Self::DeleteTopics,
        Self::DeleteRecords,
        Self::OffsetForLeaderEpoch,
    ];

    /// The API key's number in the protocol.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Produce => 0,
            Self::Fetch => 1,
            Self::ListOffsets => 2,
            Self::Metadata => 3,
            Self::OffsetCommit => 8,
            Self::OffsetFetch => 9,
            Self::FindCoordinator => 10,
            Self::ApiVersions => 18,
            Self::CreateTopics => 19,
            Self::DeleteTopics => 20,
            Self::DeleteRecords => 21,
            Self::OffsetForLeaderEpoch => 23,
        }
    }

    /// The versions that the broker can serve, inclusive.
    #[must_use]
    pub const fn versions(self) -> RangeInclusive<i16> {
        match self {
            Self::Produce => 3..=13,
            Self::Fetch => 4..=17,
            Self::ListOffsets => 1..=10,
            Self::Metadata => 0..=13,
            Self::OffsetCommit => 2..=9,
            Self::OffsetFetch => 1..=9,
            Self::FindCoordinator => 0..=6,
            Self::ApiVersions => 0..=4,
            Self::CreateTopics => 2..=7,
            Self::DeleteTopics => 1..=6,
            Self::DeleteRecords => 0..=2,
            Self::OffsetForLeaderEpoch => 2..=4,
        }
    }

    pub(crate) fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.number() == number)
    }

    /// The request header version for a request version; 2 is the flexible one.
    pub(crate) fn request_header_version(self, version: i16) -> i16 {
        self.wire().request_header_version(version)
    }

    /// The response header version for a request version.
    pub(crate) fn response_header_version(self, version: i16) -> i16 {
        self.wire().response_header_version(version)
    }

    const fn wire(self) -> WireKey {
        match self {
            Self::Produce => WireKey::Produce,
            Self::Fetch => WireKey::Fetch,
            Self::ListOffsets => WireKey::ListOffsets,
            Self::Metadata => WireKey::Metadata,
            Self::OffsetCommit => WireKey::OffsetCommit,
            Self::OffsetFetch => WireKey::OffsetFetch,
            Self::FindCoordinator => WireKey::FindCoordinator,
            Self::ApiVersions => WireKey::ApiVersions,
            Self::CreateTopics => WireKey::CreateTopics,
            Self::DeleteTopics => WireKey::DeleteTopics,
            Self::DeleteRecords => WireKey::DeleteRecords,
            Self::OffsetForLeaderEpoch => WireKey::OffsetForLeaderEpoch,
        }
    }
}

/// The version caps of a running broker.
#[derive(Debug, Default)]
pub(crate) struct Versions(Mutex<HashMap<ApiKey, RangeInclusive<i16>>>);

impl Versions {
    /// Limits the served versions of `api` to `range`, inclusive.
    pub(crate) fn cap(&self, api: ApiKey, range: RangeInclusive<i16>) {
        self.0.lock().insert(api, range);
    }

    /// The served versions of `api`, inclusive; may be empty.
    pub(crate) fn of(&self, api: ApiKey) -> RangeInclusive<i16> {
        let all = api.versions();
        match self.0.lock().get(&api) {
            None => all,
            Some(cap) => *all.start().max(cap.start())..=*all.end().min(cap.end()),
        }
    }

    /// The versions in an ApiVersions response; `None` if the cap leaves none.
    ///
    /// Produce is advertised from v0 although it is served from v3. Apache Kafka 4 does so for old
    /// clients that require v0.
    pub(crate) fn advertised(&self, api: ApiKey) -> Option<RangeInclusive<i16>> {
        let served = self.of(api);
        if served.is_empty() {
            return None;
        }
        let lowest = api == ApiKey::Produce && served.start() == api.versions().start();
        Some(if lowest { 0..=*served.end() } else { served })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codecs_support_every_served_version() {
        for api in ApiKey::ALL {
            assert_eq!(WireKey::try_from(api.number()), Ok(api.wire()));
            let known = api.wire().valid_versions();
            assert!(known.min <= *api.versions().start(), "{api:?}");
            assert!(*api.versions().end() <= known.max, "{api:?}");
        }
    }

    #[test]
    fn a_cap_narrows_and_never_widens() {
        let versions = Versions::default();
        versions.cap(ApiKey::Fetch, 0..=12);
        assert_eq!(versions.of(ApiKey::Fetch), 4..=12);
        versions.cap(ApiKey::Fetch, 0..=3);
        assert_eq!(versions.advertised(ApiKey::Fetch), None);
    }
}
