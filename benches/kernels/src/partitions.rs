//! Partitions of a cluster as input of a plan.

use std::sync::Arc;

use kafka_direct_core::{Offset, TopicId, TopicPartition, Watermarks};
use kafka_direct_driver::{DriverError, Lookups, PartitionState, Selection, plan};

/// Number of partitions of one topic.
const PER_TOPIC: usize = 100;

/// Returns `count` partitions with records in a mixed order, since brokers guarantee no order.
#[must_use]
pub fn partitions(count: usize) -> Vec<PartitionState> {
    let mut states: Vec<PartitionState> = Vec::with_capacity(count);
    for topic in 0..count.div_ceil(PER_TOPIC) {
        let name: Arc<str> = format!("orders-of-region-{topic:04}").into();
        for partition in 0..PER_TOPIC.min(count - topic * PER_TOPIC) {
            let number = (topic * PER_TOPIC + partition) as i64;
            let end = Offset::new(1_000 + number * 7919 % 1_000_003);
            states.push(PartitionState {
                topic_partition: TopicPartition::new(Arc::clone(&name), partition as i32),
                topic_id: TopicId::from_bytes((topic as u128 + 1).to_be_bytes()),
                leader_epoch: Some(3),
                watermarks: Watermarks { log_start: Offset::new(10), last_stable: end, high: end },
            });
        }
    }
    // A step without a common divisor with `count` visits each partition once.
    let step = (0..).map(|more| count * 618 / 1000 + 1 + more).find(|step| gcd(*step, count) == 1);
    let step = step.unwrap_or(1);
    (0..count).map(|number| states[number * step % count].clone()).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Plans a read of `partitions` and returns the number of ranges.
///
/// # Errors
/// Those of `plan`.
pub fn plan_all(
    selection: &Selection,
    partitions: Vec<PartitionState>,
) -> Result<usize, DriverError> {
    let plan = plan(selection, Some("cluster".to_owned()), partitions, &Lookups::new())?;
    Ok(plan.ranges().len())
}
