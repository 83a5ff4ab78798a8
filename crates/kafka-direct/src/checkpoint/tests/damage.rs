//! Damaged, foreign and missing files of a checkpoint.

use super::*;

async fn opened_after(name: &str, change: impl Fn(&str) -> String) -> Error {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    log.log_plan(draft(&[(0, 5, 9)])).await.unwrap();
    let text = String::from_utf8(store.objects()[name].clone()).unwrap();
    let changed = change(&text);
    assert_ne!(changed, text);
    store.overwrite(name, changed);
    let error = StreamLog::open(shared(&store), Some("c"), NOW).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("memory:{name}: ")), "{error}");
    error
}

#[tokio::test]
async fn damaged_newer_and_foreign_files_are_refused_by_name() {
    let [pending, last] = [1, 0].map(|batch| BatchId::new(batch).file_in("offsets"));
    let commit = BatchId::new(0).file_in("commits");
    for name in ["stream.json", &pending, &last, &commit] {
        let truncated = opened_after(name, |text| text[..text.len() / 2].to_owned()).await;
        assert_eq!(truncated.kind(), ErrorKind::Corrupt);
        assert_eq!(opened_after(name, |_| String::new()).await.kind(), ErrorKind::Corrupt);
        let newer = |_: &str| r#"{"version": 2, "shape": "unknown"}"#.to_owned();
        let error = opened_after(name, newer).await;
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("version 2"), "{error}");
    }
    for name in [&*pending, &last, &commit] {
        let other = |text: &str| {
            let id = text.split("\"stream_id\": \"").nth(1).unwrap();
            text.replace(&id[..36], &StreamId::random().to_string())
        };
        let error = opened_after(name, other).await;
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("belongs to stream"), "{error}");
        let renamed = |text: &str| {
            text.replace("\"batch\": 1,", "\"batch\": 7,").replace("\"batch\": 0,", "\"batch\": 7,")
        };
        assert_eq!(opened_after(name, renamed).await.kind(), ErrorKind::Corrupt);
    }
    let contradiction = |text: &str| text.replace("\"from\": 5", "\"from\": 50");
    assert_eq!(opened_after(&pending, contradiction).await.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_checkpoint_of_another_cluster_is_refused() {
    let store = MemoryCheckpoint::new();
    drop(started(&store).await);
    let before = names(&store);
    let error = StreamLog::open(shared(&store), Some("d"), NOW).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("cluster c, this is cluster d"), "{error}");
    assert_eq!(names(&store), before);
    assert_eq!(CheckpointState::read(shared(&MemoryCheckpoint::new())).await.unwrap(), None);
}

#[tokio::test]
async fn missing_files_are_noticed() {
    for (folder, batch) in [("commits", 0), ("offsets", 1)] {
        let store = MemoryCheckpoint::new();
        let mut log = started(&store).await;
        run_batch(&mut log, &[(0, 5, 9)]).await;
        log.log_plan(draft(&[(0, 9, 10)])).await.unwrap();
        store.remove(&BatchId::new(batch).file_in(folder)).await.unwrap();
        store.remove(&BatchId::new(1).file_in("commits")).await.unwrap();
        let result = StreamLog::open(shared(&store), Some("c"), NOW).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Corrupt, "{folder}");
    }
}

#[tokio::test]
async fn a_plan_of_other_positions_than_the_streams_is_not_run() {
    let skip = |text: &str| text.replace("\"offset\": 5", "\"offset\": 4");
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    log.log_plan(draft(&[(0, 5, 9)])).await.unwrap();
    let last = BatchId::new(0).file_in("offsets");
    let text = String::from_utf8(store.objects()[&last].clone()).unwrap();
    store.overwrite(last, skip(&text));
    let error = StreamLog::open(shared(&store), Some("c"), NOW).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("t-0 starts at 5, its position is 4"), "{error}");
}

/// A checkpoint of batches 0 to 3, a rewind to 2 as batch 4, batch 5, and a planned batch 6.
async fn of_some_batches() -> MemoryCheckpoint {
    let store = MemoryCheckpoint::new();
    let mut log = started(&store).await;
    for from in [5, 9, 11] {
        run_batch(&mut log, &[(0, from, if from == 5 { 9 } else { from + 2 })]).await;
    }
    log.rewind(BatchId::new(2), NOW).await.unwrap();
    run_batch(&mut log, &[(0, 11, 14)]).await;
    log.log_plan(draft(&[(0, 14, 15)])).await.unwrap();
    store
}

async fn verified(store: &MemoryCheckpoint) -> Result<u64, Error> {
    let state = CheckpointState::read(shared(store)).await.unwrap().unwrap();
    state.verify(shared(store)).await
}

#[tokio::test]
async fn retained_batches_that_continue_each_other_are_verified_also_after_a_purge() {
    let store = of_some_batches().await;
    assert_eq!(verified(&store).await.unwrap(), 7);
    // The purge was interrupted, and a fenced driver has written a plan late.
    let [late, purged] = [0, 1].map(BatchId::new);
    shared(&store).remove(&late.file_in("commits")).await.unwrap();
    shared(&store).remove(&purged.file_in("offsets")).await.unwrap();
    assert_eq!(verified(&store).await.unwrap(), 5);
}

#[tokio::test]
async fn a_batch_that_does_not_continue_the_one_before_is_named() {
    let [second, third] = [2, 3].map(|batch| BatchId::new(batch).file_in("offsets"));
    let commit = BatchId::new(2).file_in("commits");
    for name in [&third, &commit] {
        let store = of_some_batches().await;
        shared(&store).remove(name).await.unwrap();
        let error = verified(&store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(&**name), "{error}");
    }
    let moved = [
        (&second, "\"from\": 9", "\"from\": 10", &second),
        // Inside its plan, and so not where the next batch begins.
        (&commit, "\"offset\": 11", "\"offset\": 10", &third),
        (&commit, "\"offset\": 11", "\"offset\": 12", &commit),
    ];
    for (changed, from, to, named) in moved {
        let store = of_some_batches().await;
        let text = String::from_utf8(store.objects()[changed].clone()).unwrap();
        assert!(text.contains(from), "{text}");
        store.overwrite(changed, text.replace(from, to));
        let error = verified(&store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(&**named), "{error}");
    }
}
