//! One Fetch request: which slots go in, in which order, and how much each may bring.
//!
//! A broker fills an answer in request order until the byte limit, and only the first partition
//! with data is sure to bring a batch that is larger than its limits. So the order rotates from
//! request to request, and a slot that came back empty goes first: an empty answer there is not the
//! limits' doing. Where a broker serves others before the first it goes alone. Pieces of one partition never share a request: a broker answers for a partition
//! once.

use std::{collections::HashSet, sync::Arc};

use kafka_direct_core::Offset;
use kafka_protocol::{
    messages::{
        BrokerId, FetchRequest, TopicName,
        fetch_request::{FetchPartition, FetchTopic},
    },
    protocol::StrBytes,
};

use super::{
    response::{BY_ID, TopicKey},
    slot::{Doubt, Slot, Wanted},
};

/// With no least size an answer comes at once; the wait is what a broker may take for records that
/// lie in remote storage (KIP-405).
const MAX_WAIT_MS: i32 = 5000;
/// So many batches of a partition an answer is to have room for, if there is memory. Its end cuts
/// one, half of which on average is thrown away and fetched again: of two batches that is a quarter,
/// of sixteen 3 %.
const BATCHES: usize = 16;
/// Room for fewer batches is not made less, where it would be a lot less.
const FEWEST_ROUNDED: usize = 3;

/// One slot's place in a request.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) slot: Arc<Slot>,
    pub(super) position: Offset,
    /// Where the slot stands in the lane's own list.
    pub(super) index: usize,
    /// The largest batch of the partition's answer before, or what is taken for it, in bytes; 0 if
    /// nothing is known.
    pub(super) largest_batch: usize,
}

/// How much may be asked for one partition, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    /// What is due to each partition of the request.
    pub(super) due: usize,
    /// So much that what is queued and under way of every partition fits the memory budget.
    pub(super) fair: usize,
    /// Never more than this; half of it, unless batches are large.
    pub(super) most: usize,
}

impl Shares {
    /// How much to ask for where batches are as large as `largest_batch`: room for one of them at
    /// least, since one that is larger comes only as the first of an answer.
    fn of(self, largest_batch: usize) -> usize {
        let Self { due, fair, most } = self;
        let for_batches = largest_batch.saturating_mul(BATCHES).min(fair).max(largest_batch);
        let bytes = due.min(most / 2).max(for_batches).clamp(1, most.max(1));
        // Full batches are equally large: what is more than some of them would be cut.
        match bytes.checked_rem(largest_batch) {
            Some(cut) if bytes / FEWEST_ROUNDED >= largest_batch => bytes.saturating_sub(cut),
            _ => bytes,
        }
    }
}

/// The slots of one request, in request order.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) listed: Vec<Listed>,
    /// Where the order began.
    start: usize,
    /// The first slot, in the order from `start`, that wanted to be in and is not: another isolation
    /// level, a piece of a partition that is in already, no place left.
    pub(super) waiting: Option<usize>,
    /// A reader waits with nothing in hand, that of a slot which is not listed perhaps.
    pub(super) is_starving: bool,
}

impl Turn {
    /// Chooses up to `most` among `slots`, beginning at `start`: those that have room, under one
    /// isolation level, that of the first, each partition once, the first one under suspicion ahead
    /// of the rest, or alone.
    pub(super) fn choose(slots: &[Arc<Slot>], start: usize, most: usize) -> Self {
        let (front, back) = slots.split_at(start.min(slots.len()));
        let around = back.iter().zip(start..).chain(front.iter().zip(0..));
        let mut wanted: Vec<(Listed, Wanted)> = around
            .filter_map(|(slot, index)| {
                let wanted = slot.wanted()?;
                let Wanted { position, largest_batch, .. } = wanted;
                Some((Listed { slot: Arc::clone(slot), position, index, largest_batch }, wanted))
            })
            .collect();
        let Some(isolation) = wanted.first().map(|(first, _)| first.slot.isolation()) else {
            return Self::default();
        };
        let is_starving = wanted.iter().any(|(_, wanted)| wanted.starving);
        let first_under = |doubt: Doubt| {
            wanted.iter().position(|(listed, wanted)| {
                wanted.doubt == doubt && listed.slot.isolation() == isolation
            })
        };
        let unserved = first_under(Doubt::Unserved);
        if let Some(ahead) = unserved.or_else(|| first_under(Doubt::Suspect))
            && let Some(front) = wanted.get_mut(..=ahead)
        {
            front.rotate_right(1);
        }
        if unserved.is_some() {
            let mut wanted = wanted.into_iter().map(|(listed, _)| listed);
            let listed = wanted.next().into_iter().collect();
            let waiting = wanted.next().map(|next| next.index);
            return Self { listed, start, waiting, is_starving };
        }
        let mut partitions = HashSet::with_capacity(wanted.len().min(most));
        let mut waiting = None;
        wanted.retain(|(listed, _)| {
            let tp = listed.slot.range().topic_partition();
            let fits = listed.slot.isolation() == isolation && !partitions.contains(tp);
            if fits && partitions.len() < most {
                partitions.insert(tp.clone());
                return true;
            }
            waiting.get_or_insert(listed.index);
            false
        });
        let listed = wanted.into_iter().map(|(listed, _)| listed).collect();
        Self { listed, start, waiting, is_starving }
    }

