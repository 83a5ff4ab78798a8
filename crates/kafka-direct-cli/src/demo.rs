//! `demo`: writes records to a broker in this process, reads them in parallel and verifies them.
//!
//! Contract: the demo needs and touches nothing outside this process. It verifies every record that
//! it wrote. A changed, missing, duplicate or misplaced record ends it as a failed verification.

mod payload;
mod stream;

use std::{sync::Arc, time::Duration};

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use kafka_direct::{
    Cluster, ClusterConfig, Column, Columns, Error, KafkaRdd, PlanTable,
    arrow::array::{RecordBatch, cast::AsArray as _, types::Int64Type},
};
use kafka_direct_broker::{Broker, BrokerError, Record};
use tokio::{task::JoinSet, time::Instant};

use self::payload::{Sums, VALUE_BYTES, Verifier, put};
use crate::{cli::DemoArgs, exit::Failure, output, progress::Progress};

const TOPIC: &str = "demo";
/// Maximum of `--records`, because all records are kept in memory.
const MAX_RECORDS: u64 = 50_000_000;
/// Records per batch: about 128 KiB, as a tuned producer sends.
const RECORDS_PER_BATCH: u64 = 1150;
/// Timestamp of the first record of every partition, 2025-01-01 UTC, in milliseconds since 1970.
///
/// The timestamp of each following record is one millisecond later.
const FIRST_TIMESTAMP: i64 = 1_735_689_600_000;
/// Number of records shown at the end.
const SHOWN_RECORDS: usize = 5;
/// Characters of a value that are shown, so that a line fits a narrow terminal.
const VALUE_CHARS: usize = 55;

/// Runs the demo.
pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    if args.stream {
        return Box::pin(stream::run()).await;
    }
    if args.records > MAX_RECORDS {
        return Err(Failure::usage(format!(
            "the demo keeps all records in memory; pass --records with at most {MAX_RECORDS}"
        )));
    }
    print_line(
        "kafka-direct demo: a Kafka broker inside this process. No Docker, no cluster, no network.",
    )?;

    let partitions = args.topic_partitions;
    // With its default cap the broker would trim records before the demo verifies them.
    let broker =
        Broker::builder().partition_cap_bytes(usize::MAX).start().await.map_err(broker_failed)?;
    let broker = Arc::new(broker);
    broker.create_topic(TOPIC, partitions).map_err(broker_failed)?;
    let began = Instant::now();
    let written = write(&broker, args.records, partitions).await?;
    print_line(&format!(
        "\n1  WRITE   {} records of {VALUE_BYTES} bytes into topic `{TOPIC}`, {partitions} partition{}, in {}",
        HumanCount(args.records),
        if partitions == 1 { "" } else { "s" },
        seconds(began.elapsed())
    ))?;

    let cluster = ClusterConfig::new([broker.bootstrap()]);
    let cluster = Cluster::connect(cluster).await.map_err(Error::from)?;
    let columns = Columns::none().with(Column::Value).with(Column::Offset);
    let rdd = KafkaRdd::builder(&cluster).topic(TOPIC).columns(columns).build().await?;
    print_line(
        "\n2  PLAN    The offsets to read are decided once, before anything is read.\n           Each range below becomes one task:\n",
    )?;
    print_line(&indented(&PlanTable(rdd.plan()).to_string()))?;

    print_line(
        "\n3  READ    Every task fetches its own range straight from the partition's leader.\n           No receiver, no consumer group, no second copy of the data: Kafka is the log.\n",
    )?;
    let began = Instant::now();
    let read = read(&rdd, &written).await?;
    let took = began.elapsed();

    print_line("4  VERIFY  Each record carries its position and a checksum:\n")?;
    print_line(&indented(&verified(&read)))?;
    print_line(&format!("\n           {}", rates(&read, took)))?;
    print_line(
        "           Count, order and checksums match what was written: every record exactly once.",
    )?;

    let columns = columns.with(Column::Partition).with(Column::Timestamp);
    let some = KafkaRdd::builder(&cluster).topic(TOPIC).columns(columns).build().await?;
    let shown = shown(&some.take(SHOWN_RECORDS).await?);
    if !shown.is_empty() {
        print_line("\n5  LOOK    The first records:\n")?;
        print_line(&indented(&shown))?;
    }
    next(&broker, &args)?;
    if args.keep {
        std::future::pending::<()>().await;
    }
    Ok(())
}

