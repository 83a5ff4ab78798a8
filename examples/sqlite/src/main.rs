//! A stream of micro-batches into SQLite: the records and the stream's position are in one transaction,
//! so that every record is in the table exactly once, whenever the process is killed.
//!
//! Usage: `kafka-direct-sqlite BROKER TOPIC DATABASE [available-now]`

use std::error::Error;

use kafka_direct::{
    Cluster, ClusterConfig, DirectStream, StreamLimits, Trigger,
    arrow::array::{
        RecordBatch,
        cast::AsArray as _,
        types::{Int32Type, Int64Type},
    },
    checkpoint::CommittedBatch,
};
use rusqlite::{Connection, OptionalExtension as _, Transaction};

type AnyError = Box<dyn Error + Send + Sync>;

/// The key of `batches` rejects a second driver: of two transactions for one batch, one fails. Rows of
/// `batches` are kept, so that a driver that is late is rejected too.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS batches (stream TEXT, batch INTEGER, entry TEXT, UNIQUE (stream, batch));
    CREATE TABLE IF NOT EXISTS records (topic TEXT, partition INTEGER, offset INTEGER, value BLOB);
";

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [broker, topic, database, trigger @ ..] = arguments.as_slice() else {
        return Err("usage: kafka-direct-sqlite BROKER TOPIC DATABASE [available-now]".into());
    };
    let mut database = Connection::open(database)?;
    database.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
    database.execute_batch(TABLES)?;
    let newest = newest_entry(&database, topic)?;

    let cluster = Cluster::connect(ClusterConfig::new([broker])).await?;
    let trigger = if trigger.is_empty() { Trigger::Immediate } else { Trigger::AvailableNow };
    let mut stream = DirectStream::builder(&cluster)
        .topic(topic)
        .trigger(trigger)
        .limits(StreamLimits::new().max_records_per_batch(100))
        .resume_from(newest)
        .build()
        .await?;
    while let Some(batch) = stream.next().await? {
        let records = batch.rdd().collect().await?;
        let entry = batch.to_committed();
        let transaction = database.transaction()?;
        store_entry(&transaction, topic, &entry)?;
        for records in &records {
            store_records(&transaction, topic, records)?;
        }
        transaction.commit()?;
        // Killed here, the next start continues after this batch.
        batch.done_externally(&entry).await?;
    }
    Ok(())
}

/// The entry of the last batch whose records are in the database.
fn newest_entry(database: &Connection, stream: &str) -> Result<Option<CommittedBatch>, AnyError> {
    let newest = "SELECT entry FROM batches WHERE stream = ? ORDER BY batch DESC LIMIT 1";
    let entry: Option<String> =
        database.query_row(newest, [stream], |row| row.get(0)).optional()?;
    Ok(entry.map(|entry| serde_json::from_str(&entry)).transpose()?)
}

/// Stores the position under the name of the stream, which here is its topic.
fn store_entry(
    transaction: &Transaction<'_>,
    stream: &str,
    entry: &CommittedBatch,
) -> Result<(), AnyError> {
    let batch = i64::try_from(entry.batch().get())?;
    let json = serde_json::to_string(entry)?;
    transaction.execute("INSERT INTO batches VALUES (?, ?, ?)", (stream, batch, json))?;
    Ok(())
}

fn store_records(
    transaction: &Transaction<'_>,
    topic: &str,
    records: &RecordBatch,
) -> Result<(), AnyError> {
    let column = |name: &str| records.column_by_name(name).ok_or("the stream reads this column");
    let partitions = column("partition")?.as_primitive::<Int32Type>();
    let offsets = column("offset")?.as_primitive::<Int64Type>();
    let values = column("value")?.as_binary_view();
    let mut insert = transaction.prepare_cached("INSERT INTO records VALUES (?, ?, ?, ?)")?;
    for ((partition, offset), value) in partitions.iter().zip(offsets).zip(values) {
        insert.execute((topic, partition, offset, value))?;
    }
    Ok(())
}
