//! The files of a checkpoint: versioned JSON that people can read.
//!
//! Contract: a file names its version, its stream and its own number, so that a file of a newer build,
//! of another stream or under a wrong name is refused and never misread. A field may be added within
//! a version; a reader ignores fields that it does not know.

use kafka_direct_core::{BatchPlan, Reset, TopicPartition};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    draft::CommitDraft,
    ids::{BatchId, Generation, StreamId, WriterNonce},
    positions,
};
use crate::EndPosition;

/// The version of the files that this build writes, and the newest that it reads.
pub const CHECKPOINT_VERSION: u32 = 1;

/// `stream.json`: to which stream and cluster the checkpoint belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StreamMeta {
    /// The version of the file.
    pub version: u32,
    /// The stream's id.
    pub stream_id: StreamId,
    /// The cluster's id, where it has one.
    pub cluster: Option<String>,
}

/// `generations/N`: a driver's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GenerationMarker {
    /// The version of the file.
    pub version: u32,
    /// The stream's id.
    pub stream_id: StreamId,
    /// The number of the start.
    pub generation: Generation,
    /// Who started.
    pub nonce: WriterNonce,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub time_millis: i64,
}

/// `offsets/N`: what batch N reads. It is durable before a record of the batch reaches a sink (INV-4).
///
/// The isolation level, the cluster, and the resets at planning are those of `plan`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OffsetsEntry {
    /// The version of the file.
    pub version: u32,
    /// The stream's id.
    pub stream_id: StreamId,
    /// The batch.
    pub batch: BatchId,
    /// The start of the driver that planned it.
    pub generation: Generation,
    /// The driver that planned it.
    pub nonce: WriterNonce,
    /// When it was planned, in milliseconds since 1970-01-01 UTC.
    pub time_millis: i64,
    /// The planned ranges with pieces, epochs and topic ids. A batch without ranges only records
    /// positions.
    pub plan: BatchPlan,
    /// Where every partition that the stream ever followed continues once all ranges are read to
    /// their planned ends, ordered by partition.
    pub positions: Vec<EndPosition>,
    /// Partitions that have no position and follow the stream's own start once they have a leader.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<TopicPartition>,
    /// What the stream has learnt about the rate of its sink, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<serde_json::Value>,
    /// Where the records go, in the words of who runs the stream; `None` if they were not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
}

/// `commits/N`: batch N is done, and where its partitions ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CommitEntry {
    /// The version of the file.
    pub version: u32,
    /// The stream's id.
    pub stream_id: StreamId,
    /// The batch.
    pub batch: BatchId,
    /// The start of the driver that wrote this file.
    pub generation: Generation,
    /// The driver that wrote this file.
    pub nonce: WriterNonce,
    /// The driver that planned the batch: the nonce in `offsets/N`.
    pub plan_nonce: WriterNonce,
    /// When the batch was done, in milliseconds since 1970-01-01 UTC.
    pub time_millis: i64,
    /// The achieved end of every partition with a planned range, ordered by partition.
    pub achieved: Vec<EndPosition>,
    /// The offsets that reading skipped under the data-loss policy `resume`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resets: Vec<Reset>,
    /// Set if this is no batch of data but a rewind, which a person requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewind: Option<Rewind>,
}

impl CommitEntry {
    /// The end of the batch that `planned` plans, by this driver.
    pub(crate) fn of(
        planned: &OffsetsEntry,
        (generation, nonce): (Generation, WriterNonce),
        draft: CommitDraft,
    ) -> Self {
        Self {
            version: CHECKPOINT_VERSION,
            stream_id: planned.stream_id,
            batch: planned.batch,
            generation,
            nonce,
            plan_nonce: planned.nonce,
            time_millis: draft.time_millis,
            achieved: positions::by_partition(draft.achieved).into_values().collect(),
            resets: draft.resets,
            rewind: None,
        }
    }
}

/// A rewind: the stream continues where an earlier batch ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rewind {
    /// The batch after which the stream continues.
    pub to_batch: BatchId,
    /// Where its partitions ended. They replace all positions of the stream.
    pub positions: Vec<EndPosition>,
}

/// A type of file with the fields that every file of a batch or a start has.
pub(crate) trait Entry: Serialize + DeserializeOwned + Sync {
    fn stream_id(&self) -> StreamId;
    /// The number that the file's name must have; `None` for the file that has none.
    fn number(&self) -> Option<u64>;
}

macro_rules! entry {
    ($type:ty, $self:ident => $number:expr) => {
        impl Entry for $type {
            fn stream_id(&self) -> StreamId {
                self.stream_id
            }

            fn number(&$self) -> Option<u64> {
                $number
            }
        }
    };
}

entry!(StreamMeta, self => None);
entry!(GenerationMarker, self => Some(self.generation.get()));
entry!(OffsetsEntry, self => Some(self.batch.get()));
entry!(CommitEntry, self => Some(self.batch.get()));
