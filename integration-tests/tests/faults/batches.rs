//! Corrupt, unusual and hostile batches.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use kafka_direct::{DecodeOptions, ErrorKind, KafkaRdd, OffsetRange, TopicPartition};
use kafka_direct_broker::{
    ApiKey, BatchWriter, Broker, Fault, FillOrder, Marker, RawOffsets, Record, TailBatches,
};

use super::{broker, connect, connect_with, fill_large, offsets, whole};

fn records(count: i64) -> Vec<Record> {
    (0..count).map(|n| Record::new(format!("value {n}"))).collect()
}

/// Serves `bytes` as the first batch `[0, 5)`, followed by a valid batch `[5, 8)`.
async fn serve(bytes: Vec<u8>) -> Broker {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    let raw = RawOffsets::Unchecked { base: 0, next: 5 };
    broker.append_raw("t", 0, bytes, raw).unwrap();
    broker.append("t", 0, records(3)).unwrap();
    broker
}

async fn kind_of(bytes: Vec<u8>, name: &str, words: &str) -> ErrorKind {
    let broker = serve(bytes).await;
    let rdd = whole(&connect(&broker).await).await;
    let read = tokio::time::timeout(std::time::Duration::from_secs(20), offsets(&rdd)).await;
    let error = read.unwrap_or_else(|_| panic!("{name} hangs")).expect_err(name);
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    assert!(text.contains(words) && text.contains("t-0"), "{name}: {text}");
    error.kind()
}

fn sound() -> Vec<u8> {
    BatchWriter::new().write(&records(5)).unwrap().to_vec()
}

fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = sound();
    change(&mut bytes);
    let crc = crc_of(&bytes);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn crc_of(batch: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[21..]) as u32
}

#[tokio::test]
async fn broken_batches_are_named_by_partition_offset_and_fault() {
    use ErrorKind::{Corrupt, Invalid};
    let mut flipped = sound();
    flipped[70] ^= 1;
    assert_eq!(kind_of(flipped, "wrong crc", "CRC-32C").await, Corrupt);
    assert_eq!(kind_of(changed(|b| b[16] = 1), "format v1", "format v1").await, Invalid);
    assert_eq!(kind_of(changed(|b| b[16] = 9), "magic 9", "format 9").await, Corrupt);
    assert_eq!(kind_of(changed(|b| b[22] = 7), "codec 7", "codec 7").await, Corrupt);
    let negative = changed(|b| b[8..12].copy_from_slice(&(-1i32).to_be_bytes()));
    assert_eq!(kind_of(negative, "negative length", "-1 bytes").await, Corrupt);
    let lying = changed(|b| b[61] = 0x7f);
    assert_eq!(kind_of(lying, "lying record length", "record 0").await, Corrupt);
    let endless = changed(|b| b[61..].fill(0xff));
    assert_eq!(kind_of(endless, "endless varint", "record 0").await, Corrupt);
    let more = changed(|b| b[57..61].copy_from_slice(&4i32.to_be_bytes()));
    assert_eq!(kind_of(more, "fewer records than bytes", "t-0").await, Corrupt);
    let rubbish = changed(|b| b[22] = 4);
    assert_eq!(kind_of(rubbish, "not zstd", "zstd").await, Corrupt);
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    let back = RawOffsets::Unchecked { base: 0, next: 10 };
    broker.append_raw("t", 0, [sound(), sound()].concat(), back).unwrap();
    let rdd = whole(&connect(&broker).await).await;
    assert_eq!(offsets(&rdd).await.unwrap_err().kind(), Corrupt, "a base offset that goes back");
}

/// Changes the base offset of the batch `[10, 20)` to `base`, in the first `times` responses that
/// contain it.
fn moved(base: i64, times: u64) -> Fault {
    let left = Arc::new(AtomicU64::new(times));
    Fault::corrupt(move |response| {
        let is_header =
            |at: &usize| response[*at..*at + 8] == 10i64.to_be_bytes() && response[*at + 16] == 2;
        let Some(at) = (0..response.len().saturating_sub(61)).find(is_header) else { return };
        let count = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if count.is_ok() {
            response[at..at + 8].copy_from_slice(&base.to_be_bytes());
        }
    })
}

