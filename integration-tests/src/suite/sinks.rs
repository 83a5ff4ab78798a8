//! Writing to a sink: attempts, aborts, one commit, resumed ranges.

use std::sync::Arc;

use kafka_direct::{
    BatchContext, BoxError, Error, RangeSummary, RangeWriter, RunEvent, Sink, TaskReceipt,
    WriteTask, arrow::array::RecordBatch,
};
use parking_lot::Mutex;

use super::{all_columns, read};
use crate::{
    cluster::{TestCluster, Writer, connect, unique},
    rows::{Row, rows},
};

/// A sink in memory that logs its calls and can be set to fail.
#[derive(Debug, Default)]
struct Memory {
    /// The partition whose attempts fail after their first batch, and the number of attempts.
    failing: Option<(i32, u32)>,
    /// The partition whose writer panics, while the other writers never finish.
    panicking: Option<i32>,
    /// Receipts of an earlier run.
    earlier: Vec<TaskReceipt<Vec<i64>>>,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    /// Partition and attempt of every writer, in the order of creation.
    writers: Vec<(i32, u32)>,
    aborted: Vec<(i32, u32)>,
    /// Rows of finished writers, by partition.
    written: Vec<(i32, Vec<Row>)>,
    commits: Vec<Vec<TaskReceipt<Vec<i64>>>>,
}

struct MemoryWriter {
    fails: bool,
    panics: Option<i32>,
    partition: i32,
    rows: Vec<Row>,
    log: Arc<Mutex<Log>>,
}

fn partition_and_attempt(task: &WriteTask) -> (i32, u32) {
    (task.ranges[0].topic_partition().partition(), task.attempt)
}

impl Sink for Memory {
    type Receipt = Vec<i64>;
    type Writer = MemoryWriter;

    async fn finished(&self, task: &WriteTask) -> Result<Option<TaskReceipt<Vec<i64>>>, BoxError> {
        let planned = &task.ranges[0];
        let same = |receipt: &&TaskReceipt<Vec<i64>>| {
            receipt.ranges[0].topic_partition == *planned.topic_partition()
                && receipt.ranges[0].from == planned.range().from()
        };
        Ok(self.earlier.iter().find(same).cloned())
    }

    async fn writer(&self, task: &WriteTask) -> Result<MemoryWriter, BoxError> {
        let (partition, attempt) = partition_and_attempt(task);
        self.log.lock().writers.push((partition, attempt));
        let fails = self.failing.is_some_and(|(at, times)| at == partition && attempt <= times);
        let panics = self.panicking;
        Ok(MemoryWriter { fails, panics, partition, rows: Vec::new(), log: Arc::clone(&self.log) })
    }

    async fn commit(
        &self,
        _: &BatchContext,
        receipts: &[TaskReceipt<Vec<i64>>],
    ) -> Result<(), BoxError> {
        self.log.lock().commits.push(receipts.to_vec());
        Ok(())
    }

    async fn abort(&self, task: &WriteTask) -> Result<(), BoxError> {
        self.log.lock().aborted.push(partition_and_attempt(task));
        Ok(())
    }
}

impl RangeWriter for MemoryWriter {
    type Receipt = Vec<i64>;

    async fn write(&mut self, batch: RecordBatch) -> Result<(), BoxError> {
        self.rows.extend(rows(&[batch]));
        if self.panics == Some(self.partition) {
            // Panics only after all three writers exist.
            while self.log.lock().writers.len() < 3 {
                tokio::task::yield_now().await;
            }
            panic!("on purpose");
        }
        if self.fails { Err("the sink is full".into()) } else { Ok(()) }
    }

    async fn finish(self, ranges: &[RangeSummary]) -> Result<Vec<i64>, BoxError> {
        if self.panics.is_some() {
            std::future::pending::<()>().await;
        }
        assert_eq!(
            u64::try_from(self.rows.len()).unwrap(),
            ranges.iter().map(|range| range.records).sum::<u64>()
        );
        let offsets = self.rows.iter().map(|row| row.offset).collect();
        self.log.lock().written.push((self.partition, self.rows));
        Ok(offsets)
    }
}

/// Creates a topic with three partitions of 100 records each, and returns its name.
async fn written(cluster: &impl TestCluster, name: &str) -> String {
    let (writer, topic) = (Writer::new(cluster).await, unique(name));
    writer.create(&topic, 3).await;
    for partition in 0..3 {
        writer.write_numbered(&topic, partition, 0..100, 10).await;
    }
    topic
}

pub async fn a_sink_gets_every_record_once_and_one_commit_in_plan_order(
    cluster: &impl TestCluster,
) {
    let topic = written(cluster, "sink").await;
    let builder = all_columns(&connect(cluster).await, &topic).max_records_per_partition(40);
    let (sink, rdd) = (Arc::new(Memory::default()), builder.build().await.unwrap());
    let outcome = rdd.write_to(&sink).await.unwrap();
    let log = std::mem::take(&mut *sink.log.lock());
    assert_eq!((outcome.ranges_read, log.commits.len()), (rdd.partitions().len(), 1));
    assert_eq!(log.commits[0], outcome.receipts);
    let mut stored: Vec<Row> = log.written.into_iter().flat_map(|(_, rows)| rows).collect();
    stored.sort_by_key(|row| (row.partition, row.offset));
    assert_eq!(stored, read(&rdd).await);
    for (planned, receipt) in rdd.partitions().iter().zip(&outcome.receipts) {
        let range = planned.range();
        let [read] = &receipt.ranges[..] else { panic!("{receipt:?}") };
        assert_eq!((read.from, read.until), (range.from(), range.until()));
        assert_eq!(read.reached, range.until());
        assert!(receipt.receipt.iter().all(|offset| range.contains((*offset).into())));
    }
}