    /// Where the next request's order begins, if those of `listed` that are `served` were: with
    /// whoever has waited longest. `None` leaves it where it is.
    pub(super) fn next_start(&self, served: &[bool]) -> Option<usize> {
        let of = |is_served: bool| {
            let listed = self.listed.iter().zip(served);
            listed.filter(move |(_, served)| **served == is_served).map(|(listed, _)| listed.index)
        };
        // Who brought nothing for nobody is no reason to keep others waiting.
        let Some(last) = of(true).next_back() else { return self.waiting };
        let unserved = of(false).chain(self.waiting).min_by_key(|at| (*at < self.start, *at));
        unserved.or_else(|| Some(last.saturating_add(1)))
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

    /// How many bytes are worth asking for.
    pub(super) fn most_bytes(&self, shares: Shares) -> usize {
        let bytes = self.listed.iter().map(|listed| shares.of(listed.largest_batch));
        bytes.fold(0, usize::saturating_add)
    }

    /// The request for `max_bytes`.
    pub(super) fn request(&self, version: i16, max_bytes: usize, shares: Shares) -> FetchRequest {
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
                .with_partition_max_bytes(int(shares.of(listed.largest_batch)));
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(partition);
            }
        }
        let isolation = self.listed.first().map_or(0, |listed| listed.slot.isolation());
        FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(MAX_WAIT_MS)
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

    fn slot(partition: i32, from: i64) -> Arc<Slot> {
        let range = OffsetRange::new(TopicPartition::new("t", partition), from, from + 10).unwrap();
        let planned = PlannedRange::new(range, IsolationLevel::ReadCommitted);
        Slot::new(&planned, Offset::new(from), None, None, Doubt::No)
    }

    fn order(turn: &Turn) -> Vec<usize> {
        turn.listed.iter().map(|listed| listed.index).collect()
    }

    #[test]
    fn order_rotates_and_a_suspect_goes_first() {
        let slots = [slot(0, 0), slot(1, 0), slot(2, 0), slot(3, 0)];
        assert_eq!(order(&Turn::choose(&slots, 2, 9)), [2, 3, 0, 1]);
        slots[0].doubt(Doubt::Suspect);
        assert_eq!(order(&Turn::choose(&slots, 2, 9)), [0, 2, 3, 1]);
    }

    #[test]
    fn who_was_first_and_not_served_goes_alone_and_nobody_loses_a_turn_by_it() {
        let slots = [slot(0, 0), slot(1, 0), slot(2, 0), slot(3, 0)];
        slots[1].doubt(Doubt::Suspect);
        slots[3].doubt(Doubt::Unserved);
        slots[3].doubt(Doubt::Suspect);
        let turn = Turn::choose(&slots, 2, 9);
        assert_eq!((order(&turn), turn.waiting), (vec![3], Some(2)));
        let turn = Turn::choose(&slots, 3, 9);
        assert_eq!((order(&turn), turn.waiting), (vec![3], Some(0)));
        assert_eq!(Turn::choose(&slots[3..], 0, 9).waiting, None);
    }

    #[test]
    fn whoever_a_request_has_no_place_for_is_named() {
        let slots = [slot(0, 0), slot(1, 0), slot(2, 0), slot(3, 0)];
        let turn = Turn::choose(&slots, 1, 2);
        assert_eq!((order(&turn), turn.waiting), (vec![1, 2], Some(3)));
        assert_eq!(Turn::choose(&slots, 3, 4).waiting, None);
    }

    #[test]
    fn places_go_to_partitions_and_not_to_their_pieces() {
        let slots = [slot(0, 0), slot(0, 10), slot(0, 20), slot(1, 0), slot(2, 0), slot(2, 10)];
        let turn = Turn::choose(&slots, 0, 2);
        assert_eq!((order(&turn), turn.waiting), (vec![0, 3], Some(1)));
        let turn = Turn::choose(&slots, 3, 2);
        assert_eq!((order(&turn), turn.waiting), (vec![3, 4], Some(5)));
    }

