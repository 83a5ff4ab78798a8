//! Checks a broker's statement that no record has a time or a later one.
//!
//! ListOffsets by time looks only into the first segment whose index names such a time. If the log
//! start or compaction has removed that record, the broker reports "none", although later segments have
//! such records (`UnifiedLog.fetchOffsetByTimestamp`). A start at "none" would skip them, and an end
//! would not stop before them. The last batches of the log are cheap to fetch and tell.

use arrow_array::{Array as _, RecordBatch, TimestampMillisecondArray};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kafka_direct_core::{
    ErrorKind, IsolationLevel, Offset, OffsetRange, PlannedRange, TopicPartition, Watermarks,
};
use kafka_direct_wire::Cluster;
use kafka_direct_worker::{Column, Columns, DecodeOptions};

use crate::{Error, ReadOptions, read_range};

/// How many of the last offsets are looked at: more than one, because the last may be a marker of a
/// transaction.
const TAIL_OFFSETS: i64 = 10;
/// How many partitions are checked at the same time.
const AT_ONCE: usize = 64;

/// A time of which a broker reported that this partition has no record at or after it.
#[derive(Debug)]
pub(crate) struct NoRecord {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) millis: i64,
    pub(crate) watermarks: Watermarks,
}

/// Fails for the first partition whose last records contradict the broker. `decode` has the caller's
/// limit on the size of a batch.
///
/// What cannot be read, because it is corrupt or was trimmed meanwhile, contradicts nothing: it is an
/// error when it is read.
pub(crate) async fn check(
    cluster: &Cluster,
    decode: &DecodeOptions,
    reported: Vec<NoRecord>,
) -> Result<(), Error> {
    let checks = stream::iter(reported).map(|one| async move {
        match check_one(cluster, decode, &one).await {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Unavailable | ErrorKind::Unauthorized | ErrorKind::Internal
                ) || matches!(error, Error::TimeNotIndexed { .. }) =>
            {
                Err(error)
            }
            Err(error) => {
                tracing::debug!(partition = %one.topic_partition, %error, "the end of the log cannot be read");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    });
    checks.buffer_unordered(AT_ONCE).try_collect().await
}

async fn check_one(
    cluster: &Cluster,
    decode: &DecodeOptions,
    reported: &NoRecord,
) -> Result<(), Error> {
    let NoRecord { topic_partition, millis, watermarks } = reported;
    let high = watermarks.high;
    let from = Offset::new(high.get().saturating_sub(TAIL_OFFSETS)).max(watermarks.log_start);
    if from >= high {
        return Ok(());
    }
    let range = OffsetRange::new(topic_partition.clone(), from, high)?;
    // As the question to the broker, which includes records of open and aborted transactions.
    let planned = PlannedRange::new(range, IsolationLevel::ReadUncommitted);
    let mut batches = read_range(cluster, planned, &timestamps_only(decode));
    while let Some(batch) = batches.try_next().await? {
        if let Some(later) = timestamps(&batch).find(|time| time >= millis) {
            return Err(Error::TimeNotIndexed {
                topic_partition: topic_partition.clone(),
                millis: *millis,
                later_millis: later,
            });
        }
    }
    Ok(())
}

/// The timestamp of the first record of a range, as read_uncommitted shows it.
pub(crate) async fn first_timestamp(
    cluster: &Cluster,
    decode: &DecodeOptions,
    range: OffsetRange,
) -> Option<i64> {
    let planned = PlannedRange::new(range, IsolationLevel::ReadUncommitted);
    let batch = read_range(cluster, planned, &timestamps_only(decode)).try_next().await.ok()??;
    timestamps(&batch).next()
}

fn timestamps_only(decode: &DecodeOptions) -> ReadOptions {
    let columns = Columns::none().with(Column::Timestamp);
    ReadOptions::new().decode(decode.clone().columns(columns).max_rows(16))
}

fn timestamps(batch: &RecordBatch) -> impl Iterator<Item = i64> + '_ {
    let times = batch.column_by_name(Column::Timestamp.as_str());
    let times = times.and_then(|times| times.as_any().downcast_ref::<TimestampMillisecondArray>());
    times.into_iter().flatten().flatten()
}
