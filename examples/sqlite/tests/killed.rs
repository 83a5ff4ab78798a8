//! The example is killed (SIGKILL) at random moments while records arrive: afterwards every record is in
//! the database exactly once.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    path::Path,
    process::{Child, Command},
    thread::sleep,
    time::Duration,
};

use kafka_direct_broker::{Broker, Record};
use rusqlite::Connection;

const KILLS: i64 = 40;
const PARTITIONS: i32 = 3;

fn start(broker: &str, database: &Path, trigger: &[&str]) -> Child {
    let program = env!("CARGO_BIN_EXE_kafka-direct-sqlite");
    let arguments = [broker, "orders", database.to_str().unwrap()];
    Command::new(program).args(arguments).args(trigger).spawn().unwrap()
}

fn count(database: &Path, query: &str) -> i64 {
    let database = Connection::open(database).unwrap();
    database.busy_timeout(Duration::from_secs(30)).unwrap();
    // Before the first start has created the tables there is nothing.
    database.query_row(query, [], |row| row.get(0)).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_in_the_database_once_whenever_the_process_is_killed() {
    let broker = Broker::start().await.unwrap();
    broker.create_topic("orders", PARTITIONS).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("orders.db");
    let mut written = 0;
    let mut killed_with = Vec::new();
    for _ in 0..KILLS {
        for partition in 0..PARTITIONS {
            let records: Vec<_> = (0..200).map(|n| Record::new(format!("order {n}"))).collect();
            written += 200;
            broker.append("orders", partition, records).unwrap();
        }
        let before = count(&database, "SELECT count(*) FROM batches");
        let mut child = start(&broker.bootstrap(), &database, &[]);
        // Once it is at work, at any moment: transactions follow each other without a pause.
        while count(&database, "SELECT count(*) FROM batches") == before {
            assert!(child.try_wait().unwrap().is_none(), "the process has ended by itself");
            sleep(Duration::from_millis(1));
        }
        let random = RandomState::new().build_hasher().finish();
        sleep(Duration::from_micros(random % 30_000));
        child.kill().unwrap();
        child.wait().unwrap();
        killed_with.push(count(&database, "SELECT count(*) FROM records"));
    }
    let status = start(&broker.bootstrap(), &database, &["available-now"]).wait().unwrap();
    assert!(status.success());
    let distinct = "SELECT count(*) FROM (SELECT DISTINCT partition, offset FROM records)";
    assert_eq!(count(&database, "SELECT count(*) FROM records"), written);
    assert_eq!(count(&database, distinct), written);
    let pending = killed_with.iter().zip((1..).map(|n| n * 600)).filter(|(has, all)| *has < all);
    println!("{} of {KILLS} kills were in the middle of the records", pending.count());
}
