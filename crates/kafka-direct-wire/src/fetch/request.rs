//! Builds one Fetch request: which cursors it lists, in which order, and how many bytes each may
//! get.
//!
//! A broker fills a response in request order up to the byte limit. Only the first partition with
//! data is sure to get a batch that is larger than its limits. This leads to these rules:
//!
//! - The cursor that was served longest ago comes first.
//! - A cursor whose last response was empty comes before all others. Another empty response is then
//!   not caused by the limits.
//! - If the broker serves other partitions before the first, that cursor is requested alone.
//! - A request lists each partition once, because a broker responds once per partition. Pieces of
//!   one partition go into separate requests.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashSet},
    sync::Arc,
    time::Duration,
};

use kafka_direct_core::Offset;
use kafka_protocol::{
    messages::{
        BrokerId, FetchRequest, TopicName,
        fetch_request::{FetchPartition, FetchTopic},
    },
    protocol::StrBytes,
};

use super::{
    limits::PartitionLimits,
    partition_cursor::{FetchPriority, PartitionCursor, Wanted},
    response::{BY_ID, TopicKey},
};

/// The longest time that a broker may wait for records in remote storage (KIP-405). Otherwise it
/// responds at once, because the request has a minimum of 0 bytes.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// One cursor in a request, with its fetch position.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) cursor: Arc<PartitionCursor>,
    pub(super) position: Offset,
    /// The largest batch of the partition's last response, or the size that is assumed for it, in
    /// bytes; 0 if unknown.
    pub(super) largest_batch: usize,
}

/// The cursors of one request, in request order.
#[derive(Debug, Default)]
pub(super) struct FetchSelection {
    pub(super) listed: Vec<Listed>,
    /// Whether a reader is blocked on the budget; its cursor may not be listed.
    pub(super) is_blocked_on_budget: bool,
}

impl FetchSelection {
    /// Selects up to `max_partitions` of the cursors that have room.
    ///
    /// - The cursor that was served longest ago comes first.
    /// - All have the isolation level of that cursor. Keeps INV-7: a range is read under one level.
    /// - Each partition is listed once.
    /// - A cursor of priority [`Alone`](FetchPriority::Alone) is selected alone.
    /// - Otherwise the first cursor of priority [`First`](FetchPriority::First) moves to the front.
    pub(super) fn choose(cursors: &[Arc<PartitionCursor>], max_partitions: usize) -> Self {
        let wanted = |cursor: &Arc<PartitionCursor>| cursor.wanted();
        let all: Vec<Option<Wanted>> = cursors.iter().map(wanted).collect();
        // Cursors that were served together stay in the order of the list.
        let turns = all.iter().enumerate().filter_map(|(at, one)| Some((one.as_ref()?.served, at)));
        let isolation_at = |at: usize| cursors.get(at).map(|cursor| cursor.isolation());
        let Some(isolation) = turns.clone().min().and_then(|(_, at)| isolation_at(at)) else {
            return Self::default();
        };
        let is_blocked_on_budget = all.iter().flatten().any(|wanted| wanted.blocked_on_budget);
        let turns = turns.filter(|(_, at)| isolation_at(*at) == Some(isolation));
        let first_under = |priority: FetchPriority| {
            let has_it =
                |at: usize| matches!(all.get(at), Some(Some(one)) if one.priority == priority);
            turns.clone().filter(|(_, at)| has_it(*at)).min()
        };
        let unserved = first_under(FetchPriority::Alone);
        let max_partitions = if unserved.is_some() { 1 } else { max_partitions };
        let ahead = unserved.or_else(|| first_under(FetchPriority::First));
        // A heap: of any number of waiting cursors only those that are listed are put in order.
        let mut others: BinaryHeap<_> =
            turns.clone().filter(|turn| Some(*turn) != ahead).map(Reverse).collect();
        let in_order = ahead.into_iter().chain(std::iter::from_fn(|| Some(others.pop()?.0)));
        let mut partitions = HashSet::new();
        let mut listed = Vec::new();
        for (_, at) in in_order {
            let (Some(cursor), Some(Some(wanted))) = (cursors.get(at), all.get(at)) else {
                continue;
            };
            if partitions.insert(cursor.range().topic_partition()) {
                let Wanted { position, largest_batch, .. } = *wanted;
                listed.push(Listed { cursor: Arc::clone(cursor), position, largest_batch });
            }
            if listed.len() == max_partitions {
                break;
            }
        }
        Self { listed, is_blocked_on_budget }
    }

    /// Assumes batches of `largest_batch` bytes for the partitions that had no response yet.
    pub(super) fn assuming(mut self, largest_batch: usize) -> Self {
        for listed in &mut self.listed {
            if listed.largest_batch == 0 {
                listed.largest_batch = largest_batch;
            }
        }
        self
    }

