//! Tests of committed offsets without group membership.

use kafka_direct_broker::{ApiKey, Broker};
use kafka_direct_core::Offset;
use kafka_protocol::{
    messages::{
        FindCoordinatorRequest, OffsetCommitRequest, OffsetFetchRequest,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        },
    },
    protocol::StrBytes,
};

use crate::client::Client;

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

async fn coordinator(client: &mut Client, version: i16) -> i32 {
    let request = FindCoordinatorRequest::default();
    if version < 4 {
        return client.call(version, request.with_key(text("g"))).await.node_id.0;
    }
    let request = request.with_coordinator_keys(vec![text("g")]);
    client.call(version, request).await.coordinators[0].node_id.0
}

fn commit(offset: i64) -> OffsetCommitRequest {
    let partition = |index| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("note")))
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(text("t").into())
        .with_partitions(vec![partition(0), partition(9)]);
    OffsetCommitRequest::default().with_group_id(text("g").into()).with_topics(vec![topic])
}

#[tokio::test]
async fn a_commit_is_read_back_in_every_version() {
    let broker = Broker::builder().in_memory().nodes(3).start().await.unwrap();
    broker.create_topic("t", 2).unwrap();
    let mut client = Client::memory(&broker, 1);
    let node = coordinator(&mut client, 0).await;
    for version in ApiKey::FindCoordinator.versions() {
        assert_eq!(coordinator(&mut client, version).await, node);
    }
    let mut client = Client::memory(&broker, node);
    for version in ApiKey::OffsetCommit.versions() {
        let response = client.call(version, commit(version.into())).await;
        let codes: Vec<_> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
        assert_eq!(codes, [0, 3]);
        assert_eq!(broker.committed("g", "t", 0), Some(Offset::new(version.into())));
    }
    for version in 1..=7 {
        let topic = OffsetFetchRequestTopic::default()
            .with_name(text("t").into())
            .with_partition_indexes(vec![0, 1]);
        let request = OffsetFetchRequest::default().with_group_id(text("g").into());
        let response = client.call(version, request.clone().with_topics(Some(vec![topic]))).await;
        let found: Vec<_> =
            response.topics[0].partitions.iter().map(|p| p.committed_offset).collect();
        assert_eq!(found, [9, -1], "v{version}");
        if version >= 2 {
            let response = client.call(version, request.with_topics(None)).await;
            assert_eq!(response.topics[0].partitions.len(), 1);
        }
    }
    for version in 8..=9 {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(text("t").into())
            .with_partition_indexes(vec![0, 1]);
        let group = |topics| {
            OffsetFetchRequestGroup::default().with_group_id(text("g").into()).with_topics(topics)
        };
        let groups = vec![group(Some(vec![topic])), group(None)];
        let response =
            client.call(version, OffsetFetchRequest::default().with_groups(groups)).await;
        let found: Vec<_> =
            response.groups[0].topics[0].partitions.iter().map(|p| p.committed_offset).collect();
        assert_eq!((found, response.groups[1].topics[0].partitions.len()), (vec![9, -1], 1));
    }
}

#[tokio::test]
async fn other_nodes_and_members_are_refused() {
    let broker = Broker::builder().in_memory().nodes(2).start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    let mut client = Client::memory(&broker, 1);
    let node = coordinator(&mut client, 3).await;
    let code = async |node: i32, request: OffsetCommitRequest| {
        let mut client = Client::memory(&broker, node);
        client.call(8, request).await.topics[0].partitions[0].error_code
    };
    assert_eq!(code(3 - node, commit(1)).await, 16);
    assert_eq!(code(node, commit(1).with_member_id(text("m"))).await, 25);
    assert_eq!(code(node, commit(1).with_generation_id_or_member_epoch(0)).await, 22);
    broker.stop_node(node).await.unwrap();
    let mut client = Client::memory(&broker, 3 - node);
    assert_eq!(coordinator(&mut client, 3).await, 3 - node);
}

#[tokio::test]
async fn committed_offsets_are_deleted_with_their_topic() {
    let broker = Broker::builder().in_memory().start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    Client::memory(&broker, 1).call(8, commit(1)).await;
    broker.recreate_topic("t").unwrap();
    assert_eq!(broker.committed("g", "t", 0), None);
}
