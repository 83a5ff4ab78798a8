//! Tests of what is kept for later ranges: its bound, its order and its release.

use std::sync::Arc;

use bytes::Bytes;
use kafka_direct_core::{Offset, TopicId, TopicPartition};

use super::{
    budget::Budget,
    carry_over::{AllCarried, Carried, CarryOver},
    response::PartitionResponse,
};

fn id() -> TopicId {
    TopicId::from_bytes([1; 16]).unwrap()
}

fn stores(budget_bytes: usize) -> (Arc<Budget>, Arc<AllCarried>, CarryOver) {
    let budget = Budget::new(budget_bytes);
    let all = AllCarried::new(Arc::clone(&budget), budget_bytes);
    let store = CarryOver::new(&all);
    (budget, all, store)
}

fn carried(budget: &Arc<Budget>, until: i64, bytes: usize) -> Carried {
    let response = Box::new(PartitionResponse {
        partition: 0,
        code: 0,
        high_watermark: Offset::new(100),
        last_stable: Offset::new(100),
        log_start: Offset::ZERO,
        aborted: Vec::new(),
        records: Bytes::new(),
    });
    let lease = budget.try_grant(bytes, bytes).unwrap().lease(bytes);
    let (until, isolation) = (Offset::new(until), 1);
    Carried { until, isolation, topic_id: id(), leader_epoch: 3, response, lease }
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn has(store: &CarryOver, partition: i32) -> Option<i64> {
    let mut until = None;
    assert!(
        store
            .take(&tp(partition), |carried| {
                until = Some(carried.until.get());
                false
            })
            .is_none()
    );
    until
}

#[test]
fn kept_bytes_are_at_most_a_third_of_the_budget_and_are_released() {
    let (budget, all, store) = stores(300);
    let other = CarryOver::new(&all);
    store.keep(&tp(0), carried(&budget, 5, 60));
    other.keep(&tp(0), carried(&budget, 7, 40));
    other.keep(&tp(1), carried(&budget, 7, 1));
    assert_eq!((has(&store, 0), has(&other, 0), has(&other, 1)), (Some(5), Some(7), None));
    assert_eq!((all.bytes(), budget.used()), (100, 100));
    let taken = store.take(&tp(0), |_| true).unwrap();
    assert_eq!((all.bytes(), budget.used()), (40, 100));
    drop(taken);
    let clone = other.clone();
    drop(other);
    assert_eq!((all.bytes(), budget.used()), (40, 40));
    drop(clone);
    assert_eq!((all.bytes(), budget.used()), (0, 0));
}

#[test]
fn the_largest_is_evicted_first_and_nothing_is_kept_while_a_lane_waits() {
    let (budget, all, store) = stores(300);
    for (partition, bytes) in [(0, 20), (1, 50), (2, 10)] {
        store.keep(&tp(partition), carried(&budget, 5, bytes));
    }
    let waiting = budget.wait();
    assert!(all.evict_largest());
    assert_eq!([0, 1, 2].map(|partition| has(&store, partition)), [Some(5), None, Some(5)]);
    store.keep(&tp(1), carried(&budget, 5, 1));
    assert_eq!((has(&store, 1), budget.used()), (None, 30));
    drop(waiting);
    store.keep(&tp(1), carried(&budget, 5, 1));
    assert_eq!((has(&store, 1), budget.used()), (Some(5), 31));
    while all.evict_largest() {}
    assert_eq!((all.bytes(), budget.used()), (0, 0));
}

#[test]
fn of_one_partition_the_response_with_the_last_end_is_kept() {
    let (budget, _all, store) = stores(300);
    for (until, kept) in [(5, 5), (9, 9), (7, 9), (9, 9)] {
        store.keep(&tp(0), carried(&budget, until, 10));
        assert_eq!((has(&store, 0), budget.used()), (Some(kept), 10));
    }
    store.forget(&tp(0));
    store.keep(&tp(0), carried(&budget, 7, 10));
    assert_eq!(has(&store, 0), Some(7));
}

#[test]
fn partitions_that_are_not_retained_are_released() {
    let (budget, all, store) = stores(300);
    let other = CarryOver::new(&all);
    other.keep(&tp(1), carried(&budget, 5, 1));
    store.keep(&tp(0), carried(&budget, 5, 2));
    store.keep(&tp(1), carried(&budget, 6, 4));
    store.retain(|tp, from, topic_id, epoch| {
        tp.partition() == 1 && (from.get(), topic_id, epoch) == (6, id(), 3)
    });
    assert_eq!(budget.used(), 5);
    store.clear();
    assert_eq!((budget.used(), has(&other, 1)), (1, Some(5)));
}
