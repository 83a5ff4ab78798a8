//! A driver makes the plan and sends ranges as text; workers need only that text and a connection.
//! Here both are in one process, with JSON between them.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use kafka_direct::{
    BatchPlan, BoxError, Cluster, ClusterConfig, KafkaRdd, ReadOptions, read_range,
};
use kafka_direct_broker::{Broker, Record};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let broker = Broker::start().await?;
    broker.create_topic("orders", 1)?;
    for number in 0..10 {
        broker.append("orders", 0, [Record::new(format!("order {number}"))])?;
    }
    let servers = [broker.bootstrap()];

    // The driver: 10 offsets in pieces of at most 4.
    let driver = Cluster::connect(ClusterConfig::new(servers.clone())).await?;
    let planned = KafkaRdd::builder(&driver).topic("orders").max_records_per_partition(4);
    let text = planned.build().await?.plan().to_json();
    println!("{text}");

    // A worker, which has the text and the address of the cluster.
    let worker = Cluster::connect(ClusterConfig::new(servers)).await?;
    for planned in BatchPlan::from_json(&text)?.ranges() {
        let mut batches = read_range(&worker, planned.clone(), &ReadOptions::new());
        let mut rows = 0;
        while let Some(batch) = batches.try_next().await? {
            rows += batch.num_rows();
        }
        println!("{}: {rows} rows", planned.range());
    }
    Ok(())
}