#[tokio::test]
async fn batches_of_one_response_that_overlap_are_fetched_again_and_then_an_error() {
    let broker = broker(1, 200, 10).await;
    for base in [-1, 0, 9, 11, 19, 40, 199, i64::MAX] {
        broker.faults().every(ApiKey::Fetch, moved(base, 1));
        let cluster = connect(&broker).await;
        let read = offsets(&whole(&cluster).await).await;
        assert_eq!(read.unwrap(), (0..200).collect::<Vec<_>>(), "{base}");
        broker.faults().every(ApiKey::Fetch, moved(base, u64::MAX));
        let error = offsets(&whole(&cluster).await).await.expect_err("an overlap each time");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{base}: {error}");
    }
}

#[tokio::test]
async fn holes_and_a_start_inside_a_batch_cost_no_request() {
    let broker = Broker::builder().tail_batches(TailBatches::Cut).start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    let mut log = Vec::new();
    for base in [0, 30, 40, 80] {
        let records = records(10);
        log.extend(BatchWriter::new().base_offset(base).write(&records).unwrap());
    }
    broker.append_raw("t", 0, log, RawOffsets::Keep).unwrap();
    // With one batch per response, a range needs as many requests as it has batches.
    for (from, until, batches) in
        [(0, 40, 2), (0, 90, 4), (5, 90, 4), (0, 60, 4), (20, 30, 1), (35, 50, 2), (85, 90, 1)]
    {
        for (bytes, requests) in [(1, batches), (1 << 20, 1)] {
            let cluster = connect_with(&broker, |config| config.partition_max_bytes(bytes)).await;
            let range = OffsetRange::new(TopicPartition::new("t", 0), from, until).unwrap();
            let rdd = KafkaRdd::builder(&cluster).ranges([range]).build().await.unwrap();
            let there = (from..until).filter(|offset| [0, 3, 4, 8].contains(&(offset / 10)));
            assert_eq!(rdd.count().await.unwrap(), there.count() as u64, "[{from}, {until})");
            let sent = cluster.fetch_metrics().requests;
            assert_eq!(sent, requests, "{bytes} [{from}, {until})");
        }
    }
}

#[tokio::test]
async fn a_first_batch_that_is_cut_short_is_no_empty_response() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    let cut = RawOffsets::Unchecked { base: 0, next: 5 };
    broker.append_raw("t", 0, sound()[..100].to_vec(), cut).unwrap();
    let error = offsets(&whole(&connect(&broker).await).await).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("cut short"), "{error}");
}

#[tokio::test]
async fn a_decompression_bomb_is_stopped_at_the_bound_and_the_setting_is_named() {
    let bomb = zstd::bulk::compress(&vec![0; 32 << 20], 3).unwrap();
    let bytes = changed(|b| {
        b.truncate(61);
        b.extend(&bomb);
        let length = i32::try_from(b.len() - 12).unwrap();
        b[8..12].copy_from_slice(&length.to_be_bytes());
        b[22] = 4;
    });
    let broker = serve(bytes).await;
    let cluster = connect(&broker).await;
    let decode = DecodeOptions::new().max_batch_bytes(1 << 20);
    let rdd = KafkaRdd::builder(&cluster).topic("t").decode(decode).build().await.unwrap();
    let error = rdd.collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("max_batch_bytes"), "{error}");
}

#[tokio::test]
async fn a_batch_over_every_limit_is_read() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 2).unwrap();
    fill_large(&broker, 0..2, 3, 3 << 20);
    let small = |config: kafka_direct::ClusterConfig| {
        config.memory_budget_bytes(1 << 20).fetch_max_bytes(1 << 20).partition_max_bytes(1000)
    };
    let rdd = whole(&connect_with(&broker, small).await).await;
    assert_eq!(offsets(&rdd).await.unwrap(), [0, 1, 2, 0, 1, 2]);
}

