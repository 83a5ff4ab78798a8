//! Simulation of streams: drivers that are killed at any await and at every named point, held up for
//! long, several at once; faults of the cluster, the checkpoint and the sink; logs that grow, are
//! trimmed and truncated, and topics that are created, extended, deleted and re-created.
//!
//! A seed determines each run. A failure prints its seed, and `SEED=n` replays it alone. `SEEDS=n` runs
//! more of them. The seeds run on all cores, each in a runtime of its own under paused time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a failed step is a failed test, and numbers of tests are small"
)]

mod logs;
mod model;
mod points;
mod sink;
mod store;
mod stream;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::{points::Coverage, world::World};

const DEFAULT_SEEDS: u64 = 300;

fn run(seed: u64, coverage: &Arc<Coverage>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let hour = Duration::from_secs(3600);
        let run = async { World::new(seed, coverage).await.run().await };
        tokio::time::timeout(hour, run).await.expect("a simulated hour passed");
    });
}

/// What all runs together must have seen: that nothing here is there for nothing.
fn check_coverage(coverage: &Coverage) {
    let points = coverage.of_points();
    for (point, kills, _) in &points {
        assert!(*kills > 0, "no driver was killed at {point:?}");
    }
    assert!(points.iter().any(|(.., stalls)| *stalls > 0), "no driver was held up");
    for what in [
        "a call that never returned",
        "a deleted topic",
        "a fenced driver",
        "a partition that was added",
        "a partition without a leader",
        "a re-created topic",
        "a read_committed stream",
        "a read_uncommitted stream",
        "a restart with resume after lost offsets",
        "a sink that is ahead of the checkpoint",
        "a stream that publishes its positions",
        "a topic that was created",
        "a trimmed log",
        "a truncated log",
        "offsets lost under the policy fail",
    ] {
        assert!(coverage.times(what) > 0, "never seen: {what}");
    }
}

#[test]
fn a_stream_under_any_faults_delivers_every_record_once_or_records_its_loss() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let one: Option<u64> = number("SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(DEFAULT_SEEDS),
    };
    let coverage = Arc::<Coverage>::default();
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(None);
    let threads = std::thread::available_parallelism().unwrap().get();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().is_some() {
                        return;
                    }
                    if catch_unwind(AssertUnwindSafe(|| run(seed, &coverage))).is_err() {
                        eprintln!(
                            "replay with: SEED={seed} cargo test -p kafka-direct-integration-tests --test stream_simulation"
                        );
                        *failed.lock() = Some(seed);
                    }
                }
            });
        }
    });
    assert_eq!(*failed.lock(), None, "the seed of a failed run");
    eprintln!("{}", coverage.summary());
    if seeds.end - seeds.start >= DEFAULT_SEEDS {
        check_coverage(&coverage);
    }
}
