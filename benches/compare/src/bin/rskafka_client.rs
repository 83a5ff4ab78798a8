//! `rskafka_client BOOTSTRAP TOPIC [ROUNDS]`: reads a topic through rskafka, as a service would.
//!
//! Each partition has one client and one task, with the same fetch size as the other clients. The
//! task reads the length of each value and drops the record. Before the clock starts, connections
//! are open and offsets are known. rskafka does not report bytes on the wire: `wire_bytes` is 0.

use std::{error::Error, sync::Arc};

use kafka_direct_compare_round::{Read, Round, Usage};
use rskafka::client::{
    Client, ClientBuilder,
    partition::{OffsetAt, PartitionClient, UnknownTopicHandling},
};
use tokio::{sync::Semaphore, task::JoinSet};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type BoxError = Box<dyn Error + Send + Sync>;

/// Maximum bytes of a response, which has records of one partition.
const FETCH_BYTES: i32 = 4 << 20;

/// Maximum number of partitions read at once; more cost memory and cache misses without more speed.
const PARTITIONS_IN_FLIGHT: usize = 64;

const LONGEST_WAIT_MS: i32 = 500;

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, bootstrap, topic, rest @ ..] = arguments.as_slice() else {
        return Err("usage: rskafka_client BOOTSTRAP TOPIC [ROUNDS]".into());
    };
    let rounds: u32 = rest.first().map_or(Ok(1), |rounds| rounds.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for _ in 0..rounds {
        let round = runtime.block_on(round(bootstrap, topic))?;
        println!("{}", round.to_json());
    }
    Ok(())
}

/// One partition and the range of offsets to read.
struct Piece {
    client: PartitionClient,
    from: i64,
    until: i64,
}

async fn pieces(client: &Client, topic: &str) -> Result<Vec<Piece>, BoxError> {
    let topics = client.list_topics().await?;
    let found = topics.into_iter().find(|candidate| candidate.name == topic);
    let partitions = found.ok_or_else(|| format!("topic {topic} does not exist"))?.partitions;
    let mut pieces = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let client = client.partition_client(topic, partition, UnknownTopicHandling::Error).await?;
        let from = client.get_offset(OffsetAt::Earliest).await?;
        let until = client.get_offset(OffsetAt::Latest).await?;
        pieces.push(Piece { client, from, until });
    }
    Ok(pieces)
}

async fn read(piece: Piece) -> Result<Read, BoxError> {
    let mut totals = Read::default();
    let mut next = piece.from;
    while next < piece.until {
        // The end of the byte range is exclusive, and rskafka requests one byte less.
        let (records, _) =
            piece.client.fetch_records(next, 1..FETCH_BYTES + 1, LONGEST_WAIT_MS).await?;
        totals.requests += 1;
        let last = records.last().ok_or_else(|| {
            format!("no records at offset {next} of partition {}", piece.client.partition())
        })?;
        let after = last.offset + 1;
        for record in records.iter().take_while(|record| record.offset < piece.until) {
            totals.records += 1;
            totals.value_bytes += record.record.value.as_ref().map_or(0, Vec::len) as u64;
        }
        next = after;
    }
    Ok(totals)
}

async fn round(bootstrap: &str, topic: &str) -> Result<Round, BoxError> {
    let brokers = bootstrap.split(',').map(str::to_owned).collect();
    let client = ClientBuilder::new(brokers).client_id("rskafka").build().await?;
    let pieces = pieces(&client, topic).await?;
    let permits = Arc::new(Semaphore::new(PARTITIONS_IN_FLIGHT));
    let usage = Usage::begin();
    let mut tasks = JoinSet::new();
    for piece in pieces {
        let permits = Arc::clone(&permits);
        tasks.spawn(async move {
            let _permit = permits.acquire_owned().await?;
            read(piece).await
        });
    }
    let mut sum = Read::default();
    while let Some(done) = tasks.join_next().await {
        let totals = done??;
        sum.records += totals.records;
        sum.value_bytes += totals.value_bytes;
        sum.requests += totals.requests;
    }
    Ok(usage.end("rskafka", sum))
}
