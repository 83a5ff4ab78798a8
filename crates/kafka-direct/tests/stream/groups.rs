//! Several ranges in one writer: who gets which, in what order, and what a failure repeats.

use std::{num::NonZeroUsize, sync::Arc, sync::atomic::Ordering};

use kafka_direct::{StreamLimits, checkpoint::MemoryCheckpoint};

use crate::{append, available, broker, connect, expected, memory_sink::MemorySink};

/// Both partitions have 25 records; a batch has 20 of them, in pieces of at most 4.
fn limits() -> StreamLimits {
    StreamLimits::new().max_records_per_batch(20).max_records_per_partition(4)
}

#[tokio::test]
async fn writers_are_as_many_as_asked_for_and_get_each_partition_in_order() {
    let broker = broker().await;
    append(&broker, 0, 25);
    let cluster = connect(&broker).await;
    for writers in 1..4 {
        let sink = Arc::new(MemorySink::default());
        let builder = available(&cluster, &MemoryCheckpoint::new()).limits(limits());
        let stream = builder.coalesce(NonZeroUsize::new(writers).unwrap()).build().await.unwrap();
        stream.run(Arc::clone(&sink)).await.unwrap();
        assert_eq!(sink.values(), expected(25));
        // A group may be smaller than asked for: pieces of a partition are not spread.
        assert_eq!(sink.writers.load(Ordering::SeqCst), 3 * writers.min(2));
        let visible = sink.visible.lock().unwrap();
        for partition in ["0/", "1/"] {
            let of: Vec<_> = visible.values.iter().filter(|v| v.starts_with(partition)).collect();
            let numbers: Vec<i64> = of.iter().map(|v| v[2..].parse().unwrap()).collect();
            assert_eq!(numbers, (0..25).collect::<Vec<_>>(), "{writers} writers");
        }
        assert!(visible.commits.iter().all(|(_, commit)| commit.ranges.len() > 2));
    }
}

#[tokio::test]
async fn a_group_whose_writer_fails_is_read_again_as_a_whole() {
    let broker = broker().await;
    append(&broker, 0, 25);
    let cluster = connect(&broker).await;
    let sink = Arc::new(MemorySink::default());
    sink.failures.store(2, Ordering::SeqCst);
    let builder = available(&cluster, &MemoryCheckpoint::new()).limits(limits());
    let stream = builder.coalesce(NonZeroUsize::MIN).build().await.unwrap();
    stream.run(Arc::clone(&sink)).await.unwrap();
    assert_eq!((sink.values(), sink.writers.load(Ordering::SeqCst)), (expected(25), 5));
}
