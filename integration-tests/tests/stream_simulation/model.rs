//! What must be true of a stream at the end, from its checkpoint's history, its sink and the logs.
//!
//! - A record is delivered at most once, at its place, and only if it was visible. What takes the same
//!   offset after a truncation or in a re-created topic is another record.
//! - A visible record that exists is delivered.
//! - A record that was removed before its delivery is covered by a recorded reset, if the stream has
//!   planned it or has passed it.
//! - The ranges of a partition follow each other, except at a recorded reset (INV-2).

use std::collections::{BTreeMap, BTreeSet};

use kafka_direct::{IsolationLevel, ResetCause, TopicId, TopicPartition};

use crate::{
    logs::{Logs, Removal, Written},
    store::History,
    stream::Stream,
};

type Place = (TopicPartition, Option<TopicId>);

/// Offsets `[from, until)` that a plan or a reset names.
#[derive(Debug)]
struct Span {
    from: i64,
    until: i64,
    /// When the plan was stored.
    at: u64,
}

impl Span {
    const fn has(&self, offset: i64) -> bool {
        self.from <= offset && offset < self.until
    }
}

/// What the checkpoint says of a stream from its first batch to its last.
#[derive(Debug, Default)]
struct Progress {
    /// Where each partition continues.
    positions: BTreeMap<TopicPartition, (i64, Option<TopicId>)>,
    first: BTreeMap<Place, i64>,
    last: BTreeMap<Place, i64>,
    planned: BTreeMap<Place, Vec<Span>>,
    /// When the plans that looked at a partition were stored.
    looked_at: BTreeMap<Place, Vec<u64>>,
    /// The skipped offsets, of whatever topic had the name.
    skipped: BTreeMap<TopicPartition, Vec<Span>>,
    /// The partitions whose topic was re-created or deleted, by a reset.
    replaced: BTreeSet<TopicPartition>,
}

impl Progress {
    fn of(history: &History) -> Self {
        let mut progress = Self::default();
        for (expected, (batch, (at, entry))) in (0..).zip(&history.offsets) {
            assert_eq!(*batch, expected, "batch numbers have a gap");
            progress.plan(*at, entry);
            let commit = history.commits.get(batch).expect("a batch was planned and never done");
            for reset in entry.plan.resets().iter().chain(&commit.resets) {
                progress.reset(reset, *at);
            }
            for end in &commit.achieved {
                let tp = &end.topic_partition;
                let planned = progress.positions.get(tp).unwrap().0;
                let achieved = end.offset.get();
                if achieved < planned {
                    let is_recorded = commit.resets.iter().any(|r| r.topic_partition == *tp);
                    assert!(is_recorded, "{tp} of batch {batch} ends early without a reset");
                    let span = Span { from: achieved, until: planned, at: *at };
                    progress.skipped.entry(tp.clone()).or_default().push(span);
                }
                progress.move_to(tp, achieved, end.topic_id);
            }
        }
        progress
    }

    fn plan(&mut self, at: u64, entry: &kafka_direct::checkpoint::OffsetsEntry) {
        let resets = entry.plan.resets().iter();
        let reset: BTreeSet<_> = resets.map(|reset| &reset.topic_partition).collect();
        for partition in entry.plan.partitions() {
            let place = (partition.topic_partition.clone(), partition.topic_id);
            self.looked_at.entry(place).or_default().push(at);
        }
        for range in entry.plan.ranges() {
            let (tp, id) = (range.topic_partition(), range.topic_id());
            let (from, until) = (range.range().from().get(), range.range().until().get());
            if let Some((position, topic_id)) = self.positions.get(tp)
                && !reset.contains(tp)
            {
                assert_eq!((*position, *topic_id), (from, id), "INV-2: {range:?}");
            }
            let place = (tp.clone(), id);
            self.first.entry(place.clone()).or_insert(from);
            self.planned.entry(place).or_default().push(Span { from, until, at });
            self.positions.insert(tp.clone(), (until, id));
        }
        for end in &entry.positions {
            let (tp, offset) = (&end.topic_partition, end.offset.get());
            if let Some(before) = self.positions.get(tp)
                && !reset.contains(tp)
            {
                assert_eq!(*before, (offset, end.topic_id), "INV-2: {tp}");
            }
            self.move_to(tp, offset, end.topic_id);
        }
    }

    fn move_to(&mut self, tp: &TopicPartition, offset: i64, id: Option<TopicId>) {
        self.positions.insert(tp.clone(), (offset, id));
        let place = (tp.clone(), id);
        self.first.entry(place.clone()).or_insert(offset);
        self.last.insert(place, offset);
    }

    fn reset(&mut self, reset: &kafka_direct::Reset, at: u64) {
        let tp = &reset.topic_partition;
        if matches!(reset.cause, ResetCause::Recreated | ResetCause::Deleted) {
            self.replaced.insert(tp.clone());
        }
        let span = Span { from: reset.from.get(), until: reset.to.get(), at };
        self.skipped.entry(tp.clone()).or_default().push(span);
    }

