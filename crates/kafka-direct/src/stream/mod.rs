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

mod builder;
mod control;
mod direct;
mod metadata;
mod observe;
mod progress;
mod publish;
mod run;
mod streamed_batch;
mod trigger;

pub use self::{
    builder::DirectStreamBuilder,
    control::StreamHandle,
    direct::DirectStream,
    progress::{BatchProgress, StreamProgress, StreamState},
    streamed_batch::StreamedBatch,
    trigger::Trigger,
};
