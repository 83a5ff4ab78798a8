//! `rdkafka_client BOOTSTRAP TOPIC tuned|default`: librdkafka through rdkafka's `BaseConsumer`.
//!
//! It assigns partitions and polls them up to the ends known before the clock starts. It joins no
//! group and commits nothing.
//!
//! `tuned` uses common settings for throughput, `default` none of them; both check CRCs. The C code
//! allocates with the C library's allocator, as in every program that links it. Bytes and requests
//! are 0, because librdkafka's statistics would cost CPU.

use std::{collections::BTreeMap, error::Error, time::Duration};

use kafka_direct_compare_round::{Read, Round, Usage};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type BoxError = Box<dyn Error + Send + Sync>;

const TUNED: [(&str, &str); 3] = [
    ("max.partition.fetch.bytes", "4194304"),
    ("fetch.queue.backoff.ms", "1"),
    ("queued.min.messages", "100000"),
];

const RESPONSE: Duration = Duration::from_secs(30);

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, bootstrap, topic, mode] = arguments.as_slice() else {
        return Err("usage: rdkafka_client BOOTSTRAP TOPIC tuned|default".into());
    };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config.set("group.id", "kafka-direct-compare");
    config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
    config.set("check.crcs", "true").set("enable.partition.eof", "true");
    if mode == "tuned" {
        for (key, value) in TUNED {
            config.set(key, value);
        }
    }
    let round = round(&config.create()?, topic, &format!("rdkafka-{mode}"))?;
    println!("{}", round.to_json());
    Ok(())
}

fn round(consumer: &BaseConsumer, topic: &str, client: &str) -> Result<Round, BoxError> {
    let metadata = consumer.fetch_metadata(Some(topic), RESPONSE)?;
    let found = metadata.topics().first().ok_or_else(|| format!("topic {topic} does not exist"))?;
    let mut assignment = TopicPartitionList::new();
    // Exclusive ends of the partitions that are not read to their end yet.
    let mut ends = BTreeMap::new();
    for partition in found.partitions() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), RESPONSE)?;
        if low < high {
            assignment.add_partition_offset(topic, partition.id(), Offset::Offset(low))?;
            ends.insert(partition.id(), high);
        }
    }
    let usage = Usage::begin();
    consumer.assign(&assignment)?;
    let mut read = Read::default();
    while !ends.is_empty() {
        match consumer.poll(RESPONSE) {
            Some(Ok(message)) => {
                let Some(end) = ends.get(&message.partition()) else { continue };
                if message.offset() < *end {
                    read.records += 1;
                    read.value_bytes += message.payload().map_or(0, <[u8]>::len) as u64;
                }
                if message.offset() + 1 >= *end {
                    ends.remove(&message.partition());
                }
            }
            // A transaction's marker, which is no message, may be at the end of a log.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ends.remove(&partition);
            }
            Some(Err(error)) => return Err(error.into()),
            None => return Err(format!("no messages from {} partitions", ends.len()).into()),
        }
    }
    Ok(usage.end(client, read))
}
