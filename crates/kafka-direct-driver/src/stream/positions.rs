//! [`Positions`]: where a stream continues in every partition that it follows.

use std::collections::{BTreeMap, BTreeSet};

use kafka_direct_core::{Offset, TopicId, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::{DriverError, PartitionState};

/// Where a stream continues in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The next offset to read, inclusive, at least 0.
    pub offset: Offset,
    /// The topic's id, if a broker reported one. Another id means a re-created topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<TopicId>,
    /// The newest leader epoch that a plan has seen, if a broker reported one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<i32>,
}

impl Position {
    /// The position at `offset` of a partition with this state.
    pub(crate) const fn new(state: &PartitionState, offset: Offset) -> Self {
        Self { offset, topic_id: state.topic_id, leader_epoch: state.leader_epoch }
    }
}

/// Where a stream continues in every partition that it has ever followed, also in idle ones and in
/// those that are missing or not subscribed any more.
///
/// Its JSON is part of a checkpoint. Partitions are ordered by topic and partition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "PositionsText", into = "PositionsText")]
pub struct Positions {
    followed: BTreeMap<TopicPartition, Position>,
    pending: BTreeSet<TopicPartition>,
}

impl Positions {
    /// Creates the positions of a stream that follows no partition yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The position of a partition; `None` if the stream has never followed it.
    #[must_use]
    pub fn get(&self, topic_partition: &TopicPartition) -> Option<&Position> {
        self.followed.get(topic_partition)
    }

    /// Every partition with its position, ordered by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &Position)> {
        self.followed.iter()
    }

    /// The partitions that had no leader when the stream began to follow their topic. They follow the
    /// stream's own start when they have one.
    pub fn pending(&self) -> impl Iterator<Item = &TopicPartition> {
        self.pending.iter()
    }

    /// Whether the stream follows a partition of this topic.
    #[must_use]
    pub fn follows_topic(&self, topic: &str) -> bool {
        // Partition indices of a topic begin at 0, but a stream may follow only some of them.
        let first = TopicPartition::new(topic, i32::MIN);
        self.followed.range(first..).next().is_some_and(|(found, _)| found.topic() == topic)
    }

    /// Sets the position of a partition, and removes it from the pending ones.
    ///
    /// A caller uses it to put back positions from its own store.
    ///
    /// # Errors
    /// `Invalid`: [`DriverError::BadNumber`] for a negative offset.
    pub fn insert(
        &mut self,
        topic_partition: TopicPartition,
        position: Position,
    ) -> Result<(), DriverError> {
        check_offset(&topic_partition, position.offset)?;
        self.set(topic_partition, position);
        Ok(())
    }

    /// Moves a partition to the end that a batch achieved there, exclusive.
    ///
    /// Under the data-loss policy `resume`, a range may end before its planned end. The next plan has
    /// to start at the achieved end. Does nothing for a partition that the stream does not follow.
    ///
    /// # Errors
    /// `Invalid`: [`DriverError::BadNumber`] for a negative offset.
    pub fn set_achieved_end(
        &mut self,
        topic_partition: &TopicPartition,
        end: Offset,
    ) -> Result<(), DriverError> {
        check_offset(topic_partition, end)?;
        self.move_to(topic_partition, end);
        Ok(())
    }

    pub(crate) fn set(&mut self, topic_partition: TopicPartition, position: Position) {
        self.pending.remove(&topic_partition);
        self.followed.insert(topic_partition, position);
    }

    pub(crate) fn move_to(&mut self, topic_partition: &TopicPartition, offset: Offset) {
        if let Some(position) = self.followed.get_mut(topic_partition) {
            position.offset = offset;
        }
    }

    /// Marks a partition as one that follows the stream's own start once it has a leader. One that has a
    /// position keeps it.
    pub fn set_pending(&mut self, topic_partition: TopicPartition) {
        if self.get(&topic_partition).is_none() {
            self.pending.insert(topic_partition);
        }
    }

    pub(crate) fn is_pending(&self, topic_partition: &TopicPartition) -> bool {
        self.pending.contains(topic_partition)
    }

    /// Whether a restart from `other` would follow the same offsets of the same topics.
    pub(crate) fn is_equivalent(&self, other: &Self) -> bool {
        let same = |(one, two): (&Position, &Position)| {
            one.offset == two.offset && one.topic_id == two.topic_id
        };
        self.pending == other.pending
            && self.followed.keys().eq(other.followed.keys())
            && self.followed.values().zip(other.followed.values()).all(same)
    }
}

fn check_offset(topic_partition: &TopicPartition, offset: Offset) -> Result<(), DriverError> {
    if offset >= Offset::ZERO {
        return Ok(());
    }
    Err(DriverError::BadNumber {
        topic_partition: Some(topic_partition.clone()),
        setting: "position",
        value: offset.get().into(),
        problem: "must be at least 0",
    })
}

