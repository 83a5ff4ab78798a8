//! INV-7: read_committed delivers exactly the committed records, from every start offset.

use kafka_direct_core::{Codec, Fetched, IsolationLevel};
use kafka_direct_worker::scan;
use proptest::{collection::vec, prelude::*};

use crate::{
    batch_writer::{Batch, Rec, encode_all, fetched},
    reader::{all_columns, committed, decode_rows, planned, values},
};

/// One change of a log.
#[derive(Debug, Clone)]
enum Step {
    /// Records outside any transaction; by an idempotent producer if it has an id.
    Plain { producer: i64, records: i32 },
    /// Records of the producer's transaction, which the producer begins if it has no open one.
    Within { producer: i64, records: i32 },
    /// The end of the producer's transaction, if it has an open one.
    End { producer: i64, commit: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let producer = 0i64..4;
    prop_oneof![
        1 => (producer.clone(), 1i32..4)
            .prop_map(|(producer, records)| Step::Plain { producer, records }),
        3 => (producer.clone(), 1i32..4)
            .prop_map(|(producer, records)| Step::Within { producer, records }),
        2 => (producer, any::<bool>())
            .prop_map(|(producer, commit)| Step::End { producer, commit }),
    ]
}

/// An aborted transaction, as in the broker's index.
#[derive(Debug, Clone, Copy)]
struct Aborted {
    producer: i64,
    first: i64,
    marker: i64,
}

#[derive(Debug, Default)]
struct Log {
    batches: Vec<Batch>,
    next: i64,
    /// The aborted transactions in the order of their markers, as the broker stores and sends them.
    aborted: Vec<Aborted>,
    /// The first offset of each producer's open transaction.
    open: std::collections::BTreeMap<i64, i64>,
    /// The offsets, each with its transaction if it has one: producer id and first offset.
    written: Vec<(i64, Option<(i64, i64)>)>,
}

impl Log {
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Plain { producer, records } => {
                let mut batch = self.batch(records, None);
                batch.producer_id = producer;
                self.push(batch);
            }
            Step::Within { producer, records } => {
                let first = *self.open.entry(producer).or_insert(self.next);
                let batch = self.batch(records, Some((producer, first)));
                self.push(batch.with_producer(producer));
            }
            Step::End { producer, commit } => {
                let Some(first) = self.open.remove(&producer) else { return };
                if !commit {
                    self.aborted.push(Aborted { producer, first, marker: self.next });
                }
                self.push(Batch::marker(self.next, producer, commit));
            }
        }
    }

    fn batch(&mut self, records: i32, transaction: Option<(i64, i64)>) -> Batch {
        let record = |delta| Rec::value(delta, "v");
        self.written.extend((0..records).map(|delta| (self.next + i64::from(delta), transaction)));
        let codec = if records % 2 == 0 { Codec::Lz4 } else { Codec::None };
        Batch::new(self.next, (0..records).map(record).collect()).with_codec(codec)
    }

    fn push(&mut self, batch: Batch) {
        self.next = batch.next();
        self.batches.push(batch);
    }

    /// The last stable offset, exclusive.
    fn last_stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.next)
    }

    fn visible(&self, from: i64, until: i64) -> Vec<i64> {
        let is_aborted = |(producer, first)| {
            self.aborted.iter().any(|entry| (entry.producer, entry.first) == (producer, first))
        };
        self.written
            .iter()
            .filter(|(_, transaction)| !transaction.is_some_and(is_aborted))
            .map(|(offset, _)| *offset)
            .filter(|offset| (from..until).contains(offset))
            .collect()
    }

    /// The broker's response to a Fetch at `from`, of at most `size` batches that begin below
    /// `end`.
    fn response(&self, from: i64, size: usize, end: i64) -> Fetched {
        let batches: Vec<Batch> = self
            .batches
            .iter()
            .filter(|batch| batch.next() > from && batch.base < end)
            .take(size)
            .cloned()
            .collect();
        let upper = batches.last().map_or(from, Batch::next);
        let aborted: Vec<_> = self
            .aborted
            .iter()
            .filter(|entry| entry.marker >= from && entry.first < upper)
            .map(|entry| (entry.producer, entry.first))
            .collect();
        fetched(from, encode_all(&batches), &aborted)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn exactly_the_committed_records_are_visible_from_every_offset(
        steps in vec(step(), 0..40),
        sizes in vec(1usize..5, 1..4),
        cut in 0i64..10,
    ) {
        let mut log = Log::default();
        steps.iter().for_each(|step| log.apply(step));
        let end = log.last_stable();
        for from in 0..=end {
            let until = (end - cut).max(from);
            let planned = committed(from, until);
            let (mut at, mut responses) = (from, Vec::new());
            let mut sizes = sizes.iter().cycle();
            while at < until {
                let response = log.response(at, *sizes.next().unwrap(), end);
                at = response.next.get();
                responses.push(response);
            }
            let read: Vec<_> =
                decode_rows(&planned, &responses).iter().map(|row| row.offset).collect();
            prop_assert_eq!(&read, &log.visible(from, until), "from {}", from);
            let scanned: u64 = responses
                .iter()
                .map(|response| scan(&planned, response, &all_columns()).unwrap())
                .sum();
            prop_assert_eq!(scanned, read.len() as u64);
        }
    }

    #[test]
    fn read_uncommitted_delivers_every_record_and_no_marker(steps in vec(step(), 0..40)) {
        let mut log = Log::default();
        steps.iter().for_each(|step| log.apply(step));
        let planned = planned(0, log.next, IsolationLevel::ReadUncommitted);
        let response = log.response(0, usize::MAX, log.next);
        let read: Vec<_> =
            decode_rows(&planned, &[response]).iter().map(|row| row.offset).collect();
        let written: Vec<_> = log.written.iter().map(|(offset, _)| *offset).collect();
        prop_assert_eq!(read, written);
    }
}

