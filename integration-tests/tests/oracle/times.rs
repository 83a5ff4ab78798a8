//! Starts and ends by time on logs of which Kafka itself does not find a time.

use kafka_direct::{EndOffset, Error, KafkaRdd, NoMatch, StartOffset};
use kafka_direct_integration_tests::cluster::{Writer, Written, connect, unique};
use rskafka::client::partition::Compression;

use super::{bootstrap, oracle};
use crate::kafka;

const DAY: i64 = 86_400_000;
const DAY_1: i64 = 20_454 * DAY;

fn at(timestamp: i64, bytes: usize) -> Written {
    Written { key: None, value: Some(vec![b'x'; bytes]), timestamp }
}

/// Kafka looks only into the first segment whose largest timestamp is late enough. If the record with
/// that timestamp was trimmed, it finds none, although a later segment has such records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_kafka_does_not_find_in_a_trimmed_log_is_an_error_and_skips_nothing() {
    let topic = unique("times");
    let settings = ["1", "1", "segment.bytes=1048576", "retention.ms=-1"];
    let brokers = bootstrap();
    oracle(&[&["Admin", &brokers, "create", &topic][..], &settings].concat());
    let kafka = kafka().await;
    let writer = Writer::new(&kafka).await;
    let early: Vec<Written> = (0..20).map(|_| at(DAY_1, 100_000)).collect();
    let mut batches = vec![vec![at(DAY_1 + 9 * DAY, 1)]];
    batches.extend(early.chunks(1).map(<[Written]>::to_vec));
    batches.push((0..5).map(|_| at(DAY_1 + 3 * DAY, 1)).collect());
    let batches: Vec<&[Written]> = batches.iter().map(Vec::as_slice).collect();
    writer.write(&topic, 0, &batches, Compression::NoCompression).await;
    let cluster = connect(&kafka).await;
    let found = |millis, no_match| {
        let start = StartOffset::Timestamp { millis, no_match };
        let builder = KafkaRdd::builder(&cluster).topic(&topic).start(start);
        async { Ok::<i64, Error>(builder.build().await?.span()) }
    };
    // The first record is the first one of any later day.
    assert_eq!(found(DAY_1 + 2 * DAY, NoMatch::Error).await.unwrap(), 26);
    writer.trim(&topic, 0, 1).await;
    for no_match in [NoMatch::Error, NoMatch::Latest] {
        let error = found(DAY_1 + 2 * DAY, no_match).await.unwrap_err();
        assert!(matches!(error, Error::TimeNotIndexed { .. }), "{error}");
    }
    let end = EndOffset::Timestamp { millis: DAY_1 + 2 * DAY };
    let error = KafkaRdd::builder(&cluster).topic(&topic).end(end).build().await.unwrap_err();
    assert!(matches!(error, Error::TimeNotIndexed { .. }), "{error}");
    assert_eq!(found(DAY_1 + 4 * DAY, NoMatch::Latest).await.unwrap(), 0);
    assert_eq!(found(DAY_1, NoMatch::Error).await.unwrap(), 25);
}
