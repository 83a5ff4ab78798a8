//! Brokers that support no version of a request that this build supports.

use kafka_direct::{Cluster, ClusterConfig, ErrorKind, KafkaRdd};
use kafka_direct_broker::{ApiKey, Broker};

use super::{broker, connect, offsets, whole};

fn assert_names(error: &kafka_direct::Error, broker: &Broker, words: &str) {
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let text = error.to_string();
    let parts = [&broker.addresses()[0], words, "upgrade the older side"];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}

#[tokio::test]
async fn a_leader_without_a_common_fetch_version_is_invalid_at_once() {
    let broker = broker(2, 30, 3).await;
    let rdd = whole(&connect(&broker).await).await;
    let handshakes = broker.requests(ApiKey::ApiVersions);
    broker.cap_versions(ApiKey::Fetch, 0..=3);
    let error = offsets(&rdd).await.unwrap_err();
    assert_names(&error, &broker, "supports Fetch in no version, this build in versions 4 to 17");
    assert_eq!(broker.requests(ApiKey::ApiVersions), handshakes + 1, "it is not tried again");
    assert_eq!(broker.requests(ApiKey::Fetch), 0);
}

#[tokio::test]
async fn a_broker_without_a_common_version_to_plan_with_is_invalid_at_once() {
    let broker = broker(1, 30, 3).await;
    broker.cap_versions(ApiKey::ListOffsets, 1..=1);
    let cluster = connect(&broker).await;
    let error = KafkaRdd::builder(&cluster).topic("t").build().await.unwrap_err();
    assert_names(
        &error,
        &broker,
        "supports ListOffsets in versions 1 to 1, this build in versions 2 to 10",
    );
    assert_eq!(broker.requests(ApiKey::ListOffsets), 0);
    broker.cap_versions(ApiKey::Metadata, 0..=3);
    let error = Cluster::connect(ClusterConfig::new(broker.addresses())).await.unwrap_err();
    assert_names(
        &error.into(),
        &broker,
        "supports Metadata in versions 0 to 3, this build in versions 4 to 13",
    );
}
