//! INV-3 and INV-6: each record inside a range is read once, and no record outside it.

use kafka_direct::{
    EndOffset, KafkaRdd, OffsetRange, StartOffset, TopicPartition,
    decode::{self, Json, Utf8},
};
use rskafka::client::partition::Compression;

use super::{all_columns, offsets, read};
use crate::{
    cluster::{TestCluster, Writer, Written, connect, unique},
    rows::rows,
};

pub async fn every_record_of_the_log_is_read_once(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("whole"));
    writer.create(&topic, 3).await;
    for partition in 0..3 {
        writer.write_numbered(&topic, partition, 0..1000, 1 + 60 * partition as usize).await;
    }
    let rdd = all_columns(&connect(cluster).await, &topic).build().await.unwrap();
    assert_eq!((rdd.partitions().len(), rdd.span()), (3, 3000));
    let rows = read(&rdd).await;
    for partition in 0..3 {
        let own: Vec<_> = rows.iter().filter(|row| row.partition == partition).collect();
        assert_eq!(own.len(), 1000);
        for (number, row) in (0..).zip(&own) {
            assert_eq!(row.offset, number);
            assert!(row.is(&Written::numbered(number)), "{row:?}");
        }
    }
}

pub async fn every_cut_gives_exactly_the_records_inside(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("cuts"));
    writer.create(&topic, 1).await;
    writer.write_numbered(&topic, 0, 0..24, 5).await;
    let connection = connect(cluster).await;
    for from in 0..=24 {
        for until in (from..=24).step_by(3) {
            let range = OffsetRange::new(TopicPartition::new(topic.as_str(), 0), from, until);
            let rdd = all_columns(&connection, &topic).ranges([range.unwrap()]);
            let rows = read(&rdd.build().await.unwrap()).await;
            assert_eq!(offsets(&rows), (from..until).collect::<Vec<_>>(), "[{from}, {until})");
        }
    }
}

pub async fn pieces_give_what_the_whole_gives(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("pieces"));
    writer.create(&topic, 2).await;
    writer.write_numbered(&topic, 0, 0..900, 37).await;
    writer.write_numbered(&topic, 1, 0..50, 7).await;
    let connection = connect(cluster).await;
    let whole = read(&all_columns(&connection, &topic).build().await.unwrap()).await;
    for (min, max) in [(7, None), (2, Some(100)), (40, Some(11))] {
        let mut split = all_columns(&connection, &topic).min_partitions(min);
        if let Some(max) = max {
            split = split.max_records_per_partition(max);
        }
        let split = split.build().await.unwrap();
        assert!(split.partitions().len() >= min as usize);
        assert_eq!(read(&split).await, whole, "{min} {max:?}");
    }
}

pub async fn all_codecs_give_the_same_records(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("codecs"));
    let codecs = [
        Compression::NoCompression,
        Compression::Gzip,
        Compression::Lz4,
        Compression::Snappy,
        Compression::Zstd,
    ];
    writer.create(&topic, codecs.len() as i32).await;
    let all: Vec<Written> = (0..600).map(Written::numbered).collect();
    let batches: Vec<&[Written]> = all.chunks(130).collect();
    for (partition, codec) in (0..).zip(codecs) {
        writer.write(&topic, partition, &batches, codec).await;
    }
    let rdd = all_columns(&connect(cluster).await, &topic).build().await.unwrap();
    let rows = read(&rdd).await;
    assert_eq!(rows.len(), 600 * codecs.len());
    for (number, row) in rows.iter().enumerate() {
        assert!(row.is(&all[number % 600]), "{row:?}");
    }
}

pub async fn counting_and_taking_agree_with_collecting(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("counts"));
    writer.create(&topic, 3).await;
    writer.write_numbered(&topic, 0, 0..70, 9).await;
    writer.write_numbered(&topic, 2, 0..30, 4).await;
    let connection = connect(cluster).await;
    let rdd = all_columns(&connection, &topic).start(StartOffset::FromEnd(25)).build();
    let rdd = rdd.await.unwrap();
    let all = read(&rdd).await;
    assert_eq!(rdd.count().await.unwrap(), all.len() as u64);
    assert!(!rdd.is_empty().await.unwrap());
    for count in [0, 1, 24, 25, 26, 50, 51, 1000] {
        let taken = rows(&rdd.take(count).await.unwrap());
        assert_eq!(taken, all[..count.min(all.len())], "{count}");
    }
    assert_eq!(rows(&[rdd.first().await.unwrap().unwrap()]), all[..1]);
    let nothing =
        all_columns(&connection, &topic).start(StartOffset::Latest).build().await.unwrap();
    assert_eq!(nothing.count().await.unwrap(), 0);
    assert!(nothing.is_empty().await.unwrap() && nothing.first().await.unwrap().is_none());
}

