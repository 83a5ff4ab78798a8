//! Logs that change under a read: holes, transactions, deletion.

use kafka_direct::{Columns, DataLossPolicy, ErrorKind, IsolationLevel, KafkaRdd, ResetCause};
use kafka_direct_broker::{
    ApiKey, BatchWriter, Broker, ErrorCode, Fault, Marker, RawOffsets, Record,
};
use kafka_direct_integration_tests::rows::rows;

use super::{broker, connect, connect_with, offsets, whole};

fn values(count: i64) -> Vec<Record> {
    (0..count).map(|n| Record::new(format!("value {n}"))).collect()
}

async fn empty() -> Broker {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    broker
}

fn keep(broker: &Broker, batch: bytes::Bytes) {
    broker.append_raw("t", 0, batch, RawOffsets::Keep).unwrap();
}

#[tokio::test]
async fn holes_of_compaction_anywhere_are_skipped() {
    let broker = empty().await;
    // A batch [2, 8) with only 3 and 5, a hole up to 20, and an empty batch [30, 36).
    let sparse = BatchWriter::new().base_offset(2).offset_deltas([1, 3]).last_offset_delta(5);
    keep(&broker, sparse.write(&values(2)).unwrap());
    keep(&broker, BatchWriter::new().base_offset(20).write(&values(2)).unwrap());
    keep(&broker, BatchWriter::new().base_offset(30).last_offset_delta(5).write(&[]).unwrap());
    let cluster = connect(&broker).await;
    let rdd = whole(&cluster).await;
    assert_eq!(offsets(&rdd).await.unwrap(), [3, 5, 20, 21]);
    assert_eq!(rdd.count().await.unwrap(), 4);
    for from in 0..36 {
        let range = kafka_direct::OffsetRange::new(
            kafka_direct::TopicPartition::new("t", 0),
            from.max(rdd.partitions()[0].range().from().get()),
            36,
        );
        let cut = KafkaRdd::builder(&cluster).columns(Columns::all());
        let cut = cut.ranges([range.unwrap()]).build().await.unwrap();
        let expected: Vec<i64> = [3, 5, 20, 21].into_iter().filter(|o| *o >= from).collect();
        assert_eq!(offsets(&cut).await.unwrap(), expected, "from {from}");
        assert_eq!(cut.count().await.unwrap(), expected.len() as u64, "count from {from}");
    }
}

#[tokio::test]
async fn a_batch_without_records_may_span_billions_of_offsets() {
    const SPAN: i64 = i32::MAX as i64;
    let broker = empty().await;
    keep(&broker, BatchWriter::new().write(&values(2)).unwrap());
    let gap = BatchWriter::new().base_offset(2).last_offset_delta(i32::MAX);
    keep(&broker, gap.write(&[]).unwrap());
    keep(&broker, BatchWriter::new().base_offset(2 + SPAN + 1).write(&values(1)).unwrap());
    let cluster = connect(&broker).await;
    let rdd = whole(&cluster).await;
    assert_eq!(offsets(&rdd).await.unwrap(), [0, 1, SPAN + 3]);
    assert_eq!((rdd.count().await.unwrap(), rdd.span()), (3, SPAN + 4));
    // Ranges inside the gap have no records, and end.
    let tp = kafka_direct::TopicPartition::new("t", 0);
    let inside = kafka_direct::OffsetRange::new(tp, 1_000_000, 2_000_000_000).unwrap();
    let inside = KafkaRdd::builder(&cluster).ranges([inside]).build().await.unwrap();
    assert_eq!(inside.count().await.unwrap(), 0);
}

