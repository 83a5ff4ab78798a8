//! The durable log of a stream: what each batch reads, and which batches are done.
//!
//! A checkpoint is a folder of small JSON files, in any [`CheckpointStore`]:
//!
//! | file | content | written |
//! |---|---|---|
//! | `stream.json` | [`StreamMeta`] | once, with the checkpoint |
//! | `generations/N` | [`GenerationMarker`] | at every start of a driver; never removed |
//! | `offsets/N` | [`OffsetsEntry`], the plan of batch N | before a record of the batch reaches a sink |
//! | `commits/N` | [`CommitEntry`], the end of batch N | after the sink has committed the batch |
//!
//! `N` has 20 digits. No file is ever changed. A batch without ranges only records positions: the first
//! batch of a stream, 0, usually is one and holds the resolved starts. [`StreamLog`] writes the files,
//! [`CheckpointState`] only reads them.

mod draft;
mod entry;
mod files;
mod ids;
mod local;
mod log;
mod memory;
mod opening;
mod positions;
mod retention;
#[cfg(test)]
mod simulation;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod user_store;
mod verify;

pub use self::{
    draft::{CommitDraft, LoggedPlan, PlanDraft},
    entry::{CHECKPOINT_VERSION, CommitEntry, GenerationMarker, OffsetsEntry, Rewind, StreamMeta},
    ids::{BatchId, Generation, StreamId, WriterNonce},
    local::LocalCheckpoint,
    log::{DEFAULT_RETAINED_BATCHES, StreamLog},
    memory::{MemoryCheckpoint, MemoryFault},
    state::{CheckpointState, CommittedBatch},
    store::{CheckpointStore, CreateOutcome, StoreError, StoreFault, StoreFuture},
};
