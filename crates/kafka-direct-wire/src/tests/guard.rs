//! Tests that the guard accepts what Kafka's encoder writes, in every version.
//!
//! They also test that after the guard a hostile frame never makes the decoder reserve more
//! elements than the frame has bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, BrokerId, FindCoordinatorResponse, GroupId,
        ListOffsetsResponse, MetadataResponse, OffsetFetchResponse, OffsetForLeaderEpochResponse,
        TopicName,
        api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey},
        find_coordinator_response::Coordinator,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
    protocol::{Decodable, Encodable, Message, StrBytes},
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::guard;

/// Draws sizes and contents of a response from a list of numbers that proptest shrinks.
struct Draw<'a> {
    from: &'a [u16],
    at: usize,
}

impl Draw<'_> {
    fn number(&mut self) -> u16 {
        self.at += 1;
        self.from[self.at % self.from.len()]
    }

    fn i16(&mut self) -> i16 {
        i16::from_ne_bytes(self.number().to_ne_bytes())
    }

    fn i32(&mut self) -> i32 {
        i32::from(self.i16()) * 60_000
    }

    fn text(&mut self) -> StrBytes {
        // the compact length of 64 or more characters (128 bytes) takes two bytes
        let length = match self.number() % 8 {
            7 => 90,
            short => short,
        };
        StrBytes::from_string("ä".repeat(usize::from(length)))
    }

    fn maybe(&mut self) -> Option<StrBytes> {
        (!self.number().is_multiple_of(3)).then(|| self.text())
    }

    fn name(&mut self) -> TopicName {
        TopicName(self.text())
    }

    fn nodes(&mut self) -> Vec<BrokerId> {
        self.many(|draw| BrokerId(draw.i32()))
    }

    fn many<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.number() % 4).map(|_| one(self)).collect()
    }
}

fn bytes<R: Encodable>(response: &R, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    response.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

/// Adds a tagged field that this build does not know, if the version supports tagged fields.
macro_rules! tagged {
    ($draw:expr, $flexible:expr, $response:expr) => {{
        let response = $response;
        if $flexible && $draw.number().is_multiple_of(2) {
            response.with_unknown_tagged_field(9, Bytes::from_static(b"later"))
        } else {
            response
        }
    }};
}

fn api_versions(d: &mut Draw<'_>, v: i16) -> Bytes {
    let apis = d.many(|d| {
        tagged!(
            d,
            v >= 3,
            ApiVersion::default()
                .with_api_key(d.i16())
                .with_min_version(d.i16())
                .with_max_version(d.i16())
        )
    });
    let mut response = ApiVersionsResponse::default().with_error_code(d.i16()).with_api_keys(apis);
    if v >= 1 {
        response.throttle_time_ms = d.i32();
    }
    if v >= 3 {
        response.supported_features = d
            .many(|d| SupportedFeatureKey::default().with_name(d.text()).with_max_version(d.i16()));
        response.finalized_features_epoch = i64::from(d.i32());
        response.finalized_features = d.many(|d| {
            FinalizedFeatureKey::default().with_name(d.text()).with_max_version_level(d.i16())
        });
        response.zk_migration_ready = d.number().is_multiple_of(2);
    }
    bytes(&tagged!(d, v >= 3, response), v)
}

fn metadata(d: &mut Draw<'_>, v: i16) -> Bytes {
    let brokers = d.many(|d| {
        tagged!(
            d,
            v >= 9,
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(d.i32()))
                .with_host(d.text())
                .with_port(d.i32())
                .with_rack(d.maybe())
        )
    });
    let topics = d.many(|d| {
        let partitions = d.many(|d| {
            let mut partition = MetadataResponsePartition::default()
                .with_error_code(d.i16())
                .with_partition_index(d.i32())
                .with_leader_id(BrokerId(d.i32()))
                .with_replica_nodes(d.nodes())
                .with_isr_nodes(d.nodes());
            if v >= 7 {
                partition.leader_epoch = d.i32();
            }
            if v >= 5 {
                partition.offline_replicas = d.nodes();
            }
            tagged!(d, v >= 9, partition)
        });
        let name = if v >= 12 { d.maybe().map(TopicName) } else { Some(d.name()) };
        let mut topic = MetadataResponseTopic::default()
            .with_error_code(d.i16())
            .with_name(name)
            .with_is_internal(d.number().is_multiple_of(2))
            .with_partitions(partitions);
        if v >= 10 {
            topic.topic_id = Uuid::from_u128(u128::from(d.number()));
        }
        if v >= 8 {
            topic.topic_authorized_operations = d.i32();
        }
        tagged!(d, v >= 9, topic)
    });
    let mut response = MetadataResponse::default()
        .with_throttle_time_ms(d.i32())
        .with_brokers(brokers)
        .with_cluster_id(d.maybe())
        .with_controller_id(BrokerId(d.i32()))
        .with_topics(topics);
    if (8..=10).contains(&v) {
        response.cluster_authorized_operations = d.i32();
    }
    if v >= 13 {
        response.error_code = d.i16();
    }
    bytes(&tagged!(d, v >= 9, response), v)
}

