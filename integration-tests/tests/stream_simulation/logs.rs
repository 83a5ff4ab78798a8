//! The logs of the topics, with a model of them beside the broker: which records exist, which became
//! visible, and which were removed when and why.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use kafka_direct::{TopicId, TopicPartition};
use kafka_direct_broker::{BatchWriter, Broker, Marker, RawOffsets, Record};
use kafka_direct_integration_tests::simulated::Random;

/// Counts the moments of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    /// The next moment.
    pub(crate) fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    Trimmed,
    Truncated,
    /// The topic was deleted.
    Deleted,
}

/// A record that was written once. Its value is unique.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) topic_id: TopicId,
    pub(crate) offset: i64,
    pub(crate) created: u64,
    /// When it became visible under read_committed.
    pub(crate) committed: Option<u64>,
    pub(crate) removed: Option<(u64, Removal)>,
    /// The marker of its transaction was truncated. It need not be delivered.
    pub(crate) is_undecided: bool,
}

#[derive(Debug)]
enum Content {
    Plain,
    /// Of a producer's transaction.
    Transaction(i64),
    Marker(i64),
}

#[derive(Debug)]
struct Batch {
    base: i64,
    values: Vec<String>,
    content: Content,
}

impl Batch {
    fn last(&self) -> i64 {
        self.base + self.values.len().max(1) as i64 - 1
    }
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) start: i64,
    pub(crate) end: i64,
    batches: Vec<Batch>,
}

impl Log {
    /// The values of the open transaction of `producer`; `None` if it has none.
    fn open(&self, producer: i64) -> Option<Vec<String>> {
        let mut values = None;
        for batch in &self.batches {
            match batch.content {
                Content::Transaction(of) if of == producer => {
                    values.get_or_insert_with(Vec::new).extend(batch.values.iter().cloned());
                }
                Content::Marker(of) if of == producer => values = None,
                _ => {}
            }
        }
        values
    }
}

#[derive(Debug)]
pub(crate) struct Logs {
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Clock,
    /// The topics that exist, and the logs of their partitions.
    pub(crate) topics: BTreeMap<String, (TopicId, Vec<Log>)>,
    pub(crate) written: BTreeMap<String, Written>,
    /// The partitions that lost offsets.
    pub(crate) lossy: BTreeSet<TopicPartition>,
    /// When topics were deleted.
    pub(crate) deleted: BTreeMap<TopicId, u64>,
}

