//! Results and position in one transaction of the user's store: killed at any step, and with drivers,
//! checkpoints and entries that do not fit.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use kafka_direct::{
    BoxError, Cluster, DirectStream, Error, ErrorKind, StartOffset, StreamLimits, Trigger,
    arrow::array::cast::AsArray as _,
    checkpoint::{CheckpointState, CommittedBatch, MemoryCheckpoint},
    stream::{BatchInHand, DirectStreamBuilder},
};
use kafka_direct_broker::{Broker, Record};

use crate::{append, broker, connect};

/// A database with one table of results and one of entries, whose key is the batch's number.
#[derive(Debug, Default)]
struct Database(Mutex<(Vec<String>, BTreeMap<u64, String>)>);

impl Database {
    fn newest(&self) -> Option<CommittedBatch> {
        let tables = self.0.lock().unwrap();
        tables.1.values().next_back().map(|entry| serde_json::from_str(entry).unwrap())
    }

    fn transaction(&self, values: Vec<String>, entry: &CommittedBatch) -> Result<(), BoxError> {
        let mut tables = self.0.lock().unwrap();
        let batch = entry.batch().get();
        if tables.1.contains_key(&batch) {
            return Err(format!("batch {batch} is there already").into());
        }
        tables.1.insert(batch, serde_json::to_string(entry).unwrap());
        tables.0.extend(values);
        Ok(())
    }

    fn values(&self) -> Vec<String> {
        let mut values = self.0.lock().unwrap().0.clone();
        values.sort();
        values
    }
}

async fn values(batch: &BatchInHand) -> Vec<String> {
    let batches = batch.rdd().collect().await.unwrap();
    let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    let of = |batch: &kafka_direct::arrow::array::RecordBatch| {
        let values = batch.column_by_name("value").unwrap().as_binary_view().clone();
        values.iter().map(text).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of).collect()
}

/// A stream over `topic` that reads what is available in batches of at most 3 offsets.
fn stream(cluster: &Cluster, topic: &str, database: &Database) -> DirectStreamBuilder {
    DirectStream::builder(cluster)
        .topic(topic)
        .trigger(Trigger::AvailableNow)
        .limits(StreamLimits::new().max_records_per_batch(3))
        .resume_from(database.newest())
}

/// Where a process is killed in its first batch.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kill {
    Planned,
    Read,
    Stored,
    Done,
    Never,
}

