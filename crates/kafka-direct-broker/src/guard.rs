//! Checks a request's lengths and counts before the codecs decode it.
//!
//! The codecs reserve memory for a length before its bytes are checked ([`message_schema`] explains
//! the risk). A request is refused if:
//! - a length or count is invalid or exceeds the bytes that follow
//! - it has more than [`MAX_ELEMENTS`] elements
//! - a known tagged field differs in size from what the codecs read
//!
//! Bytes after the last field are ignored, as the codecs ignore them.

use kafka_direct_core::message_schema::{self, Malformed, Schema, Shape, always};

use crate::{ApiKey, guard_schemas};

/// Maximum number of array elements and tagged fields of one request.
pub(crate) const MAX_ELEMENTS: usize = 1_000_000;

/// The request header's fields before the tagged fields: API key, version, correlation id and
/// client id.
///
/// The client id has a plain (not compact) length in every version.
static HEADER: Schema =
    Schema { flexible_since: i16::MAX, fields: &[always(Shape::Fixed(8)), always(Shape::Text)] };

/// The first request header version with tagged fields.
const HEADER_FLEXIBLE_SINCE: i16 = 2;

/// Checks the body of a request.
pub(crate) fn check(api: ApiKey, version: i16, body: &[u8]) -> Result<(), Malformed> {
    walk(api, version, body).map(|_| ())
}

/// Checks the body of a request and returns the bytes after its last field.
fn walk(api: ApiKey, version: i16, body: &[u8]) -> Result<&[u8], Malformed> {
    guard_schemas::of(api).walk(version, body, MAX_ELEMENTS)
}

