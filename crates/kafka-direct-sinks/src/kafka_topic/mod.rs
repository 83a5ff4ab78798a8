//! A Kafka topic as an output: of streams, of dead letters, and of any program that has records.
//!
//! [`Producer`] writes to one topic through rskafka. [`ProducerBatches`] collects records into Kafka
//! batches per partition. [`KafkaTopicSink`] and [`DeadLetterTopic`] are built on both.
//!
//! Contract:
//! - A record counts as written after all in-sync replicas have acknowledged it (`acks=all`).
//! - It is at-least-once: a batch whose acknowledgement is lost, or an attempt that fails, is written
//!   again. rskafka has no idempotent producer and no transactions.
//! - The topic must exist. A metadata request that cannot create it comes first, because requests of
//!   rskafka could create it: one that is deleted later may be created again by a cluster that creates
//!   topics by itself.
//! - Under a produce quota records may be written twice: rskafka sends a throttled request again.
//! - The records of one partition of the topic are written in the order in which they were added.
//! - rskafka keeps headers as a sorted map of names to values: headers are written in the order of their
//!   names, a null value is written as an empty one, and of several headers of one name the last is
//!   written. The sink and the dead letters count such headers and warn once of each kind.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use kafka_direct::{Cluster, ClusterConfig, DirectStream, checkpoint::LocalCheckpoint};
//! use kafka_direct_sinks::kafka_topic::{KafkaTopicSink, Producer, ProducerConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::connect(ClusterConfig::new(["localhost:9092"])).await?;
//! let config = ProducerConfig::new(["localhost:9092"]);
//! let sink = KafkaTopicSink::new(Producer::connect(&cluster, "copies", config).await?);
//! let stream = DirectStream::builder(&cluster)
//!     .topic("orders")
//!     .exclude_topics(["copies"])
//!     .columns(KafkaTopicSink::columns())
//!     .checkpoint(LocalCheckpoint::at("checkpoint"))
//!     .build()
//!     .await?;
//! stream.run(Arc::new(sink)).await?;
//! # Ok(())
//! # }
//! ```

mod batches;
mod client_error;
mod dead_letters;
mod headers;
mod partitioner;
mod producer;
mod record;
mod sink;

pub use self::{
    batches::ProducerBatches,
    client_error::{ClientError, kind_of},
    dead_letters::{DeadLetter, DeadLetterTopic},
    headers::AlteredHeaders,
    producer::{Compression, Producer, ProducerConfig},
    record::{Origin, ProducerRecord},
    sink::{KafkaTopicSink, KafkaTopicWriter, Partitioning},
};