/// The JSON form of [`Positions`].
#[derive(Serialize, Deserialize)]
struct PositionsText {
    followed: Vec<FollowedText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pending: Vec<TopicPartition>,
}

#[derive(Serialize, Deserialize)]
struct FollowedText {
    #[serde(flatten)]
    topic_partition: TopicPartition,
    #[serde(flatten)]
    position: Position,
}

impl TryFrom<PositionsText> for Positions {
    type Error = DriverError;

    fn try_from(text: PositionsText) -> Result<Self, DriverError> {
        let mut positions =
            Self { followed: BTreeMap::new(), pending: text.pending.into_iter().collect() };
        for FollowedText { topic_partition, position } in text.followed {
            if positions.get(&topic_partition).is_some() || positions.is_pending(&topic_partition) {
                let reason = format!("the positions name {topic_partition} twice");
                return Err(DriverError::Text { reason });
            }
            positions.insert(topic_partition, position)?;
        }
        Ok(positions)
    }
}

impl From<Positions> for PositionsText {
    fn from(positions: Positions) -> Self {
        let followed = positions.followed.into_iter();
        Self {
            followed: followed
                .map(|(topic_partition, position)| FollowedText { topic_partition, position })
                .collect(),
            pending: positions.pending.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition::new(topic, partition)
    }

    fn positions() -> Positions {
        let mut positions = Positions::new();
        let topic_id = TopicId::from_bytes([7; 16]);
        let position = |offset| Position { offset, topic_id, leader_epoch: Some(3) };
        positions.insert(tp("t", 10), position(Offset::new(5))).unwrap();
        let plain = Position { offset: Offset::new(9), topic_id: None, leader_epoch: None };
        positions.insert(tp("t", 2), plain).unwrap();
        positions.set_pending(tp("t", 3));
        positions
    }

    #[test]
    fn positions_read_back_from_their_json() {
        let text = serde_json::to_string(&positions()).unwrap();
        assert_eq!(
            text,
            r#"{"followed":[{"topic":"t","partition":2,"offset":9},{"topic":"t","partition":10,"offset":5,"topic_id":"BwcHBwcHBwcHBwcHBwcHBw","leader_epoch":3}],"pending":[{"topic":"t","partition":3}]}"#
        );
        assert_eq!(serde_json::from_str::<Positions>(&text).unwrap(), positions());
    }

    #[test]
    fn positions_with_a_partition_twice_or_a_negative_offset_are_rejected() {
        let one = r#"{"topic":"t","partition":2,"offset":9}"#;
        for (text, problem) in [
            (format!(r#"{{"followed":[{one},{one}]}}"#), "t-2 twice"),
            (
                format!(r#"{{"followed":[{one}],"pending":[{{"topic":"t","partition":2}}]}}"#),
                "t-2 twice",
            ),
            (format!(r#"{{"followed":[{}]}}"#, one.replace('9', "-1")), "position -1"),
        ] {
            let error = serde_json::from_str::<Positions>(&text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_topic_is_followed_by_any_of_its_partitions_and_not_by_a_longer_name() {
        assert!(positions().follows_topic("t"));
        assert!(!positions().follows_topic("s"));
        assert!(!positions().follows_topic("u"));
        let mut longer = Positions::new();
        let position = Position { offset: Offset::ZERO, topic_id: None, leader_epoch: None };
        longer.insert(tp("tt", 0), position).unwrap();
        assert!(!longer.follows_topic("t"));
    }

    #[test]
    fn positions_are_equivalent_if_a_restart_continues_at_the_same_offsets() {
        let same = positions();
        assert!(same.is_equivalent(&positions()));
        let changed = |change: &dyn Fn(&mut Position)| {
            let mut other = positions();
            change(other.followed.get_mut(&tp("t", 10)).unwrap());
            !same.is_equivalent(&other)
        };
        assert!(changed(&|position| position.offset = Offset::new(6)));
        assert!(changed(&|position| position.topic_id = None));
        assert!(!changed(&|position| position.leader_epoch = Some(4)));
        let mut more = positions();
        more.set_pending(tp("t", 4));
        assert!(!same.is_equivalent(&more));
        let plain = Position { offset: Offset::ZERO, topic_id: None, leader_epoch: None };
        let mut more = positions();
        more.insert(tp("t", 4), plain).unwrap();
        assert!(!same.is_equivalent(&more));
    }

    #[test]
    fn an_achieved_end_moves_only_partitions_that_are_followed() {
        let mut positions = positions();
        positions.set_achieved_end(&tp("t", 2), Offset::new(7)).unwrap();
        positions.set_achieved_end(&tp("t", 4), Offset::new(7)).unwrap();
        assert_eq!(positions.get(&tp("t", 2)).unwrap().offset, Offset::new(7));
        assert_eq!(positions.iter().count(), 2);
        assert!(positions.set_achieved_end(&tp("t", 2), Offset::new(-1)).is_err());
    }
}