fn list_offsets(d: &mut Draw<'_>, v: i16) -> Bytes {
    let topics = d.many(|d| {
        let partitions = d.many(|d| {
            let mut partition = ListOffsetsPartitionResponse::default()
                .with_partition_index(d.i32())
                .with_error_code(d.i16())
                .with_timestamp(i64::from(d.i32()))
                .with_offset(i64::from(d.i32()));
            if v >= 4 {
                partition.leader_epoch = d.i32();
            }
            tagged!(d, v >= 6, partition)
        });
        let topic =
            ListOffsetsTopicResponse::default().with_name(d.name()).with_partitions(partitions);
        tagged!(d, v >= 6, topic)
    });
    let response =
        ListOffsetsResponse::default().with_throttle_time_ms(d.i32()).with_topics(topics);
    bytes(&tagged!(d, v >= 6, response), v)
}

fn find_coordinator(d: &mut Draw<'_>, v: i16) -> Bytes {
    let mut response = FindCoordinatorResponse::default().with_throttle_time_ms(d.i32());
    if v >= 4 {
        response.coordinators = d.many(|d| {
            tagged!(
                d,
                true,
                Coordinator::default()
                    .with_key(d.text())
                    .with_node_id(BrokerId(d.i32()))
                    .with_host(d.text())
                    .with_port(d.i32())
                    .with_error_code(d.i16())
                    .with_error_message(d.maybe())
            )
        });
    } else {
        response = response
            .with_error_code(d.i16())
            .with_error_message(d.maybe())
            .with_node_id(BrokerId(d.i32()))
            .with_host(d.text())
            .with_port(d.i32());
    }
    bytes(&tagged!(d, v >= 3, response), v)
}

fn offset_fetch(d: &mut Draw<'_>, v: i16) -> Bytes {
    let mut response = OffsetFetchResponse::default();
    if v >= 3 {
        response.throttle_time_ms = d.i32();
    }
    if v >= 8 {
        response.groups = d.many(|d| {
            let topics = d.many(|d| {
                let partitions = d.many(|d| {
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(d.i32())
                        .with_committed_offset(i64::from(d.i32()))
                        .with_committed_leader_epoch(d.i32())
                        .with_metadata(d.maybe())
                        .with_error_code(d.i16())
                });
                let topic = OffsetFetchResponseTopics::default().with_partitions(partitions);
                tagged!(d, true, topic.with_name(d.name()))
            });
            OffsetFetchResponseGroup::default()
                .with_group_id(GroupId(d.text()))
                .with_topics(topics)
                .with_error_code(d.i16())
        });
    } else {
        response.error_code = d.i16();
        response.topics = d.many(|d| {
            let partitions = d.many(|d| {
                let mut partition = OffsetFetchResponsePartition::default()
                    .with_partition_index(d.i32())
                    .with_committed_offset(i64::from(d.i32()))
                    .with_metadata(d.maybe())
                    .with_error_code(d.i16());
                if v >= 5 {
                    partition.committed_leader_epoch = d.i32();
                }
                tagged!(d, v >= 6, partition)
            });
            OffsetFetchResponseTopic::default().with_name(d.name()).with_partitions(partitions)
        });
    }
    bytes(&tagged!(d, v >= 6, response), v)
}

fn epochs(d: &mut Draw<'_>, v: i16) -> Bytes {
    let topics = d.many(|d| {
        let partitions = d.many(|d| {
            let end = EpochEndOffset::default()
                .with_error_code(d.i16())
                .with_partition(d.i32())
                .with_leader_epoch(d.i32())
                .with_end_offset(i64::from(d.i32()));
            tagged!(d, v >= 4, end)
        });
        OffsetForLeaderTopicResult::default().with_topic(d.name()).with_partitions(partitions)
    });
    let response =
        OffsetForLeaderEpochResponse::default().with_throttle_time_ms(d.i32()).with_topics(topics);
    bytes(&tagged!(d, v >= 4, response), v)
}