fn print_line(text: &str) -> Result<(), Failure> {
    output::data(&format!("{text}\n"))
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("   {line}")).collect();
    lines.join("\n")
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of map_err")]
fn broker_failed(error: BrokerError) -> Failure {
    Failure::Unmet { message: format!("the embedded broker failed: {error}"), kind: error.kind() }
}

/// Fills all partitions at the same time and returns the sums of each partition, in order.
async fn write(broker: &Arc<Broker>, records: u64, partitions: i32) -> Result<Vec<Sums>, Failure> {
    let mut writers = JoinSet::new();
    let count = u64::from(partitions.unsigned_abs()).max(1);
    for (partition, number) in (0..partitions).zip(0u64..) {
        let records = records / count + u64::from(number < records % count);
        let broker = Arc::clone(broker);
        writers.spawn_blocking(move || (number, fill(&broker, partition, records)));
    }
    let mut written = Vec::new();
    while let Some(writer) = writers.join_next().await {
        let (number, sums) =
            writer.map_err(|_| Failure::unmet("a task that wrote records panicked"))?;
        written.push((number, sums.map_err(broker_failed)?));
    }
    written.sort_by_key(|(number, _)| *number);
    Ok(written.into_iter().map(|(_, sums)| sums).collect())
}

fn fill(broker: &Broker, partition: i32, records: u64) -> Result<Sums, BrokerError> {
    let mut sums = Sums::default();
    while sums.records < records {
        let first = sums.records;
        let count = RECORDS_PER_BATCH.min(records - first);
        let mut values = Vec::new();
        for sequence in first..first + count {
            sums.add(put(&mut values, partition, sequence));
        }
        let values = bytes::Bytes::from(values);
        let stamps = FIRST_TIMESTAMP.saturating_add_unsigned(first)..;
        let batch: Vec<Record> = (0..values.len())
            .step_by(VALUE_BYTES)
            .zip(stamps)
            .map(|(at, stamp)| {
                Record::new(values.slice(at..at + VALUE_BYTES)).with_timestamp(stamp)
            })
            .collect();
        broker.append(TOPIC, partition, batch)?;
    }
    Ok(sums)
}

/// Reads and verifies all records, and returns the sums of each partition.
async fn read(rdd: &KafkaRdd, written: &[Sums]) -> Result<Vec<(i32, Sums)>, Failure> {
    let progress = Arc::new(Progress::new(rdd.plan(), false));
    let all = Arc::new(written.to_vec());
    let bars = Arc::clone(&progress);
    let work = rdd.map_partitions(move |planned, mut batches| {
        let (bars, all) = (Arc::clone(&bars), Arc::clone(&all));
        async move {
            let partition = planned.topic_partition().partition();
            let mut verifier = Verifier::new(partition);
            while let Some(batch) = batches.try_next().await? {
                if let Err(wrong) = verifier.take(&batch) {
                    return Ok(Err(wrong));
                }
                bars.update(&planned, &batches);
            }
            bars.finish(&planned);
            let expected = usize::try_from(partition).ok().and_then(|at| all.get(at).copied());
            let expected = expected.unwrap_or_default();
            Ok(verifier.finish(expected).map(|()| (partition, expected)))
        }
    });
    let done = work.await;
    progress.clear();
    let read = done?
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|wrong| Failure::unmet(format!("verification failed: {wrong}")))?;
    let total = |sums: &mut dyn Iterator<Item = u64>| sums.fold(0, u64::wrapping_add);
    let (sent, got) = (
        total(&mut written.iter().map(|sums| sums.records)),
        total(&mut read.iter().map(|(_, sums)| sums.records)),
    );
    if sent != got {
        return Err(Failure::unmet(format!(
            "verification failed: {sent} records were written, {got} were read"
        )));
    }
    Ok(read)
}

