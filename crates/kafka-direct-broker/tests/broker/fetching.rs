//! Tests of Fetch: limits, waiting, offset ranges, epochs, versions.

use std::time::Duration;

use bytes::Bytes;
use kafka_direct_broker::{ApiKey, BatchWriter, Broker, RawOffsets, Record, TailBatches};
use kafka_direct_core::Offset;
use kafka_protocol::messages::{
    FetchRequest, ProduceRequest,
    fetch_request::FetchTopic,
    produce_request::{PartitionProduceData, TopicProduceData},
};
use tokio::time::Instant;

use crate::client::{Client, bases, broker, fetch, partitions, values, want};

#[tokio::test]
async fn produced_records_are_fetched_in_every_version_by_name_and_by_id() {
    let broker = Broker::start().await.unwrap();
    let id = uuid::Uuid::from_bytes(broker.create_topic("t", 1).unwrap().to_bytes());
    let mut client = Client::tcp(&broker.bootstrap()).await;
    let records = BatchWriter::new().write(&values(3, 100)).unwrap();
    for (nth, version) in (0i64..).zip(3..=13) {
        let partition = PartitionProduceData::default().with_records(Some(records.clone()));
        let topic = TopicProduceData::default().with_partition_data(vec![partition]);
        let topic = if version >= 13 {
            topic.with_topic_id(id)
        } else {
            topic.with_name(kafka_protocol::protocol::StrBytes::from_static_str("t").into())
        };
        let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
        let response = client.call(version, request).await;
        let appended = &response.responses[0].partition_responses[0];
        assert_eq!((appended.error_code, appended.base_offset), (0, nth * 3), "v{version}");
    }
    for version in 4..=17 {
        let request = if version >= 13 {
            let topic = FetchTopic::default().with_topic_id(id).with_partitions(vec![want(0, 4)]);
            FetchRequest::default().with_topics(vec![topic])
        } else {
            fetch(vec![want(0, 4)])
        };
        let response = client.call(version, request).await;
        let found = partitions(&response);
        assert_eq!(bases(found[0]), [3, 6, 9, 12, 15, 18, 21, 24, 27, 30], "v{version}");
        assert_eq!((found[0].error_code, found[0].high_watermark), (0, 33));
    }
}

#[tokio::test]
async fn acks_0_gets_no_response_and_takes_effect() {
    let broker = broker(1).await;
    let mut client = Client::memory(&broker, 1);
    let records = BatchWriter::new().write(&values(1, 10)).unwrap();
    let partition = PartitionProduceData::default().with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(kafka_protocol::protocol::StrBytes::from_static_str("t").into())
        .with_partition_data(vec![partition]);
    client.send(9, &ProduceRequest::default().with_acks(0).with_topic_data(vec![topic])).await;
    let response = client.call(11, fetch(vec![want(0, 0)])).await;
    assert_eq!(bases(partitions(&response)[0]), [0]);
}

