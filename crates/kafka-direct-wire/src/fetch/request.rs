//! One Fetch request: which slots go in, in which order, and how much each may bring.
//!
//! A broker fills an answer in request order until the byte limit, and only the first partition
//! with data is sure to bring a batch that is larger than its limits. So whoever was served longest
//! ago goes first, and ahead of all a slot that came back empty: an empty answer there is not the
//! limits' doing. Where a broker serves others before the first it goes alone. Pieces of one
//! partition never share a request: a broker answers for a partition once.

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
    response::{BY_ID, TopicKey},
    slot::{Doubt, Slot, Wanted},
};

/// With no least size an answer comes at once; the wait is what a broker may take for records that
/// lie in remote storage (KIP-405).
const MAX_WAIT: Duration = Duration::from_secs(5);
/// One slot's place in a request.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) slot: Arc<Slot>,
    pub(super) position: Offset,
    /// The largest batch of the partition's answer before, or what is taken for it, in bytes; 0 if
    /// nothing is known.
    pub(super) largest_batch: usize,
}

/// The slots of one request, in request order.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) listed: Vec<Listed>,
    /// A reader waits with nothing in hand, that of a slot which is not listed perhaps.
    pub(super) is_starving: bool,
}

impl Turn {
    /// Chooses up to `most` among `slots`: those that have room, served longest ago first, under one
    /// isolation level, that of the first, each partition once, the first one under suspicion ahead
    /// of the rest, or alone.
    pub(super) fn choose(slots: &[Arc<Slot>], most: usize) -> Self {
        let mut wanted: Vec<(Wanted, &Arc<Slot>)> =
            slots.iter().filter_map(|slot| Some((slot.wanted()?, slot))).collect();
        // Stable: who was served together stays in the order of the list.
        wanted.sort_by_key(|(wanted, _)| wanted.served);
        let Some(isolation) = wanted.first().map(|(_, first)| first.isolation()) else {
            return Self::default();
        };
        let is_starving = wanted.iter().any(|(wanted, _)| wanted.starving);
        wanted.retain(|(_, slot)| slot.isolation() == isolation);
        let first_under = |doubt: Doubt| wanted.iter().position(|(one, _)| one.doubt == doubt);
        let unserved = first_under(Doubt::Unserved);
        if let Some(ahead) = unserved.or_else(|| first_under(Doubt::Suspect))
            && let Some(front) = wanted.get_mut(..=ahead)
        {
            front.rotate_right(1);
        }
        let most = if unserved.is_some() { 1 } else { most };
        let mut partitions = HashSet::with_capacity(wanted.len().min(most));
        let mut listed = Vec::with_capacity(wanted.len().min(most));
        for (Wanted { position, largest_batch, .. }, slot) in wanted {
            if listed.len() == most {
                break;
            }
            if partitions.insert(slot.range().topic_partition()) {
                listed.push(Listed { slot: Arc::clone(slot), position, largest_batch });
            }
        }
        Self { listed, is_starving }
    }

    /// Takes batches of partitions that had no answer yet to be as large as `largest_batch`.
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
            let tp = listed.slot.range().topic_partition();
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
                .with_current_leader_epoch(listed.slot.leader_epoch().unwrap_or(-1))
                .with_fetch_offset(listed.position.get())
                .with_partition_max_bytes(int(limits.bytes(listed.largest_batch)));
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(partition);
            }
        }
        let isolation = self.listed.first().map_or(0, |listed| listed.slot.isolation());
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
        self.listed.iter().all(|listed| listed.slot.topic_id().is_some())
    }

    /// Finds a partition of the answer, looking from `from` on: answers come in request order.
    pub(super) fn find(
        &self,
        topic: &TopicKey,
        partition: i32,
        version: i16,
        from: usize,
    ) -> Option<usize> {
        let matches = |listed: &Listed| {
            listed.slot.range().topic_partition().partition() == partition
                && listed.names(topic, version)
        };
        let (before, after) = self.listed.split_at(from.min(self.listed.len()));
        let ahead = after.iter().position(matches).map(|at| at.saturating_add(from));
        ahead.or_else(|| before.iter().position(matches))
    }
}

impl Listed {
    fn key(&self, version: i16) -> TopicKey {
        match self.slot.topic_id() {
            Some(id) if version >= BY_ID => TopicKey::Id(id.to_bytes()),
            _ => TopicKey::Name(Arc::clone(self.slot.range().topic_partition().topic_arc())),
        }
    }

