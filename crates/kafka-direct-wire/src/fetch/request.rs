//! One Fetch request: which cursors go in, in which order, and how much each may bring.
//!
//! A broker fills a response in request order until the byte limit, and only the first partition
//! with data is sure to bring a batch that is larger than its limits. So whoever was served longest
//! ago goes first, and ahead of all a cursor that came back empty: an empty response there is not the
//! limits' doing. Where a broker serves others before the first it goes alone. Pieces of one
//! partition never share a request: a broker responds for a partition once.

use std::{collections::HashSet, sync::Arc, time::Duration};

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

/// With no least size a response comes at once; the wait is what a broker may take for records that
/// lie in remote storage (KIP-405).
const MAX_WAIT: Duration = Duration::from_secs(5);
/// One cursor's place in a request.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) cursor: Arc<PartitionCursor>,
    pub(super) position: Offset,
    /// The largest batch of the partition's response before, or what is taken for it, in bytes; 0 if
    /// nothing is known.
    pub(super) largest_batch: usize,
}

/// The cursors of one request, in request order.
#[derive(Debug, Default)]
pub(super) struct FetchSelection {
    pub(super) listed: Vec<Listed>,
    /// A reader waits with nothing in hand, that of a cursor which is not listed perhaps.
    pub(super) is_blocked_on_budget: bool,
}

impl FetchSelection {
    /// Chooses up to `most` among `cursors`: those that have room, served longest ago first, under one
    /// isolation level, that of the first, each partition once, the first one under suspicion ahead
    /// of the rest, or alone.
    pub(super) fn choose(cursors: &[Arc<PartitionCursor>], most: usize) -> Self {
        let mut wanted: Vec<(Wanted, &Arc<PartitionCursor>)> =
            cursors.iter().filter_map(|cursor| Some((cursor.wanted()?, cursor))).collect();
        // Stable: who was served together stays in the order of the list.
        wanted.sort_by_key(|(wanted, _)| wanted.served);
        let Some(isolation) = wanted.first().map(|(_, first)| first.isolation()) else {
            return Self::default();
        };
        let is_blocked_on_budget = wanted.iter().any(|(wanted, _)| wanted.blocked_on_budget);
        wanted.retain(|(_, cursor)| cursor.isolation() == isolation);
        let first_under =
            |priority: FetchPriority| wanted.iter().position(|(one, _)| one.priority == priority);
        let unserved = first_under(FetchPriority::Alone);
        if let Some(ahead) = unserved.or_else(|| first_under(FetchPriority::First))
            && let Some(front) = wanted.get_mut(..=ahead)
        {
            front.rotate_right(1);
        }
        let most = if unserved.is_some() { 1 } else { most };
        let mut partitions = HashSet::with_capacity(wanted.len().min(most));
        let mut listed = Vec::with_capacity(wanted.len().min(most));
        for (Wanted { position, largest_batch, .. }, cursor) in wanted {
            if listed.len() == most {
                break;
            }
            if partitions.insert(cursor.range().topic_partition()) {
                listed.push(Listed { cursor: Arc::clone(cursor), position, largest_batch });
            }
        }
        Self { listed, is_blocked_on_budget }
    }

    /// Takes batches of partitions that had no response yet to be as large as `largest_batch`.
    pub(super) fn assuming(mut self, largest_batch: usize) -> Self {
        for listed in &mut self.listed {
            if listed.largest_batch == 0 {
                listed.largest_batch = largest_batch;
            }
        }
        self
    }

