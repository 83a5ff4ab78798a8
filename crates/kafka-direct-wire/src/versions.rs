//! Which versions of which requests this crate speaks, and how to agree with a broker.
//!
//! Floors are what correctness needs, not what the newest broker has: other brokers lag behind
//! Apache Kafka. Ceilings are what the codecs here encode and the [guard](crate::guard) knows.

use std::collections::BTreeMap;

use kafka_protocol::{messages::ApiKey, protocol::VersionRange};

/// Versions this crate speaks, both ends inclusive.
pub(crate) const fn ours(api: ApiKey) -> VersionRange {
    match api {
        ApiKey::Fetch => VersionRange { min: 4, max: 17 },
        // 2: isolation level
        ApiKey::ListOffsets => VersionRange { min: 2, max: 10 },
        // 4: a request can say that it creates no topic
        ApiKey::Metadata => VersionRange { min: 4, max: 13 },
        // 2: an error code for the whole response; 10 names topics by id only
        ApiKey::OffsetFetch => VersionRange { min: 2, max: 9 },
        ApiKey::FindCoordinator => VersionRange { min: 1, max: 6 },
        ApiKey::ApiVersions => VersionRange { min: 0, max: 4 },
        // 2: the leader's epoch is checked
        ApiKey::OffsetForLeaderEpoch => VersionRange { min: 2, max: 4 },
        _ => VersionRange { min: 0, max: -1 },
    }
}

/// The request's name in messages.
pub(crate) const fn name(api: ApiKey) -> &'static str {
    match api {
        ApiKey::Fetch => "Fetch",
        ApiKey::ListOffsets => "ListOffsets",
        ApiKey::Metadata => "Metadata",
        ApiKey::OffsetFetch => "OffsetFetch",
        ApiKey::FindCoordinator => "FindCoordinator",
        ApiKey::ApiVersions => "ApiVersions",
        ApiKey::OffsetForLeaderEpoch => "OffsetForLeaderEpoch",
        _ => "request",
    }
}

/// What one broker speaks: lowest and highest version by API key.
#[derive(Debug, Clone, Default)]
pub(crate) struct BrokerVersions(BTreeMap<i16, (i16, i16)>);

impl BrokerVersions {
    pub(crate) fn new(entries: impl IntoIterator<Item = (i16, i16, i16)>) -> Self {
        Self(entries.into_iter().map(|(key, min, max)| (key, (min, max))).collect())
    }

    /// The broker's own range for `api`.
    pub(crate) fn range(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.0.get(&(api as i16)).copied()
    }

    /// The highest version both sides know.
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
    fn ceilings_lie_within_what_the_codecs_know() {
        for api in [
            ApiKey::Fetch,
            ApiKey::ListOffsets,
            ApiKey::Metadata,
            ApiKey::OffsetFetch,
            ApiKey::FindCoordinator,
            ApiKey::ApiVersions,
            ApiKey::OffsetForLeaderEpoch,
        ] {
            let (ours, codec) = (ours(api), api.valid_versions());
            assert_eq!(ours.intersect(&codec), ours, "{api:?}");
        }
    }
}
