//! What a stream reports about itself: one [`BatchProgress`] per batch, and totals.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};

/// What happened in one batch. It serialises to one flat JSON object, with times in milliseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct BatchProgress {
    /// The batch's number.
    pub batch: u64,
    /// How many ranges were read.
    pub ranges: usize,
    /// How many offsets the batch covers.
    pub span: u64,
    /// How many records were delivered.
    pub records: u64,
    /// Bytes of the values of those records; 0 if the value column was not read.
    pub bytes: u64,
    /// How many offsets were readable after the batch was planned and not in it.
    pub lag: u64,
    /// How many times offsets were lost and skipped, while planning and while reading.
    pub resets: usize,
    /// How many records the sink could not decode, see
    /// [`RangeWriter::poison`](crate::RangeWriter::poison); 0 of ranges that an earlier run has finished.
    pub poison: u64,
    /// From the start of planning until the plan was durable.
    #[serde(rename = "planning_ms", serialize_with = "millis")]
    pub planning: Duration,
    /// From then on until every range was read and written.
    #[serde(rename = "reading_ms", serialize_with = "millis")]
    pub reading: Duration,
    /// The part of `reading` in which the ranges waited for the sink, all of them together.
    #[serde(rename = "writing_ms", serialize_with = "millis")]
    pub writing: Duration,
    /// From then on until the sink's commit and the log's were durable.
    #[serde(rename = "commit_ms", serialize_with = "millis")]
    pub commit: Duration,
    /// From the start of planning until the batch was done.
    #[serde(rename = "total_ms", serialize_with = "millis")]
    pub total: Duration,
    /// How long after its due time the batch was planned.
    #[serde(rename = "scheduling_delay_ms", serialize_with = "millis")]
    pub scheduling_delay: Duration,
}

fn millis<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Three digits after the point: microseconds.
    serializer.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e3)
}

type Callback = dyn Fn(&BatchProgress) + Send + Sync;

/// The embedder's function for batches that are done; absent by default.
#[derive(Clone, Default)]
pub(super) struct BatchObserver(Option<Arc<Callback>>);

impl BatchObserver {
    pub(super) fn new(observer: impl Fn(&BatchProgress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(super) fn report(&self, progress: &BatchProgress) {
        if let Some(observer) = &self.0 {
            observer(progress);
        }
    }
}

impl fmt::Debug for BatchObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "BatchObserver(set)" } else { "BatchObserver(none)" })
    }
}

/// What a stream is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StreamState {
    /// It waits for data or for its next batch.
    #[default]
    Waiting,
    /// It runs a batch.
    Running,
    /// It was paused.
    Paused,
    /// The cluster is unavailable; the stream goes on as soon as it is back.
    Unavailable(Arc<str>),
    /// It has ended.
    Ended,
}

/// The progress of a stream since it was started.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct StreamProgress {
    /// What it is doing.
    pub state: StreamState,
    /// The batches that were done.
    pub batches: u64,
    /// The records of those batches.
    pub records: u64,
    /// The last batch that was done.
    pub last: Option<BatchProgress>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_one_flat_object_with_milliseconds() {
        let progress = BatchProgress {
            batch: 7,
            ranges: 2,
            span: 100,
            records: 98,
            bytes: 5,
            lag: 3,
            resets: 0,
            poison: 4,
            planning: Duration::from_micros(1234),
            reading: Duration::from_millis(2),
            writing: Duration::from_nanos(1_500),
            commit: Duration::ZERO,
            total: Duration::from_secs(3),
            scheduling_delay: Duration::ZERO,
        };
        let expected = r#"{"batch":7,"ranges":2,"span":100,"records":98,"bytes":5,"lag":3,"resets":0,"poison":4,"planning_ms":1.234,"reading_ms":2.0,"writing_ms":0.002,"commit_ms":0.0,"total_ms":3000.0,"scheduling_delay_ms":0.0}"#;
        assert_eq!(serde_json::to_string(&progress).unwrap(), expected);
    }
}
