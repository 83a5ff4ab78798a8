//! `ours BOOTSTRAP TOPIC [ROUNDS]`: reads a topic through the library, as a service would.
//!
//! One task per partition reads Arrow batches of offset, timestamp, key and value, adds up the
//! lengths of the values, and drops the batches.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use kafka_direct::{
    BoxError, Cluster, ClusterConfig, Column, Columns, KafkaRdd,
    arrow::array::{Array, cast::AsArray},
};
use kafka_direct_compare_round::{Read, Round, Usage};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, bootstrap, topic, rest @ ..] = arguments.as_slice() else {
        return Err("usage: ours BOOTSTRAP TOPIC [ROUNDS]".into());
    };
    let rounds: u32 = rest.first().map_or(Ok(1), |rounds| rounds.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for _ in 0..rounds {
        let round = runtime.block_on(round(bootstrap, topic))?;
        println!("{}", round.to_json());
    }
    Ok(())
}

async fn round(bootstrap: &str, topic: &str) -> Result<Round, BoxError> {
    let cluster = Cluster::connect(ClusterConfig::new([bootstrap])).await?;
    let columns: Columns =
        [Column::Key, Column::Value, Column::Offset, Column::Timestamp].into_iter().collect();
    let rdd = KafkaRdd::builder(&cluster).topic(topic).columns(columns).build().await?;
    let (records, value_bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let totals = (Arc::clone(&records), Arc::clone(&value_bytes));
    let usage = Usage::begin();
    rdd.for_each_partition(move |_, mut batches| {
        let (records, value_bytes) = (Arc::clone(&totals.0), Arc::clone(&totals.1));
        async move {
            while let Some(batch) = batches.try_next().await? {
                let values = batch.column_by_name("value").ok_or("no value column")?;
                // The low 32 bits of a view are the length.
                let lengths = values.as_binary_view().views().iter().map(|view| *view as u32);
                value_bytes.fetch_add(lengths.map(u64::from).sum(), Relaxed);
                records.fetch_add(batch.num_rows() as u64, Relaxed);
                debug_assert_eq!(values.len(), batch.num_rows());
            }
            Ok(())
        }
    })
    .await?;
    let metrics = cluster.fetch_metrics();
    let read = Read {
        records: records.load(Relaxed),
        value_bytes: value_bytes.load(Relaxed),
        wire_bytes: metrics.response_bytes,
        requests: metrics.requests,
        request_bytes: Some(metrics.request_bytes),
    };
    Ok(usage.end("ours", read))
}
