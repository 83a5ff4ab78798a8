//! Asks the cluster what the next batch of a stream is planned from.

use std::collections::{BTreeMap, BTreeSet};

use kafka_direct_core::{Offset, TopicId, TopicPartition};
use kafka_direct_driver::{
    DriverError, Observed, PartitionState, Positions, Selection, lookups_needed, needs_start,
    resolve_starts,
};
use kafka_direct_wire::{Cluster, LogBounds};

use super::metadata::Metadata;
use crate::{
    Error, KafkaRddBuilder,
    plan_check::{Leaders, leaders},
    time_check,
};

/// The state of the subscribed partitions, and their leaders.
///
/// The starts of topics that are followed from now on are resolved here, once.
///
/// # Errors
/// As [`KafkaRddBuilder::build`].
pub(super) async fn observe(
    selection: &KafkaRddBuilder,
    metadata: &mut Metadata,
    positions: &Positions,
) -> Result<(Observed, Leaders), Error> {
    let topics = metadata.get(selection, positions).await?;
    let wanted = selection.selection.partitions.as_ref();
    let mut led: BTreeMap<TopicPartition, Option<TopicId>> = BTreeMap::new();
    let mut leaderless = BTreeSet::new();
    for topic in topics.iter() {
        for partition in &topic.partitions {
            if wanted.is_some_and(|wanted| !wanted.contains(&partition.index)) {
                continue;
            }
            let tp = TopicPartition::new(std::sync::Arc::clone(&topic.name), partition.index);
            if partition.leader.is_some() {
                led.insert(tp, topic.id);
            } else {
                leaderless.insert(tp);
            }
        }
    }
    if let Some(wanted) = wanted {
        let followed = positions.iter().map(|(tp, _)| tp);
        let known = led.keys().chain(&leaderless).chain(followed);
        let known: BTreeSet<i32> = known.map(TopicPartition::partition).collect();
        let exists = |index: &i32| known.contains(index);
        let indices: Vec<i32> = wanted.iter().copied().filter(|index| !exists(index)).collect();
        if !indices.is_empty() {
            return Err(DriverError::NoSuchIndex { indices }.into());
        }
    }
    let asked: Vec<TopicPartition> = led.keys().cloned().collect();
    let bounds = selection.cluster.log_bounds(&asked).await?;
    let states = states(led, &bounds);
    let diverged = diverged(&selection.cluster, positions, &states).await?;
    let is_subscribed = |topic: &str| topics.iter().any(|known| &*known.name == topic);
    let unsubscribed = positions
        .iter()
        .map(|(tp, _)| tp)
        .filter(|tp| {
            let left_out = wanted.is_some_and(|wanted| !wanted.contains(&tp.partition()));
            left_out || (!is_subscribed(tp.topic()) && !selection.names_topic(tp.topic()))
        })
        .cloned()
        .collect();
    let new: Vec<PartitionState> = needs_start(positions, &states).into_iter().cloned().collect();
    let starts = if new.is_empty() {
        kafka_direct_driver::ResolvedStarts::default()
    } else {
        let starts = for_partitions(&selection.selection, &new);
        let questions = lookups_needed(&starts, &new)?;
        let (lookups, without_record) = selection.response(questions, &bounds, true).await?;
        time_check::check(&selection.cluster, &selection.decode, without_record).await?;
        resolve_starts(&starts, new, &lookups)?
    };
    let leaders = leaders(&topics);
    Ok((Observed { states, leaderless, diverged, unsubscribed, starts }, leaders))
}

/// Where the logs of new leaders differ from what the stream has read. It asks only about partitions
/// whose leader epoch is newer than that of the position.
async fn diverged(
    cluster: &Cluster,
    positions: &Positions,
    states: &[PartitionState],
) -> Result<BTreeMap<TopicPartition, Offset>, Error> {
    let mut diverged = BTreeMap::new();
    for state in states {
        let tp = &state.topic_partition;
        let position = positions.get(tp).filter(|position| position.topic_id == state.topic_id);
        let Some(position) = position else { continue };
        if let Some(epoch) = position.leader_epoch.filter(|epoch| Some(*epoch) < state.leader_epoch)
            && let Some((_, end)) = cluster.end_offset_for_epoch(tp, epoch).await?
            && end < position.offset
        {
            diverged.insert(tp.clone(), end);
        }
    }
    Ok(diverged)
}

fn states(
    led: BTreeMap<TopicPartition, Option<TopicId>>,
    bounds: &BTreeMap<TopicPartition, LogBounds>,
) -> Vec<PartitionState> {
    let state = |(topic_partition, topic_id)| {
        let LogBounds { watermarks, leader_epoch, .. } = *bounds.get(&topic_partition)?;
        Some(PartitionState { topic_partition, topic_id, leader_epoch, watermarks })
    };
    led.into_iter().filter_map(state).collect()
}

/// The selection with the starts of these partitions only: a map of starts names partitions that the
/// stream follows since earlier. Partition indices are selected already, and ends do not apply.
fn for_partitions(selection: &Selection, new: &[PartitionState]) -> Selection {
    let names: BTreeSet<&TopicPartition> = new.iter().map(|state| &state.topic_partition).collect();
    let mut selection = selection.clone();
    selection.starts.retain(|tp| names.contains(tp));
    selection.partitions = None;
    selection
}