/// Checks a request header of header version `version` and returns its size in bytes.
pub(crate) fn header_bytes(version: i16, frame: &[u8]) -> Result<usize, Malformed> {
    let mut rest = HEADER.walk(version, frame, MAX_ELEMENTS)?;
    if version >= HEADER_FLEXIBLE_SINCE {
        rest = message_schema::skip_tagged_fields(rest, MAX_ELEMENTS)?;
    }
    Ok(frame.len().saturating_sub(rest.len()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::{
        messages::*,
        protocol::{Decodable, Encodable, StrBytes},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{ApiKey, guard_schemas};

    fn text() -> StrBytes {
        StrBytes::from_static_str("name")
    }

    fn check_all<Q: Encodable>(api: ApiKey, request: impl Fn(i16) -> Q) {
        for version in api.versions() {
            let mut body = Vec::new();
            request(version).encode(&mut body, version).unwrap();
            assert_eq!(walk(api, version, &body), Ok(&[][..]), "{api:?} v{version}");
            assert_eq!(
                guard_schemas::of(api).flexible_since <= version,
                api.request_header_version(version) == 2,
                "{api:?} v{version}"
            );
            for cut in 0..body.len() {
                assert!(check(api, version, &body[..cut]).is_err());
            }
        }
    }

    #[test]
    fn produce_and_fetch_requests_are_walked_to_their_last_byte() {
        check_all(ApiKey::Produce, |version| {
            let partition = produce_request::PartitionProduceData::default()
                .with_records(Some(Bytes::from_static(b"batch")));
            let topic = produce_request::TopicProduceData::default()
                .with_partition_data(vec![partition.clone(), partition.with_records(None)]);
            let topic = if version < 13 { topic.with_name(text().into()) } else { topic };
            ProduceRequest::default()
                .with_transactional_id(Some(text().into()))
                .with_topic_data(vec![topic.clone(), topic])
        });
        check_all(ApiKey::Fetch, |version| {
            let partition = fetch_request::FetchPartition::default();
            let partition = if version < 17 {
                partition
            } else {
                partition.with_replica_directory_id(uuid::Uuid::from_bytes([1; 16]))
            };
            let topic = fetch_request::FetchTopic::default()
                .with_partitions(vec![partition.clone(), partition]);
            let topic = if version < 13 { topic.with_topic(text().into()) } else { topic };
            let forgotten = fetch_request::ForgottenTopic::default().with_partitions(vec![1, 2]);
            let forgotten = if version < 7 { vec![] } else { vec![forgotten.clone(), forgotten] };
            let request = FetchRequest::default()
                .with_topics(vec![topic.clone(), topic])
                .with_forgotten_topics_data(forgotten);
            if version < 12 { request } else { request.with_cluster_id(Some(text())) }
        });
    }

    #[test]
    fn metadata_and_offset_requests_are_walked_to_their_last_byte() {
        check_all(ApiKey::ListOffsets, |_| {
            let partition = list_offsets_request::ListOffsetsPartition::default();
            let topic = list_offsets_request::ListOffsetsTopic::default()
                .with_name(text().into())
                .with_partitions(vec![partition.clone(), partition]);
            ListOffsetsRequest::default().with_topics(vec![topic.clone(), topic])
        });
        check_all(ApiKey::Metadata, |_| {
            let topic =
                metadata_request::MetadataRequestTopic::default().with_name(Some(text().into()));
            MetadataRequest::default().with_topics(Some(vec![topic.clone(), topic]))
        });
        check_all(ApiKey::OffsetForLeaderEpoch, |_| {
            let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
            let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
                .with_topic(text().into())
                .with_partitions(vec![partition.clone(), partition]);
            OffsetForLeaderEpochRequest::default().with_topics(vec![topic.clone(), topic])
        });
        check_all(ApiKey::ApiVersions, |_| ApiVersionsRequest::default());
    }

    #[test]
    fn group_requests_are_walked_to_their_last_byte() {
        check_all(ApiKey::OffsetCommit, |version| {
            let partition = offset_commit_request::OffsetCommitRequestPartition::default();
            let topic = offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(text().into())
                .with_partitions(vec![partition.clone(), partition]);
            let request = OffsetCommitRequest::default()
                .with_group_id(text().into())
                .with_topics(vec![topic.clone(), topic]);
            if version < 7 { request } else { request.with_group_instance_id(Some(text())) }
        });
        check_all(ApiKey::OffsetFetch, |version| {
            if version < 8 {
                let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
                    .with_name(text().into())
                    .with_partition_indexes(vec![1, 2]);
                return OffsetFetchRequest::default()
                    .with_group_id(text().into())
                    .with_topics(Some(vec![topic.clone(), topic]));
            }
            let topic = offset_fetch_request::OffsetFetchRequestTopics::default()
                .with_name(text().into())
                .with_partition_indexes(vec![1, 2]);
            let group = offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(text().into())
                .with_topics(Some(vec![topic.clone(), topic]));
            OffsetFetchRequest::default().with_groups(vec![group.clone(), group])
        });
        check_all(ApiKey::FindCoordinator, |version| {
            let request = FindCoordinatorRequest::default();
            if version < 4 {
                request.with_key(text())
            } else {
                request.with_coordinator_keys(vec![text(), text()])
            }
        });
    }

    #[test]
    fn topic_requests_are_walked_to_their_last_byte() {
        check_all(ApiKey::CreateTopics, |_| {
            let assignment = create_topics_request::CreatableReplicaAssignment::default()
                .with_broker_ids(vec![1.into(), 2.into()]);
            let config = create_topics_request::CreatableTopicConfig::default()
                .with_name(text())
                .with_value(Some(text()));
            let topic = create_topics_request::CreatableTopic::default()
                .with_name(text().into())
                .with_assignments(vec![assignment.clone(), assignment])
                .with_configs(vec![config.clone(), config]);
            CreateTopicsRequest::default().with_topics(vec![topic.clone(), topic])
        });
        check_all(ApiKey::DeleteTopics, |version| {
            let topic =
                delete_topics_request::DeleteTopicState::default().with_name(Some(text().into()));
            let request = DeleteTopicsRequest::default();
            if version < 6 {
                request.with_topic_names(vec![text().into(), text().into()])
            } else {
                request.with_topics(vec![topic.clone(), topic])
            }
        });
        check_all(ApiKey::DeleteRecords, |_| {
            let partition = delete_records_request::DeleteRecordsPartition::default();
            let topic = delete_records_request::DeleteRecordsTopic::default()
                .with_name(text().into())
                .with_partitions(vec![partition.clone(), partition]);
            DeleteRecordsRequest::default().with_topics(vec![topic.clone(), topic])
        });
    }

    #[test]
    fn counts_without_bytes_after_them_are_refused() {
        // Metadata v1: 2^31 − 1 topics in four bytes; v9: 2^32 − 2 in five.
        let refused = Err(Malformed::Count);
        assert_eq!(check(ApiKey::Metadata, 1, &[0x7f, 0xff, 0xff, 0xff]), refused);
        assert_eq!(check(ApiKey::Metadata, 9, &[0xff, 0xff, 0xff, 0xff, 0x0f]), refused);
        assert_eq!(check(ApiKey::Metadata, 1, &[0xff, 0xff, 0xff, 0xfe]), refused);
    }

    #[test]
    fn a_tagged_field_with_a_wrong_size_is_refused() {
        // Fetch v17 with one topic and one partition, whose tag 0 has size 0. The codec would read
        // sixteen bytes and then a huge count.
        let mut body = vec![0; 21];
        body.push(2);
        body.extend([0; 16]);
        body.push(2);
        body.extend([0; 32]);
        body.extend([1, 0, 0]);
        body.extend([0; 16]);
        body.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(check(ApiKey::Fetch, 17, &body), Err(Malformed::Tagged));
    }

    #[test]
    fn more_elements_than_any_client_sends_are_refused() {
        let mut body = i32::try_from(MAX_ELEMENTS + 1).unwrap().to_be_bytes().to_vec();
        body.resize(3_000_000, 0);
        assert_eq!(check(ApiKey::Metadata, 1, &body), Err(Malformed::Elements));
    }

    proptest! {
        #[test]
        fn checked_requests_are_decoded_without_panic(
            which in 0..ApiKey::ALL.len(),
            version in 0i16..18,
            body in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), any::<u8>()], 0..200),
        ) {
            let api = ApiKey::ALL[which];
            if api.versions().contains(&version)
                && check(api, version, &body).is_ok()
            {
                let mut bytes = Bytes::from(body);
                match api {
                    ApiKey::Produce => drop(ProduceRequest::decode(&mut bytes, version)),
                    ApiKey::Fetch => drop(FetchRequest::decode(&mut bytes, version)),
                    ApiKey::ListOffsets => drop(ListOffsetsRequest::decode(&mut bytes, version)),
                    ApiKey::Metadata => drop(MetadataRequest::decode(&mut bytes, version)),
                    ApiKey::OffsetCommit => drop(OffsetCommitRequest::decode(&mut bytes, version)),
                    ApiKey::OffsetFetch => drop(OffsetFetchRequest::decode(&mut bytes, version)),
                    ApiKey::FindCoordinator => {
                        drop(FindCoordinatorRequest::decode(&mut bytes, version));
                    }
                    ApiKey::ApiVersions => drop(ApiVersionsRequest::decode(&mut bytes, version)),
                    ApiKey::CreateTopics => drop(CreateTopicsRequest::decode(&mut bytes, version)),
                    ApiKey::DeleteTopics => drop(DeleteTopicsRequest::decode(&mut bytes, version)),
                    ApiKey::DeleteRecords => {
                        drop(DeleteRecordsRequest::decode(&mut bytes, version));
                    }
                    ApiKey::OffsetForLeaderEpoch => {
                        drop(OffsetForLeaderEpochRequest::decode(&mut bytes, version));
                    }
                }
            }
        }
    }
}