fn verified(read: &[(i32, Sums)]) -> String {
    const MAX: usize = 16;
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["partition", "records", "order", "checksums"]);
    for (partition, sums) in read.iter().take(MAX) {
        let records = HumanCount(sums.records).to_string();
        table.add_row([partition.to_string(), records, "ok".to_owned(), "ok".to_owned()]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        column.set_cell_alignment(CellAlignment::Right);
    }
    let more = read.len().saturating_sub(MAX);
    let table = table.trim_fmt();
    if more == 0 { table } else { format!("{table}\n... {more} more, all ok") }
}

#[expect(clippy::cast_precision_loss, reason = "rates for a person")]
fn rates(read: &[(i32, Sums)], took: Duration) -> String {
    let records: u64 = read.iter().map(|(_, sums)| sums.records).sum();
    let bytes = records.saturating_mul(u64::try_from(VALUE_BYTES).unwrap_or(0)) as f64;
    let seconds_taken = took.as_secs_f64().max(1e-6);
    let rate = Duration::try_from_secs_f64(records as f64 / seconds_taken)
        .map_or(0, |rate| rate.as_secs());
    format!(
        "{} records in {}: {} records/s, {:.0} MB/s, broker included",
        HumanCount(records),
        seconds(took),
        HumanCount(rate),
        bytes / 1e6 / seconds_taken
    )
}

/// Formats a few records as a table.
fn shown(batches: &[RecordBatch]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["partition", "offset", "value"]);
    for batch in batches {
        let column = |name| batch.column_by_name(name);
        let (Some(values), Some(offsets), Some(partitions)) =
            (column("value"), column("offset"), column("partition"))
        else {
            continue;
        };
        let (Some(values), Some(offsets), Some(partitions)) = (
            values.as_binary_view_opt(),
            offsets.as_primitive_opt::<Int64Type>(),
            partitions.as_primitive_opt::<kafka_direct::arrow::array::types::Int32Type>(),
        ) else {
            continue;
        };
        for ((value, offset), partition) in
            values.iter().zip(offsets.values()).zip(partitions.values())
        {
            let value = String::from_utf8_lossy(value.unwrap_or_default());
            let front: String = value.chars().take(VALUE_CHARS).collect();
            table.add_row([partition.to_string(), offset.to_string(), format!("{front}…")]);
        }
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index < 2 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if table.row_count() == 0 { String::new() } else { table.trim_fmt() }
}

/// Prints commands to try next.
fn next(broker: &Broker, args: &DemoArgs) -> Result<(), Failure> {
    print_line(
        "\nNEXT    Try your own Kafka (this only reads, and commits or creates nothing):\n",
    )?;
    print_line("   kafka-direct topics -b localhost:9092")?;
    print_line("   kafka-direct read -b localhost:9092 -t TOPIC --from -10 --format table")?;
    print_line(
        "   kafka-direct read -b localhost:9092 -t TOPIC --output out/     # a file per range, safe to re-run",
    )?;
    if !args.keep {
        return print_line(
            "\n   Or run `kafka-direct demo --keep` and read from the broker of the demo.",
        );
    }
    let address = broker.bootstrap();
    print_line(
        "\n   Or use this broker from another terminal, until you press Ctrl-C in this one:\n",
    )?;
    print_line(&format!("   kafka-direct plan -b {address} -t {TOPIC}"))?;
    print_line(&format!("   kafka-direct read -b {address} -t {TOPIC} --from -3 --format table"))
}