#[tokio::test]
async fn aborted_tails_and_markers_end_promptly() {
    let broker = empty().await;
    broker.append("t", 0, values(3)).unwrap();
    let aborted = BatchWriter::new().transaction(7, 0);
    keep(&broker, aborted.clone().base_offset(3).write(&values(4)).unwrap());
    keep(&broker, aborted.base_offset(7).marker(Marker::Abort).unwrap());
    let cluster = connect(&broker).await;
    let rdd = whole(&cluster).await;
    assert_eq!(rdd.span(), 8);
    assert_eq!(offsets(&rdd).await.unwrap(), [0, 1, 2]);
    assert_eq!(rdd.count().await.unwrap(), 3);
    let all = KafkaRdd::builder(&cluster).topic("t").columns(Columns::all());
    let all = all.isolation(IsolationLevel::ReadUncommitted).build().await.unwrap();
    assert_eq!(offsets(&all).await.unwrap(), [0, 1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn an_open_transaction_withholds_offsets_and_the_plan_says_so() {
    let broker = empty().await;
    broker.append("t", 0, values(3)).unwrap();
    let open = BatchWriter::new().transaction(7, 0);
    keep(&broker, open.base_offset(3).write(&values(4)).unwrap());
    broker.append("t", 0, values(2)).unwrap();
    let rdd = whole(&connect(&broker).await).await;
    assert_eq!(offsets(&rdd).await.unwrap(), [0, 1, 2]);
    assert_eq!(rdd.plan().partitions()[0].watermarks.withheld(), 6);
}

#[tokio::test]
async fn a_topic_deleted_mid_read_is_lost_data() {
    let broker = broker(1, 4000, 4).await;
    let cluster = connect_with(&broker, |config| config.partition_max_bytes(150)).await;
    let rdd = whole(&cluster).await;
    let mut batches = rdd.read_partition(0).unwrap();
    batches.try_next().await.unwrap().unwrap();
    broker.delete_topic("t").unwrap();
    let error = loop {
        match batches.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the range ended although its topic was deleted"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::OffsetLost);
    assert!(error.to_string().contains("deleted"), "{error}");
}

#[tokio::test]
async fn a_topic_recreated_mid_read_is_never_read_as_the_old_one() {
    for versions in [4..=12, 13..=17] {
        let broker = broker(1, 4000, 4).await;
        broker.cap_versions(ApiKey::Fetch, versions.clone());
        let cluster = connect_with(&broker, |config| config.partition_max_bytes(150)).await;
        let rdd = whole(&cluster).await;
        let mut batches = rdd.read_partition(0).unwrap();
        batches.try_next().await.unwrap().unwrap();
        broker.recreate_topic("t").unwrap();
        let error = loop {
            match batches.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the range ended although its topic was re-created"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::OffsetLost, "{versions:?}: {error}");
    }
}

#[tokio::test]
async fn a_lagging_high_watermark_is_waited_for() {
    let broker = broker(1, 40, 4).await;
    let cluster = connect(&broker).await;
    let rdd = whole(&cluster).await;
    broker.set_high_watermark("t", 0, Some(20.into())).unwrap();
    let mut batches = rdd.read_partition(0).unwrap();
    let mut read = 0;
    while read < 20 {
        read += batches.try_next().await.unwrap().unwrap().num_rows();
    }
    assert_eq!(read, 20);
    broker.set_high_watermark("t", 0, None).unwrap();
    while let Some(batch) = batches.try_next().await.unwrap() {
        read += batch.num_rows();
    }
    assert_eq!(read, 40);
}

#[tokio::test]
async fn a_high_watermark_that_lags_for_several_checks_is_no_truncation() {
    let broker = broker(1, 40, 4).await;
    let rdd = whole(&connect(&broker).await).await;
    broker.set_high_watermark("t", 0, Some(20.into())).unwrap();
    let sent_before = broker.requests(ApiKey::ListOffsets);
    let read = tokio::spawn(async move { offsets(&rdd).await });
    // Three checks, each of which requests two bounds.
    while broker.requests(ApiKey::ListOffsets) < sent_before + 6 {
        assert!(!read.is_finished(), "{:?}", read.await);
        tokio::task::yield_now().await;
    }
    broker.set_high_watermark("t", 0, None).unwrap();
    assert_eq!(read.await.unwrap().unwrap(), (0..40).collect::<Vec<_>>());
}

/// Trims the log `[0, end)` to `start` while a response is built, and reports `start` in it.
fn trimming(broker: &std::sync::Arc<Broker>, start: i64, end: i64) -> Fault {
    let broker = std::sync::Arc::clone(broker);
    Fault::corrupt(move |response| {
        broker.trim("t", 0, start).unwrap();
        let marks = [end, end, 0].map(i64::to_be_bytes).concat();
        let at = response.windows(24).position(|fields| fields == marks).unwrap();
        response[at + 16..at + 24].copy_from_slice(&start.to_be_bytes());
    })
}

#[tokio::test]
async fn offsets_trimmed_while_a_response_is_built_are_lost_and_no_hole() {
    let broker = std::sync::Arc::new(empty().await);
    broker.append("t", 0, values(4)).unwrap();
    keep(&broker, BatchWriter::new().base_offset(10).write(&values(4)).unwrap());
    let cluster = connect_with(&broker, |config| config.partition_max_bytes(1)).await;
    let rdd = whole(&cluster).await;
    assert_eq!(offsets(&rdd).await.unwrap(), [0, 1, 2, 3, 10, 11, 12, 13]);
    // The second response has a log start offset above the fetch position.
    broker.faults().next(ApiKey::Fetch, Fault::Delay(std::time::Duration::ZERO));
    broker.faults().next(ApiKey::Fetch, trimming(&broker, 7, 14));
    let error = offsets(&rdd).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost);
    assert!(error.to_string().contains("offset 4 is lost: the log was trimmed"), "{error}");
}

#[tokio::test]
async fn complete_batches_of_a_response_are_delivered_although_the_log_was_trimmed() {
    let broker = std::sync::Arc::new(empty().await);
    broker.append("t", 0, values(4)).unwrap();
    broker.append("t", 0, values(4)).unwrap();
    let rdd = whole(&connect(&broker).await).await;
    broker.faults().next(ApiKey::Fetch, trimming(&broker, 4, 8));
    assert_eq!(offsets(&rdd).await.unwrap(), (0..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_topic_missing_from_metadata_for_a_while_is_not_deleted() {
    let broker = broker(1, 40, 4).await;
    // From version 13 on, the fault sets the error code of the whole response, not of the topic.
    broker.cap_versions(ApiKey::Metadata, 4..=12);
    let rdd = whole(&connect(&broker).await).await;
    broker.faults().next(ApiKey::Fetch, Fault::ErrorCode(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    // Each check sends two requests.
    for _ in 0..14 {
        broker
            .faults()
            .next(ApiKey::Metadata, Fault::ErrorCode(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    }
    assert_eq!(offsets(&rdd).await.unwrap().len(), 40);
    assert_eq!(broker.faults().intercepted(ApiKey::Metadata), 14);
}

#[tokio::test]
async fn a_log_that_lost_its_beginning_and_its_leader_is_resumed_at_its_new_start() {
    let broker = broker(1, 40, 4).await;
    let cluster = connect_with(&broker, |config| config.partition_max_bytes(150)).await;
    let builder = KafkaRdd::builder(&cluster).topic("t").columns(Columns::all());
    let rdd = builder.on_data_loss(DataLossPolicy::Resume).build().await.unwrap();
    let (mut batches, mut read) = (rdd.read_partition(0).unwrap(), Vec::new());
    while let Some(batch) = batches.try_next().await.unwrap() {
        if read.is_empty() {
            broker.set_leader("t", 0, Some(1)).unwrap();
            broker.trim("t", 0, 32).unwrap();
        }
        read.extend(rows(&[batch]).iter().map(|row| row.offset));
    }
    let [reset] = batches.resets() else { panic!("{:?}", batches.resets()) };
    assert_eq!((reset.cause, reset.to.get()), (ResetCause::Trimmed, 32));
    let expected: Vec<i64> = (0..reset.from.get()).chain(32..40).collect();
    assert_eq!((read, batches.position().get()), (expected, 40));
}

#[tokio::test]
async fn a_topic_deleted_during_an_epoch_request_to_its_new_leader_is_lost_data() {
    let broker = broker(1, 40, 4).await;
    let rdd = whole(&connect(&broker).await).await;
    broker.set_leader("t", 0, Some(1)).unwrap();
    broker
        .faults()
        .every(ApiKey::OffsetForLeaderEpoch, Fault::ErrorCode(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    let reading = tokio::spawn(async move { offsets(&rdd).await });
    while broker.faults().intercepted(ApiKey::OffsetForLeaderEpoch) == 0 {
        tokio::task::yield_now().await;
    }
    broker.delete_topic("t").unwrap();
    let error = reading.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost, "{error}");
    assert!(error.to_string().contains("deleted"), "{error}");
}
