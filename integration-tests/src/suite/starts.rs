//! Start and end offsets: how they resolve, and the errors when they cannot.

use std::collections::BTreeMap;

use kafka_direct::{
    DataLossPolicy, EndOffset, ErrorKind, KafkaRdd, NoMatch, Offset, OffsetRange, ResetCause,
    StartOffset, Starts, TopicPartition,
};

use super::{all_columns, offsets, read};
use crate::cluster::{TestCluster, Writer, connect, unique};

pub async fn starts_and_ends_resolve_to_offsets(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("bounds"));
    writer.create(&topic, 1).await;
    // Batches of one record: a broker that looks up batches by timestamp then finds records.
    writer.write_numbered(&topic, 0, 0..30, 1).await;
    let connection = connect(cluster).await;
    let time = |number: i64| 1_700_000_000_000 + number;
    let since = |number| StartOffset::Timestamp { millis: time(number), no_match: NoMatch::Error };
    let at = |offset| StartOffset::At(Offset::new(offset));
    for (start, end, from, until) in [
        (StartOffset::Earliest, EndOffset::Latest, 0, 30),
        (StartOffset::Latest, EndOffset::Latest, 30, 30),
        (at(4), EndOffset::At(Offset::new(9)), 4, 9),
        (StartOffset::FromEnd(7), EndOffset::FromEnd(2), 23, 28),
        (StartOffset::FromEnd(700), EndOffset::Latest, 0, 30),
        (since(11), EndOffset::Timestamp { millis: time(20) }, 11, 20),
        (since(11), EndOffset::Timestamp { millis: time(9999) }, 11, 30),
    ] {
        let builder = all_columns(&connection, &topic).start(start.clone()).end(end.clone());
        let rows = read(&builder.build().await.unwrap()).await;
        assert_eq!(offsets(&rows), (from..until).collect::<Vec<_>>(), "{start} {end}");
    }
    let late = all_columns(&connection, &topic).start(since(9999)).build().await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Invalid, "{late}");
    let latest = StartOffset::Timestamp { millis: time(9999), no_match: NoMatch::Latest };
    assert!(all_columns(&connection, &topic).start(latest).build().await.unwrap().is_empty_span());
    let one = Starts::per_partition([(TopicPartition::new(topic.as_str(), 0), at(28))]);
    let rows = read(&all_columns(&connection, &topic).start(one).build().await.unwrap()).await;
    assert_eq!(offsets(&rows), [28, 29]);
}

pub async fn a_group_start_reads_from_its_commit(cluster: &impl TestCluster) {
    let (writer, topic, group) = (Writer::new(cluster).await, unique("group"), unique("g"));
    writer.create(&topic, 2).await;
    for partition in 0..2 {
        writer.write_numbered(&topic, partition, 0..10, 3).await;
    }
    let connection = connect(cluster).await;
    let commit = BTreeMap::from([(TopicPartition::new(topic.as_str(), 1), Offset::new(6))]);
    assert!(connection.commit_offsets(&group, &commit).await.unwrap().is_empty());
    let start = StartOffset::GroupCommitted { group, fallback: Box::new(StartOffset::FromEnd(1)) };
    let builder = all_columns(&connection, &topic).start(start);
    let rows = read(&builder.build().await.unwrap()).await;
    assert_eq!(offsets(&rows), [9, 6, 7, 8, 9]);
}

pub async fn an_offset_outside_the_log_is_refused_or_clamped(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("outside"));
    writer.create(&topic, 1).await;
    writer.write_numbered(&topic, 0, 0..10, 3).await;
    let connection = connect(cluster).await;
    let until = EndOffset::At(Offset::new(50));
    let error = all_columns(&connection, &topic).end(until.clone()).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost);
    let text = error.to_string();
    assert!(text.contains("50") && text.contains("10") && text.contains(&topic), "{text}");
    let resume = all_columns(&connection, &topic).end(until);
    let rdd = resume.on_data_loss(DataLossPolicy::Resume).build().await.unwrap();
    assert_eq!(rdd.plan().resets()[0].cause, ResetCause::Clamped);
    assert_eq!(read(&rdd).await.len(), 10);
    let (from, until) = (StartOffset::At(Offset::new(8)), EndOffset::At(Offset::new(3)));
    let backwards = all_columns(&connection, &topic).start(from).end(until).build().await;
    assert_eq!(backwards.unwrap_err().kind(), ErrorKind::Invalid);
}

pub async fn a_trimmed_log_is_lost_data_or_a_recorded_reset(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("trimmed"));
    writer.create(&topic, 1).await;
    writer.write_numbered(&topic, 0, 0..40, 10).await;
    let connection = connect(cluster).await;
    let plan = all_columns(&connection, &topic).build().await.unwrap().plan().clone();
    writer.trim(&topic, 0, 17).await;
    let from_plan = |policy| {
        let builder = KafkaRdd::builder(&connection).columns(kafka_direct::Columns::all());
        builder.on_data_loss(policy).build_from_plan(plan.clone())
    };
    let lost = from_plan(DataLossPolicy::Fail).await.unwrap().collect().await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::OffsetLost);
    assert!(lost.to_string().contains("[17, 40)"), "{lost}");
    let resume = from_plan(DataLossPolicy::Resume).await.unwrap();
    let mut batches = resume.read_partition(0).unwrap();
    let mut all = Vec::new();
    while let Some(batch) = batches.try_next().await.unwrap() {
        all.push(batch);
    }
    assert_eq!(offsets(&crate::rows::rows(&all)), (17..40).collect::<Vec<_>>());
    let reset = &batches.resets()[0];
    assert_eq!((reset.cause, reset.skipped()), (ResetCause::Trimmed, 17));
    let anew = all_columns(&connection, &topic).build().await.unwrap();
    assert_eq!(offsets(&read(&anew).await), (17..40).collect::<Vec<_>>());
}

pub async fn unknown_topics_and_partitions_are_named_and_not_created(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("known"));
    writer.create(&topic, 1).await;
    let connection = connect(cluster).await;
    let missing = unique("missing");
    let error = KafkaRdd::builder(&connection).topic(&missing).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(&missing), "{error}");
    let known = connection.all_topics().await.unwrap();
    assert!(!known.iter().any(|topic| *topic.name == *missing), "{missing} was created");
    let index = all_columns(&connection, &topic).partitions([5]).build().await.unwrap_err();
    assert_eq!(index.kind(), ErrorKind::Invalid, "{index}");
    let range = OffsetRange::new(TopicPartition::new(topic.as_str(), 9), 0, 1).unwrap();
    let range = KafkaRdd::builder(&connection).ranges([range]).build().await.unwrap_err();
    assert_eq!(range.kind(), ErrorKind::Invalid, "{range}");
    let nothing = KafkaRdd::builder(&connection).build().await.unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Invalid, "{nothing}");
}