impl Logs {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self {
            broker,
            clock: Clock::default(),
            topics: BTreeMap::new(),
            written: BTreeMap::new(),
            lossy: BTreeSet::new(),
            deleted: BTreeMap::new(),
        }
    }

    /// The log of a partition that exists.
    pub(crate) fn log(&self, tp: &TopicPartition) -> Option<&Log> {
        self.topics.get(tp.topic())?.1.get(tp.partition() as usize)
    }

    pub(crate) fn create(&mut self, topic: &str, partitions: u64) {
        let id = self.broker.create_topic(topic, partitions as i32).unwrap();
        let logs = (0..partitions).map(|_| Log::default()).collect();
        self.topics.insert(topic.to_owned(), (id, logs));
    }

    /// A partition that exists; `None` while there is no topic.
    pub(crate) fn any(&self, random: &mut Random) -> Option<TopicPartition> {
        if self.topics.is_empty() {
            return None;
        }
        let (topic, (_, logs)) =
            self.topics.iter().nth(random.below(self.topics.len() as u64) as usize)?;
        Some(TopicPartition::new(topic.as_str(), random.below(logs.len() as u64) as i32))
    }

    fn parts(&mut self, tp: &TopicPartition) -> (TopicId, &mut Log) {
        let (id, logs) = self.topics.get_mut(tp.topic()).unwrap();
        (*id, logs.get_mut(tp.partition() as usize).unwrap())
    }

    fn append(&mut self, tp: &TopicPartition, bytes: bytes::Bytes, batch: Batch) {
        let assign = RawOffsets::Assign;
        let base = self.broker.append_raw(tp.topic(), tp.partition(), bytes, assign).unwrap();
        let now = self.clock.tick();
        let (topic_id, log) = self.parts(tp);
        assert_eq!(base.get(), log.end);
        log.end = batch.last() + 1;
        let is_plain = matches!(batch.content, Content::Plain);
        let records = batch.values.iter().cloned().zip(batch.base..);
        let records: Vec<_> = records.collect();
        log.batches.push(batch);
        for (value, offset) in records {
            let written = Written {
                topic_partition: tp.clone(),
                topic_id,
                offset,
                created: now,
                committed: is_plain.then_some(now),
                removed: None,
                is_undecided: false,
            };
            self.written.insert(value, written);
        }
    }

    /// Writes records, of a transaction if there is a producer.
    pub(crate) fn write(&mut self, tp: &TopicPartition, count: u64, producer: Option<i64>) {
        let first = self.written.len() as u64;
        let values: Vec<_> = (first..first + count).map(|n| format!("{tp}/{n}")).collect();
        let records: Vec<_> = values.iter().cloned().map(Record::new).collect();
        let (writer, content) = match producer {
            None => (BatchWriter::new(), Content::Plain),
            Some(producer) => {
                (BatchWriter::new().transaction(producer, 0), Content::Transaction(producer))
            }
        };
        let base = self.parts(tp).1.end;
        self.append(tp, writer.write(&records).unwrap(), Batch { base, values, content });
    }

    /// Ends the open transaction of a producer, if there is one.
    pub(crate) fn end_transaction(&mut self, tp: &TopicPartition, producer: i64, marker: Marker) {
        let Some(values) = self.parts(tp).1.open(producer) else { return };
        let bytes = BatchWriter::new().transaction(producer, 0).marker(marker).unwrap();
        let (base, content) = (self.parts(tp).1.end, Content::Marker(producer));
        self.append(tp, bytes, Batch { base, values: Vec::new(), content });
        if marker == Marker::Commit {
            let now = self.clock.tick();
            for value in values {
                self.written.get_mut(&value).unwrap().committed.get_or_insert(now);
            }
        }
    }

    pub(crate) fn end_transactions(&mut self) {
        for tp in self.partitions() {
            for producer in 0..2 {
                self.end_transaction(&tp, producer, Marker::Commit);
            }
        }
    }

    pub(crate) fn partitions(&self) -> Vec<TopicPartition> {
        let of = |(topic, (_, logs)): (&String, &(TopicId, Vec<Log>))| {
            let topic = topic.clone();
            (0..logs.len() as i32).map(move |p| TopicPartition::new(topic.as_str(), p))
        };
        self.topics.iter().flat_map(of).collect()
    }

    /// Retention: the log starts at `offset`.
    pub(crate) fn trim(&mut self, tp: &TopicPartition, offset: i64) {
        self.broker.trim(tp.topic(), tp.partition(), offset).unwrap();
        let (id, log) = self.parts(tp);
        // Its batches are kept here: their transactions may be open.
        log.start = offset;
        self.remove(tp, id, Removal::Trimmed, |at| at < offset);
    }

    /// An unclean election: the log ends at `offset` or at the batch that has it, under the next leader
    /// epoch. Kafka never cuts a batch.
    pub(crate) fn truncate(&mut self, tp: &TopicPartition, offset: i64) {
        let log = self.log(tp).unwrap();
        let batch = log.batches.iter().find(|batch| batch.last() >= offset);
        let offset = batch.map_or(offset, |batch| batch.base.max(log.start));
        self.broker.truncate(tp.topic(), tp.partition(), offset).unwrap();
        let (id, log) = self.parts(tp);
        let (kept, cut): (Vec<_>, Vec<_>) =
            std::mem::take(&mut log.batches).into_iter().partition(|batch| batch.last() < offset);
        (log.batches, log.end) = (kept, offset);
        let undecided: Vec<String> = (0..2)
            .filter(|of| {
                cut.iter().any(|batch| matches!(batch.content, Content::Marker(p) if p == *of))
            })
            .filter_map(|of| log.open(of))
            .flatten()
            .collect();
        for value in undecided {
            self.written.get_mut(&value).unwrap().is_undecided = true;
        }
        self.remove(tp, id, Removal::Truncated, |at| at >= offset);
    }

    pub(crate) fn delete(&mut self, topic: &str) {
        self.broker.delete_topic(topic).unwrap();
        let (id, logs) = self.topics.remove(topic).unwrap();
        self.deleted.insert(id, self.clock.tick());
        for partition in 0..logs.len() as i32 {
            let tp = TopicPartition::new(topic, partition);
            self.remove(&tp, id, Removal::Deleted, |_| true);
        }
    }

    pub(crate) fn add_partition(&mut self, topic: &str) {
        let (_, logs) = self.topics.get_mut(topic).unwrap();
        self.broker.add_partitions(topic, logs.len() as i32 + 1).unwrap();
        logs.push(Log::default());
    }

    fn remove(
        &mut self,
        tp: &TopicPartition,
        id: TopicId,
        removal: Removal,
        is_gone: impl Fn(i64) -> bool,
    ) {
        let now = self.clock.tick();
        self.lossy.insert(tp.clone());
        for written in self.written.values_mut() {
            let is_here = written.topic_partition == *tp && written.topic_id == id;
            if is_here && written.removed.is_none() && is_gone(written.offset) {
                written.removed = Some((now, removal));
            }
        }
    }
}
