//! A real broker's quota: it sends empty responses with a throttle time.

use kafka_direct::{Cluster, ClusterConfig, Columns, KafkaRdd};
use kafka_direct_integration_tests::rows::rows;

use super::{bootstrap, oracle};

#[tokio::test]
async fn a_quota_slows_a_read_down_and_does_not_end_it() {
    const PARTITIONS: i32 = 4;
    const RECORDS: i64 = 4000;
    let (topic, client) =
        (format!("quota-{}", std::process::id()), format!("limited-{}", std::process::id()));
    let bootstrap = bootstrap();
    let admin = |arguments: &[&str]| oracle(&[&["Admin", &bootstrap], arguments].concat());
    admin(&["create", &topic, &PARTITIONS.to_string(), "1"]);
    for partition in 0..PARTITIONS {
        let (partition, count) = (partition.to_string(), RECORDS.to_string());
        admin(&["append", &topic, &partition, &count, "1000", "none"]);
    }
    // The quota is an average over ten seconds, so 13 of the 16 MB arrive without a throttle.
    admin(&["quota", &client, "1300000"]);
    let config = ClusterConfig::new(bootstrap.split(','))
        .client_id(&client)
        .partition_max_bytes(200_000)
        .fetch_max_bytes(500_000);
    let cluster = Cluster::connect(config).await.unwrap();
    let rdd = KafkaRdd::builder(&cluster).topic(&topic).columns(Columns::all());
    let rdd = rdd.build().await.unwrap();
    let expected: Vec<i64> = (0..PARTITIONS).flat_map(|_| 0..RECORDS).collect();
    // The broker may receive its quota during the first read.
    for _ in 0..5 {
        let read = rows(&rdd.collect().await.unwrap());
        let read: Vec<i64> = read.iter().map(|row| row.offset).collect();
        assert_eq!(read, expected);
        if !cluster.fetch_metrics().throttled.is_zero() {
            break;
        }
    }
    assert!(!cluster.fetch_metrics().throttled.is_zero(), "the broker never throttled a request");
    admin(&["delete", &topic]);
}