pub async fn a_sink_that_fails_is_aborted_and_gets_the_identical_range_again(
    cluster: &impl TestCluster,
) {
    let topic = written(cluster, "sink-retry").await;
    let rdd = all_columns(&connect(cluster).await, &topic).build().await.unwrap();
    let sink = Arc::new(Memory { failing: Some((1, 2)), ..Memory::default() });
    let outcome = rdd.write_to(&sink).await.unwrap();
    let log = std::mem::take(&mut *sink.log.lock());
    let mut writers = log.writers;
    writers.sort_unstable();
    assert_eq!(writers, [(0, 1), (1, 1), (1, 2), (1, 3), (2, 1)]);
    assert_eq!(log.aborted, [(1, 1), (1, 2)]);
    assert!(outcome.receipts.iter().all(|receipt| receipt.receipt.len() == 100));
}

pub async fn nothing_is_committed_if_a_range_cannot_be_written(cluster: &impl TestCluster) {
    let topic = written(cluster, "sink-fails").await;
    let rdd = all_columns(&connect(cluster).await, &topic).attempts(2).build().await.unwrap();
    let sink = Arc::new(Memory { failing: Some((2, u32::MAX)), ..Memory::default() });
    let error = rdd.write_to(&sink).await.unwrap_err();
    assert!(matches!(error, Error::Sink { attempts: 2, .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("{topic}-2")), "{error}");
    let log = sink.log.lock();
    assert!(log.commits.is_empty());
    let of_2: Vec<_> = log.aborted.iter().filter(|(partition, _)| *partition == 2).collect();
    assert_eq!(of_2, [&(2, 1), &(2, 2)]);
}

pub async fn attempts_that_panic_or_are_stopped_by_others_are_aborted(cluster: &impl TestCluster) {
    let topic = written(cluster, "sink-panics").await;
    let rdd = all_columns(&connect(cluster).await, &topic).build().await.unwrap();
    for panicking in [Some(0), Some(1)] {
        let sink = Arc::new(Memory { panicking, ..Memory::default() });
        let error = rdd.write_to(&sink).await.unwrap_err();
        assert!(matches!(error, Error::ClosurePanicked { .. }), "{error:?}");
        let log = sink.log.lock();
        assert_eq!(log.aborted, [(0, 1), (1, 1), (2, 1)]);
        assert!(log.commits.is_empty());
    }
}

pub async fn a_range_that_an_earlier_run_finished_is_not_read_again(cluster: &impl TestCluster) {
    let topic = written(cluster, "sink-resumed").await;
    let connection = connect(cluster).await;
    let rdd = all_columns(&connection, &topic).build().await.unwrap();
    let whole = rdd.write_to(&Arc::new(Memory::default())).await.unwrap();
    let earlier = vec![whole.receipts[0].clone(), whole.receipts[2].clone()];
    let sink = Arc::new(Memory { earlier, ..Memory::default() });
    let outcome = rdd.write_to(&sink).await.unwrap();
    assert_eq!((outcome.ranges_read, &outcome.receipts), (1, &whole.receipts));
    let log = sink.log.lock();
    assert_eq!(log.writers, [(1, 1)]);
    assert_eq!(log.commits, [whole.receipts]);
}

pub async fn events_report_a_run_from_its_plan_to_its_last_range(cluster: &impl TestCluster) {
    let topic = written(cluster, "events").await;
    let seen: Arc<Mutex<Vec<(i32, String)>>> = Arc::default();
    let events = Arc::clone(&seen);
    let builder = all_columns(&connect(cluster).await, &topic).on_event(move |event| {
        let (range, text) = match event {
            RunEvent::Planned { plan } => {
                assert_eq!(plan.span(), 300);
                return events.lock().push((-1, "planned".to_owned()));
            }
            RunEvent::Started { range, attempt } => (range, format!("started {attempt}")),
            RunEvent::Advanced { range, counts, .. } if counts.records < 100 => (range, "".into()),
            RunEvent::Advanced { range, .. } => (range, "all decoded".to_owned()),
            RunEvent::Read { range, summary } => (range, format!("read {}", summary.records)),
            RunEvent::Retrying { range, attempt, .. } => (range, format!("retry after {attempt}")),
            RunEvent::Finished { range, resumed } => (range, format!("finished {resumed}")),
            _ => return,
        };
        events.lock().push((range.topic_partition().partition(), text));
    });
    let rdd = builder.build().await.unwrap();
    let sink = Arc::new(Memory { failing: Some((1, 1)), ..Memory::default() });
    rdd.write_to(&sink).await.unwrap();
    let of = |partition: i32| -> Vec<String> {
        let seen = seen.lock();
        let mut texts: Vec<String> = seen
            .iter()
            .filter(|(at, text)| *at == partition && !text.is_empty())
            .map(|(_, text)| text.clone())
            .collect();
        texts.dedup();
        texts
    };
    assert_eq!(of(-1), ["planned"]);
    assert_eq!(of(0), ["started 1", "all decoded", "read 100", "finished false"]);
    let retried = of(1);
    assert!(retried.starts_with(&["started 1".to_owned()]), "{retried:?}");
    let end = ["retry after 1", "started 2", "all decoded", "read 100", "finished false"];
    assert!(retried.ends_with(&end.map(str::to_owned)), "{retried:?}");
}
