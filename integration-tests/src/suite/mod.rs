//! One test function per guarantee, grouped by subject.

pub mod decoding;
pub mod memory;
pub mod outputs;
pub mod plans;
pub mod reading;
pub mod sinks;
pub mod starts;
pub mod streams;
pub mod tasks;

use kafka_direct::{Cluster, Columns, KafkaRdd, KafkaRddBuilder};

use crate::rows::{Row, rows};

/// Selects one topic with every column.
fn all_columns(cluster: &Cluster, topic: &str) -> KafkaRddBuilder {
    KafkaRdd::builder(cluster).topic(topic).columns(Columns::all())
}

/// Reads all records of the dataset, in plan order.
async fn read(rdd: &KafkaRdd) -> Vec<Row> {
    rows(&rdd.collect().await.unwrap())
}

fn offsets(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(|row| row.offset).collect()
}