    /// The largest batch of each partition, in bytes; 0 if nothing is known.
    pub(super) fn largest_batches(&self) -> impl Iterator<Item = usize> + '_ {
        self.listed.iter().map(|listed| listed.largest_batch)
    }

    /// The request for `max_bytes` over a connection that may be silent for as long as `idle`.
    pub(super) fn request(
        &self,
        version: i16,
        max_bytes: usize,
        limits: PartitionLimits,
        idle: Duration,
    ) -> FetchRequest {
        // A broker that waits is not to be taken for one that died.
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

    /// Whether every topic's id is known, so that the request may name topics by id.
    pub(super) fn knows_ids(&self) -> bool {
        self.listed.iter().all(|listed| listed.cursor.topic_id().is_some())
    }

    /// Finds a partition of the response, looking from `from` on: responses come in request order.
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
        PartitionCursor::new(&planned, Offset::new(from), None, None, FetchPriority::Normal)
    }

    /// Where those that are listed stand in `cursors`.
    fn order(cursors: &[Arc<PartitionCursor>], most: usize) -> Vec<usize> {
        let place =
            |listed: &Listed| cursors.iter().position(|cursor| Arc::ptr_eq(cursor, &listed.cursor));
        FetchSelection::choose(cursors, most).listed.iter().filter_map(place).collect()
    }

    #[test]
    fn a_suspect_goes_first_and_who_was_first_and_not_served_alone() {
        let cursors = [cursor(0, 0), cursor(1, 0), cursor(2, 0), cursor(3, 0)];
        cursors[0].stand_in_line(1);
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
    fn nobody_is_served_twice_before_everybody_was_once() {
        // Pieces of two partitions, and two more partitions.
        let places = [(0, 0), (0, 10), (0, 20), (1, 0), (1, 10), (2, 0), (3, 0)];
        let cursors = places.map(|(partition, from)| cursor(partition, from));
        for by_a_response in 1..=4 {
            let (mut number, mut served) = (0, HashSet::new());
            while served.len() < cursors.len() {
                number += 1;
                let listed = order(&cursors, 9);
                // Whoever was served has no place before one who was not.
                assert!(listed.is_sorted_by_key(|at| served.contains(at)), "{listed:?} {served:?}");
                for at in listed.into_iter().take(by_a_response) {
                    served.insert(at);
                    cursors[at].stand_in_line(number);
                }
                assert!(number <= cursors.len() as u64, "{served:?}");
            }
            cursors.iter().for_each(|cursor| cursor.stand_in_line(0));
        }
    }

    #[test]
    fn pieces_of_one_partition_never_share_a_request_and_places_go_to_partitions() {
        let cursors =
            [cursor(0, 0), cursor(0, 10), cursor(0, 20), cursor(1, 0), cursor(2, 0), cursor(2, 10)];
        assert_eq!(order(&cursors, 9), [0, 3, 4]);
        assert_eq!(order(&cursors, 2), [0, 3]);
        cursors[0].stand_in_line(1);
        cursors[3].stand_in_line(1);
        assert_eq!(order(&cursors, 9), [1, 4, 3]);
    }

    #[test]
    fn a_blocked_reader_is_known_although_its_cursor_is_not_in_the_request() {
        let cursors = [cursor(0, 0), cursor(1, 0), cursor(1, 10)];
        assert!(!FetchSelection::choose(&cursors, 1).is_blocked_on_budget);
        cursors[2].set_blocked_on_budget(true);
        assert!(FetchSelection::choose(&cursors, 1).is_blocked_on_budget);
        assert!(FetchSelection::choose(&cursors, 2).is_blocked_on_budget);
    }

    #[test]
    fn a_suspect_does_not_decide_which_isolation_level_has_its_turn() {
        let range = OffsetRange::new(TopicPartition::new("t", 1), 0, 10).unwrap();
        let planned = PlannedRange::new(range, IsolationLevel::ReadUncommitted);
        let other =
            PartitionCursor::new(&planned, Offset::new(0), None, None, FetchPriority::First);
        let cursors = [cursor(0, 0), other];
        assert_eq!(order(&cursors, 9), [0]);
        // Once the first level was served the other has its selection.
        cursors[0].stand_in_line(1);
        assert_eq!(order(&cursors, 9), [1]);
    }

    #[test]
    fn each_partition_is_asked_for_room_for_its_batches() {
        let mut selection = FetchSelection::choose(&[cursor(0, 0), cursor(1, 0)], 9);
        selection.listed[1].largest_batch = 3 << 20;
        let limits = FetchLimits::new(&ClusterConfig::new(["h:1"]), 0).partition(2);
        let request = selection.request(12, 1 << 20, limits, IDLE);
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        let asked: Vec<_> = partitions.map(|asked| asked.partition_max_bytes).collect();
        assert_eq!((request.max_bytes, asked), (1 << 20, vec![2 << 20, 4 << 20]));
        // What is known of others stands in for what is not known yet.
        let assumed = selection.assuming(100);
        assert_eq!(assumed.largest_batches().collect::<Vec<_>>(), [100, 3 << 20]);
    }

    #[test]
    fn responses_are_found_in_any_order() {
        let cursors = [cursor(0, 0), cursor(1, 0), cursor(2, 0)];
        let selection = FetchSelection::choose(&cursors, 9);
        let topic = TopicKey::Name("t".into());
        assert_eq!(selection.find(&topic, 2, 12, 0), Some(2));
        assert_eq!(selection.find(&topic, 0, 12, 2), Some(0));
        assert_eq!(selection.find(&topic, 7, 12, 0), None);
        assert_eq!(selection.find(&TopicKey::Name("u".into()), 0, 12, 0), None);
    }
}