    fn names(&self, topic: &TopicKey, version: i16) -> bool {
        match topic {
            TopicKey::Name(name) => **name == *self.slot.range().topic_partition().topic(),
            TopicKey::Id(id) => {
                version >= BY_ID && self.slot.topic_id().is_some_and(|own| own.to_bytes() == *id)
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

    fn slot(partition: i32, from: i64) -> Arc<Slot> {
        let range = OffsetRange::new(TopicPartition::new("t", partition), from, from + 10).unwrap();
        let planned = PlannedRange::new(range, IsolationLevel::ReadCommitted);
        Slot::new(&planned, Offset::new(from), None, None, Doubt::No)
    }

    /// Where those that are listed stand in `slots`.
    fn order(slots: &[Arc<Slot>], most: usize) -> Vec<usize> {
        let place = |listed: &Listed| slots.iter().position(|slot| Arc::ptr_eq(slot, &listed.slot));
        Turn::choose(slots, most).listed.iter().filter_map(place).collect()
    }

    #[test]
    fn a_suspect_goes_first_and_who_was_first_and_not_served_alone() {
        let slots = [slot(0, 0), slot(1, 0), slot(2, 0), slot(3, 0)];
        slots[0].stand_in_line(1);
        assert_eq!(order(&slots, 9), [1, 2, 3, 0]);
        slots[3].doubt(Doubt::Suspect);
        assert_eq!(order(&slots, 9), [3, 1, 2, 0]);
        slots[0].doubt(Doubt::Unserved);
        assert_eq!(order(&slots, 9), [0]);
        slots[0].doubt(Doubt::Suspect);
        assert_eq!(order(&slots, 9), [3, 1, 2, 0]);
        slots[0].doubt(Doubt::No);
        slots[3].doubt(Doubt::No);
        assert_eq!(order(&slots, 9), [1, 2, 3, 0]);
    }

    #[test]
    fn nobody_is_served_twice_before_everybody_was_once() {
        // Pieces of two partitions, and two more partitions.
        let places = [(0, 0), (0, 10), (0, 20), (1, 0), (1, 10), (2, 0), (3, 0)];
        let slots = places.map(|(partition, from)| slot(partition, from));
        for by_an_answer in 1..=4 {
            let (mut number, mut served) = (0, HashSet::new());
            while served.len() < slots.len() {
                number += 1;
                let listed = order(&slots, 9);
                // Whoever was served has no place before one who was not.
                assert!(listed.is_sorted_by_key(|at| served.contains(at)), "{listed:?} {served:?}");
                for at in listed.into_iter().take(by_an_answer) {
                    served.insert(at);
                    slots[at].stand_in_line(number);
                }
                assert!(number <= slots.len() as u64, "{served:?}");
            }
            slots.iter().for_each(|slot| slot.stand_in_line(0));
        }
    }

    #[test]
    fn pieces_of_one_partition_never_share_a_request_and_places_go_to_partitions() {
        let slots = [slot(0, 0), slot(0, 10), slot(0, 20), slot(1, 0), slot(2, 0), slot(2, 10)];
        assert_eq!(order(&slots, 9), [0, 3, 4]);
        assert_eq!(order(&slots, 2), [0, 3]);
        slots[0].stand_in_line(1);
        slots[3].stand_in_line(1);
        assert_eq!(order(&slots, 9), [1, 4, 3]);
    }

    #[test]
    fn a_starving_reader_is_known_although_its_slot_has_no_place() {
        let slots = [slot(0, 0), slot(1, 0), slot(1, 10)];
        assert!(!Turn::choose(&slots, 1).is_starving);
        slots[2].starve();
        assert!(Turn::choose(&slots, 1).is_starving);
        assert!(Turn::choose(&slots, 2).is_starving);
    }

    #[test]
    fn a_suspect_does_not_decide_which_isolation_level_has_its_turn() {
        let range = OffsetRange::new(TopicPartition::new("t", 1), 0, 10).unwrap();
        let planned = PlannedRange::new(range, IsolationLevel::ReadUncommitted);
        let other = Slot::new(&planned, Offset::new(0), None, None, Doubt::Suspect);
        let slots = [slot(0, 0), other];
        assert_eq!(order(&slots, 9), [0]);
        // Once the first level was served the other has its turn.
        slots[0].stand_in_line(1);
        assert_eq!(order(&slots, 9), [1]);
    }

    #[test]
    fn each_partition_is_asked_for_room_for_its_batches() {
        let mut turn = Turn::choose(&[slot(0, 0), slot(1, 0)], 9);
        turn.listed[1].largest_batch = 3 << 20;
        let limits = FetchLimits::new(&ClusterConfig::new(["h:1"]), 0).partition(2);
        let request = turn.request(12, 1 << 20, limits, IDLE);
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        let asked: Vec<_> = partitions.map(|asked| asked.partition_max_bytes).collect();
        assert_eq!((request.max_bytes, asked), (1 << 20, vec![2 << 20, 4 << 20]));
        // What is known of others stands in for what is not known yet.
        let assumed = turn.assuming(100);
        assert_eq!(assumed.largest_batches().collect::<Vec<_>>(), [100, 3 << 20]);
    }

    #[test]
    fn answers_are_found_in_any_order() {
        let slots = [slot(0, 0), slot(1, 0), slot(2, 0)];
        let turn = Turn::choose(&slots, 9);
        let topic = TopicKey::Name("t".into());
        assert_eq!(turn.find(&topic, 2, 12, 0), Some(2));
        assert_eq!(turn.find(&topic, 0, 12, 2), Some(0));
        assert_eq!(turn.find(&topic, 7, 12, 0), None);
        assert_eq!(turn.find(&TopicKey::Name("u".into()), 0, 12, 0), None);
    }
}
