//! Tests of faults, version caps and malformed requests.

use std::time::Duration;

use bytes::Bytes;
use kafka_direct_broker::{ApiKey, ErrorCode, Fault};
use kafka_protocol::{messages::*, protocol::StrBytes};
use tokio::time::Instant;

use crate::client::{Client, bases, broker, fetch, partitions, values, want};

#[tokio::test]
async fn a_fault_applies_to_one_request_and_the_next_is_served() {
    let broker = broker(1).await;
    broker.append("t", 0, values(1, 10)).unwrap();
    let mut client = Client::memory(&broker, 1);
    broker.faults().next(ApiKey::Fetch, Fault::ErrorCode(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    broker.faults().next(ApiKey::Fetch, Fault::Empty);
    let call = async |client: &mut Client| client.call(11, fetch(vec![want(0, 0)])).await;
    let refused = call(&mut client).await;
    assert_eq!(
        (partitions(&refused)[0].error_code, partitions(&refused)[0].high_watermark),
        (6, -1)
    );
    let empty = call(&mut client).await;
    let found = partitions(&empty)[0];
    assert_eq!((found.error_code, found.high_watermark, bases(found).len()), (0, 1, 0));
    assert_eq!(bases(partitions(&call(&mut client).await)[0]), [0]);
    assert_eq!(
        (broker.requests(ApiKey::Fetch), broker.faults().intercepted(ApiKey::Fetch)),
        (3, 2)
    );
}

#[tokio::test]
async fn session_errors_are_top_level() {
    let broker = broker(1).await;
    let mut client = Client::memory(&broker, 1);
    broker.faults().next(ApiKey::Fetch, Fault::ErrorCode(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    assert_eq!(client.call(11, fetch(vec![want(0, 0)])).await.error_code, 70);
}

#[tokio::test]
async fn connections_are_cut_before_serving_or_within_the_response() {
    let broker = broker(1).await;
    broker.append("t", 0, values(1, 100)).unwrap();
    for fault in [Fault::Cut, Fault::CutAfter(0), Fault::CutAfter(3), Fault::CutAfter(40)] {
        let mut client = Client::memory(&broker, 1);
        broker.faults().next(ApiKey::Fetch, fault.clone());
        let response = client.try_call(11, fetch(vec![want(0, 0)])).await;
        assert!(response.is_none(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_cut_produce_has_no_effect_and_one_cut_after_0_bytes_has() {
    use produce_request::{PartitionProduceData, TopicProduceData};
    let broker = broker(1).await;
    for (fault, end) in [(Fault::Cut, 0), (Fault::CutAfter(0), 1)] {
        let records = kafka_direct_broker::BatchWriter::new().write(&values(1, 10)).unwrap();
        let partition = PartitionProduceData::default().with_records(Some(records));
        let topic = TopicProduceData::default()
            .with_name(StrBytes::from_static_str("t").into())
            .with_partition_data(vec![partition]);
        let request = ProduceRequest::default().with_acks(1).with_topic_data(vec![topic]);
        broker.faults().next(ApiKey::Produce, fault);
        let mut client = Client::memory(&broker, 1);
        assert!(client.try_call(9, request).await.is_none());
        assert_eq!(broker.watermarks("t", 0).unwrap().high.get(), end);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_holds_back_the_requests_queued_after_it() {
    let broker = broker(1).await;
    broker.faults().next(ApiKey::Metadata, Fault::Delay(Duration::from_secs(3)));
    let mut client = Client::memory(&broker, 1);
    let start = Instant::now();
    client.send(9, &MetadataRequest::default()).await;
    client.send(2, &FindCoordinatorRequest::default()).await;
    client.frame().await.unwrap();
    client.receive::<FindCoordinatorRequest>(2).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3);
}

#[tokio::test]
async fn responses_are_corrupted_replaced_and_throttled() {
    let broker = broker(1).await;
    broker.append("t", 0, values(1, 100)).unwrap();
    let mut client = Client::memory(&broker, 1);
    let good = client.call(11, fetch(vec![want(0, 0)])).await;
    broker.faults().next(ApiKey::Fetch, Fault::flip_byte(usize::MAX));
    let bad = client.call(11, fetch(vec![want(0, 0)])).await;
    assert_ne!(partitions(&good)[0].records, partitions(&bad)[0].records);
    broker.faults().next(ApiKey::Fetch, Fault::Throttle(Duration::from_millis(750)));
    let throttled = client.call(11, fetch(vec![want(0, 0)])).await;
    assert_eq!((throttled.throttle_time_ms, partitions(&throttled).len()), (750, 0));
    let raw = Bytes::from_static(&[0, 0, 0, 3, 1, 2, 3]);
    broker.faults().next(ApiKey::Fetch, Fault::Raw(raw));
    client.send(11, &fetch(vec![want(0, 0)])).await;
    assert_eq!(client.frame().await.unwrap()[..], [1, 2, 3]);
}

fn name() -> StrBytes {
    StrBytes::from_static_str("t")
}

/// Sends one request with content for every version of these APIs, and checks the response.
async fn call_everything(client: &mut Client) {
    for version in ApiKey::Produce.versions() {
        let topic = produce_request::TopicProduceData::default()
            .with_partition_data(vec![produce_request::PartitionProduceData::default()]);
        let topic = if version < 13 { topic.with_name(name().into()) } else { topic };
        let request = ProduceRequest::default().with_acks(1).with_topic_data(vec![topic]);
        client.call(version, request).await;
    }
    for version in ApiKey::Fetch.versions() {
        let topic = fetch_request::FetchTopic::default().with_partitions(vec![want(0, 0)]);
        let topic = if version < 13 { topic.with_topic(name().into()) } else { topic };
        client.call(version, FetchRequest::default().with_topics(vec![topic])).await;
    }
    for version in ApiKey::ListOffsets.versions() {
        let topic = list_offsets_request::ListOffsetsTopic::default()
            .with_name(name().into())
            .with_partitions(vec![list_offsets_request::ListOffsetsPartition::default()]);
        client.call(version, ListOffsetsRequest::default().with_topics(vec![topic])).await;
    }
    for version in ApiKey::Metadata.versions() {
        let topic =
            metadata_request::MetadataRequestTopic::default().with_name(Some(name().into()));
        client.call(version, MetadataRequest::default().with_topics(Some(vec![topic]))).await;
    }
    for version in ApiKey::ApiVersions.versions() {
        client.call(version, ApiVersionsRequest::default()).await;
    }
    for version in ApiKey::OffsetForLeaderEpoch.versions() {
        let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
        let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
            .with_topic(name().into())
            .with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
        client.call(version, request).await;
    }
}

/// The same as [`call_everything`], for the APIs of groups and topic changes.
async fn call_everything_else(client: &mut Client) {
    for version in ApiKey::FindCoordinator.versions() {
        let request = FindCoordinatorRequest::default();
        let request =
            if version < 4 { request } else { request.with_coordinator_keys(vec![name()]) };
        client.call(version, request).await;
    }
    for version in ApiKey::OffsetCommit.versions() {
        let partition = offset_commit_request::OffsetCommitRequestPartition::default();
        let topic = offset_commit_request::OffsetCommitRequestTopic::default()
            .with_partitions(vec![partition]);
        client.call(version, OffsetCommitRequest::default().with_topics(vec![topic])).await;
    }
    for version in ApiKey::OffsetFetch.versions() {
        let request = OffsetFetchRequest::default();
        let request = if version < 8 {
            let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_partition_indexes(vec![0]);
            request.with_topics(Some(vec![topic]))
        } else {
            request.with_groups(vec![offset_fetch_request::OffsetFetchRequestGroup::default()])
        };
        client.call(version, request).await;
    }
    for version in ApiKey::CreateTopics.versions() {
        let topic = create_topics_request::CreatableTopic::default()
            .with_name(StrBytes::from_string(format!("new-{version}")).into())
            .with_num_partitions(1);
        client.call(version, CreateTopicsRequest::default().with_topics(vec![topic])).await;
    }
    for version in ApiKey::DeleteTopics.versions() {
        let topic = delete_topics_request::DeleteTopicState::default()
            .with_name(None)
            .with_topic_id(uuid::Uuid::from_bytes([9; 16]));
        let request = DeleteTopicsRequest::default();
        let request = if version < 6 {
            request.with_topic_names(vec![StrBytes::from_static_str("none").into()])
        } else {
            request.with_topics(vec![topic])
        };
        client.call(version, request).await;
    }
    for version in ApiKey::DeleteRecords.versions() {
        let topic = delete_records_request::DeleteRecordsTopic::default()
            .with_name(name().into())
            .with_partitions(vec![delete_records_request::DeleteRecordsPartition::default()]);
        client.call(version, DeleteRecordsRequest::default().with_topics(vec![topic])).await;
    }
}

#[tokio::test]
async fn every_version_of_every_api_gets_a_well_formed_response_with_and_without_faults() {
    let broker = broker(1).await;
    let mut client = Client::memory(&broker, 1);
    call_everything(&mut client).await;
    call_everything_else(&mut client).await;
    for fault in [
        Fault::ErrorCode(ErrorCode::LEADER_NOT_AVAILABLE),
        Fault::Empty,
        Fault::Throttle(Duration::from_millis(5)),
    ] {
        for api in ApiKey::ALL {
            broker.faults().every(api, fault.clone());
        }
        call_everything(&mut client).await;
        call_everything_else(&mut client).await;
    }
    broker.faults().clear();
    let response = client.call(11, fetch(vec![want(0, 0)])).await;
    assert_eq!(partitions(&response)[0].error_code, 0);
    for api in ApiKey::ALL {
        let versions = u64::try_from(api.versions().count()).unwrap();
        assert_eq!(broker.faults().intercepted(api), versions * 3, "{api:?}");
    }
}

#[tokio::test]
async fn versions_outside_the_cap_are_not_advertised_and_close_the_connection() {
    let broker = broker(1).await;
    broker.cap_versions(ApiKey::Fetch, 0..=11);
    let mut client = Client::memory(&broker, 1);
    for version in ApiKey::ApiVersions.versions() {
        let response = client.call(version, ApiVersionsRequest::default()).await;
        let named = |key| {
            let api = response.api_keys.iter().find(|api| api.api_key == key).unwrap();
            (api.min_version, api.max_version)
        };
        assert_eq!((named(0), named(1), named(18)), ((0, 13), (4, 11), (0, 4)));
        assert_eq!(response.error_code, 0);
    }
    assert!(client.try_call(12, fetch(vec![want(0, 0)])).await.is_none());
}

#[tokio::test]
async fn an_unknown_version_of_api_versions_gets_a_v0_response_with_error_35() {
    let broker = broker(1).await;
    let mut client = Client::memory(&broker, 1);
    client.send_frame(&[0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0]).await;
    let frame = client.frame().await.unwrap();
    assert_eq!(frame[..], [0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    client.call(3, ApiVersionsRequest::default()).await;
}

#[tokio::test]
async fn malformed_requests_close_only_their_own_connection() {
    let broker = broker(1).await;
    let mut other = Client::memory(&broker, 1);
    let malformed: [&[u8]; 5] = [
        &[],
        &[0, 1],
        &[0, 99, 0, 0, 0, 0, 0, 1],
        // Metadata v1 with 2^31 − 1 topics, v9 with 2^32 − 2.
        &[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
        &[0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ];
    for frame in malformed {
        let mut client = Client::memory(&broker, 1);
        client.send_frame(frame).await;
        assert!(client.frame().await.is_none(), "{frame:?}");
    }
    let response = other.call(11, fetch(vec![want(0, 0)])).await;
    assert_eq!(partitions(&response)[0].error_code, 0);
}

#[tokio::test]
async fn requests_of_one_connection_get_responses_in_order() {
    let broker = broker(1).await;
    let mut client = Client::memory(&broker, 1);
    for _ in 0..50 {
        client.send(11, &fetch(vec![want(0, 0)])).await;
    }
    for nth in 1..=50i32 {
        let frame = client.frame().await.unwrap();
        assert_eq!(frame[..4], nth.to_be_bytes());
    }
    assert_eq!(broker.requests(ApiKey::Fetch), 50);
    drop(client.try_call::<FetchRequest>(11, fetch(vec![])).await);
}
