//! Compares reading with and without a receiver on your machine: the same records, both ways.
//!
//! - **Receiver**: one loop takes the batches of all partitions as they arrive. It writes each to a log
//!   of its own, synced to disk, before it passes it on. A receiver has to do that so that a crash loses
//!   nothing that Kafka counts as read.
//! - **Direct**: one task per partition reads its range and passes the batches on. A crash loses nothing
//!   either: the plan says which offsets to read again.
//!
//! Both use the same fetches and the same decoder, which favours the receiver.
//!
//! `cargo run --release -p kafka-direct --example receiver_versus_direct` starts an embedded broker
//! in a process of its own and fills it. With `-- HOST:PORT TOPIC` it reads the last
//! 200,000 offsets of each partition of a topic of yours. The log is written to `TMPDIR`: set it to a
//! folder on a disk, since a folder in memory syncs for nothing.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use futures::{TryStreamExt as _, stream};
use kafka_direct::{
    BoxError, Cluster, ClusterConfig, Column, KafkaRdd, StartOffset,
    arrow::array::{
        Array as _, RecordBatch,
        cast::AsArray as _,
        types::{Int32Type, Int64Type},
    },
};
use kafka_direct_broker::{Broker, Record};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

const PARTITIONS: i32 = 4;
/// Offsets of each partition that are read.
const RECORDS: i64 = 200_000;
/// Rounds; the first is not counted.
const ROUNDS: usize = 4;

/// Records, bytes and time of reading once.
#[derive(Debug, Default, Clone, Copy)]
struct Round {
    records: u64,
    value_bytes: u64,
    log_bytes: u64,
    syncs: u64,
    wall_s: f64,
    cpu_s: f64,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (bootstrap, topic, broker) = match arguments.as_slice() {
        ["--serve"] => return serve().await,
        [] => {
            let (bootstrap, broker) = start_broker()?;
            (bootstrap, "orders", Some(broker))
        }
        [bootstrap, topic] => ((*bootstrap).to_owned(), *topic, None),
        _ => return Err("usage: receiver_versus_direct [HOST:PORT TOPIC]".into()),
    };
    let cluster = Cluster::connect(ClusterConfig::new([bootstrap])).await?;
    let rdd = KafkaRdd::builder(&cluster).topic(topic).start(StartOffset::FromEnd(RECORDS));
    let rdd = rdd.build().await?;
    let (mut receiver, mut direct) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        receiver.push(measured(read_by_receiver(&rdd)).await?);
        direct.push(measured(read_direct(&rdd)).await?);
    }
    if let Some(mut broker) = broker {
        broker.kill()?;
        broker.wait()?;
    }
    report(&median(&receiver), &median(&direct))
}

/// One loop for all partitions; a batch is passed on after the log was synced.
async fn read_by_receiver(rdd: &KafkaRdd) -> Result<Round, BoxError> {
    let path = env::temp_dir().join(format!("receiver-{}.log", std::process::id()));
    let mut log = File::create(&path)?;
    let partitions = (0..rdd.partitions().len()).filter_map(|index| rdd.read_partition(index));
    let mut batches = stream::select_all(partitions.map(|one| Box::pin(one.into_stream())));
    let (mut round, mut block) = (Round::default(), Vec::new());
    while let Some(batch) = batches.try_next().await? {
        block.clear();
        put_records(&batch, &mut block)?;
        tokio::task::block_in_place(|| log.write_all(&block).and_then(|()| log.sync_data()))?;
        round.log_bytes += block.len() as u64;
        round.syncs += 1;
        let (records, value_bytes) = hand_over(&batch)?;
        round.records += records;
        round.value_bytes += value_bytes;
    }
    drop(log);
    fs::remove_file(path)?;
    Ok(round)
}

/// One task per partition, which passes its batches on directly.
async fn read_direct(rdd: &KafkaRdd) -> Result<Round, BoxError> {
    let sums = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let total = Arc::clone(&sums);
    rdd.for_each_partition(move |_, mut batches| {
        let total = Arc::clone(&total);
        async move {
            while let Some(batch) = batches.try_next().await? {
                let (records, value_bytes) = hand_over(&batch)?;
                total.0.fetch_add(records, Relaxed);
                total.1.fetch_add(value_bytes, Relaxed);
            }
            Ok(())
        }
    })
    .await?;
    let (records, value_bytes) = (sums.0.load(Relaxed), sums.1.load(Relaxed));
    Ok(Round { records, value_bytes, ..Round::default() })
}

/// The place of the work on the records: counts them and the bytes of their values.
fn hand_over(batch: &RecordBatch) -> Result<(u64, u64), BoxError> {
    let values = column(batch, Column::Value)?.as_binary_view();
    let bytes: usize = values.iter().flatten().map(<[u8]>::len).sum();
    Ok((values.len() as u64, bytes as u64))
}

