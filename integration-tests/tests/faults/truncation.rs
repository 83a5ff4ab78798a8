//! Logs that lose their end before or during a read, including logs that have grown again since.

use kafka_direct::{
    BatchPlan, ErrorKind, IsolationLevel, KafkaRdd, OffsetRange, PlannedRange, ResetCause,
    TopicPartition,
};
use kafka_direct_broker::{ApiKey, Broker, Fault, Record};

use super::{broker, connect, connect_with, offsets, resume, whole};

/// Truncates the log to `offset` and appends `count` batches of other records in the next epoch.
fn replace(broker: &Broker, offset: i64, count: usize) {
    broker.truncate("t", 0, offset).unwrap();
    for _ in 0..count / 4 {
        broker.append("t", 0, vec![Record::new("other"); 4]).unwrap();
    }
}

#[tokio::test]
async fn a_log_that_grew_again_between_plan_and_read_is_lost_data_where_it_diverges() {
    let broker = broker(1, 40, 4).await;
    let cluster = connect(&broker).await;
    let rdd = whole(&cluster).await;
    replace(&broker, 20, 40);
    let error = offsets(&rdd).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost);
    let text = error.to_string();
    assert!(text.contains("t-0 [0, 40): offset 20 is lost"), "{text}");
    assert!(text.contains("truncated and now has [0, 20)"), "{text}");
    let (read, resets, achieved) = resume(&cluster, &rdd).await.unwrap();
    assert_eq!(read, (0..20).collect::<Vec<_>>());
    assert_eq!((resets.len(), resets[0].cause), (1, ResetCause::Truncated));
    assert_eq!((resets[0].from.get(), resets[0].to.get()), (20, 40));
    assert_eq!((resets[0].old_epoch, resets[0].new_epoch), (Some(0), Some(1)));
    assert_eq!(achieved, 20, "the next batch starts where the log diverges");
}

#[tokio::test]
async fn each_piece_of_a_replaced_log_ends_at_what_is_left_of_it() {
    let broker = broker(1, 40, 4).await;
    let cluster = connect(&broker).await;
    let builder = KafkaRdd::builder(&cluster).topic("t").max_records_per_partition(16);
    let rdd = builder.on_data_loss(kafka_direct::DataLossPolicy::Resume).build().await.unwrap();
    replace(&broker, 20, 40);
    let mut achieved = Vec::new();
    for piece in 0..rdd.partitions().len() {
        let (mut batches, mut count) = (rdd.read_partition(piece).unwrap(), 0);
        while let Some(batch) = batches.try_next().await.unwrap() {
            count += batch.num_rows();
        }
        achieved.push((count, batches.position().get(), batches.resets().len()));
    }
    let shares: Vec<_> = rdd.partitions().iter().map(|p| p.range().from().get()).collect();
    assert_eq!(shares, [0, 13, 26]);
    assert_eq!(achieved, [(13, 13, 0), (7, 20, 1), (0, 26, 1)]);
}

