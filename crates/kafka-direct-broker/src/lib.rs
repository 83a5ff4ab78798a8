//! An embedded Kafka broker: in this process, in memory, over TCP or over a pipe in memory.
//!
//! It is for demos, for fast tests and for injecting faults. **It is never a substitute for
//! Kafka**: it does not replicate, writes nothing to disk, loses all data when dropped, checks no
//! credentials, and shares no code with Apache Kafka. Test against Kafka whatever a program must
//! do against Kafka.
//!
//! ```
//! use kafka_direct_broker::{ApiKey, Broker, Fault, Record};
//! # use rskafka::client::{ClientBuilder, partition::UnknownTopicHandling};
//! #[tokio::main(flavor = "current_thread")] // in a test: #[tokio::test]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let broker = Broker::start().await?;
//!     broker.create_topic("orders", 1)?;
//!     broker.append("orders", 0, [Record::new("first"), Record::new("second")])?;
//!     broker.faults().next(ApiKey::Fetch, Fault::Cut);
//!     let client = ClientBuilder::new(vec![broker.bootstrap()]).build().await?;
//!     let orders = client.partition_client("orders", 0, UnknownTopicHandling::Error).await?;
//!     let (records, _) = orders.fetch_records(0, 1..1_000_000, 1_000).await?;
//!     assert_eq!((records.len(), broker.faults().intercepted(ApiKey::Fetch)), (2, 1));
//!     Ok(())
//! }
//! ```
//!
//! **Promises:**
//! - It supports the versions that [`ApiKey::versions`] lists and responds as Apache Kafka does:
//!   whole batches, limits, watermarks, sessions, isolation, leader epochs, topic ids.
//! - A partition holds no more bytes than its cap, or one batch that is larger.
//! - No request makes it panic. No request makes it reserve more than a constant times the
//!   request's length.
//! - Its only clock is tokio's and it draws no random numbers. Under paused time and in memory,
//!   every run is the same.
//!
//! **Out of scope:**
//! - group membership, idempotence, configurations, quotas, ACLs, TLS, SASL
//! - transactions; the owner can append transactional batches, and they are served correctly
//! - compression; a compressed batch is stored and served as it is
//! - message formats before v2
//! - wall clocks; timestamps come from the producer or the owner
//!
//! # Map
//!
//! The owner's API:
//! - `broker.rs`: `Broker`, the owner's handle
//! - `builder.rs`, `settings.rs`: build a broker from its settings
//! - `owner_appends.rs`: appends without the Produce API
//! - `record.rs`: `Record`, one record to append
//! - `faults.rs`: `Fault`, the fault for the next request of an API; `error_code.rs`: `ErrorCode`,
//!   Kafka's error codes by name
//! - `batch_writer.rs`: `BatchWriter` writes record batches, including transactional ones and ones
//!   with holes
//! - `error.rs`: `BrokerError`
//!
//! Serving a request, in this order:
//! - `node.rs`: listens and accepts connections
//! - `connection.rs`: reads requests, writes responses and applies faults
//! - `frame.rs`: reads and writes frames, each with its size prefix
//! - `api_key.rs`: the APIs served, their versions, and version caps
//! - `guard.rs`, `guard_schemas.rs`: check a request against its schema before a codec decodes it
//! - `api/mod.rs`: turns a request's bytes into a response's bytes; one file per API: `api/*`
//! - `api/fetch_response.rs`: encodes a Fetch response without copying batches
//!
//! State:
//! - `shared.rs`: state shared by nodes, connections and the handle
//! - `cluster.rs`: topics, partitions, leaders and groups, under one lock
//! - `sessions.rs`: fetch sessions
//! - `log.rs`: one partition's batches and watermarks
//! - `epochs.rs`: the start offset of each leader epoch of a partition
//! - `transactions.rs`: open and ended transactions, derived from batches
//! - `batch_reader.rs`: finds records by timestamp and reads transaction markers
//! - `varint.rs`: varints inside batches

mod api;
mod api_key;
mod batch_reader;
mod batch_writer;
mod broker;
mod builder;
mod cluster;
mod connection;
mod epochs;
mod error;
mod error_code;
mod faults;
mod frame;
mod guard;
mod guard_schemas;
mod log;
mod node;
mod owner_appends;
mod record;
mod sessions;
mod settings;
mod shared;
mod transactions;
mod varint;

pub use api_key::ApiKey;
pub use batch_writer::{BatchWriter, Marker};
pub use broker::Broker;
pub use builder::BrokerBuilder;
pub use error::BrokerError;
pub use error_code::ErrorCode;
pub use faults::{Corruption, Fault, Faults};
pub use owner_appends::RawOffsets;
pub use record::Record;
pub use settings::{AutoCreate, ByteLimits, FillOrder, TailBatches};
pub use shared::FetchSeen;
