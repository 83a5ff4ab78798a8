//! Tests of the choice of a first broker and of versions.

use std::{sync::Arc, time::Duration};

use kafka_direct_core::ErrorKind;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, MetadataRequest};
use tokio::time::Instant;

use crate::{
    Cluster, ClusterConfig, WireError,
    testing::{Peer, Reply},
};

fn servers(peer: &Peer, list: &str) -> ClusterConfig {
    ClusterConfig::new([list]).transport(Arc::new(peer.clone()))
}

#[tokio::test(start_paused = true)]
async fn unreachable_bootstrap_servers_before_a_reachable_one_are_skipped() {
    let peer = Peer::cluster(2, 1);
    peer.refuse("closed:1");
    peer.silence("silent:1");
    let began = Instant::now();
    let cluster = Cluster::connect(servers(&peer, "closed:1,silent:1,b2:9092")).await.unwrap();
    assert_eq!(cluster.id().as_deref(), Some("the-cluster"));
    assert!(began.elapsed() < Duration::from_secs(11));
    let began = Instant::now();
    cluster.topics(&["t".to_owned()]).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO, "unreachable servers are not tried again");
}

#[tokio::test(start_paused = true)]
async fn when_no_server_responds_the_error_names_each_with_cause_and_time() {
    let peer = Peer::cluster(1, 1);
    peer.refuse("closed:1");
    peer.silence("silent:1");
    let error = Cluster::connect(servers(&peer, "closed:1,silent:1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.starts_with("connecting failed once in 10.0s"), "{text}");
    assert!(text.contains("closed:1 after 0.0ns: connect: connection refused"), "{text}");
    assert!(text.contains("silent:1 after 10.0s: connect: no response in 10s"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn connecting_requests_no_topic_and_creates_none() {
    let peer = Peer::cluster(1, 1);
    peer.connect().await;
    let received = peer.requests(ApiKey::Metadata);
    assert_eq!(received.len(), 1);
    let request: MetadataRequest = received[0].decode();
    assert_eq!(request.topics, Some(Vec::new()));
    assert!(!request.allow_auto_topic_creation);
}

#[tokio::test(start_paused = true)]
async fn api_versions_is_sent_in_version_0_after_the_broker_refuses_its_version() {
    let peer = Peer::cluster(1, 1);
    peer.cap(ApiKey::ApiVersions, 2);
    peer.connect().await;
    let versions: Vec<i16> =
        peer.requests(ApiKey::ApiVersions).iter().map(|received| received.version).collect();
    assert_eq!(versions, [4, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_broker_receives_the_client_name_and_version() {
    let peer = Peer::cluster(1, 1);
    peer.connect().await;
    let request: ApiVersionsRequest = peer.requests(ApiKey::ApiVersions)[0].decode();
    assert_eq!(request.client_software_name.as_str(), "kafka-direct");
    assert_eq!(request.client_software_version.as_str(), env!("CARGO_PKG_VERSION"));
}

#[tokio::test(start_paused = true)]
async fn a_broker_too_old_for_metadata_without_creation_is_refused_and_named() {
    let peer = Peer::cluster(1, 1);
    peer.cap(ApiKey::Metadata, 3);
    let error = Cluster::connect(peer.config()).await.unwrap_err();
    assert!(matches!(
        &error,
        WireError::UnsupportedVersion { api: "Metadata", broker: Some((0, 3)), ours: (4, 13), .. }
    ));
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(text.contains("b1:9092") && text.contains("0 to 3"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_no_kafka_listener_is_a_wrong_address_and_not_retried() {
    for (bytes, named) in [
        // the alert that a TLS listener sends to a plain client
        (&[0x15, 3, 3, 0, 2, 2, 40][..], "a TLS listener"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "an HTTP server"),
        // a sound size, but no response to this request
        (&[0, 0, 0, 4, 9, 9, 9, 9], "no Kafka listener"),
    ] {
        let peer = Peer::cluster(1, 1);
        peer.script(move |_, _| Some(Reply::Raw(bytes.to_vec())));
        let began = Instant::now();
        let config = peer.config().connect_retry_timeout(Duration::from_secs(60));
        let error = Cluster::connect(config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(named), "{error}");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_metadata_is_named_as_a_controller() {
    let peer = Peer::cluster(1, 1);
    peer.remove(ApiKey::Metadata);
    let error = Cluster::connect(peer.config()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("b1:9092 is a KRaft controller"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_closes_the_connection_is_unavailable_with_a_hint_at_the_protocol() {
    for (closes_on, hint) in [(ApiKey::ApiVersions, "plain TCP"), (ApiKey::Metadata, "SASL")] {
        let peer = Peer::cluster(1, 1);
        peer.script(move |received, _| (received.api == closes_on).then_some(Reply::Close));
        let error = Cluster::connect(peer.config()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_accepts_and_never_answers_is_named_as_such() {
    let peer = Peer::cluster(1, 1);
    peer.script(|_, _| Some(Reply::Never));
    let error = Cluster::connect(peer.config()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains("connected, but no response to the first request in 10s"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_is_retried_for_as_long_as_asked() {
    let peer = Peer::cluster(1, 1);
    peer.refuse("b1:9092");
    let config = || servers(&peer, "b1:9092");
    let began = Instant::now();
    Cluster::connect(config()).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::ZERO, "not retried by default");
    let limit = Duration::from_secs(20);
    let error = Cluster::connect(config().connect_retry_timeout(limit)).await.unwrap_err();
    assert!(began.elapsed() > Duration::from_secs(18) && began.elapsed() <= limit, "{error}");
    let later = peer.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        later.accept("b1:9092");
    });
    Cluster::connect(config().connect_retry_timeout(limit)).await.unwrap();
}
