//! Tests of topics and offsets: creation, metadata, offset look-ups, deletion.

use kafka_direct_broker::{ApiKey, AutoCreate, BatchWriter, Broker, Marker, RawOffsets, Record};
use kafka_protocol::{
    messages::{
        CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, ListOffsetsRequest,
        MetadataRequest, MetadataResponse, TopicName,
        create_topics_request::CreatableTopic,
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        delete_topics_request::DeleteTopicState,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
    },
    protocol::StrBytes,
};

use crate::client::{Client, broker, values};

fn name(text: &'static str) -> TopicName {
    StrBytes::from_static_str(text).into()
}

fn metadata_of(topic: &'static str) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false)
}

async fn list_offset(client: &mut Client, version: i16, isolation: i8, time: i64) -> (i16, i64) {
    let partition = ListOffsetsPartition::default().with_timestamp(time);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_topics(vec![topic]);
    let request = if version >= 2 { request.with_isolation_level(isolation) } else { request };
    let found = client.call(version, request).await.topics[0].partitions[0].clone();
    (found.error_code, found.offset)
}

#[tokio::test]
async fn topics_are_created_described_and_deleted_in_every_version() {
    let broker = Broker::builder().in_memory().nodes(2).start().await.unwrap();
    let mut client = Client::memory(&broker, 1);
    for version in ApiKey::CreateTopics.versions() {
        let topic = CreatableTopic::default()
            .with_name(name("t"))
            .with_num_partitions(3)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic.clone(), topic]);
        let response = client.call(version, request).await;
        let codes: Vec<_> = response.topics.iter().map(|t| t.error_code).collect();
        assert_eq!(codes, [0, 36]);
        for version in ApiKey::Metadata.versions() {
            let request = if version < 4 {
                metadata_of("t").with_allow_auto_topic_creation(true)
            } else {
                metadata_of("t")
            };
            let response = client.call(version, request).await;
            let leaders: Vec<_> =
                response.topics[0].partitions.iter().map(|p| p.leader_id.0).collect();
            assert_eq!((response.brokers.len(), leaders), (2, vec![1, 2, 1]), "v{version}");
            if version >= 10 {
                let id = response.topics[0].topic_id.into_bytes();
                assert_eq!(id, broker.topic_id("t").unwrap().to_bytes());
            }
        }
        let version = version.min(6);
        let request = DeleteTopicsRequest::default();
        let request = if version < 6 {
            request.with_topic_names(vec![name("t"), name("t")])
        } else {
            let topic = DeleteTopicState::default().with_name(Some(name("t")));
            request.with_topics(vec![topic.clone(), topic])
        };
        let response = client.call(version, request).await;
        let codes: Vec<_> = response.responses.iter().map(|t| t.error_code).collect();
        assert_eq!(codes, [0, 3]);
    }
}

#[tokio::test]
async fn all_topics_are_listed_and_unknown_ones_get_an_error() {
    let broker = broker(1).await;
    broker.create_topic("other", 1).unwrap();
    let mut client = Client::memory(&broker, 1);
    for version in ApiKey::Metadata.versions() {
        let all = MetadataRequest::default();
        let all = if version == 0 { all.with_topics(Some(vec![])) } else { all.with_topics(None) };
        assert_eq!(client.call(version, all).await.topics.len(), 2, "v{version}");
    }
    let code = |response: MetadataResponse| response.topics[0].error_code;
    assert_eq!(code(client.call(9, metadata_of("none")).await), 3);
    assert_eq!(code(client.call(9, metadata_of("no no")).await), 17);
    let by_id = MetadataRequestTopic::default().with_topic_id(uuid::Uuid::from_bytes([5; 16]));
    let by_id = MetadataRequest::default().with_topics(Some(vec![by_id]));
    assert_eq!(code(client.call(12, by_id).await), 100);
}

#[tokio::test]
async fn topics_are_auto_created_only_if_request_and_broker_allow_it() {
    let builder = Broker::builder().in_memory().auto_create_topics(AutoCreate::Partitions(4));
    let creating = builder.start().await.unwrap();
    let mut client = Client::memory(&creating, 1);
    client.call(9, metadata_of("new")).await;
    assert!(creating.topic_id("new").is_none());
    let response = client.call(9, metadata_of("new").with_allow_auto_topic_creation(true)).await;
    assert_eq!(response.topics[0].partitions.len(), 4);
    let strict = broker(1).await;
    let mut client = Client::memory(&strict, 1);
    client.call(9, metadata_of("new").with_allow_auto_topic_creation(true)).await;
    assert!(strict.topic_id("new").is_none());
}

