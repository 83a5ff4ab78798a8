//! Tests of one connection: frame sizes, correlation ids, throttling and dropped futures.

use std::time::Duration;

use bytes::Bytes;
use kafka_direct_core::ErrorKind;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse};
use tokio::time::{Instant, timeout};

use crate::{
    WireError,
    connection::Connection,
    testing::{Peer, ReceivedRequest, Reply, World, body},
};

async fn open(peer: &Peer) -> Connection {
    Connection::open(&peer.config(), "b1", 9092).await.unwrap()
}

async fn request_metadata(connection: &mut Connection) -> Result<MetadataResponse, WireError> {
    let request = MetadataRequest::default()
        .with_topics(Some(Vec::new()))
        .with_allow_auto_topic_creation(false);
    connection.call(ApiKey::Metadata, 12, &request).await
}

fn on_metadata(reply: impl Fn(&ReceivedRequest, &World) -> Reply + Send + Sync + 'static) -> Peer {
    let peer = Peer::cluster(1, 1);
    peer.script(move |received, world| {
        (received.api == ApiKey::Metadata).then(|| reply(received, world))
    });
    peer
}

#[tokio::test(start_paused = true)]
async fn impossible_frame_sizes_are_refused_before_anything_is_allocated() {
    for size in [i32::MAX, -1, i32::MIN, 0, 3, 129 * 1024 * 1024] {
        let peer = on_metadata(move |_, _| Reply::Raw(size.to_be_bytes().to_vec()));
        let mut connection = open(&peer).await;
        let error = request_metadata(&mut connection).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(&size.to_string()), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_frame_size_followed_by_few_bytes_ends_in_the_request_timeout() {
    let peer = on_metadata(|_, _| {
        let mut bytes = (100 * 1024 * 1024i32).to_be_bytes().to_vec();
        bytes.extend([0; 1000]);
        Reply::Raw(bytes)
    });
    let mut connection = open(&peer).await;
    let began = Instant::now();
    let error = request_metadata(&mut connection).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(30));
    assert!(matches!(error, WireError::Connection { action: "Metadata", .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_response_with_a_wrong_correlation_id_is_invalid() {
    let peer = on_metadata(|_, _| Reply::Misnumbered(1));
    let mut connection = open(&peer).await;
    let error = request_metadata(&mut connection).await.unwrap_err();
    assert!(matches!(error, WireError::Protocol { api: "Metadata", .. }), "{error}");
    assert!(error.to_string().contains("correlation"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_hostile_count_is_refused_not_allocated() {
    // throttle, then brokers: 2^32 - 2 of them
    let peer =
        on_metadata(|_, _| Reply::Body(Bytes::from_static(&[0, 0, 0, 0, 255, 255, 255, 255, 15])));
    let mut connection = open(&peer).await;
    let error = request_metadata(&mut connection).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("claims more elements"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_throttle_delays_the_next_request_by_exactly_the_throttle_time() {
    let peer = on_metadata(|received, world| {
        body(&world.metadata(received).with_throttle_time_ms(5000), received.version)
    });
    let mut connection = open(&peer).await;
    request_metadata(&mut connection).await.unwrap();
    request_metadata(&mut connection).await.unwrap();
    let received = peer.requests(ApiKey::Metadata);
    assert_eq!(received[1].at - received[0].at, Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_throttle_may_be_longer_than_the_request_timeout() {
    let peer = on_metadata(|received, world| {
        body(&world.metadata(received).with_throttle_time_ms(120_000), received.version)
    });
    let mut connection = open(&peer).await;
    request_metadata(&mut connection).await.unwrap();
    let began = Instant::now();
    request_metadata(&mut connection).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn a_throttle_lasts_at_most_ten_minutes() {
    let peer = on_metadata(|received, world| {
        body(&world.metadata(received).with_throttle_time_ms(i32::MAX), received.version)
    });
    let mut connection = open(&peer).await;
    request_metadata(&mut connection).await.unwrap();
    let began = Instant::now();
    request_metadata(&mut connection).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(600));
}

#[tokio::test(start_paused = true)]
async fn responses_larger_than_the_pipe_arrive_whole() {
    let peer = Peer::cluster(1, 3000);
    let cluster = peer.connect().await;
    let topics = cluster.topics(&["t".to_owned()]).await.unwrap();
    assert_eq!(topics[0].partitions.len(), 3000);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_future_drops_its_connection_and_the_next_call_opens_another() {
    let peer = Peer::cluster(1, 1);
    let cluster = peer.connect().await;
    assert_eq!(peer.opened(), 1);
    peer.script(|received, _| {
        (received.api == ApiKey::Metadata).then_some(Reply::Late(Duration::from_secs(5)))
    });
    let names = ["t".to_owned()];
    timeout(Duration::from_secs(1), cluster.topics(&names)).await.unwrap_err();
    peer.script(|_, _| None);
    cluster.topics(&names).await.unwrap();
    assert_eq!(peer.opened(), 2);
    let last = peer.requests(ApiKey::Metadata).pop().unwrap();
    assert_eq!(last.connection, 1);
}

#[tokio::test(start_paused = true)]
async fn consecutive_calls_use_the_same_connection() {
    let peer = Peer::cluster(1, 1);
    let cluster = peer.connect().await;
    for _ in 0..5 {
        cluster.topics(&["t".to_owned()]).await.unwrap();
    }
    assert_eq!(peer.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_the_broker_closed_is_replaced_without_backoff() {
    let peer = Peer::cluster(1, 1);
    let cluster = peer.connect().await;
    peer.script(|received, _| (received.connection == 0).then_some(Reply::Close));
    let began = Instant::now();
    cluster.topics(&["t".to_owned()]).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(peer.opened(), 2);
}
