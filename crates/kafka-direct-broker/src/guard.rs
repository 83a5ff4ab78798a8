//! Walks a request before the codecs decode it, because they reserve what a length field claims: a
//! few hostile bytes would ask for gigabytes and abort the process.
//!
//! The walk reads lengths exactly as the codecs do, so both see the same fields at the same
//! places. It refuses a request whose lengths are not backed by bytes, one with more than
//! [`MAX_ELEMENTS`] array elements and tagged fields together, and one whose known tagged fields
//! lie about their size (the codecs do not look at it).

/// Most array elements and tagged fields of one request.
pub(crate) const MAX_ELEMENTS: usize = 1_000_000;

/// The form of a value on the wire.
#[derive(Debug)]
pub(crate) enum Shape {
    /// So many bytes.
    Fixed(usize),
    /// A string, nullable or not.
    Text,
    /// A byte string, nullable or not.
    Blob,
    /// An array, nullable or not.
    Array(&'static Self),
    /// Fields one after the other, then tagged fields if the version is flexible.
    Fields(&'static [Field]),
}

/// A field with the versions that have it.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) from: i16,
    pub(crate) until: i16,
    pub(crate) shape: Shape,
}

/// A request's fields, and the first version that is flexible.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) flexible: i16,
    pub(crate) fields: &'static [Field],
    /// Known tagged fields below the top level, where the codecs take this many bytes whatever
    /// size is announced: tag and bytes.
    pub(crate) inner_tags: &'static [(u32, usize)],
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A length runs past the end, or is negative where that means nothing.
    Length,
    /// More elements than [`MAX_ELEMENTS`].
    Elements,
    /// A known tagged field of the wrong size.
    Tag,
}

/// Checks the body of a request.
pub(crate) fn check(schema: &Schema, version: i16, body: &[u8]) -> Result<(), Refused> {
    left_over(schema, version, body).map(|_| ())
}

/// How many bytes stand behind the body's last field.
fn left_over(schema: &Schema, version: i16, body: &[u8]) -> Result<usize, Refused> {
    let flexible = version >= schema.flexible;
    let tags = schema.inner_tags;
    let mut walk = Walk { rest: body, version, flexible, left: MAX_ELEMENTS, tags };
    walk.fields(schema.fields)?;
    // Only at the top may a tagged field lie: nothing behind it is read by its length.
    walk.tags = &[];
    walk.end_of_fields()?;
    Ok(walk.rest.len())
}