#[test]
fn a_list_in_marker_order_is_not_taken_for_first_offset_order() {
    let log = [
        Batch::of_values(0, &["one"]).with_producer(1),
        Batch::of_values(1, &["two"]).with_producer(2),
        Batch::marker(2, 2, false),
        Batch::of_values(3, &["two, committed"]).with_producer(2),
        Batch::marker(4, 2, true),
        Batch::of_values(5, &["one"]).with_producer(1),
        Batch::marker(6, 1, false),
        Batch::of_values(7, &["one, committed"]).with_producer(1),
        Batch::marker(8, 1, true),
    ];
    let response = fetched(0, encode_all(&log), &[(2, 1), (1, 0)]);
    assert_eq!(values(&committed(0, 9), &[response]), ["two, committed", "one, committed"]);
}

#[test]
fn only_transactional_batches_of_the_producer_are_dropped() {
    let mut idempotent = Batch::of_values(1, &["idempotent"]);
    idempotent.producer_id = 1;
    let log = [
        Batch::of_values(0, &["aborted"]).with_producer(1),
        idempotent,
        Batch::of_values(2, &["other"]).with_producer(2),
        Batch::marker(3, 1, false),
    ];
    let response = fetched(0, encode_all(&log), &[(1, 0)]);
    assert_eq!(values(&committed(0, 9), &[response]), ["idempotent", "other"]);
}

#[test]
fn abort_state_does_not_outlive_its_response() {
    let first = Batch::of_values(0, &["aborted"]).with_producer(1);
    let second = Batch::of_values(5, &["committed"]).with_producer(1);
    let responses = [fetched(0, first.encode(), &[(1, 0)]), fetched(5, second.encode(), &[])];
    assert_eq!(values(&committed(0, 9), &responses), ["committed"]);
}

#[test]
fn a_transaction_that_began_before_the_response_is_dropped_up_to_its_marker() {
    let log = [
        Batch::of_values(10, &["a", "b"]).with_producer(1),
        Batch::marker(12, 1, false),
        Batch::of_values(13, &["c"]).with_producer(1),
    ];
    let response = fetched(11, encode_all(&log), &[(1, 3)]);
    assert_eq!(values(&committed(11, 20), &[response]), ["c"]);
}
