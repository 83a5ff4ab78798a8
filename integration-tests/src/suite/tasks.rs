//! One task per range: attempts, panics, the concurrency limit and the order of results.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use kafka_direct::{BoxError, Error};
use parking_lot::Mutex;

use super::all_columns;
use crate::{
    cluster::{TestCluster, Writer, connect, unique},
    rows::{Row, rows},
};

pub async fn a_closure_that_fails_is_run_again_from_the_start(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("attempts"));
    writer.create(&topic, 2).await;
    for partition in 0..2 {
        writer.write_numbered(&topic, partition, 0..100, 10).await;
    }
    let rdd = all_columns(&connect(cluster).await, &topic).build().await.unwrap();
    let seen: Arc<Mutex<BTreeMap<(i32, u32), Vec<Row>>>> = Arc::default();
    let log = Arc::clone(&seen);
    rdd.for_each_partition(move |planned, mut batches| {
        let log = Arc::clone(&log);
        async move {
            let (partition, attempt) = (planned.topic_partition().partition(), batches.attempt());
            while let Some(batch) = batches.try_next().await? {
                log.lock().entry((partition, attempt)).or_default().extend(rows(&[batch]));
            }
            if partition == 1 && attempt < 3 {
                return Err(BoxError::from("the sink is full"));
            }
            Ok(())
        }
    })
    .await
    .unwrap();
    let seen = std::mem::take(&mut *seen.lock());
    let attempts: Vec<_> = seen.keys().copied().collect();
    assert_eq!(attempts, [(0, 1), (1, 1), (1, 2), (1, 3)]);
    assert!(seen.values().all(|rows| rows.len() == 100));
    assert_eq!(seen[&(1, 1)], seen[&(1, 3)]);
    let hopeless = rdd.for_each_partition(|_, _| async { Err("never".into()) }).await.unwrap_err();
    assert!(matches!(hopeless, Error::Closure { attempts: 3, .. }), "{hopeless}");
}

pub async fn a_closure_that_panics_ends_the_batch(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("panics"));
    writer.create(&topic, 2).await;
    writer.write_numbered(&topic, 1, 0..10, 10).await;
    let rdd = all_columns(&connect(cluster).await, &topic).build().await.unwrap();
    let error = rdd.for_each_partition(|_, _| async { panic!("on purpose") }).await.unwrap_err();
    assert!(error.to_string().contains(&format!("{topic}-1")), "{error}");
}

pub async fn at_most_the_set_number_of_ranges_run_at_once(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("limit"));
    writer.create(&topic, 6).await;
    for partition in 0..6 {
        writer.write_numbered(&topic, partition, 0..20, 10).await;
    }
    let limit = NonZeroUsize::new(2).unwrap();
    let builder = all_columns(&connect(cluster).await, &topic).concurrency(limit);
    let rdd = builder.build().await.unwrap();
    let (running, most, done) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let shared = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&done));
    rdd.for_each_partition(move |_, mut batches| {
        let (running, most, done) =
            (Arc::clone(&shared.0), Arc::clone(&shared.1), Arc::clone(&shared.2));
        async move {
            most.fetch_max(1 + running.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
            while batches.try_next().await?.is_some() {
                tokio::task::yield_now().await;
            }
            running.fetch_sub(1, Ordering::SeqCst);
            done.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    })
    .await
    .unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 6);
    assert!(most.load(Ordering::SeqCst) <= 2);
}

pub async fn results_of_partitions_come_in_plan_order(cluster: &impl TestCluster) {
    let (writer, topic) = (Writer::new(cluster).await, unique("map"));
    writer.create(&topic, 3).await;
    for partition in 0..3 {
        writer.write_numbered(&topic, partition, 0..100, 10).await;
    }
    let builder = all_columns(&connect(cluster).await, &topic).max_records_per_partition(30);
    let rdd = builder.build().await.unwrap();
    let firsts = rdd.map_partitions(|planned, mut batches| async move {
        let first = batches.try_next().await?.map(|batch| rows(&[batch])[0].offset);
        Ok((planned.topic_partition().partition(), first))
    });
    let expected: Vec<_> = rdd
        .partitions()
        .iter()
        .map(|planned| (planned.topic_partition().partition(), Some(planned.range().from().get())))
        .collect();
    assert_eq!(firsts.await.unwrap(), expected);
}
