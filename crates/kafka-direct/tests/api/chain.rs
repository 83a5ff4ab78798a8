//! A batch that continues after an earlier one.

use kafka_direct::{Cluster, ClusterConfig, Error, IsolationLevel, KafkaRdd};
use kafka_direct_broker::{Broker, Record};

#[tokio::test]
async fn the_isolation_level_of_the_earlier_batch_is_kept_or_the_batch_is_refused() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    broker.append("t", 0, ["a", "b"].map(Record::new)).unwrap();
    let cluster = Cluster::connect(ClusterConfig::new([broker.bootstrap()])).await.unwrap();
    let first = KafkaRdd::builder(&cluster).topic("t").isolation(IsolationLevel::ReadUncommitted);
    let first = first.build().await.unwrap();
    let end = kafka_direct::BatchEnd::new(first.plan(), []);
    broker.append("t", 0, ["c"].map(Record::new)).unwrap();
    let next = || KafkaRdd::builder(&cluster).after(&end);
    assert_eq!(next().build().await.unwrap().span(), 1);
    let error = next().isolation(IsolationLevel::ReadCommitted).build().await.unwrap_err();
    assert!(matches!(error, Error::Setting { setting: "after", .. }), "{error}");
}