    /// Whether the checkpoint accounts for a record that was removed and not delivered.
    fn accounts_for(&self, record: &Written, visible: u64, logs: &Logs) -> bool {
        let (removed, removal) = record.removed.unwrap();
        let (tp, offset) = (&record.topic_partition, record.offset);
        let place = (tp.clone(), Some(record.topic_id));
        let skipped = self.skipped.get(tp).is_some_and(|all| all.iter().any(|s| s.has(offset)));
        let Some(first) = self.first.get(&place) else { return true };
        if skipped || offset < *first || visible > removed {
            return true;
        }
        if removal == Removal::Truncated {
            let planned = self.planned.get(&place).map(Vec::as_slice).unwrap_or_default();
            let is_of_it = |span: &Span| span.has(offset) && visible < span.at && span.at < removed;
            return !planned.iter().any(is_of_it);
        }
        // Where the name stands for another topic now, one reset is for all that was not read.
        let is_gone = logs.log(tp).is_none();
        let is_replaced = is_gone || self.replaced.contains(tp);
        let looked_at = self.looked_at.get(&place).map(Vec::as_slice).unwrap_or_default();
        // The first plan after it may have been made before it.
        let deleted = logs.deleted.get(&record.topic_id).copied().unwrap_or(u64::MAX);
        let since = looked_at.iter().filter(|at| record.created < **at && **at < deleted);
        let is_newer = since.count() < 2;
        is_replaced && (offset >= self.last[&place] || is_newer)
    }
}

/// Checks a stream that has read all there is.
pub(crate) fn check(stream: &Stream, logs: &Logs) {
    let isolation = stream.isolation;
    let (history, visible) = (stream.history.lock(), stream.visible.lock());
    let progress = Progress::of(&history);
    let subscribed = stream.subscribed(logs);
    let mut delivered = BTreeSet::new();
    for record in &visible.records {
        assert!(delivered.insert(&record.value), "delivered twice: {record:?}");
        let written = logs.written.get(&record.value).unwrap();
        assert_eq!(written.topic_partition, record.topic_partition, "INV-3: {record:?}");
        assert_eq!(written.offset, record.offset, "INV-3: {record:?}");
        let is_visible = became_visible(written, isolation).is_some();
        assert!(is_visible, "INV-7: an aborted record was delivered: {record:?}");
    }
    for (value, written) in &logs.written {
        if delivered.contains(value) || written.is_undecided {
            continue;
        }
        let Some(since) = became_visible(written, isolation) else { continue };
        if written.removed.is_none() {
            let is_subscribed = subscribed.contains(&written.topic_partition);
            assert!(
                !is_subscribed,
                "lost although it exists: {value} {written:?}{}",
                story(&history, &written.topic_partition)
            );
            continue;
        }
        assert!(
            progress.accounts_for(written, since, logs),
            "removed, and no reset says so: {value} {written:?}{}",
            story(&history, &written.topic_partition)
        );
    }
    for tp in &subscribed {
        let log = logs.log(tp).unwrap();
        let position = progress.positions.get(tp);
        assert_eq!(
            position.map(|(offset, _)| *offset).unwrap_or_default(),
            log.end,
            "{tp} is not at its end: {log:?}{}",
            story(&history, tp)
        );
    }
}

/// What the checkpoint says of a partition, for the message of a failure.
fn story(history: &History, tp: &TopicPartition) -> String {
    let mut story = String::new();
    for (batch, (at, entry)) in &history.offsets {
        story += &format!("\nbatch {batch} at {at}:");
        for range in entry.plan.ranges().iter().filter(|range| range.topic_partition() == tp) {
            story += &format!(" {} epoch {:?}", range.range(), range.leader_epoch());
        }
        for end in entry.positions.iter().filter(|end| end.topic_partition == *tp) {
            story += &format!(", to {} of {:?}", end.offset, end.topic_id);
        }
        let commit = history.commits.get(batch);
        for end in commit.iter().flat_map(|commit| &commit.achieved) {
            if end.topic_partition == *tp {
                story += &format!(", reached {}", end.offset);
            }
        }
        let resets = entry.plan.resets().iter();
        for reset in resets.chain(commit.iter().flat_map(|commit| &commit.resets)) {
            if reset.topic_partition == *tp {
                story += &format!(", {:?} [{}, {})", reset.cause, reset.from, reset.to);
            }
        }
    }
    story
}

fn became_visible(written: &Written, isolation: IsolationLevel) -> Option<u64> {
    match isolation {
        IsolationLevel::ReadCommitted => written.committed,
        IsolationLevel::ReadUncommitted => Some(written.created),
    }
}
