//! `demo --stream`: a stream in a child process that is killed while records arrive, and starts again.
//!
//! Contract: it touches nothing outside this process and a temporary folder, which it removes. At the end
//! it counts every record in the files. A missing, doubled or changed record ends it as a failed
//! verification.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use kafka_direct_broker::{Broker, BrokerError, Record};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};

use super::{broker_failed, indented, print_line};
use crate::exit::Failure;

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 3;
/// Records of a partition at each tick of the producer.
const RECORDS_PER_TICK: i64 = 20;
const TICK: Duration = Duration::from_millis(10);
const TICKS: i64 = 400;
/// How long each child runs before it is killed. Records arrive all the time.
const KILLED_AFTER: [Duration; 3] =
    [Duration::from_millis(700), Duration::from_millis(1100), Duration::from_millis(900)];
/// How many batches of a child are shown.
const SHOWN_BATCHES: u64 = 3;
/// A child that reports no batch for this long has failed.
const SILENCE: Duration = Duration::from_secs(30);

/// A folder that is removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The line that `--progress-json` writes for a batch.
#[derive(Deserialize)]
struct BatchLine {
    batch: u64,
    records: u64,
    lag: u64,
    total_ms: f64,
}

/// Runs the demo.
pub(super) async fn run() -> Result<(), Failure> {
    let broker = Arc::new(Broker::start().await.map_err(broker_failed)?);
    broker.create_topic(TOPIC, PARTITIONS).map_err(broker_failed)?;
    let folder = std::env::temp_dir().join(format!("kafka-direct-demo-{}", std::process::id()));
    fs::create_dir(&folder).map_err(|error| Failure::io("creating a temporary folder", error))?;
    let scratch = Scratch(folder);
    print_line(
        "kafka-direct demo: a Kafka broker inside this process, and a stream in a child process.",
    )?;
    print_line(&format!(
        "\n1  WRITE   A producer writes {} records into topic `{TOPIC}`, {PARTITIONS} partitions, for {} s.",
        HumanCount(
            (RECORDS_PER_TICK * TICKS).unsigned_abs() * u64::from(PARTITIONS.unsigned_abs())
        ),
        (TICK * u32::try_from(TICKS).unwrap_or(0)).as_secs()
    ))?;
    let producer = tokio::spawn(produce(Arc::clone(&broker)));

    print_line("\n2  STREAM  This runs beside it, and is killed again and again:\n")?;
    print_line(&format!("   kafka-direct stream -b {} -t {TOPIC} \\", broker.bootstrap()))?;
    print_line("     --sink jsonl:out --checkpoint checkpoint --trigger immediate\n")?;
    for life in KILLED_AFTER {
        let (mut child, mut lines) = start(&broker, &scratch.0, "immediate")?;
        let killed_at = Instant::now() + life;
        let mut batches: u64 = 0;
        while let Ok(batch) = timeout_at(killed_at, read_batch(&mut lines)).await {
            let batch = batch?;
            let batch = batch.ok_or_else(|| Failure::unmet("the stream ended by itself"))?;
            if batches < SHOWN_BATCHES {
                print_line(&format!("   {}", sentence(&batch)))?;
            }
            batches += 1;
        }
        child.kill().await.map_err(|error| Failure::io("killing the stream", error))?;
        let more = batches.saturating_sub(SHOWN_BATCHES);
        print_line(&format!("   ... {more} more batches, then SIGKILL"))?;
    }
    producer.await.map_err(|_| Failure::unmet("the producer panicked"))?.map_err(broker_failed)?;

    print_line("\n3  RECOVER The last start finishes the batch in hand, and reads the rest:\n")?;
    let (mut child, mut lines) = start(&broker, &scratch.0, "available-now")?;
    let mut batches: u64 = 0;
    while let Some(batch) = read_batch(&mut lines).await? {
        if batches < SHOWN_BATCHES {
            print_line(&format!("   {}", sentence(&batch)))?;
        }
        batches += 1;
    }
    let status = child.wait().await.map_err(|error| Failure::io("awaiting the stream", error))?;
    if !status.success() {
        return Err(Failure::unmet(format!("the stream ended with {status}")));
    }

    print_line("\n4  VERIFY  Every record that was written, in the files of the stream:\n")?;
    let out = scratch.0.join("out");
    let counted = tokio::task::spawn_blocking(move || count(&out)).await;
    let counted = counted
        .map_err(|_| Failure::unmet("reading the files panicked"))?
        .map_err(|error| Failure::io("reading the files of the stream", error))?;
    verify(&counted)?;
    print_line("\n           No record is missing, none is there twice.")?;
    print_line("\nNEXT    Follow a topic of your own Kafka:\n")?;
    print_line("   kafka-direct stream -b localhost:9092 -t TOPIC")?;
    print_line("   kafka-direct stream --help")
}