/// A guarded API: how to draw a response, and the capacity of its arrays after decoding.
struct Subject {
    api: ApiKey,
    draw: fn(&mut Draw<'_>, i16) -> Bytes,
    largest_array: fn(Bytes, i16) -> usize,
}

fn largest<R: Decodable + Message>(
    mut body: Bytes,
    version: i16,
    arrays: fn(&R) -> usize,
) -> usize {
    R::decode(&mut body, version).as_ref().map_or(0, arrays)
}

const SUBJECTS: [Subject; 6] = [
    Subject {
        api: ApiKey::ApiVersions,
        draw: api_versions,
        largest_array: |b, v| largest::<ApiVersionsResponse>(b, v, |r| r.api_keys.capacity()),
    },
    Subject {
        api: ApiKey::Metadata,
        draw: metadata,
        largest_array: |b, v| {
            largest::<MetadataResponse>(b, v, |r| {
                let nested = r.topics.iter().map(|topic| topic.partitions.capacity());
                r.brokers.capacity() + r.topics.capacity() + nested.sum::<usize>()
            })
        },
    },
    Subject {
        api: ApiKey::ListOffsets,
        draw: list_offsets,
        largest_array: |b, v| {
            largest::<ListOffsetsResponse>(b, v, |r| {
                let nested = r.topics.iter().map(|topic| topic.partitions.capacity());
                r.topics.capacity() + nested.sum::<usize>()
            })
        },
    },
    Subject {
        api: ApiKey::FindCoordinator,
        draw: find_coordinator,
        largest_array: |b, v| {
            largest::<FindCoordinatorResponse>(b, v, |r| r.coordinators.capacity())
        },
    },
    Subject {
        api: ApiKey::OffsetFetch,
        draw: offset_fetch,
        largest_array: |b, v| {
            largest::<OffsetFetchResponse>(b, v, |r| r.topics.capacity() + r.groups.capacity())
        },
    },
    Subject {
        api: ApiKey::OffsetForLeaderEpoch,
        draw: epochs,
        largest_array: |b, v| {
            largest::<OffsetForLeaderEpochResponse>(b, v, |r| r.topics.capacity())
        },
    },
];

/// Every guarded API in every version that this crate supports.
fn every_version() -> impl Iterator<Item = (&'static Subject, i16)> {
    SUBJECTS.iter().flat_map(|subject| {
        let ours = crate::versions::ours(subject.api);
        (ours.min..=ours.max).map(move |version| (subject, version))
    })
}

fn numbers() -> impl Strategy<Value = Vec<u16>> {
    proptest::collection::vec(any::<u16>(), 1..120)
}

proptest! {
    #[test]
    fn an_encoded_response_is_accepted_and_no_part_of_it_is(numbers in numbers()) {
        for (subject, version) in every_version() {
            let body = (subject.draw)(&mut Draw { from: &numbers, at: 0 }, version);
            let what = format!("{:?} v{version}", subject.api);
            prop_assert_eq!(guard::check(subject.api, version, &body), Ok(()), "{}", what);
            for cut in (0..body.len()).step_by(1 + body.len() / 50) {
                prop_assert!(guard::check(subject.api, version, &body[..cut]).is_err(), "{}", what);
            }
            let mut longer = body.to_vec();
            longer.push(0);
            prop_assert!(guard::check(subject.api, version, &longer).is_err(), "{}", what);
        }
    }

    #[test]
    fn damaged_responses_never_reserve_more_elements_than_they_have_bytes(
        numbers in numbers(),
        damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..8),
    ) {
        for (subject, version) in every_version() {
            let body = (subject.draw)(&mut Draw { from: &numbers, at: 0 }, version);
            let mut body = body.to_vec();
            for (at, value) in &damage {
                let at = usize::from(*at) % body.len();
                body[at] = *value;
            }
            if guard::check(subject.api, version, &body).is_ok() {
                let size = body.len();
                prop_assert!((subject.largest_array)(Bytes::from(body), version) <= size);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_reserve_more_elements_than_bytes(
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        for (subject, version) in every_version() {
            if guard::check(subject.api, version, &body).is_ok() {
                let largest = (subject.largest_array)(Bytes::from(body.clone()), version);
                prop_assert!(largest <= body.len());
            }
        }
        let _ = guard::skip_tagged(&body);
    }
}

#[test]
fn hostile_counts_are_refused_wherever_an_array_can_start() {
    for (subject, version) in every_version() {
        let numbers = [3, 7, 11, 2, 5];
        let body = (subject.draw)(&mut Draw { from: &numbers, at: 0 }, version);
        for count in [&[0x7f, 255, 255, 255][..], &[255, 255, 255, 255, 15], &[254, 255, 255, 127]]
        {
            for at in 0..body.len() {
                let mut hostile = body[..at].to_vec();
                hostile.extend(count);
                hostile.extend(&body[(at + count.len()).min(body.len())..]);
                if guard::check(subject.api, version, &hostile).is_ok() {
                    let size = hostile.len();
                    assert!((subject.largest_array)(Bytes::from(hostile), version) <= size);
                }
            }
        }
    }
}

#[test]
fn a_known_tagged_field_with_a_wrong_size_is_refused() {
    // error 0, no APIs, throttle 0, one tagged field: tag 1 (8 bytes) with the size 1, its bytes
    let mut body = vec![0, 0, 1, 0, 0, 0, 0, 1, 1, 1];
    body.extend([0; 8]);
    assert!(guard::check(ApiKey::ApiVersions, 3, &body).is_err());
    // the same with the size 9: the decoder would continue at another offset than the guard
    let mut body = vec![0, 0, 1, 0, 0, 0, 0, 1, 1, 9];
    body.extend([0; 9]);
    assert!(guard::check(ApiKey::ApiVersions, 3, &body).is_err());
    // tag 0 (an array) with a count of 2^32 - 2 elements in a field of 5 bytes
    let body = [0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 255, 255, 255, 255, 15];
    assert!(guard::check(ApiKey::ApiVersions, 3, &body).is_err());
}
