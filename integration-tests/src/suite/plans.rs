//! A plan is rejected for another cluster or a re-created topic.

use kafka_direct::{BatchPlan, ErrorKind, KafkaRdd};

use super::all_columns;
use crate::cluster::{TestCluster, Writer, connect, unique};

pub async fn a_plan_of_another_cluster_is_refused(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("foreign"));
    writer.create(&topic, 1).await;
    writer.write_numbered(&topic, 0, 0..5, 5).await;
    let connection = connect(cluster).await;
    let plan = all_columns(&connection, &topic).build().await.unwrap().plan().to_json();
    let id = connection.id().unwrap();
    let foreign = BatchPlan::from_json(&plan.replace(&id, "AnotherClusterId")).unwrap();
    let error = KafkaRdd::from_plan(&connection, foreign).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(&id), "{error}");
}

pub async fn a_plan_of_a_recreated_topic_is_refused(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("recreated"));
    writer.create(&topic, 1).await;
    writer.write_numbered(&topic, 0, 0..5, 5).await;
    let connection = connect(cluster).await;
    let rdd = all_columns(&connection, &topic).build().await.unwrap();
    writer.delete(&topic).await;
    while connection.topics(std::slice::from_ref(&topic)).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    writer.create(&topic, 1).await;
    writer.write_numbered(&topic, 0, 0..9, 5).await;
    let error = KafkaRdd::from_plan(&connection, rdd.plan().clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost);
    assert!(error.to_string().contains("re-created"), "{error}");
    // A dataset that does not check its plan again detects the re-created topic by its topic ID.
    let error = rdd.collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost, "{error}");
}
