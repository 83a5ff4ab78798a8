//! The versions of each request that this crate supports, and the choice of a common version.
//!
//! The minimum is what correctness needs, because other brokers support fewer versions than Apache
//! Kafka. The maximum is what the codecs encode and what the [guard](crate::guard) has schemas for.

use std::collections::BTreeMap;

use kafka_protocol::{messages::ApiKey, protocol::VersionRange};

/// The versions of `api` that this crate supports, both ends inclusive.
pub(crate) const fn ours(api: ApiKey) -> VersionRange {
    match api {
        ApiKey::Fetch => VersionRange { min: 4, max: 17 },
        // 2: isolation level
        ApiKey::ListOffsets => VersionRange { min: 2, max: 10 },
        // 4: a request can forbid the creation of topics
        ApiKey::Metadata => VersionRange { min: 4, max: 13 },
        // 2: an error code for the whole response; 10 identifies topics only by id
        ApiKey::OffsetFetch => VersionRange { min: 2, max: 9 },
        ApiKey::FindCoordinator => VersionRange { min: 1, max: 6 },
        // 2: the oldest that Apache Kafka 4 serves; 10 identifies topics only by id
        ApiKey::OffsetCommit => VersionRange { min: 2, max: 9 },
        ApiKey::ApiVersions => VersionRange { min: 0, max: 4 },
        // 2: the leader's epoch is checked
        ApiKey::OffsetForLeaderEpoch => VersionRange { min: 2, max: 4 },
        _ => VersionRange { min: 0, max: -1 },
    }
}

/// The name of a request in error messages.
pub(crate) const fn name(api: ApiKey) -> &'static str {
    match api {
        ApiKey::Fetch => "Fetch",
        ApiKey::ListOffsets => "ListOffsets",
        ApiKey::Metadata => "Metadata",
        ApiKey::OffsetFetch => "OffsetFetch",
        ApiKey::FindCoordinator => "FindCoordinator",
        ApiKey::OffsetCommit => "OffsetCommit",
        ApiKey::ApiVersions => "ApiVersions",
        ApiKey::OffsetForLeaderEpoch => "OffsetForLeaderEpoch",
        _ => "request",
    }
}

/// The versions that one broker supports: lowest and highest by API key, both inclusive.
#[derive(Debug, Clone, Default)]
pub(crate) struct BrokerVersions(BTreeMap<i16, (i16, i16)>);

impl BrokerVersions {
    pub(crate) fn new(entries: impl IntoIterator<Item = (i16, i16, i16)>) -> Self {
        Self(entries.into_iter().map(|(key, min, max)| (key, (min, max))).collect())
    }

    /// The broker's lowest and highest version of `api`; `None` if it does not support `api`.
    pub(crate) fn range(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.0.get(&(api as i16)).copied()
    }

    /// The highest version of `api` that both sides support.
    pub(crate) fn agree(&self, api: ApiKey) -> Option<i16> {
        let (min, max) = self.range(api)?;
        let both = ours(api).intersect(&VersionRange { min, max });
        (!both.is_empty()).then_some(both.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen_and_no_overlap_is_none() {
        let broker = BrokerVersions::new([(3, 0, 9), (1, 0, 3), (2, 4, 99)]);
        assert_eq!(broker.agree(ApiKey::Metadata), Some(9));
        assert_eq!(broker.agree(ApiKey::Fetch), None);
        assert_eq!(broker.agree(ApiKey::ListOffsets), Some(10));
        assert_eq!(broker.agree(ApiKey::OffsetFetch), None);
        assert_eq!(broker.range(ApiKey::Fetch), Some((0, 3)));
    }

    #[test]
    fn the_codecs_support_every_version_of_this_crate() {
        for api in [
            ApiKey::Fetch,
            ApiKey::ListOffsets,
            ApiKey::Metadata,
            ApiKey::OffsetFetch,
            ApiKey::FindCoordinator,
            ApiKey::OffsetCommit,
            ApiKey::ApiVersions,
            ApiKey::OffsetForLeaderEpoch,
        ] {
            let (ours, codec) = (ours(api), api.valid_versions());
            assert_eq!(ours.intersect(&codec), ours, "{api:?}");
        }
    }
}
