//! The direct stream: micro-batches of exact offsets, one after the other, with a checkpoint.
//!
//! A batch of a stream is a batch like any other, run by the same runner. The loop around it: plan, log
//! the plan, read into the sink, commit in the sink, log the commit. After a crash the batch in hand is
//! run again with identical ranges, unless the sink has committed it.
//!
//! ```no_run
//! # use kafka_direct::{Cluster, Error};
//! # async fn example(cluster: Cluster) -> Result<(), Error> {
//! use kafka_direct::{DirectStream, checkpoint::LocalCheckpoint};
//!
//! let mut stream = DirectStream::builder(&cluster)
//!     .topic("orders")
//!     .checkpoint(LocalCheckpoint::at("/var/lib/app/checkpoint"))
//!     .build()
//!     .await?;
//! while let Some(batch) = stream.next().await? {
//!     let records = batch.rdd().count().await?;
//!     println!("batch {}: {records} records", batch.id());
//!     batch.done().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! There are three ways to run the batches: [`DirectStream::next`] hands them out,
//! [`DirectStream::run`] writes them into a [`Sink`](crate::Sink), and [`DirectStream::for_each_batch`]
//! calls a closure with each.
//!
//! # A store of your own
//!
//! A database that takes results and position in one transaction has every record exactly once.
//! [`BatchInHand::to_committed`] returns the entry of a batch, [`StreamedBatch::done_externally`] ends
//! the batch once the entry is stored, and [`DirectStreamBuilder::resume_from`] takes the newest entry at
//! each start:
//!
//! ```no_run
//! # use kafka_direct::{BoxError, Cluster, checkpoint::CommittedBatch};
//! # struct Database;
//! # impl Database {
//! #     fn newest_entry(&self) -> Result<Option<CommittedBatch>, BoxError> { Ok(None) }
//! #     fn transaction(&self, _: u64, _: &CommittedBatch) -> Result<(), BoxError> { Ok(()) }
//! # }
//! # async fn example(cluster: Cluster, database: Database) -> Result<(), BoxError> {
//! use kafka_direct::DirectStream;
//!
//! let newest = database.newest_entry()?;
//! let mut stream = DirectStream::builder(&cluster)
//!     .topic("orders")
//!     .resume_from(newest)
//!     .build()
//!     .await?;
//! while let Some(batch) = stream.next().await? {
//!     let count = batch.rdd().count().await?;
//!     let entry = batch.to_committed();
//!     database.transaction(count, &entry)?;
//!     batch.done_externally(&entry).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - **No checkpoint is needed.** The entry has the plan, the position and topic id of every partition, the
//!   isolation level, the cluster, the stream's id and the learnt rate. It serialises with serde.
//! - **The store outranks the checkpoint.** With both, a batch that the store has is not run again, also
//!   if the process was killed before `done_externally`. An empty checkpoint is filled from the entry. A
//!   checkpoint that has a batch that the store lacks is [`Error::StoreBehind`](crate::Error::StoreBehind),
//!   an entry of another stream or cluster is [`Error::ForeignEntry`](crate::Error::ForeignEntry).
//! - **A unique key rejects a second driver.** Give the table of entries a unique key of the name of your
//!   stream and the batch's number. The stream's id alone is not enough: without a checkpoint each start
//!   has another one until the first entry is stored. The driver that is rejected starts again with the
//!   newest entry. Keep the numbers of old batches: one that was deleted rejects nobody.
//! - **Batches without ranges are handed out too.** They record where the stream starts in new partitions.
//!   Store their entry like any other.
//! - **To rewind**, delete the later results and entries, and use no checkpoint or an empty one.
//!
//! In [`DirectStream::for_each_batch`] the closure runs the transaction, and the stream does the rest. If
//! the outcome of a commit is unknown, the closure gets the batch again: it must then look up whether
//! the entry is there.

mod batch_in_hand;
mod builder;
mod control;
mod direct;
mod into_closure;
mod into_sink;
mod metadata;
mod observe;
mod progress;
mod publish;
mod run;
mod streamed_batch;
mod trigger;

pub use self::{
    batch_in_hand::BatchInHand,
    builder::DirectStreamBuilder,
    control::StreamHandle,
    direct::DirectStream,
    progress::{BatchProgress, StreamProgress, StreamState},
    streamed_batch::StreamedBatch,
    trigger::Trigger,
};