pub async fn a_plan_reads_the_same_after_more_was_written(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("again"));
    writer.create(&topic, 1).await;
    writer.write_numbered(&topic, 0, 0..40, 8).await;
    let connection = connect(cluster).await;
    let rdd = all_columns(&connection, &topic).build().await.unwrap();
    let first = read(&rdd).await;
    writer.write_numbered(&topic, 0, 40..80, 8).await;
    assert_eq!(read(&rdd).await, first);
    let plan = kafka_direct::BatchPlan::from_json(&rdd.plan().to_json()).unwrap();
    let elsewhere = connect(cluster).await;
    let builder = KafkaRdd::builder(&elsewhere).columns(kafka_direct::Columns::all());
    assert_eq!(read(&builder.build_from_plan(plan).await.unwrap()).await, first);
}

pub async fn partitions_without_data_are_no_task(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("sparse"));
    writer.create(&topic, 20).await;
    writer.write_numbered(&topic, 7, 0..10, 10).await;
    let rdd = all_columns(&connect(cluster).await, &topic).build().await.unwrap();
    assert_eq!((rdd.partitions().len(), rdd.plan().partitions().len()), (1, 20));
    assert!(rdd.preferred_leader(0).is_some() && rdd.preferred_leader(1).is_none());
    assert_eq!(read(&rdd).await.len(), 10);
}

pub async fn many_topics_are_one_batch(cluster: &impl TestCluster) {
    let (writer, prefix) = (Writer::new(cluster).await, unique("many"));
    for number in 0..3 {
        let topic = format!("{prefix}.t{number}");
        writer.create(&topic, 2).await;
        writer.write_numbered(&topic, 1, 0..10 * (number + 1), 6).await;
    }
    let connection = connect(cluster).await;
    let by_pattern = KafkaRdd::builder(&connection).pattern(format!("{prefix}\\.t[12]"));
    let by_pattern = by_pattern.columns(kafka_direct::Columns::all()).build().await.unwrap();
    let rows = read(&by_pattern).await;
    assert_eq!(rows.len(), 50);
    let names = [format!("{prefix}.t2"), format!("{prefix}.t1")];
    let by_name = KafkaRdd::builder(&connection).topics(names);
    let by_name = by_name.columns(kafka_direct::Columns::all()).build().await.unwrap();
    assert_eq!(read(&by_name).await, rows);
    let part = KafkaRdd::builder(&connection).pattern(format!("{prefix}\\.t")).build().await;
    assert!(part.is_err(), "a pattern matches the whole name");
}

pub async fn typed_records_are_decoded_or_named(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("typed"));
    writer.create(&topic, 1).await;
    let record = |value: Option<&str>| Written {
        key: Some(b"k".to_vec()),
        value: value.map(|v| v.as_bytes().to_vec()),
        timestamp: 5,
    };
    let batch = [record(Some("[1,2]")), record(None), record(Some("{"))];
    writer.write(&topic, 0, &[&batch], Compression::NoCompression).await;
    let connection = connect(cluster).await;
    let rdd = KafkaRdd::builder(&connection).topic(&topic).columns(decode::columns());
    let batches = rdd.end(EndOffset::Latest).build().await.unwrap().collect().await.unwrap();
    let json = Json::<Vec<u8>>::new();
    let records: Vec<_> = decode::records(&batches[0], &Utf8, &json).unwrap().collect();
    let first = records[0].as_ref().unwrap();
    assert_eq!((first.offset, first.timestamp), (0, Some(5)));
    assert_eq!((first.key.as_deref(), first.value.as_deref()), (Some("k"), Some(&[1, 2][..])));
    assert_eq!(records[1].as_ref().unwrap().value, None);
    let poison = records[2].as_ref().unwrap_err().to_string();
    assert!(poison.contains(&format!("{topic}-0 offset 2")), "{poison}");
}