#[tokio::test]
async fn an_end_replaced_during_a_read_is_detected() {
    let broker = broker(1, 40, 4).await;
    let cluster = connect_with(&broker, |config| config.partition_max_bytes(150)).await;
    let rdd = whole(&cluster).await;
    let (mut batches, mut read) = (rdd.read_partition(0).unwrap(), 0);
    read += batches.try_next().await.unwrap().unwrap().num_rows();
    // After everything that was read or is in flight, and before the end of the range.
    replace(&broker, 32, 40);
    let error = loop {
        match batches.try_next().await {
            Ok(Some(batch)) => read += batch.num_rows(),
            Ok(None) => panic!("the range ended although its end was replaced"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::OffsetLost, "{error}");
    assert!(read <= 32, "{read}");
}

#[tokio::test]
async fn a_lost_end_stays_lost_for_every_later_call() {
    let broker = broker(1, 40, 4).await;
    let rdd = whole(&connect(&broker).await).await;
    replace(&broker, 20, 40);
    let mut batches = rdd.read_partition(0).unwrap();
    for _ in 0..3 {
        assert_eq!(batches.try_next().await.unwrap_err().kind(), ErrorKind::OffsetLost);
    }
}

#[tokio::test]
async fn an_epoch_is_requested_once_and_only_if_the_leader_is_not_the_planned_one() {
    let broker = broker(3, 40, 4).await;
    let cluster = connect(&broker).await;
    let requests = || broker.requests(ApiKey::OffsetForLeaderEpoch);
    assert_eq!(offsets(&whole(&cluster).await).await.unwrap().len(), 120);
    assert_eq!(requests(), 0);
    // A leader that has the whole planned log causes no loss, whatever it appends.
    let planned = whole(&cluster).await;
    for partition in 0..3 {
        broker.set_leader("t", partition, Some(1)).unwrap();
        broker.append("t", partition, [Record::new("later")]).unwrap();
    }
    assert_eq!(offsets(&planned).await.unwrap().len(), 120);
    assert_eq!(requests(), 3);
    let plan = BatchPlan::from_json(&planned.plan().to_json()).unwrap();
    assert_eq!(&plan, planned.plan());
    assert_eq!(plan.ranges()[0].leader_epoch(), Some(0));
}

#[tokio::test]
async fn a_plan_has_the_epoch_of_the_response_with_its_offsets() {
    let broker = broker(1, 40, 4).await;
    let cluster = connect(&broker).await;
    cluster.topics(&["t".to_owned()]).await.unwrap();
    // Elected after the Metadata response and before ListOffsets: the plan includes its records.
    broker.set_leader("t", 0, Some(1)).unwrap();
    broker.append("t", 0, vec![Record::new("later"); 4]).unwrap();
    let rdd = whole(&cluster).await;
    assert_eq!(rdd.partitions()[0].leader_epoch(), Some(1));
    broker.set_leader("t", 0, Some(1)).unwrap();
    assert_eq!(offsets(&rdd).await.unwrap().len(), 44);
}

#[tokio::test]
async fn a_range_of_an_unknown_epoch_is_read_as_it_is() {
    let broker = broker(1, 40, 4).await;
    let cluster = connect(&broker).await;
    let range = OffsetRange::new(TopicPartition::new("t", 0), 0, 40).unwrap();
    let planned = PlannedRange::new(range, IsolationLevel::ReadCommitted);
    replace(&broker, 20, 40);
    let mut batches = kafka_direct::read_range(&cluster, planned, &Default::default());
    let mut read = 0;
    while let Some(batch) = batches.try_next().await.unwrap() {
        read += batch.num_rows();
    }
    assert_eq!((read, broker.requests(ApiKey::OffsetForLeaderEpoch)), (40, 0));
}

#[tokio::test]
async fn a_leader_without_the_epoch_of_the_records_read_has_another_log() {
    let broker = broker(1, 20, 4).await;
    broker.set_leader("t", 0, Some(1)).unwrap();
    super::fill(&broker, 1, 20, 4);
    broker.cap_versions(ApiKey::OffsetForLeaderEpoch, 2..=3);
    let cluster = connect_with(&broker, |config| config.partition_max_bytes(150)).await;
    let rdd = whole(&cluster).await;
    let (mut batches, mut read) = (rdd.read_partition(0).unwrap(), 0);
    while read <= 20 {
        read += batches.try_next().await.unwrap().unwrap().num_rows();
    }
    // Changes the epoch, which is in the last fields with the end offset, to an older one. The end
    // offset stays beyond the end of that epoch in the log that was read.
    let older = Fault::corrupt(|response| {
        let epoch = response.len() - 12;
        response[epoch..epoch + 4].copy_from_slice(&0i32.to_be_bytes());
    });
    broker.faults().next(ApiKey::OffsetForLeaderEpoch, older);
    broker.set_leader("t", 0, Some(1)).unwrap();
    let error = loop {
        match batches.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the range ended although its log was replaced"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::OffsetLost, "{error}");
}

#[tokio::test]
async fn truncation_is_lost_data_or_a_recorded_reset_at_the_end_that_exists() {
    let broker = broker(1, 40, 4).await;
    let cluster = connect(&broker).await;
    let rdd = whole(&cluster).await;
    broker.truncate("t", 0, 20).unwrap();
    let error = offsets(&rdd).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OffsetLost);
    assert!(error.to_string().contains("truncated and now has [0, 20)"), "{error}");
    let (read, resets, achieved) = resume(&cluster, &rdd).await.unwrap();
    assert_eq!(read, (0..20).collect::<Vec<_>>());
    assert_eq!(resets[0].cause, ResetCause::Truncated);
    assert_eq!((resets[0].from.get(), resets[0].to.get()), (20, 40));
    assert_eq!(achieved, 20, "the next batch starts at the end that exists");
}

#[tokio::test]
async fn a_log_that_grew_again_after_truncation_is_not_mistaken_for_the_old_one() {
    let broker = broker(1, 40, 4).await;
    let cluster = connect_with(&broker, |config| config.partition_max_bytes(150)).await;
    let rdd = whole(&cluster).await;
    let mut batches = rdd.read_partition(0).unwrap();
    let mut read = 0;
    while read < 24 {
        read += batches.try_next().await.unwrap().unwrap().num_rows();
    }
    replace(&broker, 8, 40);
    let error = loop {
        match batches.try_next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the range ended although its log was replaced"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::OffsetLost, "{error}");
}
