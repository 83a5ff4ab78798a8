//! Reads a topic as one batch and counts rows and value bytes of each partition.
//!
//! `cargo run --example read_topic -- localhost:9092 orders`; without arguments it starts an embedded
//! broker and reads from that.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use kafka_direct::{
    BoxError, Cluster, ClusterConfig, Column, KafkaRdd,
    arrow::array::{Array, cast::AsArray},
};
use kafka_direct_broker::{Broker, Record};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let (bootstrap, topic, _broker) = match (arguments.next(), arguments.next()) {
        (Some(bootstrap), Some(topic)) => (bootstrap, topic, None),
        _ => {
            let broker = Broker::start().await?;
            broker.create_topic("orders", 2)?;
            for partition in 0..2 {
                broker.append(
                    "orders",
                    partition,
                    [Record::new("first"), Record::new("second")],
                )?;
            }
            (broker.bootstrap(), "orders".to_owned(), Some(broker))
        }
    };
    let cluster = Cluster::connect(ClusterConfig::new([bootstrap])).await?;
    let rdd = KafkaRdd::builder(&cluster)
        .topic(topic)
        .columns([Column::Value, Column::Offset].into_iter().collect())
        .build()
        .await?;
    rdd.for_each_partition(|planned, mut batches| async move {
        let (mut rows, mut bytes) = (0, 0);
        while let Some(batch) = batches.try_next().await? {
            let values = batch.column_by_name("value").ok_or("no value column")?.as_binary_view();
            rows += values.len();
            bytes += values.iter().flatten().map(<[u8]>::len).sum::<usize>();
        }
        println!("{}: {rows} rows, {bytes} bytes of values", planned.range());
        Ok(())
    })
    .await?;
    Ok(())
}