/// How many bytes the request header takes; `version` 2 is the flexible one.
pub(crate) fn header_bytes(version: i16, frame: &[u8]) -> Result<usize, Refused> {
    let mut walk = Walk { rest: frame, version, flexible: false, left: MAX_ELEMENTS, tags: &[] };
    walk.shape(&Shape::Fixed(8))?;
    walk.shape(&Shape::Text)?;
    walk.flexible = version >= 2;
    walk.end_of_fields()?;
    Ok(frame.len().saturating_sub(walk.rest.len()))
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    left: usize,
    tags: &'static [(u32, usize)],
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Result<(), Refused> {
        let version = self.version;
        let there = fields.iter().filter(|field| (field.from..=field.until).contains(&version));
        there.into_iter().try_for_each(|field| self.shape(&field.shape))
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Refused> {
        self.rest = self.rest.get(bytes..).ok_or(Refused::Length)?;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Refused::Length)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn varint(&mut self) -> Result<u32, Refused> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f).wrapping_shl(shift);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    /// A length as flexible versions write it: one more than it is, 0 for null.
    fn compact(&mut self) -> Result<usize, Refused> {
        let length = self.varint()?.saturating_sub(1);
        usize::try_from(length).map_err(|_| Refused::Length)
    }

    fn plain(length: i32) -> Result<usize, Refused> {
        if length == -1 { Ok(0) } else { usize::try_from(length).map_err(|_| Refused::Length) }
    }

    fn spend(&mut self, elements: usize) -> Result<(), Refused> {
        // Every element takes at least one byte, so a count above what is left cannot be true.
        if elements > self.rest.len() {
            return Err(Refused::Length);
        }
        self.left = self.left.checked_sub(elements).ok_or(Refused::Elements)?;
        Ok(())
    }

    fn shape(&mut self, shape: &Shape) -> Result<(), Refused> {
        match shape {
            Shape::Fixed(bytes) => self.skip(*bytes),
            Shape::Text => {
                let length = if self.flexible {
                    self.compact()?
                } else {
                    Self::plain(i16::from_be_bytes(self.take()?).into())?
                };
                self.skip(length)
            }
            Shape::Blob => {
                let length = self.count()?;
                self.skip(length)
            }
            Shape::Array(element) => {
                let count = self.count()?;
                self.spend(count)?;
                (0..count).try_for_each(|_| self.shape(element))
            }
            Shape::Fields(fields) => {
                self.fields(fields)?;
                self.end_of_fields()
            }
        }
    }

    fn count(&mut self) -> Result<usize, Refused> {
        if self.flexible { self.compact() } else { Self::plain(i32::from_be_bytes(self.take()?)) }
    }

    fn end_of_fields(&mut self) -> Result<(), Refused> {
        if !self.flexible {
            return Ok(());
        }
        let count = usize::try_from(self.varint()?).map_err(|_| Refused::Length)?;
        self.spend(count)?;
        for _ in 0..count {
            let tag = self.varint()?;
            let size = usize::try_from(self.varint()?).map_err(|_| Refused::Length)?;
            let lies = |(known, bytes): &(u32, usize)| *known == tag && *bytes != size;
            if self.tags.iter().any(lies) {
                return Err(Refused::Tag);
            }
            self.skip(size)?;
        }
        Ok(())
    }
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
            assert_eq!(
                left_over(guard_schemas::of(api), version, &body),
                Ok(0),
                "{api:?} v{version}"
            );
            assert_eq!(
                guard_schemas::of(api).flexible <= version,
                api.request_header_version(version) == 2,
                "{api:?} v{version}"
            );
            for cut in 0..body.len() {
                assert!(check(guard_schemas::of(api), version, &body[..cut]).is_err());
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
    fn counts_without_bytes_behind_them_are_refused() {
        // Metadata v1: 2^31 − 1 topics in four bytes; v9: 2^32 − 2 in five.
        let schema = guard_schemas::of(ApiKey::Metadata);
        assert_eq!(check(schema, 1, &[0x7f, 0xff, 0xff, 0xff]), Err(Refused::Length));
        assert_eq!(check(schema, 9, &[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(Refused::Length));
        assert_eq!(check(schema, 1, &[0xff, 0xff, 0xff, 0xfe]), Err(Refused::Length));
    }

    #[test]
    fn a_tagged_field_that_lies_about_its_size_is_refused() {
        // Fetch v17, one topic, one partition, whose tag 0 claims no bytes: the codec would take
        // sixteen and find a hostile count behind them.
        let mut body = vec![0; 21];
        body.push(2);
        body.extend([0; 16]);
        body.push(2);
        body.extend([0; 32]);
        body.extend([1, 0, 0]);
        body.extend([0; 16]);
        body.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(check(guard_schemas::of(ApiKey::Fetch), 17, &body), Err(Refused::Tag));
    }

    #[test]
    fn more_elements_than_any_client_sends_are_refused() {
        let mut body = i32::try_from(MAX_ELEMENTS + 1).unwrap().to_be_bytes().to_vec();
        body.resize(3_000_000, 0);
        assert_eq!(check(guard_schemas::of(ApiKey::Metadata), 1, &body), Err(Refused::Elements));
    }

    proptest! {
        #[test]
        fn whatever_passes_is_decoded_without_harm(
            which in 0..ApiKey::ALL.len(),
            version in 0i16..18,
            body in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), any::<u8>()], 0..200),
        ) {
            let api = ApiKey::ALL[which];
            if api.versions().contains(&version)
                && check(guard_schemas::of(api), version, &body).is_ok()
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