async fn run(builder: DirectStreamBuilder, database: &Database, kill: Kill) {
    let mut stream = builder.build().await.unwrap();
    while let Some(batch) = stream.next().await.unwrap() {
        if kill == Kill::Planned {
            return;
        }
        let values = values(&batch).await;
        if kill == Kill::Read {
            return;
        }
        let entry = batch.to_committed();
        database.transaction(values, &entry).unwrap();
        if kill == Kill::Stored {
            return;
        }
        batch.done_externally(&entry).await.unwrap();
        if kill == Kill::Done {
            return;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Checkpoint {
    Kept,
    None,
    LostNowAndThen,
}

/// Runs a stream over a topic of its own, killed once at both of `kills`, and then to its end.
async fn check(broker: &Broker, kills: [Kill; 2], mode: Checkpoint) {
    let topic = format!("{mode:?}-{kills:?}").replace(|letter: char| !letter.is_alphabetic(), "-");
    broker.create_topic(&topic, 2).unwrap();
    let cluster = connect(broker).await;
    let (database, mut checkpoint) = (Database::default(), MemoryCheckpoint::new());
    let mut expected = Vec::new();
    for (index, kill) in kills.into_iter().chain([Kill::Never]).enumerate() {
        for (partition, count) in [(0, 3), (1, index + 1)] {
            let new: Vec<String> = (0..count).map(|n| format!("{index}/{partition}/{n}")).collect();
            let records: Vec<_> = new.iter().cloned().map(Record::new).collect();
            broker.append(&topic, partition, records).unwrap();
            expected.extend(new);
        }
        let lost = mode == Checkpoint::LostNowAndThen && index % 2 == 0;
        if lost || mode == Checkpoint::None {
            checkpoint = MemoryCheckpoint::new();
        }
        let builder = stream(&cluster, &topic, &database).checkpoint(checkpoint.clone());
        run(builder, &database, kill).await;
    }
    expected.sort();
    assert_eq!(database.values(), expected, "{mode:?} {kills:?}");
    let store = || Arc::new(checkpoint.clone());
    let state = CheckpointState::read(store()).await.unwrap().unwrap();
    state.verify(store()).await.unwrap();
    assert_eq!(state.last.unwrap().positions(), database.newest().unwrap().positions());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_nothing_is_lost_and_nothing_doubled() {
    const KILLS: [Kill; 4] = [Kill::Planned, Kill::Read, Kill::Stored, Kill::Done];
    let broker = broker().await;
    for mode in [Checkpoint::Kept, Checkpoint::None, Checkpoint::LostNowAndThen] {
        let sequences = (0..KILLS.len().pow(2)).map(|sequence| {
            let kills = [0, 1].map(|step| KILLS[sequence / KILLS.len().pow(step) % KILLS.len()]);
            check(&broker, kills, mode)
        });
        futures::future::join_all(sequences).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_on_an_idle_topic_is_kept_by_the_store_alone() {
    let broker = broker().await;
    append(&broker, 0, 10);
    let cluster = connect(&broker).await;
    let database = Database::default();
    let latest = || stream(&cluster, "t", &database).start(StartOffset::Latest);
    run(latest(), &database, Kill::Done).await;
    assert_eq!(database.newest().unwrap().offsets.plan.ranges().len(), 0);
    append(&broker, 10, 12);
    run(latest(), &database, Kill::Never).await;
    assert_eq!(database.values(), ["0/10", "0/11", "1/10", "1/11"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_re_created_is_noticed_by_the_store_alone() {
    let broker = broker().await;
    append(&broker, 0, 2);
    let cluster = connect(&broker).await;
    let database = Database::default();
    run(stream(&cluster, "t", &database), &database, Kill::Never).await;
    broker.delete_topic("t").unwrap();
    broker.create_topic("t", 2).unwrap();
    append(&broker, 0, 2);
    let mut stream = stream(&cluster, "t", &database).build().await.unwrap();
    assert_eq!(stream.next().await.unwrap_err().kind(), ErrorKind::OffsetLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_drivers_without_a_checkpoint_the_key_of_the_table_rejects_one() {
    let broker = broker().await;
    append(&broker, 0, 4);
    let cluster = connect(&broker).await;
    let database = Database::default();
    // Also before the first batch is stored, when each driver has a stream id of its own.
    for _ in 0..2 {
        let mut drivers = Vec::new();
        for _ in 0..2 {
            drivers.push(stream(&cluster, "t", &database).build().await.unwrap());
        }
        let mut outcomes = Vec::new();
        for driver in &mut drivers {
            let batch = driver.next().await.unwrap().unwrap();
            let entry = batch.to_committed();
            outcomes.push(database.transaction(values(&batch).await, &entry).is_ok());
        }
        assert_eq!(outcomes, [true, false]);
    }
    run(stream(&cluster, "t", &database), &database, Kill::Never).await;
    assert_eq!(database.values(), crate::expected(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_older_than_the_checkpoint_is_refused_and_fences_nobody() {
    let broker = broker().await;
    append(&broker, 0, 4);
    let cluster = connect(&broker).await;
    let (database, checkpoint) = (Database::default(), MemoryCheckpoint::new());
    run(stream(&cluster, "t", &database), &database, Kill::Done).await;
    let older = database.newest();
    let builder = |database| stream(&cluster, "t", database).checkpoint(checkpoint.clone());
    let mut driver = builder(&database).build().await.unwrap();
    let batch = driver.next().await.unwrap().unwrap();
    let entry = batch.to_committed();
    database.transaction(values(&batch).await, &entry).unwrap();
    batch.done_externally(&entry).await.unwrap();
    for stale in [older, None] {
        let error = builder(&database).resume_from(stale.clone()).build().await.unwrap_err();
        let stored = stale.map(|entry| entry.batch());
        assert!(
            matches!(&error, Error::StoreBehind { stored: found, checkpoint, .. }
                if *found == stored && *checkpoint == entry.batch()),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    driver.next().await.unwrap().unwrap().done().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_another_stream_cluster_batch_or_version_is_refused() {
    let refused = |error: Error, named: &str| {
        assert!(matches!(error, Error::ForeignEntry { .. }), "{error}");
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(named), "{error}");
    };
    let broker = broker().await;
    append(&broker, 0, 4);
    let cluster = connect(&broker).await;
    let (database, checkpoint) = (Database::default(), MemoryCheckpoint::new());
    let builder = || stream(&cluster, "t", &database).checkpoint(checkpoint.clone());
    run(builder(), &database, Kill::Done).await;
    let entry = database.newest().unwrap();

    let other = Database::default();
    run(stream(&cluster, "t", &other), &other, Kill::Done).await;
    let error = builder().resume_from(other.newest()).build().await.unwrap_err();
    refused(error, &other.newest().unwrap().stream().to_string());

    let mut later = stream(&cluster, "t", &database).build().await.unwrap();
    let batch = later.next().await.unwrap().unwrap();
    refused(batch.done_externally(&entry).await.unwrap_err(), "batch in hand is 1");

    let text = serde_json::to_string(&entry).unwrap();
    let cluster_id = cluster.id().unwrap();
    for (changed, named) in [
        (text.replace(&cluster_id, "elsewhere"), "elsewhere"),
        (
            text.replacen("\"version\":1,\"stream_id\"", "\"version\":2,\"stream_id\"", 1),
            "version 2",
        ),
        (text.replacen("\"batch\":0", "\"batch\":7", 1), "damaged"),
        (text.replace("\"batch\":0", "\"batch\":7"), "old copy"),
    ] {
        assert_ne!(changed, text);
        let changed: CommittedBatch = serde_json::from_str(&changed).unwrap();
        refused(builder().resume_from(changed).build().await.unwrap_err(), named);
    }

    // Two drivers with two checkpoints: the other one's batch 1 is in the store.
    let mut own = builder().build().await.unwrap();
    own.next().await.unwrap().unwrap();
    run(stream(&cluster, "t", &database), &database, Kill::Done).await;
    refused(builder().build().await.unwrap_err(), "another plan");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_checkpoint_is_enough_when_it_is_used_alone() {
    let broker: Broker = broker().await;
    append(&broker, 0, 4);
    let cluster = connect(&broker).await;
    let (database, checkpoint) = (Database::default(), MemoryCheckpoint::new());
    run(stream(&cluster, "t", &database), &database, Kill::Done).await;
    let restored = stream(&cluster, "t", &database).checkpoint(checkpoint.clone());
    let generation = restored.build().await.unwrap().log().generation();
    assert!(generation > database.newest().unwrap().commit.generation);
    let mut alone = crate::available(&cluster, &checkpoint).build().await.unwrap();
    let mut rest = Vec::new();
    while let Some(batch) = alone.next().await.unwrap() {
        rest.extend(values(&batch).await);
        batch.done().await.unwrap();
    }
    rest.extend(database.values());
    rest.sort();
    assert_eq!(rest, crate::expected(4));
}