/// Writes the numbers 0, 1, 2, .. into every partition.
async fn produce(broker: Arc<Broker>) -> Result<(), BrokerError> {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..TICKS {
        tick.tick().await;
        let first = number * RECORDS_PER_TICK;
        for partition in 0..PARTITIONS {
            let values = first..first + RECORDS_PER_TICK;
            let records: Vec<Record> = values.map(|n| Record::new(value(partition, n))).collect();
            broker.append(TOPIC, partition, records)?;
        }
    }
    Ok(())
}

fn value(partition: i32, number: i64) -> String {
    format!("order {partition}/{number}")
}

fn start(
    broker: &Broker,
    folder: &Path,
    trigger: &str,
) -> Result<(Child, Lines<BufReader<ChildStdout>>), Failure> {
    let failed = |error| Failure::io("starting the stream", error);
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .args(["stream", "-b", &broker.bootstrap(), "-t", TOPIC, "--trigger", trigger])
        .args(["--sink", "jsonl:out", "--checkpoint", "checkpoint"])
        .args(["--progress-json", "-", "--quiet"])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take();
    let stdout = stdout.ok_or_else(|| failed(io::Error::other("it has no stdout")))?;
    Ok((child, BufReader::new(stdout).lines()))
}

async fn read_batch(
    lines: &mut Lines<BufReader<ChildStdout>>,
) -> Result<Option<BatchLine>, Failure> {
    let line = timeout(SILENCE, lines.next_line()).await;
    let line = line
        .map_err(|_| Failure::unmet("the stream reports no batch"))?
        .map_err(|error| Failure::io("reading the reports of the stream", error))?;
    let parse = |line: String| {
        serde_json::from_str(&line)
            .map_err(|error| Failure::unmet(format!("the stream reported `{line}`: {error}")))
    };
    line.map(parse).transpose()
}

fn sentence(batch: &BatchLine) -> String {
    let BatchLine { batch, records, lag, total_ms } = batch;
    format!("batch {batch:>3}: {records:>5} records in {total_ms:>5.1} ms, {lag} to read")
}

/// How often each record is in the files that a pattern `*.jsonl` finds, by partition and value.
fn count(out: &Path) -> io::Result<BTreeMap<(i32, String), u64>> {
    #[derive(Deserialize)]
    struct Line {
        partition: i32,
        value: String,
    }
    let mut counted = BTreeMap::new();
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            for line in fs::read_to_string(&path)?.lines() {
                let Line { partition, value } = serde_json::from_str(line)?;
                *counted.entry((partition, value)).or_default() += 1;
            }
        }
    }
    Ok(counted)
}

/// Compares the files with what was written, and shows the numbers.
fn verify(counted: &BTreeMap<(i32, String), u64>) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["partition", "written", "in the files", "missing", "doubled"]);
    let (mut known, mut wrong) = (0_usize, 0);
    for partition in 0..PARTITIONS {
        let written = RECORDS_PER_TICK * TICKS;
        let times = (0..written).map(|number| {
            counted.get(&(partition, value(partition, number))).copied().unwrap_or(0)
        });
        let times: Vec<u64> = times.collect();
        let missing = times.iter().filter(|times| **times == 0).count();
        let doubled = times.iter().filter(|times| **times > 1).count();
        known += times.len() - missing;
        wrong += missing + doubled;
        let found: u64 = times.iter().sum();
        table.add_row([
            partition.to_string(),
            HumanCount(written.unsigned_abs()).to_string(),
            HumanCount(found).to_string(),
            missing.to_string(),
            doubled.to_string(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        column.set_cell_alignment(CellAlignment::Right);
    }
    print_line(&indented(&table.trim_fmt()))?;
    let foreign = counted.len() - known;
    if wrong + foreign > 0 {
        return Err(Failure::unmet(format!(
            "verification failed: {wrong} records are missing or doubled, and {foreign} were never written"
        )));
    }
    Ok(())
}