    /// Returns the largest batch of each partition, in bytes; 0 if unknown.
    pub(super) fn largest_batches(&self) -> impl Iterator<Item = usize> + '_ {
        self.listed.iter().map(|listed| listed.largest_batch)
    }

    /// Builds the request for `max_bytes`. `idle` is the idle timeout of the connection.
    pub(super) fn request(
        &self,
        version: i16,
        max_bytes: usize,
        limits: PartitionLimits,
        idle: Duration,
    ) -> FetchRequest {
        // So that the idle timeout does not end the connection while the broker waits.
        let wait = MAX_WAIT.min(idle / 2);
        let int = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut last: Option<TopicKey> = None;
        for listed in &self.listed {
            let tp = listed.cursor.range().topic_partition();
            let key = listed.key(version);
            if last.as_ref() != Some(&key) {
                let topic = match &key {
                    TopicKey::Id(id) => {
                        FetchTopic::default().with_topic_id(uuid::Uuid::from_bytes(*id))
                    }
                    TopicKey::Name(name) => FetchTopic::default()
                        .with_topic(TopicName(StrBytes::from_string(String::from(&**name)))),
                };
                topics.push(topic);
                last = Some(key);
            }
            let partition = FetchPartition::default()
                .with_partition(tp.partition())
                .with_current_leader_epoch(listed.cursor.leader_epoch().unwrap_or(-1))
                .with_fetch_offset(listed.position.get())
                .with_partition_max_bytes(int(limits.bytes(listed.largest_batch)));
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(partition);
            }
        }
        let isolation = self.listed.first().map_or(0, |listed| listed.cursor.isolation());
        FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(int(usize::try_from(wait.as_millis()).unwrap_or(usize::MAX)))
            .with_min_bytes(0)
            .with_max_bytes(int(max_bytes))
            .with_isolation_level(isolation)
            .with_session_id(0)
            .with_session_epoch(-1)
            .with_topics(topics)
    }

    /// Whether all topic ids are known, so that the request may name topics by id.
    pub(super) fn knows_ids(&self) -> bool {
        self.listed.iter().all(|listed| listed.cursor.topic_id().is_some())
    }

    /// Returns the index of a response's partition in the request. Searches from index `from`
    /// first, because partitions usually arrive in request order.
    pub(super) fn find(
        &self,
        topic: &TopicKey,
        partition: i32,
        version: i16,
        from: usize,
    ) -> Option<usize> {
        let matches = |listed: &Listed| {
            listed.cursor.range().topic_partition().partition() == partition
                && listed.names(topic, version)
        };
        let (before, after) = self.listed.split_at(from.min(self.listed.len()));
        let ahead = after.iter().position(matches).map(|at| at.saturating_add(from));
        ahead.or_else(|| before.iter().position(matches))
    }
}

impl Listed {
    fn key(&self, version: i16) -> TopicKey {
        match self.cursor.topic_id() {
            Some(id) if version >= BY_ID => TopicKey::Id(id.to_bytes()),
            _ => TopicKey::Name(Arc::clone(self.cursor.range().topic_partition().topic_arc())),
        }
    }

