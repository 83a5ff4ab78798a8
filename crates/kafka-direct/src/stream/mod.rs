//! The direct stream: micro-batches of exact offsets, one after the other, with a checkpoint.
//!
//! A batch of a stream is a batch like any other, run by the same runner. The loop around it: plan, log
//! the plan, read into the sink, commit in the sink, log the commit. After a crash the batch in hand is
//! run again with identical ranges, unless the sink has committed it.

mod builder;
mod control;
mod direct;
mod metadata;
mod observe;
mod progress;
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
