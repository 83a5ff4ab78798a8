//! A resumable batch job: `cargo run -p kafka-direct-sinks --example batch_job -- localhost:9092
//! orders out`. Killed at any moment and run again, it leaves one complete file per range.
#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use kafka_direct::{BoxError, Cluster, ClusterConfig, KafkaRdd};
use kafka_direct_sinks::{BatchJob, Format};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |name| arguments.next().ok_or_else(|| format!("name the {name}"));
    let cluster = Cluster::connect(ClusterConfig::new([argument("broker")?])).await?;
    let selection = KafkaRdd::builder(&cluster).topic(argument("topic")?);
    let done = BatchJob::new(argument("folder")?, Format::JsonLines).run(selection).await?;
    println!("{done}");
    Ok(())
}