#[tokio::test]
async fn offsets_are_listed_by_position_and_by_time_in_every_version() {
    let broker = broker(1).await;
    let stamped = |times: &[i64]| {
        times.iter().map(|t| Record::new("v").with_timestamp(*t)).collect::<Vec<_>>()
    };
    broker.append("t", 0, stamped(&[100, 300, 200])).unwrap();
    broker.append("t", 0, stamped(&[400, 350])).unwrap();
    let open = BatchWriter::new().transaction(1, 0).write(&stamped(&[500])).unwrap();
    broker.append_raw("t", 0, open, RawOffsets::Assign).unwrap();
    broker.trim("t", 0, 1).unwrap();
    let mut client = Client::memory(&broker, 1);
    for version in ApiKey::ListOffsets.versions() {
        for (time, expected) in [(-1, 6), (-2, 1), (0, 1), (100, 1), (301, 3), (401, 5), (501, -1)]
        {
            let found = list_offset(&mut client, version, 0, time).await;
            assert_eq!(found, (0, expected), "v{version} {time}");
        }
        if version >= 2 {
            assert_eq!(list_offset(&mut client, version, 1, -1).await, (0, 5));
            assert_eq!(list_offset(&mut client, version, 1, 401).await, (0, -1));
        }
        let max = list_offset(&mut client, version, 0, -3).await;
        assert_eq!(max, if version >= 7 { (0, 5) } else { (35, -1) });
        let local = list_offset(&mut client, version, 0, -4).await;
        assert_eq!(local, if version >= 8 { (0, 1) } else { (35, -1) });
    }
    let marker = BatchWriter::new().transaction(1, 0).marker(Marker::Abort).unwrap();
    broker.append_raw("t", 0, marker, RawOffsets::Assign).unwrap();
    assert_eq!(list_offset(&mut client, 5, 1, -1).await, (0, 7));
}

#[tokio::test]
async fn a_partition_requested_twice_is_an_invalid_request() {
    let broker = broker(1).await;
    let partition = ListOffsetsPartition::default().with_timestamp(-1);
    let topic = ListOffsetsTopic::default()
        .with_name(name("t"))
        .with_partitions(vec![partition.clone(), partition]);
    let mut client = Client::memory(&broker, 1);
    let response = client.call(5, ListOffsetsRequest::default().with_topics(vec![topic])).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 42);
}

#[tokio::test]
async fn records_are_deleted_up_to_an_offset_or_to_the_end() {
    let broker = broker(1).await;
    broker.append("t", 0, values(5, 10)).unwrap();
    let mut client = Client::memory(&broker, 1);
    for version in ApiKey::DeleteRecords.versions() {
        for (offset, expected) in [(3, (0, 3)), (6, (1, -1)), (-1, (0, 5))] {
            broker.recreate_topic("t").unwrap();
            broker.append("t", 0, values(5, 10)).unwrap();
            let partition = DeleteRecordsPartition::default().with_offset(offset);
            let topic =
                DeleteRecordsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
            let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
            let response = client.call(version, request).await;
            let found = &response.topics[0].partitions[0];
            assert_eq!((found.error_code, found.low_watermark), expected);
        }
    }
}

#[tokio::test]
async fn partitions_that_are_added_are_empty_and_the_others_keep_their_records() {
    let broker = broker(2).await;
    broker.append("t", 1, [Record::new("a")]).unwrap();
    let id = broker.topic_id("t");
    broker.add_partitions("t", 4).unwrap();
    let ends: Vec<_> = (0..4).map(|p| broker.watermarks("t", p).unwrap().high.get()).collect();
    assert_eq!((ends, broker.topic_id("t")), (vec![0, 1, 0, 0], id));
    broker.append("t", 3, [Record::new("b")]).unwrap();
    assert!(broker.add_partitions("t", 4).is_err());
    assert!(broker.add_partitions("gone", 4).is_err());
}
