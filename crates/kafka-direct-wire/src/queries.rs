//! Queries of the fetch path about one partition.
//!
//! The fetch path depends only on this trait, so tests of its recovery use scripted responses. It
//! sends these queries when a range starts and after faults, never per batch.

use std::fmt;

use futures::future::BoxFuture;
use kafka_direct_core::{Offset, TopicPartition};

use crate::{
    WireError,
    topology::{Leader, Refresh},
};

/// Which offset of a log a query requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ListOffset {
    /// The log start offset.
    Earliest,
    /// The first offset that is not only in remote storage. It is the log start offset on a broker
    /// without remote storage (KIP-405).
    EarliestLocal,
    /// The last stable offset.
    LatestCommitted,
    /// The high watermark.
    LatestUncommitted,
}

/// A query in flight.
pub(crate) type Query<'a, T> = BoxFuture<'a, Result<T, WireError>>;

/// Queries about one partition.
pub(crate) trait PartitionQueries: fmt::Debug + Send + Sync {
    /// Finds the leader of the partition. Does not retry.
    fn find_leader<'a>(
        &'a self,
        topic_partition: &'a TopicPartition,
        refresh: Refresh,
    ) -> Query<'a, Leader>;

    /// Finds one offset of the log (ListOffsets). Retries passing faults until the retry timeout.
    fn find_offset<'a>(
        &'a self,
        topic_partition: &'a TopicPartition,
        which: ListOffset,
    ) -> Query<'a, Offset>;

    /// Finds the largest epoch at or below `epoch` in the leader's log, and its end offset,
    /// exclusive (OffsetForLeaderEpoch).
    ///
    /// `None` if the leader's log has no such epoch. Retries passing faults until the retry
    /// timeout.
    fn find_epoch_end<'a>(
        &'a self,
        topic_partition: &'a TopicPartition,
        epoch: i32,
    ) -> Query<'a, Option<(i32, Offset)>>;
}