#[tokio::test]
async fn only_the_first_partition_with_data_gets_a_batch_beyond_the_limits() {
    let broker = broker(3).await;
    for partition in [1, 2] {
        broker.append("t", partition, values(5, 100_000)).unwrap();
    }
    let mut client = Client::memory(&broker, 1);
    for order in [[0, 1, 2], [0, 2, 1], [2, 0, 1]] {
        let wants = order.map(|partition| want(partition, 0).with_partition_max_bytes(1000));
        let response = client.call(11, fetch(wants.to_vec())).await;
        let found: Vec<_> =
            partitions(&response).iter().map(|p| (p.partition_index, bases(p).len())).collect();
        let first = *order.iter().find(|p| **p != 0).unwrap();
        let expected: Vec<_> = order.map(|p| (p, usize::from(p == first))).to_vec();
        assert_eq!(found, expected);
        assert!(partitions(&response).iter().all(|p| p.error_code == 0));
    }
    let small = fetch(vec![want(1, 0), want(2, 0)]).with_max_bytes(600_000);
    let response = client.call(11, small).await;
    assert_eq!(partitions(&response).iter().map(|p| bases(p).len()).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(partitions(&response)[1].high_watermark, 5);
}

#[tokio::test]
async fn a_cut_tail_is_the_beginning_of_the_next_batch() {
    let broker =
        Broker::builder().in_memory().tail_batches(TailBatches::Cut).start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    broker.append("t", 0, values(1, 100)).unwrap();
    broker.append("t", 0, values(1, 100)).unwrap();
    let mut client = Client::memory(&broker, 1);
    let response = client.call(11, fetch(vec![want(0, 0).with_partition_max_bytes(250)])).await;
    assert_eq!(partitions(&response)[0].records.as_ref().unwrap().len(), 250);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_waits_for_min_bytes_or_max_wait() {
    let broker = broker(1).await;
    let mut client = Client::memory(&broker, 1);
    let waiting = || fetch(vec![want(0, 0)]).with_max_wait_ms(5_000).with_min_bytes(1);
    let start = Instant::now();
    let response = client.call(11, waiting()).await;
    assert_eq!(bases(partitions(&response)[0]), [0i64; 0]);
    assert_eq!(start.elapsed().as_secs(), 5);
    client.send(11, &waiting()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    broker.append("t", 0, values(1, 10)).unwrap();
    let response = client.receive::<FetchRequest>(11).await.unwrap();
    assert_eq!(bases(partitions(&response)[0]), [0]);
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn offsets_outside_the_log_are_refused_without_watermarks() {
    let broker = broker(1).await;
    for _ in 0..4 {
        broker.append("t", 0, values(5, 10)).unwrap();
    }
    broker.trim("t", 0, 7).unwrap();
    let mut client = Client::memory(&broker, 1);
    for (offset, code) in [(6, 1), (7, 0), (20, 0), (21, 1), (-1, 1)] {
        let response = client.call(11, fetch(vec![want(0, offset)])).await;
        let found = partitions(&response)[0];
        let marks = (found.high_watermark, found.last_stable_offset, found.log_start_offset);
        let expected = if code == 0 { (20, 20, 7) } else { (-1, -1, -1) };
        assert_eq!((found.error_code, marks), (code, expected), "{offset}");
    }
    let response = client.call(11, fetch(vec![want(0, 7)])).await;
    assert_eq!(bases(partitions(&response)[0]), [5, 10, 15]);
}

#[tokio::test]
async fn unknown_topics_partitions_ids_and_epochs_get_their_own_error_codes() {
    let broker = broker(1).await;
    let mut client = Client::memory(&broker, 1);
    let code = async |client: &mut Client, version, request| {
        partitions(&client.call(version, request).await)[0].error_code
    };
    assert_eq!(code(&mut client, 12, fetch(vec![want(9, 0)])).await, 3);
    let by_id = FetchTopic::default()
        .with_topic_id(uuid::Uuid::from_bytes([9; 16]))
        .with_partitions(vec![want(0, 0)]);
    let by_id = FetchRequest::default().with_topics(vec![by_id]);
    assert_eq!(code(&mut client, 13, by_id).await, 100);
    broker.set_leader("t", 0, Some(1)).unwrap();
    for (epoch, expected) in [(0, 74), (1, 0), (2, 75), (-1, 0)] {
        let request = fetch(vec![want(0, 0).with_current_leader_epoch(epoch)]);
        assert_eq!(code(&mut client, 12, request).await, expected);
    }
}

#[tokio::test]
async fn compaction_holes_and_corrupt_bytes_are_served_as_given() {
    let broker = broker(1).await;
    let writer = BatchWriter::new().base_offset(10).offset_deltas([1, 4]).last_offset_delta(9);
    let holes = writer.write(&values(2, 10)).unwrap();
    let empty = BatchWriter::new().base_offset(30).last_offset_delta(4).write(&[]).unwrap();
    let kept = [&holes[..], &empty[..]].concat();
    broker.append_raw("t", 0, kept.clone(), RawOffsets::Keep).unwrap();
    let back = broker.append_raw("t", 0, holes, RawOffsets::Keep);
    assert_eq!(back.unwrap_err().kind(), kafka_direct_core::ErrorKind::Invalid);
    let unchecked = RawOffsets::Unchecked { base: 35, next: 40 };
    broker.append_raw("t", 0, Bytes::from_static(b"rubbish"), unchecked).unwrap();
    assert_eq!(broker.append("t", 0, values(1, 10)).unwrap(), Offset::new(40));
    let mut client = Client::memory(&broker, 1);
    let response = client.call(11, fetch(vec![want(0, 0)])).await;
    let records = partitions(&response)[0].records.clone().unwrap();
    assert_eq!(records[..kept.len()], kept[..]);
    assert_eq!(records[kept.len()..kept.len() + 7], b"rubbish"[..]);
}

#[tokio::test]
async fn truncation_lowers_the_end_and_the_epoch_reveals_it() {
    use kafka_protocol::messages::{
        OffsetForLeaderEpochRequest,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    };
    let broker = broker(1).await;
    broker.append("t", 0, values(5, 10)).unwrap();
    broker.append("t", 0, values(5, 10)).unwrap();
    broker.truncate("t", 0, 5).unwrap();
    broker.append("t", 0, [Record::new("new")]).unwrap();
    let mut client = Client::memory(&broker, 1);
    let response = client.call(12, fetch(vec![want(0, 8).with_current_leader_epoch(1)])).await;
    assert_eq!(partitions(&response)[0].error_code, 1);
    let partition = OffsetForLeaderPartition::default().with_leader_epoch(0);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(kafka_protocol::protocol::StrBytes::from_static_str("t").into())
        .with_partitions(vec![partition]);
    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
    for version in ApiKey::OffsetForLeaderEpoch.versions() {
        let response = client.call(version, request.clone()).await;
        let end = &response.topics[0].partitions[0];
        assert_eq!((end.error_code, end.leader_epoch, end.end_offset), (0, 0, 5));
    }
    let response = client.call(12, fetch(vec![want(0, 0)])).await;
    let records = partitions(&response)[0].records.clone().unwrap();
    let epochs: Vec<_> =
        kafka_direct_core::walk(&records).map(|b| b.unwrap().0.leader_epoch).collect();
    assert_eq!(epochs, [0, 1]);
}

#[tokio::test]
async fn a_lowered_high_watermark_hides_records_without_an_error() {
    let broker = broker(1).await;
    broker.append("t", 0, values(5, 10)).unwrap();
    broker.append("t", 0, values(5, 10)).unwrap();
    broker.set_high_watermark("t", 0, Some(Offset::new(5))).unwrap();
    let mut client = Client::memory(&broker, 1);
    let response = client.call(11, fetch(vec![want(0, 0)])).await;
    assert_eq!(bases(partitions(&response)[0]), [0]);
    let response = client.call(11, fetch(vec![want(0, 8)])).await;
    assert_eq!(
        (partitions(&response)[0].error_code, partitions(&response)[0].high_watermark),
        (0, 5)
    );
}

#[tokio::test]
async fn fetch_requests_are_recorded_with_their_partitions() {
    let broker = broker(2).await;
    let mut client = Client::memory(&broker, 1);
    client.call(11, fetch(vec![want(1, 0), want(0, 0)])).await;
    let seen = broker.fetches();
    let order: Vec<_> = seen[0].partitions.iter().map(|(tp, _)| tp.partition()).collect();
    assert_eq!((seen.len(), order), (1, vec![1, 0]));
}
