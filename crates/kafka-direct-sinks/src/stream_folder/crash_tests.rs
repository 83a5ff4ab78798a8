//! Drivers that are killed at any step, and drivers that meet in one folder.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use kafka_direct::{BoxError, checkpoint::StreamId};
use tokio::runtime::Handle;

use super::{
    StreamFolder,
    store::RETAINED_MANIFESTS,
    test_driver::{
        BATCHES, Driver, EMPTY_PARTITION, Receipts, assert_no_duplicates, below, by_hour,
        check_finished, columns, lines_up_to, ranges, run_all, temporaries, visible, visible_files,
    },
};
use crate::{Format, files::CrashPoint};

fn killed(error: &BoxError) -> bool {
    error.to_string().contains("killed by a test")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_killed_while_it_fills_folders_by_hour_leaves_each_record_once() {
    let start = |root: &Path, stream, generation, crash| {
        let mut builder = by_hour(root);
        builder.crash = crash;
        Driver::with(builder, stream, generation)
    };
    for step in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let stream = StreamId::random();
        let crash = CrashPoint::before_step(step);
        let killed_run = run_all(&start(root, stream, 1, crash)).await;
        assert_no_duplicates(root);
        let next = start(root, stream, 2, CrashPoint::never());
        let last = next.last().await.unwrap();
        assert_eq!(visible(root), lines_up_to(last), "after recovery from step {step}");
        run_all(&next).await.unwrap();
        assert_eq!(visible(root), lines_up_to(Some(BATCHES - 1)));
        assert_eq!(temporaries(root), [""; 0].map(Path::new));
        match killed_run {
            Ok(()) => {
                assert!(step > 60, "{step}");
                break;
            }
            Err(error) => assert!(killed(&error), "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_killed_at_any_step_leaves_each_record_once_after_recovery() {
    for step in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let stream = StreamId::random();
        let watched = root.to_owned();
        let crash =
            CrashPoint::before_step(step).observed_by(move || assert_no_duplicates(&watched));
        let killed_run = run_all(&Driver::crashing(root, stream, 1, crash)).await;
        assert_no_duplicates(root);
        let next = Driver::new(root, stream, 2);
        let last = next.last().await.unwrap();
        assert_eq!(visible(root), lines_up_to(last), "after recovery from step {step}");
        run_all(&next).await.unwrap();
        check_finished(root);
        match killed_run {
            Ok(()) => {
                assert!(step > 40, "{step}");
                break;
            }
            Err(error) => assert!(killed(&error), "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_killed_at_any_step_is_finished_by_the_next() {
    for step in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let stream = StreamId::random();
        let driver = Driver::new(root, stream, 1);
        driver.run(0, &ranges(0)).await.unwrap();
        let receipts = Driver::new(root, stream, 2).stage(1, &ranges(1)).await.unwrap();
        let start = |crash| Driver::crashing(root, stream, 2, crash);
        kill_once_exists(&manifest(), &receipts, start).await;
        assert_eq!(visible(root), lines_up_to(Some(0)));
        let crash = CrashPoint::before_step(step);
        let recovered = Driver::crashing(root, stream, 3, crash).last().await;
        assert_no_duplicates(root);
        let next = Driver::new(root, stream, 4);
        assert_eq!(next.last().await.unwrap(), Some(1));
        assert_eq!(visible(root), lines_up_to(Some(1)));
        run_all(&next).await.unwrap();
        check_finished(root);
        match recovered {
            Ok(last) => {
                assert_eq!(last, Some(1));
                assert!(step >= 5, "{step}");
                break;
            }
            Err(error) => assert!(killed(&error), "{error}"),
        }
    }
}

/// Commits batch 1 with drivers that `start` starts. The last one is killed as soon as there is a file
/// whose name ends in `until`.
async fn kill_once_exists(until: &str, receipts: &Receipts, start: impl Fn(CrashPoint) -> Driver) {
    for step in 0.. {
        let driver = start(CrashPoint::before_step(step));
        if below(driver.sink.folder()).iter().any(|path| path.to_string_lossy().ends_with(until)) {
            return;
        }
        // It succeeds where another driver has committed the batch.
        if driver.commit(1, &ranges(1), receipts).await.is_ok() {
            return;
        }
    }
}

/// The name of the manifest of batch 1.
fn manifest() -> String {
    format!("{:020}.json", 1)
}

/// Calls `interrupt` before step `step` of a driver, in the middle of its commit.
fn interrupting(
    step: u64,
    interrupt: impl Fn() + Send + Sync + 'static,
) -> (CrashPoint, Arc<AtomicU64>) {
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let observer = move || {
        if counted.fetch_add(1, Ordering::AcqRel) == step {
            interrupt();
        }
    };
    (CrashPoint::default().observed_by(observer), steps)
}

/// What the newer driver does while the older one is in the middle of a commit, before, and after.
#[derive(Debug, Clone, Copy)]
enum Meeting {
    /// It has staged before the older one, and commits.
    Commits,
    /// It has staged before the older one, and is killed once its manifest exists.
    CommitsAndIsKilled,
    /// The same, killed once one of its files has the final name.
    LinksAndIsKilled,
    /// It stages, which removes what the older one left, and commits.
    StagesAndCommits,
    /// It stages, and commits after the older one.
    Stages,
    /// It stages and commits, and so many batches after it that the manifest is purged.
    Overtakes,
}

#[tokio::test(flavor = "multi_thread")]
async fn two_drivers_that_commit_one_batch_leave_one_set_of_files() {
    for meeting in [
        Meeting::Commits,
        Meeting::CommitsAndIsKilled,
        Meeting::LinksAndIsKilled,
        Meeting::StagesAndCommits,
        Meeting::Stages,
        Meeting::Overtakes,
    ] {
        for step in 0.. {
            if meet(meeting, step).await {
                assert!(step >= 8, "{meeting:?} {step}");
                break;
            }
        }
    }
}

/// The newer driver. It has another format, so that its files have other names.
fn csv(root: &Path, stream: StreamId, crash: CrashPoint) -> Driver {
    let mut builder = StreamFolder::builder(root, Format::Csv).columns(columns());
    builder.crash = crash;
    Driver::with(builder, stream, 2)
}

/// Returns whether the older driver had fewer steps.
async fn meet(meeting: Meeting, step: u64) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let stream = StreamId::random();
    Driver::new(root, stream, 1).run(0, &ranges(0)).await.unwrap();
    let newer = Arc::new(csv(root, stream, CrashPoint::never()));
    assert_eq!(newer.last().await.unwrap(), Some(0));
    let staged = match meeting {
        Meeting::Commits | Meeting::CommitsAndIsKilled => {
            Some(newer.stage(1, &ranges(1)).await.unwrap())
        }
        _ => None,
    };
    let staged = Arc::new(parking_lot::Mutex::new(staged));
    let (other, receipts, runtime) = (Arc::clone(&newer), Arc::clone(&staged), Handle::current());
    let interrupt = move || {
        let (other, receipts) = (Arc::clone(&other), Arc::clone(&receipts));
        let meet = async move {
            let found = receipts.lock().take();
            let mine = match found {
                Some(mine) => mine,
                None => other.stage(1, &ranges(1)).await.unwrap(),
            };
            let start = |crash| csv(other.sink.folder(), stream, crash);
            if matches!(meeting, Meeting::CommitsAndIsKilled) {
                kill_once_exists(&manifest(), &mine, start).await;
            } else if matches!(meeting, Meeting::LinksAndIsKilled) {
                kill_once_exists(&manifest(), &mine, start).await;
                kill_once_exists(".csv", &mine, start).await;
            } else if !matches!(meeting, Meeting::Stages) {
                other.commit(1, &ranges(1), &mine).await.unwrap();
            }
            if matches!(meeting, Meeting::Overtakes) {
                for batch in 2..u64::try_from(RETAINED_MANIFESTS).unwrap() + 3 {
                    other.run(batch, &[(EMPTY_PARTITION, 0, 1)]).await.unwrap();
                }
            }
            *receipts.lock() = Some(mine);
        };
        runtime.block_on(meet);
    };
    let older = Driver::new(root, stream, 1);
    let receipts = older.stage(1, &ranges(1)).await.unwrap();
    let (crash, steps) = interrupting(step, interrupt);
    let older = Driver::crashing(root, stream, 1, crash);
    // It may fail, if its files were removed before it took possession of them.
    let committed = older.commit(1, &ranges(1), &receipts).await;
    if !matches!(meeting, Meeting::StagesAndCommits | Meeting::Stages | Meeting::Overtakes) {
        committed.as_ref().unwrap();
    }
    let is_last = steps.load(Ordering::Acquire) <= step;
    let context = format!("{meeting:?}, step {step}, {committed:?}");
    assert_no_duplicates(root);
    if matches!(meeting, Meeting::Stages) {
        let mine = staged.lock().take();
        let mine = match mine {
            Some(mine) => mine,
            None => newer.stage(1, &ranges(1)).await.unwrap(),
        };
        newer.commit(1, &ranges(1), &mine).await.unwrap();
    } else if !is_last {
        // The older driver repeats what may have failed.
        drop(older.commit(1, &ranges(1), &receipts).await);
    }
    match (visible_files(root, "jsonl").len(), visible_files(root, "csv").len()) {
        (4, 0) => assert_eq!(visible(root), lines_up_to(Some(1)), "{context}"),
        (2, 2) => assert_eq!(visible(root), lines_up_to(Some(0)), "{context}"),
        other => panic!("{other:?} files: {context}"),
    }
    assert_eq!(temporaries(root), [""; 0].map(Path::new), "{context}");
    let manifests = visible_files(root, "json");
    assert!(manifests.len() <= RETAINED_MANIFESTS, "{context}");
    if matches!(meeting, Meeting::Overtakes) && !is_last {
        assert!(!manifests.iter().any(|path| path.ends_with(manifest())), "{context}");
    }
    is_last
}