/// The parts of each record that a receiver's log must keep, one record after another.
fn put_records(batch: &RecordBatch, block: &mut Vec<u8>) -> Result<(), BoxError> {
    let partitions = column(batch, Column::Partition)?.as_primitive::<Int32Type>();
    let offsets = column(batch, Column::Offset)?.as_primitive::<Int64Type>();
    let keys = column(batch, Column::Key)?.as_binary_view();
    let values = column(batch, Column::Value)?.as_binary_view();
    for row in 0..batch.num_rows() {
        block.extend_from_slice(&partitions.value(row).to_le_bytes());
        block.extend_from_slice(&offsets.value(row).to_le_bytes());
        for field in [keys, values] {
            let bytes = field.is_valid(row).then(|| field.value(row));
            let length = bytes.map_or(Ok(-1), |bytes| i32::try_from(bytes.len()))?;
            block.extend_from_slice(&length.to_le_bytes());
            block.extend_from_slice(bytes.unwrap_or_default());
        }
    }
    Ok(())
}

fn column(batch: &RecordBatch, column: Column) -> Result<&dyn arrow_array::Array, BoxError> {
    let found = batch.column_by_name(column.as_str());
    Ok(found.ok_or_else(|| format!("no column {column}"))?.as_ref())
}

/// Wall time, and CPU time of this process.
async fn measured(
    reading: impl Future<Output = Result<Round, BoxError>>,
) -> Result<Round, BoxError> {
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    let round = reading.await?;
    Ok(Round { wall_s: wall.elapsed().as_secs_f64(), cpu_s: cpu_seconds() - cpu, ..round })
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The round with the median wall time, without the first round.
fn median(rounds: &[Round]) -> Round {
    let mut counted = rounds.get(1..).unwrap_or_default().to_vec();
    counted.sort_by(|a, b| a.wall_s.total_cmp(&b.wall_s));
    counted.get(counted.len() / 2).copied().unwrap_or_default()
}

fn report(receiver: &Round, direct: &Round) -> Result<(), BoxError> {
    if (receiver.records, receiver.value_bytes) != (direct.records, direct.value_bytes) {
        return Err("both ways must read the same records; was the topic trimmed meanwhile?".into());
    }
    if direct.records == 0 {
        return Err("the topic has no records to read".into());
    }
    println!("{} records, {} bytes of values\n", direct.records, direct.value_bytes);
    println!("           records/s   CPU µs/record   bytes written again   syncs");
    for (name, round) in [("receiver", receiver), ("direct", direct)] {
        let records = round.records as f64;
        let (rate, cpu_us) = (records / round.wall_s, round.cpu_s / records * 1e6);
        let (bytes, syncs) = (round.log_bytes, round.syncs);
        println!("{name:<8} {rate:>11.0}   {cpu_us:>13.3}   {bytes:>19}   {syncs:>5}");
    }
    let (times, work) = (receiver.wall_s / direct.wall_s, receiver.cpu_s / direct.cpu_s);
    println!("\nDirect is {times:.1} times as fast for 1/{work:.1} of the CPU time.");
    println!(
        "The receiver put every record on a disk again that Kafka keeps anyway, and all of them"
    );
    println!(
        "went through one loop. What the direct way keeps for a crash is its plan: one line per partition."
    );
    Ok(())
}

/// Starts this program again as a broker, so that its work is not counted as the reader's.
fn start_broker() -> Result<(String, Child), BoxError> {
    let mut command = Command::new(env::current_exe()?);
    let mut broker = command.arg("--serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut bootstrap = String::new();
    let stdout = broker.stdout.take().ok_or("the broker has no output")?;
    BufReader::new(stdout).read_line(&mut bootstrap)?;
    if bootstrap.is_empty() {
        return Err("the embedded broker did not start".into());
    }
    Ok((bootstrap.trim_end().to_owned(), broker))
}

/// Serves a filled topic until standard input is closed.
async fn serve() -> Result<(), BoxError> {
    let broker = Broker::start().await?;
    broker.create_topic("orders", PARTITIONS)?;
    let order = |number: i64| {
        let note = "fragile, leave at the door, ring twice; ".repeat(4);
        let order = format!(
            r#"{{"order":{number:012},"status":"placed","amount":{},"note":"{note}"}}"#,
            number * 7919 % 10_007
        );
        Record::new(order).with_key(format!("order-{number:012}")).with_timestamp(number)
    };
    for partition in 0..PARTITIONS {
        for first in (0..RECORDS).step_by(500) {
            let records: Vec<Record> = (first..first + 500).map(order).collect();
            broker.append("orders", partition, records)?;
        }
    }
    println!("{}", broker.bootstrap());
    io::stdout().flush()?;
    tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}
