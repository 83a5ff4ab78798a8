//! An embedded Kafka broker: in this process, in memory, over TCP or over a pipe in memory.
//!
//! It is for demos, for fast tests and for injecting faults. **It is never a substitute for
//! Kafka**: it replicates nothing, keeps nothing on disk, forgets everything when dropped, checks
//! no credentials, and shares no code with Apache Kafka. What a program must be able to do against
//! Kafka has to be proved against Kafka.
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
//! **Promises:** it speaks the versions that [`ApiKey::versions`] names and responses as Apache Kafka
//! does: whole batches, limits, watermarks, sessions, isolation, leader epochs, topic ids. A
//! partition holds no more than its cap. No request makes it panic or reserve more than the request
//! is long, times a constant. Its only clock is tokio's and it draws no random numbers, so under
//! paused time and in memory it does the same in every run.
//!
//! **Out of scope:** group membership, transactions (batches of transactions can be appended by
//! the owner and are then served rightly), idempotence, configurations, quotas, ACLs, TLS, SASL,
//! compression (a compressed batch is stored and served as it is), message formats before v2, wall
//! clocks (timestamps come from whoever writes).
//!
//! # Map
//!
//! What the owner uses:
//! - `broker.rs`: `Broker`, the owner's handle
//! - `builder.rs`, `settings.rs`: how a broker is built and what it can be told
//! - `owner_appends.rs`: appending past the Produce API; `record.rs`: one record as the owner writes it
//! - `faults.rs`: `Fault`: what happens to the next request of an API instead of a true response
//! - `batch_writer.rs`: `BatchWriter` writes batches, malformed ones too
//! - `error.rs`: `BrokerError`
//!
//! What serves a request, in this order:
//! - `node.rs`: listens and accepts connections
//! - `connection.rs`: reads requests and writes responses; faults act here
//! - `frame.rs`: the size before each request and response
//! - `api_key.rs`: the APIs served, their versions, and caps on these
//! - `guard.rs`, `guard_schemas.rs`: check a request against its schema before a codec decodes it
//! - `api/mod.rs`: from a request's bytes to a response's bytes; one file per API: `api/*`
//! - `api/fetch_response.rs`: encodes a Fetch response without copying batches
//!
//! What it keeps:
//! - `shared.rs`: what nodes, connections and the handle have in common
//! - `cluster.rs`: topics, partitions, leaders and groups: the state behind one lock
//! - `sessions.rs`: fetch sessions
//! - `log.rs`: one partition's batches and watermarks
//! - `epochs.rs`: where the leader epochs of a partition began
//! - `transactions.rs`: open and ended transactions, derived from batches
//! - `batch_reader.rs`: what the broker reads of the records in a batch
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
pub use faults::{Corruption, Fault, Faults};
pub use owner_appends::RawOffsets;
pub use record::Record;
pub use settings::{AutoCreate, FillOrder, TailBatches};
pub use shared::FetchSeen;
