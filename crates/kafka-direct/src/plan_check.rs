//! Whether a plan belongs to the cluster it is read from, and which brokers lead its partitions.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use kafka_direct_core::{BatchPlan, ErrorKind, TopicPartition};
use kafka_direct_wire::{Cluster, TopicMetadata};

use crate::Error;

/// `host:port` of each partition's leader when the batch was planned.
pub(crate) type Leaders = BTreeMap<TopicPartition, String>;

pub(crate) fn leaders(topics: &[TopicMetadata]) -> Leaders {
    topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().filter_map(|partition| {
                let host = partition.leader_host.as_ref()?;
                let name = Arc::clone(&topic.name);
                Some((TopicPartition::new(name, partition.index), host.to_string()))
            })
        })
        .collect()
}

/// Checks that a plan belongs to this cluster and its topics; returns the leaders of its partitions.
pub(crate) async fn check_plan(cluster: &Cluster, plan: &BatchPlan) -> Result<Leaders, Error> {
    let here = cluster.id();
    if let (Some(planned), Some(here)) = (plan.cluster(), here.as_deref())
        && planned != here
    {
        return Err(Error::ForeignPlan {
            reason: format!("it was made for cluster {planned}, this is cluster {here}"),
            kind: ErrorKind::Invalid,
        });
    }
    let mut names: Vec<String> =
        plan.ranges().iter().map(|planned| planned.topic_partition().topic().to_owned()).collect();
    names.dedup();
    let topics = cluster.topics(&names).await?;
    let ids: HashMap<&str, _> = topics.iter().map(|topic| (&*topic.name, topic.id)).collect();
    for planned in plan.ranges() {
        let topic = planned.topic_partition().topic();
        if let (Some(then), Some(Some(now))) = (planned.topic_id(), ids.get(topic))
            && then != *now
        {
            return Err(Error::ForeignPlan {
                reason: format!("topic {topic} was re-created: its id was {then} and is {now}"),
                kind: ErrorKind::OffsetLost,
            });
        }
    }
    let leaders = leaders(&topics);
    let existing: HashSet<TopicPartition> = topics
        .iter()
        .flat_map(|topic| {
            let name = &topic.name;
            topic.partitions.iter().map(|p| TopicPartition::new(Arc::clone(name), p.index))
        })
        .collect();
    let missing =
        plan.ranges().iter().find(|planned| !existing.contains(planned.topic_partition()));
    if let Some(planned) = missing {
        return Err(Error::ForeignPlan {
            reason: format!("partition {} does not exist", planned.topic_partition()),
            kind: ErrorKind::Invalid,
        });
    }
    Ok(leaders)
}