    #[test]
    fn whoever_has_waited_longest_is_first_in_the_next_request() {
        let slots = [slot(0, 0), slot(0, 10), slot(1, 0), slot(2, 0)];
        // Answers that hold a batch of one partition only.
        let mut start = 0;
        let mut first = Vec::new();
        for _ in 0..6 {
            let turn = Turn::choose(&slots, start, 9);
            first.extend(turn.listed.first().map(|listed| listed.index));
            let served: Vec<bool> = (0..turn.listed.len()).map(|nth| nth == 0).collect();
            start = turn.next_start(&served).unwrap();
        }
        assert_eq!(first, [0, 1, 2, 3, 0, 1]);
        let turn = Turn::choose(&slots[2..], 1, 9);
        assert_eq!(turn.next_start(&[true, true]), Some(1));
        assert_eq!(turn.next_start(&[false, true]), Some(1));
        assert_eq!(turn.next_start(&[false, false]), None);
    }

    #[test]
    fn a_starving_reader_is_known_although_its_slot_has_no_place() {
        let slots = [slot(0, 0), slot(1, 0), slot(1, 10)];
        assert!(!Turn::choose(&slots, 0, 1).is_starving);
        slots[2].starve();
        assert!(Turn::choose(&slots, 0, 1).is_starving);
        assert!(Turn::choose(&slots, 0, 2).is_starving);
    }

    #[test]
    fn a_suspect_does_not_decide_which_isolation_level_has_its_turn() {
        let range = OffsetRange::new(TopicPartition::new("t", 1), 0, 10).unwrap();
        let planned = PlannedRange::new(range, IsolationLevel::ReadUncommitted);
        let other = Slot::new(&planned, Offset::new(0), None, None, Doubt::Suspect);
        let slots = [slot(0, 0), other];
        let turn = Turn::choose(&slots, 0, 9);
        assert_eq!((order(&turn), turn.waiting), (vec![0], Some(1)));
        // Whatever the first level's partitions bring, the other level is next.
        assert_eq!(turn.next_start(&[false]), Some(1));
        assert_eq!(turn.next_start(&[true]), Some(1));
    }

    #[test]
    fn pieces_of_one_partition_never_share_a_request() {
        let slots = [slot(0, 0), slot(0, 10), slot(1, 0)];
        assert_eq!(order(&Turn::choose(&slots, 0, 9)), [0, 2]);
        assert_eq!(order(&Turn::choose(&slots, 1, 9)), [1, 2]);
    }

    #[test]
    fn large_batches_are_asked_for_by_the_dozen_and_no_partition_for_more_than_its_most() {
        const MIB: usize = 1 << 20;
        let mut turn = Turn::choose(&[slot(0, 0), slot(1, 0), slot(2, 0)], 0, 9);
        for (listed, largest_batch) in turn.listed.iter_mut().zip([0, 100 << 10, MIB]) {
            listed.largest_batch = largest_batch;
        }
        let asked = |due, fair, most| {
            let request = turn.request(12, 16 * MIB, Shares { due, fair, most });
            let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
            let bytes = partitions.map(|asked| usize::try_from(asked.partition_max_bytes).unwrap());
            bytes.collect::<Vec<_>>()
        };
        assert_eq!(asked(16 * MIB, 16 * MIB, 4 * MIB), [2 * MIB, 2000 << 10, 4 * MIB]);
        assert_eq!(asked(16 * MIB, 16 * MIB, 32 * MIB), [16 * MIB, 16300 << 10, 16 * MIB]);
        // A whole number of batches, unless that is a lot less.
        assert_eq!(asked(0, 4 * MIB - 1, 4 * MIB), [1, 1600 << 10, 3 * MIB]);
        assert_eq!(asked(0, 3 * MIB - 1, 4 * MIB), [1, 1600 << 10, 3 * MIB - 1]);
        // Where many share the memory there is room for one batch still.
        assert_eq!(asked(MIB / 2, MIB, 4 * MIB), [MIB / 2, 1000 << 10, MIB]);
        assert_eq!(asked(MIB / 2, 1000, 4 * MIB), [MIB / 2, 500 << 10, MIB]);
        assert_eq!(asked(MIB, MIB, 1000), [500, 1000, 1000]);
        assert_eq!(asked(MIB, MIB, 1), [1; 3]);
        let shares = Shares { due: usize::MAX, fair: usize::MAX, most: 4 * MIB };
        assert_eq!(turn.most_bytes(shares), 6 * MIB + (2000 << 10));
        // What is known of others stands in for what is not known yet.
        assert_eq!(turn.assuming(MIB).most_bytes(shares), 8 * MIB + (2000 << 10));
    }

    #[test]
    fn answers_are_found_in_any_order() {
        let slots = [slot(0, 0), slot(1, 0), slot(2, 0)];
        let turn = Turn::choose(&slots, 0, 9);
        let topic = TopicKey::Name("t".into());
        assert_eq!(turn.find(&topic, 2, 12, 0), Some(2));
        assert_eq!(turn.find(&topic, 0, 12, 2), Some(0));
        assert_eq!(turn.find(&topic, 7, 12, 0), None);
        assert_eq!(turn.find(&TopicKey::Name("u".into()), 0, 12, 0), None);
    }
}