#[tokio::test]
async fn a_batch_over_the_bound_names_the_setting_and_its_own_range() {
    // The broker sends the first batch of a response whole, whatever its size.
    for (order, large) in [(FillOrder::Request, 0), (FillOrder::Reversed, 2)] {
        let broker = Broker::builder().fill_order(order).start().await.unwrap();
        broker.create_topic("t", 3).unwrap();
        for partition in 0..3 {
            let bytes = if partition == large { 9 << 20 } else { 1000 };
            broker.append("t", partition, [Record::new(vec![7; bytes])]).unwrap();
        }
        let small = |config: kafka_direct::ClusterConfig| {
            config.fetch_max_bytes(1 << 20).max_batch_bytes(1 << 20)
        };
        let rdd = whole(&connect_with(&broker, small).await).await;
        let error = offsets(&rdd).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        let range = format!("t-{large} [0, 1)");
        assert!(text.contains("max_batch_bytes") && text.contains(&range), "{text}");
    }
}

#[tokio::test]
async fn little_of_large_batches_is_fetched_twice() {
    const BATCHES: u64 = 60;
    const BYTES: usize = 300_000;
    let broker = Broker::builder().tail_batches(TailBatches::Cut).start().await.unwrap();
    broker.create_topic("t", 2).unwrap();
    fill_large(&broker, 0..2, BATCHES as usize, BYTES);
    let cluster = connect(&broker).await;
    assert_eq!(offsets(&whole(&cluster).await).await.unwrap().len() as u64, 2 * BATCHES);
    let (fetched, there) = (cluster.fetch_metrics().response_bytes, 2 * BATCHES * BYTES as u64);
    // With responses of 2 MiB, a sixth of the bytes would be fetched twice.
    assert!(fetched < there + there / 10, "{fetched} bytes were fetched of {there}");
}

#[tokio::test]
async fn little_is_fetched_twice_with_markers_between_large_batches() {
    const BATCHES: i64 = 200;
    let broker = Broker::builder().tail_batches(TailBatches::Cut).start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    let mut log = Vec::new();
    for at in 0..BATCHES {
        let one = BatchWriter::new().base_offset(2 * at).transaction(7, 0);
        log.extend(one.write(&[Record::new(vec![7; 100 << 10])]).unwrap());
        let end = BatchWriter::new().base_offset(2 * at + 1).transaction(7, 0);
        log.extend(end.marker(Marker::Commit).unwrap());
    }
    let there = log.len() as u64;
    broker.append_raw("t", 0, log, RawOffsets::Keep).unwrap();
    let cluster = connect(&broker).await;
    assert_eq!(offsets(&whole(&cluster).await).await.unwrap().len() as i64, BATCHES);
    let fetched = cluster.fetch_metrics().response_bytes;
    assert!(fetched < there + there / 50, "{fetched} of {there}");
}

#[tokio::test]
async fn a_response_has_batches_of_many_partitions_even_if_they_exceed_the_usual_limit() {
    const PARTITIONS: u64 = 40;
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", PARTITIONS as i32).unwrap();
    fill_large(&broker, 0..PARTITIONS as i32, 2, 700_000);
    let cluster = connect(&broker).await;
    assert_eq!(offsets(&whole(&cluster).await).await.unwrap().len() as u64, 2 * PARTITIONS);
    // A broker sends a batch over the partition's limit only as the first of a response. If the
    // reader assumed no size for unread batches, it would need half as many requests as partitions.
    let requests = cluster.fetch_metrics().requests;
    assert!(requests < PARTITIONS / 4, "{requests} requests for {} batches", 2 * PARTITIONS);
}

#[tokio::test]
async fn many_tiny_batches_become_few_arrow_batches() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("t", 1).unwrap();
    for n in 0..20_000 {
        broker.append("t", 0, [Record::new(format!("value {n}"))]).unwrap();
    }
    let batches = whole(&connect(&broker).await).await.collect().await.unwrap();
    assert!(batches.len() <= 8, "{}", batches.len());
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 20_000);
}
