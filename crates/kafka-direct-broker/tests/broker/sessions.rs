//! Tests of fetch sessions.

use kafka_direct_broker::Broker;
use kafka_protocol::messages::{FetchRequest, fetch_request::FetchTopic};

use crate::client::{Client, bases, broker, fetch, partitions, values, want};

fn in_session(request: FetchRequest, id: i32, epoch: i32) -> FetchRequest {
    request.with_session_id(id).with_session_epoch(epoch)
}

#[tokio::test]
async fn an_incremental_response_contains_only_changes() {
    let broker = broker(2).await;
    let mut client = Client::memory(&broker, 1);
    let full = client.call(11, in_session(fetch(vec![want(0, 0), want(1, 0)]), 0, 0)).await;
    assert_eq!((partitions(&full).len(), full.error_code), (2, 0));
    let id = full.session_id;
    assert_ne!(id, 0);
    let nothing = client.call(11, in_session(FetchRequest::default(), id, 1)).await;
    assert_eq!((nothing.responses.len(), nothing.session_id), (0, id));
    broker.append("t", 1, values(2, 10)).unwrap();
    let changed = client.call(11, in_session(FetchRequest::default(), id, 2)).await;
    let changed = partitions(&changed);
    assert_eq!((changed.len(), changed[0].partition_index, bases(changed[0])), (1, 1, vec![0]));
    let moved = client.call(11, in_session(fetch(vec![want(1, 2)]), id, 3)).await;
    assert!(moved.responses.is_empty());
}

#[tokio::test]
async fn unknown_sessions_and_wrong_epochs_get_their_error_codes() {
    let broker = broker(1).await;
    let mut client = Client::memory(&broker, 1);
    let response = client.call(11, in_session(FetchRequest::default(), 77, 1)).await;
    assert_eq!((response.error_code, response.session_id), (70, 0));
    let id = client.call(11, in_session(fetch(vec![want(0, 0)]), 0, 0)).await.session_id;
    let response = client.call(11, in_session(FetchRequest::default(), id, 5)).await;
    assert_eq!(response.error_code, 71);
    let response = client.call(13, in_session(FetchRequest::default(), id, 1)).await;
    assert_eq!(response.error_code, 106);
}

#[tokio::test]
async fn a_recreated_topic_is_an_inconsistent_id_in_a_session_and_an_unknown_id_outside() {
    let broker = broker(1).await;
    let id = uuid::Uuid::from_bytes(broker.topic_id("t").unwrap().to_bytes());
    let mut client = Client::memory(&broker, 1);
    let by_id = || {
        let topic = FetchTopic::default().with_topic_id(id).with_partitions(vec![want(0, 0)]);
        FetchRequest::default().with_topics(vec![topic])
    };
    let session = client.call(13, in_session(by_id(), 0, 0)).await.session_id;
    broker.recreate_topic("t").unwrap();
    let response = client.call(13, in_session(FetchRequest::default(), session, 1)).await;
    assert_eq!(partitions(&response)[0].error_code, 103);
    let response = client.call(13, by_id()).await;
    assert_eq!(partitions(&response)[0].error_code, 100);
    let response = client.call(12, fetch(vec![want(0, 0)])).await;
    assert_eq!(partitions(&response)[0].error_code, 0);
}

#[tokio::test]
async fn without_a_slot_the_session_is_0() {
    let broker = Broker::builder().in_memory().fetch_session_slots(0).start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    let mut client = Client::memory(&broker, 1);
    let response = client.call(11, in_session(fetch(vec![want(0, 0)]), 0, 0)).await;
    assert_eq!((response.session_id, partitions(&response).len()), (0, 1));
}