    fn names(&self, topic: &TopicKey, version: i16) -> bool {
        match topic {
            TopicKey::Name(name) => **name == *self.cursor.range().topic_partition().topic(),
            TopicKey::Id(id) => {
                version >= BY_ID && self.cursor.topic_id().is_some_and(|own| own.to_bytes() == *id)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_direct_core::{IsolationLevel, OffsetRange, PlannedRange, TopicPartition};

    use super::*;
    use crate::{config::ClusterConfig, fetch::limits::FetchLimits};

    const IDLE: Duration = Duration::from_secs(30);

    fn cursor(partition: i32, from: i64) -> Arc<PartitionCursor> {
        let range = OffsetRange::new(TopicPartition::new("t", partition), from, from + 10).unwrap();
        let planned = PlannedRange::new(range, IsolationLevel::ReadCommitted);
        PartitionCursor::new(&planned, Offset::new(from), None, None, FetchPriority::Normal, false)
    }

    /// Returns the indexes in `cursors` of the selected cursors, in request order.
    fn order(cursors: &[Arc<PartitionCursor>], max_partitions: usize) -> Vec<usize> {
        let index =
            |listed: &Listed| cursors.iter().position(|cursor| Arc::ptr_eq(cursor, &listed.cursor));
        FetchSelection::choose(cursors, max_partitions).listed.iter().filter_map(index).collect()
    }

    #[test]
    fn priority_first_moves_a_cursor_to_the_front_and_priority_alone_selects_only_it() {
        let cursors = [cursor(0, 0), cursor(1, 0), cursor(2, 0), cursor(3, 0)];
        cursors[0].set_served(1);
        assert_eq!(order(&cursors, 9), [1, 2, 3, 0]);
        cursors[3].set_priority(FetchPriority::First);
        assert_eq!(order(&cursors, 9), [3, 1, 2, 0]);
        cursors[0].set_priority(FetchPriority::Alone);
        assert_eq!(order(&cursors, 9), [0]);
        cursors[0].set_priority(FetchPriority::First);
        assert_eq!(order(&cursors, 9), [3, 1, 2, 0]);
        cursors[0].set_priority(FetchPriority::Normal);
        cursors[3].set_priority(FetchPriority::Normal);
        assert_eq!(order(&cursors, 9), [1, 2, 3, 0]);
    }

    #[test]
    fn no_cursor_is_served_twice_before_all_were_served_once() {
        // Pieces of two partitions, and two more partitions.
        let starts = [(0, 0), (0, 10), (0, 20), (1, 0), (1, 10), (2, 0), (3, 0)];
        let cursors = starts.map(|(partition, from)| cursor(partition, from));
        for served_per_response in 1..=4 {
            let (mut number, mut served) = (0, HashSet::new());
            while served.len() < cursors.len() {
                number += 1;
                let listed = order(&cursors, 9);
                // No cursor that was served comes before one that was not.
                assert!(listed.is_sorted_by_key(|at| served.contains(at)), "{listed:?} {served:?}");
                for at in listed.into_iter().take(served_per_response) {
                    served.insert(at);
                    cursors[at].set_served(number);
                }
                assert!(number <= cursors.len() as u64, "{served:?}");
            }
            cursors.iter().for_each(|cursor| cursor.set_served(0));
        }
    }

    #[test]
    fn a_request_lists_each_partition_once_and_the_maximum_counts_partitions() {
        let cursors =
            [cursor(0, 0), cursor(0, 10), cursor(0, 20), cursor(1, 0), cursor(2, 0), cursor(2, 10)];
        assert_eq!(order(&cursors, 9), [0, 3, 4]);
        assert_eq!(order(&cursors, 2), [0, 3]);
        cursors[0].set_served(1);
        cursors[3].set_served(1);
        assert_eq!(order(&cursors, 9), [1, 4, 3]);
    }

    #[test]
    fn a_blocked_reader_is_recorded_although_its_cursor_is_not_in_the_request() {
        let cursors = [cursor(0, 0), cursor(1, 0), cursor(1, 10)];
        assert!(!FetchSelection::choose(&cursors, 1).is_blocked_on_budget);
        cursors[2].set_blocked_on_budget(true);
        assert!(FetchSelection::choose(&cursors, 1).is_blocked_on_budget);
        assert!(FetchSelection::choose(&cursors, 2).is_blocked_on_budget);
    }

    #[test]
    fn priority_first_does_not_decide_the_isolation_level_of_a_request() {
        let range = OffsetRange::new(TopicPartition::new("t", 1), 0, 10).unwrap();
        let planned = PlannedRange::new(range, IsolationLevel::ReadUncommitted);
        let other =
            PartitionCursor::new(&planned, Offset::new(0), None, None, FetchPriority::First, false);
        let cursors = [cursor(0, 0), other];
        assert_eq!(order(&cursors, 9), [0]);
        // The other level is selected after the first was served.
        cursors[0].set_served(1);
        assert_eq!(order(&cursors, 9), [1]);
    }

    #[test]
    fn each_partition_gets_room_for_its_batches() {
        let mut selection = FetchSelection::choose(&[cursor(0, 0), cursor(1, 0)], 9);
        selection.listed[1].largest_batch = 3 << 20;
        let limits = FetchLimits::new(&ClusterConfig::new(["h:1"]), 0).partition(2);
        let request = selection.request(12, 1 << 20, limits, IDLE);
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        let max_bytes: Vec<_> = partitions.map(|partition| partition.partition_max_bytes).collect();
        assert_eq!((request.max_bytes, max_bytes), (1 << 20, vec![2 << 20, 4 << 20]));
        // An unknown batch size is assumed from other partitions.
        let assumed = selection.assuming(100);
        assert_eq!(assumed.largest_batches().collect::<Vec<_>>(), [100, 3 << 20]);
    }

    #[test]
    fn partitions_of_a_response_are_found_in_any_order() {
        let cursors = [cursor(0, 0), cursor(1, 0), cursor(2, 0)];
        let selection = FetchSelection::choose(&cursors, 9);
        let topic = TopicKey::Name("t".into());
        assert_eq!(selection.find(&topic, 2, 12, 0), Some(2));
        assert_eq!(selection.find(&topic, 0, 12, 2), Some(0));
        assert_eq!(selection.find(&topic, 7, 12, 0), None);
        assert_eq!(selection.find(&TopicKey::Name("u".into()), 0, 12, 0), None);
    }
}
